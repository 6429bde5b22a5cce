"""Which model to run, as plain data that any process can load, and the facts to tell of it."""

from pathlib import Path

from pydantic import Field
from pydantic import PositiveInt

from kd3d_core.config import Config
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.detector import Detector


class ModelSpec(Config):
    """A bundle and how to run it."""

    path: Path | None = None
    """See `Detector.load`."""
    backend: str = "auto"
    """See `Detector.load`."""
    precision: str = "f32"
    """See `Detector.load`."""
    threads: PositiveInt | None = None
    """CPU threads; None leaves it to the backend."""
    score_threshold: float | None = Field(default=None, ge=0, le=1)
    """One threshold for all classes; None takes those of the model."""

    def load(self) -> Detector:
        """Read and compile the bundle.

        Raises:
            Kd3dError: See `Detector.load`.
        """
        detector = Detector.load(self.path, self.backend, self.threads, precision=self.precision)
        if self.score_threshold is not None:
            detector = detector.with_decode(score_threshold=self.score_threshold)
        return detector


def model_facts(detector: Detector) -> dict[str, str]:
    """What identifies a model and how it was run, by name, to be printed."""
    manifest, backend = detector.manifest, detector.backend
    threshold = detector.decode_config.score_threshold
    facts = {
        "name": manifest.name,
        "source": detector.source,
        "network sha256": manifest.onnx_sha256,
        "backend": f"{backend.name} ({backend.precision})",
        "score threshold": threshold_text(threshold),
        "parameters": f"{manifest.parameters:,}",
        "classes": ", ".join(manifest.classes),
    }
    if manifest.teacher is not None:
        facts["distilled from"] = manifest.teacher.name
    return facts


def shared_classes(student: Detector, teacher: Detector) -> tuple[str, ...]:
    """The classes that both models know, in the student's order.

    Raises:
        Kd3dError: There are none.
    """
    mine, theirs = student.manifest.classes, teacher.manifest.classes
    shared = tuple(name for name in mine if name in theirs)
    if not shared:
        raise Kd3dError(
            f"{student.source} and {teacher.source} have no class in common ({', '.join(mine)} "
            f"and {', '.join(theirs)}), so they cannot be compared."
        )
    return shared


def threshold_text(threshold: object) -> str:
    """Score thresholds in words: one for all, or one a class."""
    if isinstance(threshold, dict):
        return ", ".join(f"{name} {value:g}" for name, value in threshold.items())
    if isinstance(threshold, (tuple, list)):
        return ", ".join(f"{value:g}" for value in threshold)
    return f"{threshold:g}"
