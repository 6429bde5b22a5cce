"""`run_arena`: train what is not trained yet, and tell how it stands."""

import contextlib
import json
from collections.abc import Generator
from collections.abc import Sequence

from rich.console import Console

from kd3d_core.arena.cells import select
from kd3d_core.arena.processes import in_processes
from kd3d_core.arena.report import write_report
from kd3d_core.arena.show import board
from kd3d_core.arena.show import points
from kd3d_core.arena.show import standing
from kd3d_core.arena.state import Arena
from kd3d_core.arena.state import reread
from kd3d_core.arena.task import Finished
from kd3d_core.arena.task import Task
from kd3d_core.arena.task import cell_task
from kd3d_core.arena.task import prepare_folder
from kd3d_core.errors import Kd3dError
from kd3d_core.files import write_text

RESULTS = "results.json"
REPORT = "report.html"


def run_arena(
    arena: Arena,
    *,
    jobs: int | None = None,
    ray: bool = False,
    only: Sequence[str] = (),
    console: Console | None = None,
) -> tuple[Arena, list[Finished]]:
    """Train and evaluate every cell that has no result yet; a broken-off training goes on.

    results.json and report.html are written anew whenever a result arrives.

    Args:
        arena: What is to be done.
        jobs: Trainings at a time, instead of the configuration's.
        ray: Spread over a Ray cluster instead, whose machines see the same files.
        only: Names of students and methods; the others are left for later.
        console: Where to report.

    Returns:
        The arena with its results, and the tasks that failed.

    Raises:
        Kd3dError: `only` names nobody, or results cannot be read or written.
    """
    console = console or Console()
    chosen = select(arena.cells, only)
    known = {(r.student, r.method, r.seed) for r in arena.results}
    cells = [cell for cell in chosen if (cell.student, cell.method, cell.seed) not in known]
    tasks = [cell_task(cell) for cell in cells]
    if arena.teacher is None:
        tasks.insert(0, arena.teacher_task)
    failed: list[Finished] = []
    found = len(chosen) - len(cells)
    if found:
        console.print(f"{found} of {len(chosen)} trainings have their result already")
    for task in tasks:
        prepare_folder(task)
    state = arena
    try:
        with (
            board(
                console,
                len(tasks) + found,
                found,
                lambda: standing(state.rows, state.teacher),
            ) as advance,
            contextlib.closing(_outcomes(tasks, jobs or arena.config.jobs, ray)) as outcomes,
        ):
            for done in outcomes:
                state = reread(state)
                if done.error is not None:
                    failed.append(done)
                advance(_line(done, state))
                write_arena(state)
    except KeyboardInterrupt:
        console.print(
            "stopped; what was under way has left a checkpoint. The same command goes on."
        )
        raise
    return state, failed


def write_arena(arena: Arena) -> None:
    """Write results.json and report.html from what is known.

    Raises:
        Kd3dError: They cannot be written.
    """
    config = arena.config.model_dump(mode="json")
    machines = {json.dumps(r.machine.model_dump(), sort_keys=True) for r in arena.results}
    data = {
        "config_hash": arena.hash,
        "config": config,
        "seeds": list(arena.config.seeds),
        "machines": [json.loads(text) for text in sorted(machines)],
        "trainings": {"planned": len(arena.cells), "done": len(arena.results)},
        "teacher": None if arena.teacher is None else arena.teacher.model_dump(mode="json"),
        "table": [row.to_dict() for row in arena.rows],
        # The curves stay in the folder of each training and in the report.
        "cells": [r.model_dump(mode="json", exclude={"curves"}) for r in arena.results],
    }
    text = json.dumps(data, indent=1, allow_nan=False)
    write_text(arena.out / RESULTS, text + "\n")
    write_report(arena.out / REPORT, arena)


def _outcomes(tasks: Sequence[Task], jobs: int, ray: bool) -> Generator[Finished, None, None]:
    """The tasks as they end."""
    if not tasks:
        return
    if ray:
        from kd3d_core.arena.on_ray import on_ray

        yield from on_ray(tasks)
    else:
        yield from in_processes(tasks, jobs)


def _line(done: Finished, arena: Arena) -> str:
    """What a finished task says."""
    task = done.task
    if done.error is not None:
        return f"{task.name} failed: {done.error}"
    if task.teacher is not None:
        scores = None if arena.teacher is None else arena.teacher.scores
        return f"teacher: mean AP {points(None if scores is None else scores.mean_ap)}"
    result = next((r for r in arena.results if r.hash == task.hash), None)
    if result is None:
        raise Kd3dError(f"{task.folder}: the training ended well but left no result.")
    nds = f"  NDS {points(result.scores.nds)}" if result.scores.nds is not None else ""
    seconds = result.cost.train_seconds + result.cost.eval_seconds
    return f"{task.name}: mean AP {points(result.scores.mean_ap)}{nds}  ({seconds:.0f} s)"
