"""From the command line's options to a training configuration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd3d_core.config import load_config
from kd3d_core.config import parse_config
from kd3d_core.datasets.augment import AugmentConfig
from kd3d_core.distillation.response import HeatmapKLConfig
from kd3d_core.distillation.response import PPLogitConfig
from kd3d_core.errors import Kd3dError
from kd3d_core.training.checkpoint import read_checkpoint
from kd3d_core.training.config import DataConfig
from kd3d_core.training.config import DistillConfig
from kd3d_core.training.config import OptimizerConfig
from kd3d_core.training.config import TrainConfig


def mined_config() -> TrainConfig:
    """A short fine-tuning on mined clouds; config/distill/mined.yaml spells it out."""
    return TrainConfig(
        model="tiny",
        distill=DistillConfig(methods=(HeatmapKLConfig(weight=2.0), PPLogitConfig(weight=0.83))),
        data=DataConfig(train=Path("data/shipped/train"), augment=AugmentConfig(rotation=3.14159)),
        optimizer=OptimizerConfig(lr_max=1e-3, warm_up=0.2, ema_decay=0.99),
        max_steps=400,
        checkpoint_interval=100,
        out=Path("runs/mined"),
    )


def prepare(
    path: Path | None,
    *,
    data: Path | None = None,
    val: Path | None = None,
    out: Path | None = None,
    max_steps: int | None = None,
    batch_size: int | None = None,
    devices: int | None = None,
    num_nodes: int | None = None,
    teacher: Path | None = None,
    student: Path | None = None,
    bags: Sequence[Path] = (),
    topic: str | None = None,
) -> TrainConfig:
    """Read a configuration file and lay the options that were given over it.

    Args:
        path: YAML file of a `TrainConfig`; None takes `mined_config`.
        data: Folder of the training set, instead of all that the file names.
        val: Folder of the validation set.
        out: Folder for the results.
        max_steps: Number of steps.
        batch_size: Frames a step and device.
        devices: Devices a machine.
        num_nodes: Machines.
        teacher: Checkpoint to learn from; like the next three only for files with a `distill`
            section.
        student: Checkpoint to go on from; its model replaces the file's.
        bags: Recordings to learn from without labels.
        topic: Of the clouds in the bags.

    Raises:
        Kd3dError: The file does not fit, an option does not fit the file, or a bundle is given
            where a checkpoint is needed.
    """
    base = mined_config() if path is None else load_config(TrainConfig, path)
    changed: dict[str, Any] = base.model_dump()
    if data is not None:
        if bags and not data.exists():
            raise Kd3dError(f"there is no data set {data}: mend --data, or leave it out.")
        changed["data"] |= {"train": data, "also": ()}
    if val is not None:
        changed["data"]["val"] = val
    given = {
        "out": out,
        "max_steps": max_steps,
        "batch_size": batch_size,
        "devices": devices,
        "num_nodes": num_nodes,
    }
    changed |= {name: value for name, value in given.items() if value is not None}
    if max_steps is not None:
        changed["max_epochs"] = None
    if base.distill is None and (teacher is not None or student is not None or bags):
        raise Kd3dError(
            f"{path} has no distill section, so a teacher has nothing to say: use one of the "
            "files in config/distill, or add the section."
        )
    if teacher is not None:
        changed["distill"]["teacher"] = _checkpoint(teacher, "teacher")
    if student is not None:
        changed["init"] = _checkpoint(student, "student")
        # Weights of another network would fit in part only, and half a student is none.
        changed |= {"model": read_checkpoint(student).model.model_dump(), "grid": None}
    known = student or teacher
    if path is None and known is not None:
        # The built-in settings fit any pair, so they take the ground where the networks want it.
        changed["data"]["ground_height"] = read_checkpoint(known).ground_height
    if bags:
        changed["distill"]["unlabelled"]["bags"] = tuple(bags)
    if topic is not None:
        changed["distill"]["unlabelled"]["topic"] = topic
    source = "the command line" if path is None else f"{path} with the options given"
    return parse_config(TrainConfig, changed, source)


def _checkpoint(path: Path, role: str) -> Path:
    """The path, unless it is a bundle's."""
    if path.suffix == ".kd3d":
        raise Kd3dError(
            f"the {role} {path} is a bundle, a graph without features to learn from or weights to "
            "go on from. Give the checkpoint (.ckpt) that it was exported from, or make one of "
            f"it: kd3d_core restore {path} {path.with_suffix('.ckpt').name}"
        )
    return path
