"""`train`: a detector from frames and their ground truth."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="YAML file of the training; see config/train.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="Training data set, instead of all that the file names.")
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
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Frames a step and device, instead of batch_size.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, help="GPUs of this machine, instead of devices.")
    ] = None,
    num_nodes: Annotated[
        int | None, typer.Option(min=1, help="Machines, instead of num_nodes; use torchrun.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from last.ckpt in the output folder.")
    ] = False,
) -> None:
    """Train a detector.

    Leaves model.ckpt (the averaged weights), last.ckpt (to resume from), metrics.json and
    TensorBoard logs in the output folder. Ctrl-C keeps last.ckpt.
    """
    from kd3d_core.training.launch import prepare
    from kd3d_core.training.run import train as run

    settings = prepare(
        config,
        data=data,
        val=val,
        out=out,
        max_steps=max_steps,
        batch_size=batch_size,
        devices=devices,
        num_nodes=num_nodes,
    )
    run(settings, resume=resume)
