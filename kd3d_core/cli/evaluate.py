"""`evaluate`: how well a model detects, by class and by distance."""

from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer

if TYPE_CHECKING:
    from kd3d_core.evaluation.breakdown import BreakdownAccumulator
    from kd3d_core.frame import Frame
    from kd3d_core.frame import FrameDataset
    from kd3d_core.geometry.boxes import Boxes3D


def evaluate(
    model: Annotated[Path, typer.Argument(help="A checkpoint (.ckpt) or a bundle (.kd3d).")],
    data: Annotated[Path, typer.Argument(help="Folder of the data set, or a bag with labels.")],
    format: Annotated[
        str | None,
        typer.Option(
            help="Layout: simulated, kitti, kitti-tracking, kitti-raw, nuscenes, waymo, "
            "argoverse2, folder or bag; told by what lies in the folder if left out."
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Which part, in the data set's words.")] = None,
    metrics: Annotated[
        str, typer.Option(help="kd3d, or also those of nuscenes, kitti, waymo or argoverse2.")
    ] = "kd3d",
    region: Annotated[
        bool, typer.Option(help="Argoverse 2: only the region of interest (needs the maps).")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the result as JSON.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Folder for evaluation.html and evaluation.json: curves, breakdowns."),
    ] = None,
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

    Prints average precision for each class and distance ring, and for each sensor where the data
    has several; with --metrics, a benchmark's own figures on the same frames.
    """
    import json

    from rich.console import Console

    from kd3d_core.datasets.opening import open_dataset
    from kd3d_core.evaluation.breakdown import BreakdownAccumulator
    from kd3d_core.evaluation.by_sensor import SensorAccumulator
    from kd3d_core.evaluation.by_sensor import plain
    from kd3d_core.evaluation.config import EvalConfig
    from kd3d_core.evaluation.official import open_benchmark
    from kd3d_core.evaluation.report import result_table
    from kd3d_core.evaluation.report import sensor_table
    from kd3d_core.evaluation.score import in_labelled_view
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
    predict, classes, sweeps = _predictor(model)
    dataset = open_dataset(data, format=format, split=split, classes=classes, sweeps=sweeps)
    sensors = SensorAccumulator(classes, settings)
    listeners: list[Callable[[int, Frame, Boxes3D], None]] = [
        lambda i, frame, pred: sensors(i, frame, in_labelled_view(dataset, i, pred))
    ]
    official = None
    if metrics != "kd3d":
        official = open_benchmark(metrics, dataset, classes, region=region)
        listeners.append(official.add)
    breakdown = None
    if report is not None:
        breakdown = BreakdownAccumulator(classes, settings)
        listeners.append(_breaking_down(breakdown, dataset))
    result = score(
        predict,
        dataset,
        settings,
        classes=classes,
        frames=frames,
        console=console,
        also=listeners,
    )
    console.print(result_table(result, title=model.name))
    told: dict[str, Any] = {"model": str(model), "data": str(data)} | result.to_dict()
    by_sensor = sensors.result()
    told["by_sensor"] = plain(by_sensor)
    if len(by_sensor) > 1:
        console.print(sensor_table(by_sensor, title=model.name))
    if official is not None:
        told[metrics], table = official.result()
        console.print(table)
    if out is not None:
        write_text(out, json.dumps(told, indent=2) + "\n")
        console.print(f"written: {out}")
    if report is not None and breakdown is not None:
        from kd3d_core.inspection.evaluation_page import write_evaluation_page

        found = breakdown.result()
        text = json.dumps(told | {"breakdown": found.to_dict()}, indent=2)
        write_text(report / "evaluation.json", text + "\n")
        title = f"{model.name} on {data}"
        page = write_evaluation_page(report / "evaluation.html", found, result, title)
        console.print(f"written: {page}", highlight=False)


def _predictor(path: Path) -> "tuple[Callable[[Frame], Boxes3D], Sequence[str], int]":
    """The detector of a bundle or a checkpoint, its classes, and the sweeps it was trained on.

    Average precision wants weak detections too, so both are read at a low score.
    """
    if path.suffix != ".ckpt":
        from kd3d_core.runtime.detector import Detector

        detector = Detector.load(path).with_decode(score_threshold=0.05)
        manifest = detector.manifest
        return lambda frame: detector(frame.cloud).boxes, manifest.classes, manifest.sweeps
    from kd3d_core.training.checkpoint import read_checkpoint
    from kd3d_core.training.predict import NetworkPredictor

    predictor = NetworkPredictor.load(path)
    return predictor, predictor.model.classes, read_checkpoint(path).sweeps


def _breaking_down(
    breakdown: "BreakdownAccumulator", dataset: "FrameDataset"
) -> "Callable[[int, Frame, Boxes3D], None]":
    """Feeds the breakdown, with KITTI's occlusion where the data set knows it."""
    from kd3d_core.datasets.kitti import KittiDataset
    from kd3d_core.evaluation.score import in_labelled_view

    def add(index: int, frame: "Frame", pred: "Boxes3D") -> None:
        occlusion = None
        if isinstance(dataset, KittiDataset):
            labels = dataset.labels(index)
            occlusion = labels.occluded[labels.known]
        pred = in_labelled_view(dataset, index, pred)
        if frame.boxes is not None:
            breakdown.add(pred, frame.boxes, frame.num_points, occlusion)

    return add
