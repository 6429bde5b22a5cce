"""A student taught by its teacher on the user's own clouds."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from kd3d_core.adaptation.checkpoint_subject import CheckpointSubject
from kd3d_core.adaptation.config import AdaptConfig
from kd3d_core.adaptation.norm import as_seen
from kd3d_core.adaptation.subject import Settings
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.checkpoint import save_checkpoint
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.config import UnlabelledConfig
from kd3d_core.training.launch import mined_config
from kd3d_core.training.run import train
from kd3d_core.training.unlabelled import TaughtFrames
from kd3d_core.training.unlabelled import predict_labels


@dataclass(frozen=True)
class Mixed:
    """Taught and labelled frames in turn, so that nothing is forgotten.

    Attributes:
        taught: The user's clouds with the teacher's boxes.
        labelled: Frames with ground truth.
    """

    taught: TaughtFrames
    labelled: FrameDataset

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self.taught.classes

    def __len__(self) -> int:
        return 2 * max(len(self.taught), min(len(self.labelled), 500))

    def __getitem__(self, index: int) -> Frame:
        place, other = divmod(index, 2)
        if not other:
            return self.taught[place % len(self.taught)]
        # A stride that shares no factor with a data set's length visits all of it.
        return self.labelled[place * 7919 % len(self.labelled)]


def self_train(
    student: CheckpointSubject,
    teacher: CheckpointSubject,
    frames: Sequence[Frame],
    config: AdaptConfig,
    labelled: FrameDataset | None = None,
    console: Console | None = None,
) -> CheckpointSubject:
    """Fine-tune on the teacher's boxes, with the settings of `distill --bag`.

    Args:
        student: Its settings say how both networks see the clouds in training.
        teacher: Labels the clouds with its own settings.
        frames: Clouds without ground truth.
        config: Steps, batch size, learning rate and seed.
        labelled: Frames with ground truth for every other sample, or None.
        console: Where the progress of the training goes.

    Returns:
        The student with new weights.

    Raises:
        Kd3dError: Teacher and student do not fit each other.
    """
    doubt = UnlabelledConfig().doubt
    score = np.array([teacher.settings.thresholds[name] for name in teacher.classes])
    labels = predict_labels(teacher, frames, teacher.classes, doubt * score)
    # Heights are levelled in training; intensities are mapped here.
    shown = Settings(student.settings.intensity, None, {})
    taught = TaughtFrames([as_seen(frame, shown) for frame in frames], labels, score)
    with tempfile.TemporaryDirectory(prefix="kd3d-adapt-") as scratch:
        start = Path(scratch) / "start.ckpt"
        weights = student.network.state_dict()
        save_checkpoint(start, replace(student.checkpoint, weights=weights))
        trained = train(
            _run_config(student, teacher, start, config),
            train_frames=taught if labelled is None else Mixed(taught, labelled),
            console=console or Console(quiet=True),
        )
        _, network = load_model(trained)
    step = student.checkpoint.step + config.steps
    return replace(
        student, network=network.eval(), checkpoint=replace(student.checkpoint, step=step)
    )


def _run_config(
    student: CheckpointSubject, teacher: CheckpointSubject, start: Path, config: AdaptConfig
) -> TrainConfig:
    """The training of `distill --bag`, shorter and gentler."""
    base = mined_config()
    assert base.distill is not None
    data = base.data.model_copy(
        update={
            "ground_height": student.settings.ground_height,
            "sampling": None,
            "workers": 0,
        }
    )
    optimizer = base.optimizer.model_copy(
        # A short run must not replace the statistics and the average it starts from.
        update={"lr_max": config.learning_rate, "ema_decay": 0.95, "norm_momentum": 0.03}
    )
    return base.model_copy(
        update={
            "model": student.checkpoint.model,
            "init": start,
            "data": data,
            "distill": base.distill.model_copy(update={"teacher": teacher.path}),
            "optimizer": optimizer,
            "max_steps": config.steps,
            "batch_size": config.batch_size,
            "checkpoint_interval": config.steps,
            "seed": config.seed,
            "out": start.parent / "run",
        }
    )
