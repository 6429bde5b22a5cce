"""`distill`: a small detector that learns from a large one."""

from pathlib import Path
from typing import Annotated

import typer


def distill(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="YAML file with a distill section; see config/distill. Default with --bag: a "
            "short fine-tuning (config/distill/mined.yaml).",
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option("--teacher", "-t", help="Checkpoint of the teacher, made by `train`."),
    ] = None,
    student: Annotated[
        Path | None,
        typer.Option(
            "--student",
            "-s",
            help="Checkpoint to go on from, such as that of the deployed student. Its model "
            "replaces the file's.",
        ),
    ] = None,
    bag: Annotated[
        list[Path] | None,
        typer.Option(
            "--bag",
            "-b",
            help="Clouds without labels, such as those mined by `shadow`: a bag, or a folder of "
            "bags or clouds. The teacher labels them. Repeatable.",
        ),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="PointCloud2 topic of bags that have several.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Training data set, instead of all that the file names. Beside bags it keeps the "
            "student from forgetting."
        ),
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
    """Train a student under a teacher, on labelled frames, on bags without labels, or on both.

    The teacher stays as it is; the student's network is the same as without a teacher. Leaves the
    same files as `train`.
    """
    from kd3d_core.errors import Kd3dError
    from kd3d_core.training.launch import prepare
    from kd3d_core.training.run import train as run

    bags = bag or []
    if config is None and not bags:
        raise Kd3dError("give --config FILE (see config/distill), or --bag with mined clouds.")
    if topic is not None and not bags:
        raise Kd3dError("--topic says which clouds of a bag are read: give --bag as well.")
    settings = prepare(
        config,
        data=data,
        val=val,
        out=out,
        max_steps=max_steps,
        batch_size=batch_size,
        devices=devices,
        num_nodes=num_nodes,
        teacher=teacher,
        student=student,
        bags=bags,
        topic=topic,
    )
    if settings.distill is None:
        raise Kd3dError(f"{config} has no distill section; for a training without, use `train`.")
    if bags and settings.init is None:
        typer.echo(
            "no --student to go on from: a new one starts from nothing, which takes many more "
            "clouds and steps than teaching the deployed one"
        )
    run(settings, resume=resume)
