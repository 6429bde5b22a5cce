"""`kd3d_core card`: measures a bundle and writes its model card."""

import shlex
import sys
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from kd3d_core.evaluation.real_judge import Counts
    from kd3d_core.evaluation.real_judge import RealFrame
    from kd3d_core.frame import FrameDataset
    from kd3d_core.geometry.boxes import Boxes3D
    from kd3d_core.inspection.card_tables import Examined
    from kd3d_core.runtime.detector import Detector
    from kd3d_core.runtime.manifest import Manifest

#: Average precision wants weak detections too.
_WEAK = 0.05
#: The reference's files give no threshold of their own; this is the usual one for showing boxes.
REFERENCE_SCORE = 0.3
REFERENCE = "PointPillars trained on KITTI"


def card(
    model: Annotated[Path, typer.Argument(help="A bundle (.kd3d).")],
    seen: Annotated[Path, typer.Option(help="Labelled frames of sensors that it was trained on.")],
    unseen: Annotated[
        Path | None, typer.Option(help="The same of sensors that it was not trained on.")
    ] = None,
    real: Annotated[
        Path | None,
        typer.Option(help="Real frames: a folder with kitti/, argoverse2/ or both."),
    ] = None,
    cost: Annotated[str, typer.Option(help="What the training took, in words.")] = "",
    frames: Annotated[
        int | None, typer.Option(min=1, help="At most this many of each, spread evenly.")
    ] = None,
    pictures: Annotated[int, typer.Option(min=0, help="Of the worst frames, of each set.")] = 2,
    out: Annotated[Path, typer.Option(help="Folder of the card and its pictures.")] = Path(
        "docs/model_cards"
    ),
) -> None:
    """Write the model card of a bundle: what it is, how well it does, where it fails.

    Everything is measured anew: average precision by class, distance and sensor, recall and
    precision on real frames, the worst frames as pictures.
    """
    from rich.console import Console

    from kd3d_core.files import write_text
    from kd3d_core.inspection.card import CardFacts
    from kd3d_core.inspection.card import card_text
    from kd3d_core.runtime.detector import Detector

    console = Console()
    detector = Detector.load(model)
    manifest = detector.manifest
    shown = out / manifest.name
    examined = _examine(detector, seen, frames, pictures, shown, console)
    others = None
    if unseen is not None:
        others = _examine(detector, unseen, frames, pictures, shown, console)
    facts = CardFacts(
        name=manifest.name,
        classes=manifest.classes,
        facts=_about(manifest, model),
        training=_training(manifest, cost),
        licence=manifest.licence,
        simulated="simulated" in manifest.training.data,
        seen=examined,
        unseen=others,
        real=None if real is None else _real(detector, real),
        command=" ".join(["kd3d_core", *map(shlex.quote, sys.argv[1:])]),
    )
    path = out / f"{manifest.name}.md"
    write_text(path, card_text(facts))
    console.print(f"written: {path}", highlight=False)


def real_predictor(detector: "Detector") -> "Callable[[RealFrame], Boxes3D]":
    """The detections of a bundle on real frames, at its own thresholds, in the cloud's frame.

    A bundle that does not level clouds itself is given them as high as it was trained.
    """
    from kd3d_core.evaluation.real_judge import at_trained_height

    height = detector.manifest.sensor_height_m
    levels = detector.manifest.ground_height_m is not None
    trained = None if levels or height is None else height.mean
    return at_trained_height(lambda cloud: detector(cloud).boxes, trained)


def reference_predictor(shared: Path) -> "Callable[[RealFrame], Boxes3D]":
    """The boxes of a PointPillars trained on KITTI, from files beside KITTI's frames."""
    from kd3d_core.evaluation.real_frames import read_reference

    folder = shared / "kitti" / "reference_pointpillars" / "pred_velo"
    return lambda real: read_reference(folder, real.name, REFERENCE_SCORE)


def _examine(
    detector: "Detector",
    data: Path,
    frames: int | None,
    pictures: int,
    folder: Path,
    console: "Console",
) -> "Examined":
    """The detector on labelled frames, with pictures of the worst ones."""
    from kd3d_core.codec.decode import per_class
    from kd3d_core.datasets.opening import open_dataset
    from kd3d_core.evaluation.by_sensor import SensorAccumulator
    from kd3d_core.evaluation.config import EvalConfig
    from kd3d_core.evaluation.failures import FailureAccumulator
    from kd3d_core.evaluation.failures import at_thresholds
    from kd3d_core.evaluation.score import score
    from kd3d_core.inspection.card_tables import Examined

    manifest, config = detector.manifest, EvalConfig()
    classes = manifest.classes
    least = per_class(manifest.decode.score_threshold, classes, "score_threshold")
    thresholds = dict(zip(classes, least.tolist(), strict=True))
    dataset = open_dataset(data, classes=classes, sweeps=manifest.sweeps)
    weak = detector.with_decode(score_threshold=min(_WEAK, *least.tolist()))
    sensors = SensorAccumulator(classes, config)
    failures = FailureAccumulator(classes, thresholds, config)
    result = score(
        lambda frame: weak(frame.cloud).boxes,
        dataset,
        config,
        classes=classes,
        frames=frames,
        console=console,
        also=(sensors, failures),
    )
    shown = []
    for bad in failures.worst(pictures):
        boxes = at_thresholds(weak(dataset[bad.index].cloud).boxes, thresholds)
        words = (
            f"{bad.sensor}: {bad.missed} well-seen objects missed, {bad.false} false detections"
        )
        path = folder / f"{data.name}-{bad.index}.png"
        _draw(dataset, bad.index, boxes, path, config.min_points)
        shown.append((f"{folder.name}/{path.name}", words))
    return Examined(str(data), result, sensors.result(), failures.result(), shown)


def _draw(
    dataset: "FrameDataset", index: int, boxes: "Boxes3D", path: Path, min_points: int
) -> None:
    """One frame from above; heights are coloured from the ground up."""
    from kd3d_core.visualization.bev import BevStyle
    from kd3d_core.visualization.bev import draw_bev

    frame = dataset[index]
    truth = frame.boxes
    if truth is not None and frame.num_points is not None:
        truth = truth[frame.num_points >= min_points]
    ground = -1.73 if frame.sensor_height is None else -frame.sensor_height
    style = BevStyle(height=(ground - 0.3, ground + 3.2), pixels=760, scores=False)
    draw_bev(frame.cloud, boxes, truth, path, style=style)


def _real(detector: "Detector", shared: Path) -> "dict[str, dict[str, dict[str, Counts]]]":
    """The detector, and the reference where its files are there, on real frames."""
    from kd3d_core.errors import Kd3dError
    from kd3d_core.evaluation.real_frames import argoverse2_frames
    from kd3d_core.evaluation.real_frames import kitti_frames
    from kd3d_core.evaluation.real_judge import examine

    predict = real_predictor(detector)
    own: dict[str, dict[str, Counts]] = {}
    told = {detector.manifest.name: own}
    if (shared / "kitti").is_dir():
        frames = list(kitti_frames(shared / "kitti"))
        own["kitti"] = examine(predict, frames)
        if (shared / "kitti" / "reference_pointpillars").is_dir():
            told[REFERENCE] = {"kitti": examine(reference_predictor(shared), frames)}
    if (shared / "argoverse2").is_dir():
        own["argoverse2"] = examine(predict, argoverse2_frames(shared / "argoverse2"))
    if not own:
        raise Kd3dError(f"{shared} has neither a folder kitti nor argoverse2: no real frames.")
    return told


def _about(manifest: "Manifest", path: Path) -> Sequence[tuple[str, str]]:
    """The table about the network."""
    grid = manifest.grid
    thresholds = manifest.decode.score_threshold
    scores = (
        ", ".join(f"{name} {value:g}" for name, value in thresholds.items())
        if isinstance(thresholds, dict)
        else str(thresholds)
    )
    ground = manifest.ground_height_m
    levelled = (
        "taken as it comes"
        if ground is None
        else f"levelled by the runtime, ground {ground:g} m below the origin"
    )
    return (
        ("file", f"`{path.name}`, {path.stat().st_size / 1e6:.1f} MB"),
        ("graph", f"sha256 `{manifest.onnx_sha256[:16]}…`"),
        ("parameters", f"{manifest.parameters / 1e6:.2f} M"),
        ("multiply-accumulates", f"{manifest.macs / 1e9:.2f} G a sweep"),
        ("range", f"x {grid.x[0]:g} to {grid.x[1]:g} m, y {grid.y[0]:g} to {grid.y[1]:g} m"),
        ("input", f"{manifest.input.type}, cells of {grid.cell:g} m, {manifest.sweeps} sweep(s)"),
        ("cloud", levelled),
        ("intensity", "used" if manifest.intensity.used else "not used"),
        ("score thresholds", scores),
    )


def _training(manifest: "Manifest", cost: str) -> Sequence[tuple[str, str]]:
    """The table about where the weights come from."""
    record, teacher = manifest.training, manifest.teacher
    height = manifest.sensor_height_m
    rows = [
        ("data", record.data),
        ("steps", f"{record.steps:,}, seed {record.seed}"),
        ("cost", cost),
        ("kd3d", record.kd3d_version),
    ]
    if height is not None:
        words = f"{height.low:.2f} to {height.high:.2f} m above the ground"
        rows.append(("sensors mounted", words))
    if teacher is not None:
        rows.append(("teacher", teacher.name))
    return [row for row in rows if row[1]]
