"""From the command line's options to a training configuration."""

from pathlib import Path
from typing import Any

from kd3d_core.config import load_config
from kd3d_core.config import parse_config
from kd3d_core.errors import Kd3dError
from kd3d_core.training.config import TrainConfig


def prepare(
    path: Path,
    *,
    data: Path | None = None,
    val: Path | None = None,
    out: Path | None = None,
    max_steps: int | None = None,
    teacher: Path | None = None,
) -> TrainConfig:
    """Read a configuration file and lay the options that were given over it.

    Args:
        path: YAML file of a `TrainConfig`.
        data: Folder of the training set.
        val: Folder of the validation set.
        out: Folder for the results.
        max_steps: Number of steps.
        teacher: Checkpoint to learn from; only for files with a `distill` section.

    Raises:
        Kd3dError: The file does not fit, or a teacher is given to a file without `distill`.
    """
    config = load_config(TrainConfig, path)
    changed: dict[str, Any] = config.model_dump()
    if data is not None:
        changed["data"]["train"] = data
    if val is not None:
        changed["data"]["val"] = val
    if out is not None:
        changed["out"] = out
    if max_steps is not None:
        changed["max_steps"] = max_steps
    if teacher is not None:
        if config.distill is None:
            raise Kd3dError(
                f"{path} has no distill section, so a teacher has nothing to say: use one of the "
                "files in config/distill, or add the section."
            )
        changed["distill"]["teacher"] = teacher
    return parse_config(TrainConfig, changed, f"{path} with the options given")
