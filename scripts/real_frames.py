#!/usr/bin/env python3
"""How do bundles do on real frames? KITTI's and Argoverse 2's, one table.

    scripts/real_frames.py MODEL.kd3d ... [--shared DIR] [--out FILE.json] [--pictures DIR]

The rule is in `kd3d_core/evaluation/real_judge.py`. Score thresholds are those of the bundles. A
bundle that does not level clouds itself (`ground_height_m` in its manifest) gets them shifted
along z by the difference between the height of the frame's sensor and that of the sensors it was
trained on; its boxes are shifted back.
"""

import json
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kd3d_core.cli.card import REFERENCE
from kd3d_core.cli.card import real_predictor
from kd3d_core.cli.card import reference_predictor
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.real_frames import ARGOVERSE2_GROUPS
from kd3d_core.evaluation.real_frames import KITTI_GROUPS
from kd3d_core.evaluation.real_frames import argoverse2_frames
from kd3d_core.evaluation.real_frames import kitti_frames
from kd3d_core.evaluation.real_judge import Counts
from kd3d_core.evaluation.real_judge import RealFrame
from kd3d_core.evaluation.real_judge import Tally
from kd3d_core.evaluation.real_judge import examine
from kd3d_core.evaluation.real_judge import judge
from kd3d_core.evaluation.real_judge import plain
from kd3d_core.files import write_text
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.runtime.detector import Detector
from kd3d_core.visualization.bev import BevStyle
from kd3d_core.visualization.bev import draw_bev

_STYLES = {
    "kitti": BevStyle(x=(0.0, 50.0), y=(-25.0, 25.0)),
    "argoverse2": BevStyle(height=(-0.5, 3.5)),
}


def main(
    models: Annotated[list[Path], typer.Argument(help="Bundles (.kd3d).")],
    shared: Annotated[Path, typer.Option(help="Folder with kitti/ and argoverse2/.")] = Path(
        "../shared/data"
    ),
    out: Annotated[Path | None, typer.Option(help="Also write the counts as JSON.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for a picture of each frame and bundle.")
    ] = None,
    backend: Annotated[str, typer.Option(help="auto, openvino or onnxruntime.")] = "auto",
) -> None:
    """Judge bundles, and the reference beside them, on real frames."""
    console = Console()
    frames = {
        "kitti": list(kitti_frames(shared / "kitti")),
        "argoverse2": list(argoverse2_frames(shared / "argoverse2")),
    }
    told: dict[str, dict[str, dict[str, Counts]]] = {}
    for path in models:
        predict = real_predictor(Detector.load(path, backend))
        name = _unused(told, path)
        told[name] = {}
        for data, reals in frames.items():
            folder = None if pictures is None else pictures / Path(name).stem / data
            told[name][data] = examine(predict, _shown(reals, console), _artist(folder))
    told[REFERENCE] = {"kitti": examine(reference_predictor(shared), frames["kitti"])}
    for data, title in (
        ("kitti", "KITTI: camera view, within 40 m, >= 20 points"),
        ("argoverse2", "Argoverse 2: all around, within 50 m, >= 5 points"),
    ):
        console.print(table(f"{title} ({len(frames[data])} frames)", told, data))
    if out is not None:
        written = {n: {d: plain(counts) for d, counts in s.items()} for n, s in told.items()}
        write_text(out, json.dumps(written, indent=2) + "\n")
        console.print(f"written: {out}", highlight=False)


def table(title: str, told: Mapping[str, Mapping[str, Mapping[str, Counts]]], data: str) -> Table:
    """One line a model and group that has labels or false detections."""
    groups = KITTI_GROUPS if data == "kitti" else ARGOVERSE2_GROUPS
    result = Table(
        title=title,
        caption="Match by BEV IoU >= 0.5, in the last two columns by centres within 2 m; "
        "'left out' are detections that are neither right nor wrong",
    )
    for heading in ("model", "group"):
        result.add_column(heading)
    for heading in ("labels", "found", "false", "left out", "recall", "precision"):
        result.add_column(heading, justify="right")
    for heading in ("recall 2 m", "precision 2 m"):
        result.add_column(heading, justify="right")
    for name, sets in told.items():
        if data not in sets:
            continue
        for group in groups:
            tallies = sets[data]["total"][group]
            first = tallies["bev_iou"]
            if not (first.wanted or first.false):
                continue
            counts = (first.wanted, first.found, first.false, first.ignored)
            shares = [*_shares(first), *_shares(tallies["center_distance"])]
            result.add_row(name, group, *map(str, counts), *shares)
        result.add_section()
    return result


def _shares(tally: Tally) -> tuple[str, str]:
    """Recall and precision for a table."""
    recall, precision = (
        "-" if share is None else f"{100 * share:.0f} %"
        for share in (tally.recall, tally.precision)
    )
    return recall, precision


def _shown(frames: Sequence[RealFrame], console: Console) -> Iterable[RealFrame]:
    """The frames, with a progress bar."""
    return track(frames, "judging", console=console, transient=True)


def _artist(folder: Path | None) -> Callable[[RealFrame, Boxes3D], None] | None:
    """What draws each frame into a folder; None without one."""
    return None if folder is None else lambda real, boxes: _draw(real, boxes, folder)


def _draw(real: RealFrame, boxes: Boxes3D, folder: Path) -> None:
    """The labels that were to be found, dashed, and the detections that were right or false."""
    verdicts = {group: judge(real, boxes, group) for group in real.groups}
    shown = Boxes3D.concatenate([verdict.boxes for verdict in verdicts.values()])
    truth = Boxes3D.concatenate([verdict.truth for verdict in verdicts.values()])
    words = ", ".join(
        f"{group} {v.tally.found}/{v.tally.wanted} +{v.tally.false}"
        for group, v in verdicts.items()
        if v.tally.wanted or v.tally.false
    )
    style = _STYLES["kitti" if real.frame.sensor == "hdl64e" else "argoverse2"]
    title = f"{real.name}: {words} (found/labels +false, IoU 0.5)"
    draw_bev(real.frame.cloud, shown, truth, folder / f"{real.name}.png", title=title, style=style)


def _unused(told: Mapping[str, object], path: Path) -> str:
    """A name for the table: the file's, or its path where two files share a name."""
    return str(path) if path.name in told else path.name


if __name__ == "__main__":
    try:
        typer.run(main)
    except Kd3dError as error:
        raise SystemExit(f"error: {error}") from None
