"""From a checkpoint to a bundle, written only when the graph and the network agree."""

import importlib.util
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import per_class
from kd3d_core.codec.inputs import graph_input
from kd3d_core.config import Config
from kd3d_core.deployment.onnx_export import export_onnx
from kd3d_core.deployment.parity import ParityConfig
from kd3d_core.deployment.parity import ParityResult
from kd3d_core.deployment.parity import compare
from kd3d_core.deployment.parity import require_parity
from kd3d_core.errors import Kd3dError
from kd3d_core.models.complexity import count
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.backends.base import BACKENDS
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import write_bundle
from kd3d_core.runtime.manifest import AdaptationRecord
from kd3d_core.runtime.manifest import IntensityRecord
from kd3d_core.runtime.manifest import Manifest
from kd3d_core.runtime.manifest import SensorHeightRecord
from kd3d_core.runtime.manifest import TeacherRecord
from kd3d_core.runtime.manifest import TrainingRecord
from kd3d_core.training.checkpoint import Checkpoint
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.checkpoint import read_checkpoint


class ExportOptions(Config):
    """What the checkpoint does not say."""

    name: str | None = None
    """Name of the bundle; None takes the model's."""
    decode: DecodeConfig = DecodeConfig(score_threshold=0.3)
    """How maps become boxes on the robot."""
    data: str | None = None
    """The training data in words; None takes what the checkpoint knows."""
    sensor_height_m: SensorHeightRecord | None = None
    intensity: IntensityRecord = IntensityRecord()
    metrics: dict[str, float] = Field(default_factory=dict)
    """Added to those of the checkpoint, by name."""
    licence: str = "Apache-2.0"
    parity: ParityConfig = ParityConfig()


@dataclass(frozen=True)
class Draft:
    """A bundle that is not yet proven.

    Attributes:
        bundle: Manifest and graph.
        detector: The network that the graph was made from.
        checkpoint: Where it came from.
    """

    bundle: Bundle
    detector: CenterPointDetector
    checkpoint: Path


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        manifest: As written.
        parity: Result of the comparison by backend.
        size: Bytes of the bundle.
    """

    manifest: Manifest
    parity: dict[str, ParityResult]
    size: int


def export_bundle(
    checkpoint: Path | str,
    out: Path | str,
    clouds: Iterable[PointCloud],
    options: ExportOptions = ExportOptions(),  # noqa: B008 - frozen
) -> ExportReport:
    """Export, compare, write.

    Args:
        checkpoint: Of `kd3d_core train` or `distill`.
        out: The `*.kd3d` file.
        clouds: Frames to compare network and graph on; they should show objects.
        options: What the checkpoint does not say.

    Raises:
        Kd3dError: The checkpoint is unreadable, the graph differs from the network, or `out`
            cannot be written.
    """
    return finish(draft(checkpoint, options), out, clouds, options)


def draft(checkpoint: Path | str, options: ExportOptions) -> Draft:
    """Trace the network of a checkpoint and describe it, without writing anything."""
    about = read_checkpoint(checkpoint)
    model, detector = load_model(checkpoint)
    taken = graph_input(model.input, model.name)
    # A wrong threshold would otherwise be found by the first frame on the robot.
    per_class(options.decode.score_threshold, model.classes, "score_threshold")
    cost = count(model)
    manifest = Manifest(
        name=options.name or model.name,
        classes=model.classes,
        grid=model.grid,
        input=taken,
        output_stride=model.output_stride,
        head=model.head.layout,
        decode=options.decode.model_copy(update={"score_threshold": about.score_threshold})
        if about.score_threshold
        else options.decode,
        sweeps=about.sweeps,
        ground_height_m=about.ground_height,
        intensity=options.intensity.model_copy(update={"map": about.intensity_map}),
        sensor_height_m=options.sensor_height_m,
        parameters=cost.parameters,
        macs=cost.macs,
        training=TrainingRecord(
            data=options.data or _data_in_words(about),
            steps=about.step,
            seed=int(about.training.get("seed", 0)),
            kd3d_version=about.version,
        ),
        metrics=_metrics(about) | options.metrics,
        teacher=TeacherRecord(**about.teacher) if about.teacher else None,
        adaptation=AdaptationRecord(**about.adaptation) if about.adaptation else None,
        licence=options.licence,
    )
    return Draft(Bundle(manifest, export_onnx(model, detector)), detector, Path(checkpoint))


def finish(
    proposal: Draft,
    out: Path | str,
    clouds: Iterable[PointCloud],
    options: ExportOptions,
    changes: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> ExportReport:
    """Compare graph and network on every installed backend, then write the bundle.

    Args:
        proposal: From `draft`.
        out: The `*.kd3d` file.
        clouds: Frames to compare on.
        options: The tolerance.
        changes: Fields of the manifest to replace, such as calibrated thresholds.
        report: Told what is being done.

    Raises:
        Kd3dError: They differ beyond tolerance, or `out` cannot be written.
    """
    manifest = proposal.bundle.manifest.model_copy(update=dict(changes or {}))
    proposal = replace(proposal, bundle=Bundle(manifest, proposal.bundle.onnx))
    clouds = list(clouds)
    parity = {}
    for name in installed_backends():
        report(f"comparing with the network on {name}")
        backend = make_backend(name, proposal.bundle.onnx, precision="f32")
        parity[name] = compare(proposal.detector, backend, manifest, clouds, options.parity)
        require_parity(parity[name], options.parity)
    written = write_bundle(out, manifest, proposal.bundle.onnx)
    return ExportReport(written, parity, Path(out).stat().st_size)


def installed_backends() -> list[str]:
    """The backends to prove a graph on.

    Raises:
        Kd3dError: There is none.
    """
    found = [name for name in BACKENDS if importlib.util.find_spec(name) is not None]
    if not found:
        raise Kd3dError("export needs OpenVINO or ONNX Runtime: pip install 'kd3d_ros[cpu]'.")
    return found


def _data_in_words(about: Checkpoint) -> str:
    """The data set by the end of its path: the folders above belong to the builder's machine."""
    if "words" in about.data:  # read back from a bundle, which has nothing else
        return str(about.data["words"])
    name = "/".join(Path(str(about.data.get("train", ""))).parts[-2:])
    frames = about.data.get("frames")
    return f"{name}, {frames} frames" if name and frames else name


def _metrics(about: Checkpoint) -> dict[str, float]:
    """AP by class from the checkpoint's validation."""
    classes = about.metrics.get("metrics", {}).get("all", {})
    found = {f"AP/{name}": entry.get("ap") for name, entry in classes.items()}
    found["AP/mean"] = about.metrics.get("mean_ap", {}).get("all")
    return {name: float(value) for name, value in found.items() if value is not None}
