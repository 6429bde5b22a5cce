"""`evaluate`: how well a model detects, by class and by distance."""

from collections.abc import Callable
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

if TYPE_CHECKING:
    from kd3d_core.frame import Frame
    from kd3d_core.frame import FrameDataset
    from kd3d_core.geometry.boxes import Boxes3D


class DataFormat(str, Enum):
    """Layouts of a data set on disk."""

    simulated = "simulated"
    kitti = "kitti"


def evaluate(
    model: Annotated[Path, typer.Argument(help="A checkpoint (.ckpt) or a bundle (.kd3d).")],
    data: Annotated[Path, typer.Argument(help="Folder of the data set.")],
    data_format: Annotated[
        DataFormat, typer.Option("--format", help="Layout of the data set.")
    ] = DataFormat.simulated,
    out: Annotated[Path | None, typer.Option(help="Also write the result as JSON.")] = None,
    min_points: Annotated[
        int, typer.Option(min=0, help="Boxes with fewer points do not count.")
    ] = 5,
    max_range: Annotated[
        float, typer.Option(min=1.0, help="Boxes farther than this [m] do not count.")
    ] = 50.0,
    score_threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Where precision and recall are read off.")
    ] = 0.3,
    center_distance: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="Match by distance of the centres [m] (nuScenes: 2) and not by IoU."
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="At most this many frames, spread evenly.")
    ] = None,
) -> None:
    """Compare a model's detections with ground truth.

    Prints average precision for each class and distance ring.
    """
    import json

    from rich.console import Console

    from kd3d_core.evaluation.config import EvalConfig
    from kd3d_core.evaluation.report import result_table
    from kd3d_core.evaluation.score import score
    from kd3d_core.files import write_text

    console = Console()
    settings = EvalConfig(
        criterion="bev_iou" if center_distance is None else "center_distance",
        center_distance=2.0 if center_distance is None else center_distance,
        max_range=max_range,
        min_points=min_points,
        score_threshold=score_threshold,
    )
    predict, classes = _predictor(model)
    dataset = _dataset(data, data_format)
    result = score(predict, dataset, settings, classes=classes, frames=frames, console=console)
    console.print(result_table(result, title=model.name))
    if out is not None:
        text = json.dumps({"model": str(model), "data": str(data)} | result.to_dict(), indent=2)
        write_text(out, text + "\n")
        console.print(f"written: {out}")


def _predictor(path: Path) -> "tuple[Callable[[Frame], Boxes3D], Sequence[str]]":
    """The detector of a bundle or a checkpoint, and its classes.

    Average precision wants weak detections too, so both are read at a low score.
    """
    if path.suffix == ".kd3d":
        from kd3d_core.runtime.detector import Detector

        detector = Detector.load(path).with_decode(score_threshold=0.05)
        return lambda frame: detector(frame.cloud).boxes, detector.manifest.classes
    from kd3d_core.training.predict import NetworkPredictor

    predictor = NetworkPredictor.load(path)
    return predictor, predictor.model.classes


def _dataset(root: Path, data_format: DataFormat) -> "FrameDataset":
    """The reader of a folder."""
    if data_format is DataFormat.kitti:
        from kd3d_core.datasets.kitti import KittiDataset

        return KittiDataset(root)
    from kd3d_core.datasets.simulated import SimulatedDataset

    return SimulatedDataset(root)
