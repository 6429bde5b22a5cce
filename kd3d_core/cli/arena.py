"""`arena`: distillation methods against each other under one budget."""

from pathlib import Path
from typing import Annotated

import typer


def arena(
    config: Annotated[Path, typer.Argument(help="YAML file of the arena; see config/arena.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the arena, instead of out.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Trainings at a time, instead of jobs.")
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Spread the trainings over a Ray cluster.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(help="Names of students and methods, with commas; the rest waits."),
    ] = None,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Train nothing: tell what is there.")
    ] = False,
) -> None:
    """Compare distillation methods: N methods x M students x K seeds, one budget, one table.

    Leaves results.json and report.html in the folder, written anew as results arrive, and the
    trainings below cells/. Trainings with a result are skipped, broken-off ones go on: the same
    command again finishes what Ctrl-C, a crash or a new method in the file left to do.
    """
    from rich.console import Console

    from kd3d_core.arena.run import REPORT
    from kd3d_core.arena.run import RESULTS
    from kd3d_core.arena.run import run_arena
    from kd3d_core.arena.run import write_arena
    from kd3d_core.arena.show import standing
    from kd3d_core.arena.state import open_arena

    console = Console()
    if not console.is_terminal:
        console = Console(width=120)  # a log file has room for the whole table
    state = open_arena(config, out)
    names = [name.strip() for name in (only or "").split(",") if name.strip()]
    failed = 0
    if report_only:
        console.print(standing(state.rows, state.teacher))
    else:
        state, faults = run_arena(state, jobs=jobs, ray=ray, only=names, console=console)
        failed = len(faults)
    write_arena(state)
    console.print(f"written: {state.out / RESULTS}, {state.out / REPORT}", highlight=False)
    if failed:
        console.print(f"{failed} failed; mend the cause and run the same command again.")
        raise typer.Exit(1)
