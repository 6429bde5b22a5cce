"""A checkpoint to adapt: settings and weights may change. Needs torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from kd3d_core.adaptation.reference import expectation_of
from kd3d_core.adaptation.reference import manifest_changes
from kd3d_core.adaptation.reference import training_folder
from kd3d_core.adaptation.subject import FLOOR
from kd3d_core.adaptation.subject import Expectation
from kd3d_core.adaptation.subject import Settings
from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.datasets.opening import open_dataset
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.runtime.manifest import AdaptationRecord
from kd3d_core.training.checkpoint import Checkpoint
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.checkpoint import read_checkpoint
from kd3d_core.training.checkpoint import save_checkpoint
from kd3d_core.training.config import UnlabelledConfig
from kd3d_core.training.predict import NetworkPredictor
from kd3d_core.training.unlabelled import label_scores


@dataclass(frozen=True, eq=False)
class CheckpointSubject:
    """A checkpoint and its network.

    Attributes:
        path: Its file.
        checkpoint: What the file says; its weights are those of `network`.
        network: In evaluation mode, on the CPU.
        settings: What is done around it.
    """

    path: Path
    checkpoint: Checkpoint
    network: CenterPointDetector
    settings: Settings

    @classmethod
    def load(cls, path: Path) -> "CheckpointSubject":
        """Read a checkpoint.

        Raises:
            Kd3dError: It cannot be read.
        """
        checkpoint = read_checkpoint(path)
        _, network = load_model(path)
        best = label_scores(checkpoint, UnlabelledConfig())
        thresholds = dict(zip(checkpoint.model.classes, best.tolist(), strict=True))
        settings = Settings(
            checkpoint.intensity_map,
            checkpoint.ground_height,
            thresholds | checkpoint.score_threshold,
        )
        return cls(path, checkpoint, network, settings)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self.checkpoint.model.classes

    @cached_property
    def expects(self) -> Expectation:
        """What is known of the data set that it was trained on, where that is still there."""
        folder = training_folder(self.checkpoint.data)
        return Expectation() if folder is None else expectation_of(open_dataset(folder))

    def changed(self, settings: Settings) -> "CheckpointSubject":
        """The same network with other settings."""
        return replace(self, settings=settings)

    def with_network(self, network: CenterPointDetector) -> "CheckpointSubject":
        """The same settings around another network of the same kind."""
        return replace(self, network=network.eval())

    def __call__(self, frame: Frame) -> Boxes3D:
        """The boxes of one cloud, down to the score `FLOOR`."""
        return NetworkPredictor(
            self.checkpoint.model,
            self.network,
            DecodeConfig(score_threshold=FLOOR),
            ground_height=self.settings.ground_height,
            intensity=self.settings.intensity,
        )(frame)

    def adapted(self, record: AdaptationRecord) -> Checkpoint:
        """The checkpoint with all changes. Its metrics go: they were those of other weights."""
        training = dict(self.checkpoint.training)
        data = dict(training.get("data") or {}) | {"ground_height": self.settings.ground_height}
        return replace(
            self.checkpoint,
            weights=self.network.state_dict(),
            training=training | {"data": data},
            metrics={},
            intensity_map=self.settings.intensity,
            score_threshold=self.settings.thresholds,
            adaptation=record.model_dump(mode="json"),
        )

    def write(self, path: Path, record: AdaptationRecord, mount_clouds: Sequence[Frame]) -> None:
        """Write a checkpoint, or export a bundle when the file is named `*.kd3d`.

        Raises:
            Kd3dError: It cannot be written, or the exported graph differs from the network.
        """
        if path.suffix != ".kd3d":
            save_checkpoint(path, self.adapted(record))
            return
        import tempfile

        from kd3d_core.deployment.export import ExportOptions
        from kd3d_core.deployment.export import draft
        from kd3d_core.deployment.export import finish

        with tempfile.TemporaryDirectory() as scratch:
            between = Path(scratch) / "adapted.ckpt"
            save_checkpoint(between, self.adapted(record))
            options = ExportOptions()
            proposal = draft(between, options)
            changes = manifest_changes(self.expects, proposal.bundle.manifest)
            finish(proposal, path, [f.cloud for f in mount_clouds[:2]], options, changes)
