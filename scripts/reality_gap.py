#!/usr/bin/env python3
"""How unreal is the simulator? Its sweeps against recorded ones of the same sensor.

    kd3d_core simulate DATA --config config/simulate/reality.yaml
    scripts/reality_gap.py DATA [--shared DIR] [--picture FILE.png] [--out FILE.json]

Prints how well a classifier tells patches of simulated HDL-64E sweeps from KITTI's (0.5 is not at
all, 1 is always), by which figures, and how plain statistics differ; beside that the statistics of
Argoverse 2's sweep against the simulated pair of VLP-32C. docs/reality.md says what it all means.
"""

import json
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from kd3d_core.datasets.argoverse2 import Argoverse2Dataset
from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.datasets.kitti import SENSOR_HEIGHT
from kd3d_core.datasets.kitti import KittiDataset
from kd3d_core.datasets.simulated import SimulatedDataset
from kd3d_core.errors import Kd3dError
from kd3d_core.files import write_text
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.inspection.reality_patches import patch_features
from kd3d_core.inspection.reality_picture import draw_statistics
from kd3d_core.inspection.reality_returns import returns_of
from kd3d_core.inspection.reality_statistics import CarPoints
from kd3d_core.inspection.reality_statistics import Histogram
from kd3d_core.inspection.reality_statistics import StatisticsAccumulator
from kd3d_core.inspection.reality_statistics import points_on_cars
from kd3d_core.inspection.reality_test import Verdict
from kd3d_core.inspection.reality_test import tell_apart

#: Simulated mounts that are higher or lower than the recorded one by more [m] are left out.
_SAME_HEIGHT = 0.25
#: Where the pair of sensors sits in the frame of Argoverse 2's vehicle, about [m].
_PAIR = (1.35, 0.0, 1.6)
_PAIR_HEIGHT = 1.93


def main(
    data: Annotated[Path, typer.Argument(help="A simulated data set with HDL-64E sweeps.")],
    shared: Annotated[Path, typer.Option(help="Folder with kitti/ and argoverse2/.")] = Path(
        "../shared/data"
    ),
    frames: Annotated[int, typer.Option(min=5, help="Simulated sweeps, each of a street.")] = 30,
    picture: Annotated[Path | None, typer.Option(help="PNG of the statistics.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write everything as JSON.")] = None,
) -> None:
    """Compare simulated with recorded sweeps."""
    console = Console()
    told: dict[str, Any] = {}
    simulated = list(matching(SimulatedDataset(data), "hdl64e", SENSOR_HEIGHT, frames))
    real = list(kitti(shared))
    verdict, statistics = compare(real, simulated, console)
    cars = points_on_cars([frame for frame, _ in real], [frame for frame, _ in simulated])
    show(console, verdict, statistics, cars)
    told["kitti"] = _plain(verdict, statistics, cars)
    if picture is not None:
        title = f"HDL-64E: {len(real)} sweeps of KITTI, {len(simulated)} simulated ones"
        draw_statistics(statistics, picture, title)
        console.print(f"written: {picture}", highlight=False)
    pair = list(matching(SimulatedDataset(data), "vlp32c-pair", _PAIR_HEIGHT, frames))
    if pair:
        recorded = Argoverse2Dataset(shared / "argoverse2", classes=DEFAULT_CLASSES)[0]
        sums = StatisticsAccumulator()
        sums.add(returns_of(recorded, _PAIR), real=True)
        for frame, _ in pair:
            sums.add(returns_of(frame), real=False)
        # Distances of recorded cars count from the sensors, too, not from the rear axle.
        from_pair = np.eye(4)
        from_pair[:3, 3] = -np.array(_PAIR)
        boxes = None if recorded.boxes is None else recorded.boxes.transformed(from_pair)
        seen = replace(recorded, boxes=boxes)
        cars = points_on_cars([seen], [frame for frame, _ in pair])
        console.print("\nArgoverse 2 (one sweep) and the simulated pair:")
        show(console, None, sums.result(), cars)
        told["argoverse2"] = _plain(None, sums.result(), cars)
    if out is not None:
        write_text(out, json.dumps(told, indent=2) + "\n")
        console.print(f"written: {out}", highlight=False)


def matching(
    dataset: SimulatedDataset, sensor: str, height: float, count: int
) -> Iterator[tuple[Frame, str]]:
    """At most `count` sweeps of a sensor at about a height, one a drive, and the drive's name."""
    seen: set[str] = set()
    for index in range(len(dataset)):
        drive = dataset.drive(index)
        if drive in seen or len(seen) == count:
            continue
        frame = dataset[index]
        far = frame.sensor_height is None or abs(frame.sensor_height - height) > _SAME_HEIGHT
        if frame.sensor == sensor and not far:
            seen.add(drive)
            yield frame, drive


def kitti(shared: Path) -> Iterator[tuple[Frame, str]]:
    """KITTI's sweeps and the scenes they show; of consecutive ones the first and the last."""
    dataset = KittiDataset(shared / "kitti")
    for index, name in enumerate(dataset.names):
        yield dataset[index], name
    paths = sorted((shared / "kitti_odometry_00").glob("*.bin"))
    for path in dict.fromkeys(paths[:1] + paths[-1:]):
        cloud = read_cloud(path, CloudOptions(intensity_scale=1.0, columns=4))
        yield Frame(cloud, str(path), sensor_height=SENSOR_HEIGHT), "odometry"


def compare(
    real: Sequence[tuple[Frame, str]], simulated: Sequence[tuple[Frame, str]], console: Console
) -> tuple[Verdict, tuple[Histogram, ...]]:
    """The classifier's verdict and the statistics of sweeps and the scenes they show."""
    sums = StatisticsAccumulator()
    names: list[str] = []
    features, kinds, scenes = [], [], []
    numbers: dict[str, int] = {}
    every = [(frame, scene, True) for frame, scene in real]
    every += [(frame, scene, False) for frame, scene in simulated]
    for frame, scene, is_real in track(every, "measuring", console=console, transient=True):
        returns = returns_of(frame)
        sums.add(returns, is_real)
        names, rows = patch_features(returns)
        features.append(rows)
        number = numbers.setdefault(f"{is_real} {scene}", len(numbers))
        kinds += [is_real] * len(rows)
        scenes += [number] * len(rows)
    verdict = tell_apart(np.concatenate(features), np.array(kinds), np.array(scenes), names)
    return verdict, sums.result()


def show(
    console: Console,
    verdict: Verdict | None,
    statistics: Sequence[Histogram],
    cars: Sequence[CarPoints],
) -> None:
    """Print everything."""
    if verdict is not None:
        families = ", ".join(f"{name} {auc:.3f}" for name, auc in verdict.by_family.items())
        console.print(f"told apart: AUC {verdict.auc:.3f} (one family alone: {families})")
        table = Table(title="What tells most (medians over patches)")
        for heading in ("figure", "AUC alone", "recorded", "simulated"):
            table.add_column(heading, justify="left" if heading == "figure" else "right")
        for one in verdict.differences[:12]:
            table.add_row(one.name, f"{one.auc:.3f}", f"{one.real:.4f}", f"{one.simulated:.4f}")
        console.print(table)
    table = Table(title="Histograms")
    for heading in ("quantity", "apart", "recorded halves"):
        table.add_column(heading, justify="left" if heading == "quantity" else "right")
    for histogram in sorted(statistics, key=lambda h: -h.distance):
        floor = "-" if histogram.floor is None else f"{100 * histogram.floor:.0f} %"
        table.add_row(escape(histogram.name), f"{100 * histogram.distance:.0f} %", floor)
    console.print(table)
    table = Table(title="Points on cars, scaled to 20 m (medians)")
    for heading in ("distance", "cars", "recorded", "cars", "simulated"):
        table.add_column(heading, justify="right")
    for row in cars:
        points = [
            "-" if p is None else f"{p:.0f}" for p in (row.real_points, row.simulated_points)
        ]
        band = f"{row.band[0]:g}-{row.band[1]:g} m"
        table.add_row(band, str(row.real), points[0], str(row.simulated), points[1])
    console.print(table)


def _plain(
    verdict: Verdict | None, statistics: Sequence[Histogram], cars: Sequence[CarPoints]
) -> dict[str, Any]:
    """Everything as plain data."""
    told: dict[str, Any] = {"cars": [asdict(row) for row in cars]}
    told["histograms"] = [
        {"name": h.name, "distance": h.distance, "floor": h.floor} for h in statistics
    ]
    if verdict is not None:
        told |= {"auc": verdict.auc, "by_family": verdict.by_family}
        told["differences"] = [asdict(one) for one in verdict.differences]
    return told


if __name__ == "__main__":
    try:
        typer.run(main)
    except Kd3dError as error:
        raise SystemExit(f"error: {error}") from None
