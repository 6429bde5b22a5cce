"""`kd3d_core shadow`: where a student falls behind its teacher, on recordings."""

from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from kd3d_core.replay.shadow import ShadowResult


def shadow(
    student: Annotated[
        str,
        typer.Argument(help="The bundle (.kd3d) to judge, or `default` for the shipped one."),
    ],
    teacher: Annotated[
        str, typer.Argument(help="The bundle to compare it with; `teacher`: the shipped one.")
    ],
    bags: Annotated[
        list[Path],
        typer.Argument(
            metavar="BAGS",
            help="Bags (rosbag2, .mcap, .db3, ROS 1 .bag), folders of bags, or folders of cloud "
            "files.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")],
    mine: Annotated[
        int, typer.Option(min=0, help="Keep this many of the worst frames for distillation.")
    ] = 100,
    min_gap: Annotated[
        float, typer.Option(min=0.0, help="Least time between two of them in a bag, in seconds.")
    ] = 1.0,
    every: Annotated[
        int, typer.Option(min=1, help="Compare on every n-th cloud, to save time.")
    ] = 1,
    pictures: Annotated[
        int, typer.Option(min=0, help="Draw this many of the worst frames in the report.")
    ] = 8,
    student_threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="The student's score threshold, not its own."),
    ] = None,
    teacher_threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="The teacher's score threshold, not its own."),
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Work on this many bags at a time.")] = 1,
    ray: Annotated[
        bool, typer.Option("--ray", help="Spread the bags over a Ray cluster.")
    ] = False,
    topic: Annotated[
        str | None, typer.Option(help="PointCloud2 topic of bags that have several.")
    ] = None,
    backend: Annotated[
        str, typer.Option(help="What runs the networks: auto, openvino or onnxruntime.")
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="Arithmetic: f32, bf16 (OpenVINO) or auto.")
    ] = "f32",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. Default: the backend's choice.")
    ] = None,
    intensity_scale: Annotated[
        float | None,
        typer.Option(min=1e-9, help="The sensor's value for full intensity. Default: guessed."),
    ] = None,
    columns: Annotated[
        int | None, typer.Option(min=3, help="float32 values of a point in .bin files.")
    ] = None,
) -> None:
    """Compare a student with its teacher on recordings, without any label.

    Writes report.html (tables, charts, the worst frames drawn), agreement.json, frames.jsonl (a
    line a cloud), timing.json, and mined/: a bag of the worst frames, which
    `kd3d_core distill --bag` learns from and Foxglove shows.
    """
    from rich.console import Console

    from kd3d_core.replay.models import ModelSpec
    from kd3d_core.replay.shadow import ShadowOptions
    from kd3d_core.replay.shadow import shadow as run
    from kd3d_core.replay.source import find_recordings

    recordings = find_recordings(bags)  # a wrong path is told before a model is compiled
    spec = ModelSpec(backend=backend, precision=precision, threads=threads)
    first, second = (
        spec.model_copy(update={"path": Path(model), "score_threshold": threshold})
        for model, threshold in ((student, student_threshold), (teacher, teacher_threshold))
    )
    options = ShadowOptions(
        mine=mine,
        min_gap=min_gap,
        every=every,
        pictures=pictures,
        topic=topic,
        intensity_scale=intensity_scale,
        columns=columns,
    )
    console = Console()
    if len(recordings) == 1 and not ray:
        loaded = first.load(), second.load()
        result = run(*loaded, recordings[0], out, options, console=console)
    else:
        from kd3d_core.replay.many import shadow_many

        result = shadow_many(
            first,
            second,
            recordings,
            out,
            options,
            processes=processes,
            ray=ray,
            console=console,
        )
    _show(result, console)
    if result.failed:  # the others' results are written, but a script must notice
        raise typer.Exit(1)


def _show(result: "ShadowResult", console: "Console") -> None:
    """What a person wants to know at once."""
    from rich.markup import escape

    from kd3d_core.replay.tables import agreement_table
    from kd3d_core.replay.tables import print_malformed

    console.print(agreement_table(result.agreement, "Student against teacher"))
    times = ", ".join(
        f"{label.removesuffix(' [ms]')} {values['p50']:.0f}"
        for label, values in result.timing.items()
        if values
    )
    console.print(f"median milliseconds for each cloud: {times}", highlight=False)
    for alarm in result.alarms:
        console.print(f"[yellow]{escape(alarm.message)}[/]", soft_wrap=True, highlight=False)
    for note in result.notes:
        console.print(f"[yellow]{escape(note)}[/]", soft_wrap=True, highlight=False)
    print_malformed(result.malformed, console)
    mined = f", mined: {result.mined} frame(s) in {result.out / 'mined'}" if result.mined else ""
    console.print(f"report: {result.out / 'report.html'}{mined}", highlight=False, soft_wrap=True)
