"""`simulate`: make labelled drives out of nothing."""

from pathlib import Path
from typing import Annotated
from typing import Any

import typer


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the data set; resumed when it exists.")],
    config: Annotated[
        Path | None,
        typer.Option(help="YAML file with settings; the options below override it."),
    ] = None,
    drives: Annotated[
        int | None, typer.Option(min=1, help="Number of streets. [default: 100]")
    ] = None,
    frames_per_drive: Annotated[
        int | None, typer.Option(min=1, help="Sweeps of each street. [default: 10]")
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(min=0.01, help="Seconds between the sweeps of a drive. [default: 0.8]"),
    ] = None,
    sensor: Annotated[
        list[str] | None,
        typer.Option(
            help="LiDAR model: vlp16, vlp32c, hdl32e, hdl64e, os1-128, pandar40, ... (list: "
            "docs/simulation.md), random for another one in each drive, or all; repeat it and "
            "the drives take turns. [default: hdl64e]"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Another seed gives other streets. [default: 0]"),
    ] = None,
    height: Annotated[
        float | None,
        typer.Option(help="Sensor height above ground [m]. [default: 1.73]"),
    ] = None,
    height_jitter: Annotated[
        float | None,
        typer.Option(help="Largest deviation of a drive's sensor height. [default: 0.1]"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes. [default: one a core]")
    ] = None,
    png: Annotated[
        bool, typer.Option("--png", help="Also draw the first sweep of each drive from above.")
    ] = False,
    bag: Annotated[
        bool,
        typer.Option(
            "--bag",
            help="Also write each drive as a bag (mcap) into OUT/bags: /points, /truth/detections "
            "and /tf. `--interval 0.1` gives every sweep of a 10 Hz sensor.",
        ),
    ] = False,
) -> None:
    """Simulate labelled LiDAR drives through procedural streets.

    The same settings give the same files. Interrupted with Ctrl-C, the same call goes on where it
    stopped; a call with more drives makes the data set larger. A data set that is there already
    keeps its settings when none are given.
    """
    from kd3d_core.datasets.generate import generate
    from kd3d_core.simulation.sensors import SENSORS

    sensors = None if not sensor else list(SENSORS) if "all" in sensor else sensor
    given: dict[str, Any] = {
        "drives": drives,
        "frames_per_drive": frames_per_drive,
        "interval": interval,
        "sensors": sensors,
        "seed": seed,
        "height": height,
        "height_jitter": height_jitter,
    }
    given = {key: value for key, value in given.items() if value is not None}
    settings = _settings(out, config, given)
    total = settings.drives * settings.frames_per_drive

    from rich.console import Console
    from rich.progress import BarColumn
    from rich.progress import MofNCompleteColumn
    from rich.progress import Progress
    from rich.progress import TextColumn
    from rich.progress import TimeRemainingColumn

    columns = (
        TextColumn("simulating"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    try:
        with Progress(*columns) as bar:
            task = bar.add_task("frames", total=total)
            made = generate(out, settings, workers, lambda count: bar.advance(task, count))
    except KeyboardInterrupt:
        typer.echo(f"Interrupted. Give the same command again to go on: what is in {out} is kept.")
        raise typer.Exit(130) from None
    typer.echo(f"{out}: {total} frames of {settings.drives} drives ({made} simulated now)")
    if png:
        _draw(out)
    if bag:
        from kd3d_core.datasets.drive_bags import write_drives
        from kd3d_core.datasets.simulated import SimulatedDataset

        with Console().status("writing bags"):
            bags = write_drives(SimulatedDataset(out), out / "bags")
        typer.echo(f"{out / 'bags'}: {len(bags)} bags")


def _settings(out: Path, path: Path | None, given: dict[str, Any]) -> Any:
    """The settings of the file, overridden by those given on the command line.

    A data set that is there already and is named without any setting keeps its own.
    """
    from kd3d_core.config import load_config
    from kd3d_core.config import parse_config
    from kd3d_core.datasets.simulated import INDEX
    from kd3d_core.datasets.simulated import read_index
    from kd3d_core.errors import Kd3dError
    from kd3d_core.simulation.drives import SimulationConfig

    if path is None and not given and (out / INDEX).is_file():
        return parse_config(SimulationConfig, read_index(out).get("config", {}), str(out / INDEX))
    base = SimulationConfig() if path is None else load_config(SimulationConfig, path)
    lost = sorted({"height", "height_jitter"} & given.keys())
    if base.domain is not None and lost:
        raise Kd3dError(
            f"{path} draws each drive's mount from its `domain`, so --{lost[0].replace('_', '-')} "
            "would change nothing. Set domain.car_height, tall_height and low_height in the file."
        )
    return parse_config(SimulationConfig, base.model_dump() | given, "command line")


def _draw(root: Path) -> None:
    """Draw the first frame of each drive into `root`/pictures."""
    from kd3d_core.datasets.simulated import SimulatedDataset
    from kd3d_core.geometry.boxes import Boxes3D
    from kd3d_core.visualization.bev import draw_bev

    data = SimulatedDataset(root)
    seen = set()
    for index in range(len(data)):
        name = data.drive(index)
        if name not in seen:
            seen.add(name)
            frame = data[index]
            (root / "pictures").mkdir(exist_ok=True)
            draw_bev(
                frame.cloud, frame.boxes or Boxes3D.empty(), path=root / "pictures" / f"{name}.png"
            )
