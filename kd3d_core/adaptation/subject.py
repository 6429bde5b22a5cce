"""What is adapted: a bundle or a checkpoint, which look alike from here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kd3d_core.codec.intensity import IntensityMap
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.runtime.manifest import AdaptationRecord
from kd3d_core.runtime.manifest import SensorHeightRecord

#: The weakest boxes that a measure looks at.
FLOOR = 0.05


@dataclass(frozen=True)
class Settings:
    """What can be changed about a model without touching its weights.

    Attributes:
        intensity: What is done to intensities; None leaves them.
        ground_height: Where the ground of every cloud is brought [m]; None leaves it.
        thresholds: Score threshold by class.
    """

    intensity: IntensityMap | None
    ground_height: float | None
    thresholds: dict[str, float]


@dataclass(frozen=True)
class Expectation:
    """What a model was trained on.

    Attributes:
        quantiles: Of the intensity, at evenly spaced ranks; empty when unknown.
        height: Of its sensors above the ground; None when unknown.
    """

    quantiles: tuple[float, ...] = ()
    height: SensorHeightRecord | None = None


class Subject(Protocol):
    """A model that can be asked, changed and written; changing gives another one."""

    @property
    def path(self) -> Path:
        """Its file."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        ...

    @property
    def settings(self) -> Settings:
        """What is done around its network."""
        ...

    @property
    def expects(self) -> Expectation:
        """What it was trained on, as far as it says."""
        ...

    def changed(self, settings: Settings) -> "Subject":
        """The same network with other settings."""
        ...

    def __call__(self, frame: Frame) -> Boxes3D:
        """Its boxes in the frame of the cloud, down to the score `FLOOR`."""
        ...

    def write(self, path: Path, record: AdaptationRecord, mount_clouds: Sequence[Frame]) -> None:
        """Write it, atomically, with the record of what was done.

        Args:
            path: The file; it must suit the kind of the model.
            record: For the manifest.
            mount_clouds: Clouds of the sensor, for whoever has to prove an export.

        Raises:
            Kd3dError: It cannot be written.
        """
        ...


def sure(boxes: Boxes3D, thresholds: dict[str, float]) -> Boxes3D:
    """The boxes that reach the threshold of their class; classes without one have none."""
    least = [thresholds.get(name, 1.1) for name in boxes.classes]
    keep = [score >= least[label] for score, label in zip(boxes.score, boxes.label, strict=True)]
    return boxes[[i for i, kept in enumerate(keep) if kept]]


def open_subject(path: Path | None) -> Subject:
    """The model of a file.

    Args:
        path: A checkpoint (`*.ckpt`, needs torch) or a bundle (`*.kd3d`, or the name of a
            shipped one); None is the shipped student in float32.

    Raises:
        Kd3dError: It cannot be read.
    """
    if path is None or path.suffix != ".ckpt":
        from kd3d_core.adaptation.bundle_subject import BundleSubject

        return BundleSubject.load(path)
    from kd3d_core.adaptation.checkpoint_subject import CheckpointSubject

    return CheckpointSubject.load(path)
