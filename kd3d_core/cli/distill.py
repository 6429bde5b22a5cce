"""`distill`: a small detector that learns from a large one."""

from pathlib import Path
from typing import Annotated

import typer


def distill(
    config: Annotated[
        Path,
        typer.Option("--config", "-c", help="YAML file with a distill section; config/distill."),
    ],
    teacher: Annotated[
        Path | None,
        typer.Option("--teacher", "-t", help="Checkpoint of the teacher, made by `train`."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Training data set, instead of the file's data.train.")
    ] = None,
    val: Annotated[
        Path | None, typer.Option(help="Validation data set, instead of data.val.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints and logs, instead of out.")
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(min=1, help="Number of steps, instead of max_steps.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from last.ckpt in the output folder.")
    ] = False,
) -> None:
    """Train a student under a teacher.

    The teacher stays as it is; the student's network is the same as without a teacher. Leaves the
    same files as `train`.
    """
    from kd3d_core.errors import Kd3dError
    from kd3d_core.training.launch import prepare
    from kd3d_core.training.run import train as run

    settings = prepare(config, data=data, val=val, out=out, max_steps=max_steps, teacher=teacher)
    if settings.distill is None:
        raise Kd3dError(f"{config} has no distill section; for a training without, use `train`.")
    run(settings, resume=resume)
