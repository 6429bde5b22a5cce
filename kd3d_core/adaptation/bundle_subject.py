"""A bundle to adapt: its graph stays, its manifest changes. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

from kd3d_core.adaptation.subject import FLOOR
from kd3d_core.adaptation.subject import Expectation
from kd3d_core.adaptation.subject import Settings
from kd3d_core.codec.decode import per_class
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.runtime.backends.base import Backend
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.bundle import write_bundle
from kd3d_core.runtime.default import bundle_path
from kd3d_core.runtime.detector import Detector
from kd3d_core.runtime.manifest import AdaptationRecord


@dataclass(frozen=True, eq=False)
class BundleSubject:
    """A bundle and what runs its graph.

    Attributes:
        path: Its file.
        bundle: Manifest, with the changes so far, and graph.
        backend: Compiled once, shared by all that differ in settings.
    """

    path: Path
    bundle: Bundle
    backend: Backend

    @classmethod
    def load(cls, path: Path | None) -> "BundleSubject":
        """Read and compile; None takes the shipped bundle.

        Raises:
            Kd3dError: It cannot be read or run.
        """
        path = bundle_path(path)
        bundle = read_bundle(path)
        backend = make_backend("auto", bundle.onnx, largest=bundle.manifest.largest)
        return cls(path, bundle, backend)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self.bundle.manifest.classes

    @property
    def settings(self) -> Settings:
        """What the manifest says."""
        about = self.bundle.manifest
        values = per_class(about.decode.score_threshold, about.classes, "score_threshold")
        thresholds = dict(zip(about.classes, values.tolist(), strict=True))
        return Settings(about.intensity.map, about.ground_height_m, thresholds)

    @property
    def expects(self) -> Expectation:
        """What the manifest knows of the training."""
        about = self.bundle.manifest
        return Expectation(about.intensity.quantiles, about.sensor_height_m)

    def changed(self, settings: Settings) -> "BundleSubject":
        """The same graph with other settings."""
        about = self.bundle.manifest
        manifest = about.model_copy(
            update={
                "intensity": about.intensity.model_copy(update={"map": settings.intensity}),
                "ground_height_m": settings.ground_height,
                "decode": about.decode.model_copy(update={"score_threshold": settings.thresholds}),
            }
        )
        return replace(self, bundle=Bundle(manifest, self.bundle.onnx))

    def __call__(self, frame: Frame) -> Boxes3D:
        """The boxes of one cloud, down to the score `FLOOR`."""
        detector = Detector(self.bundle, self.backend, str(self.path))
        return detector.with_decode(score_threshold=FLOOR)(frame.cloud).boxes

    def write(self, path: Path, record: AdaptationRecord, mount_clouds: Sequence[Frame]) -> None:
        """Write a bundle with the same graph.

        Raises:
            Kd3dError: The file is no `*.kd3d`, or cannot be written.
        """
        if path.suffix != ".kd3d":
            raise Kd3dError(
                f"{path}: an adapted bundle is a bundle (*.kd3d). Checkpoints come from "
                "checkpoints: give the .ckpt that the bundle was exported from."
            )
        manifest = self.bundle.manifest.model_copy(update={"adaptation": record})
        write_bundle(path, manifest, self.bundle.onnx)
