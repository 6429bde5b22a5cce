"""The arena in a terminal: what is done, what runs, how it stands."""

import contextlib
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence

from rich.console import Console
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn
from rich.progress import MofNCompleteColumn
from rich.progress import Progress
from rich.progress import TextColumn
from rich.progress import TimeElapsedColumn
from rich.progress import TimeRemainingColumn
from rich.table import Table

from kd3d_core.arena.result import TeacherResult
from kd3d_core.arena.statistics import Interval
from kd3d_core.arena.summary import Row


def standing(rows: Sequence[Row], teacher: TeacherResult | None) -> Table:
    """How students and methods stand."""
    table = Table(caption="points: mean over n seeds ± half of its 95 % confidence interval")
    table.add_column("student")
    table.add_column("method")
    for name in ("n", "mean AP", "NDS", "AP gained", "gap", "ms/step", "MiB"):
        table.add_column(name, justify="right")
    if teacher is not None:
        ap, nds = teacher.scores.mean_ap, teacher.scores.nds
        table.add_row("[dim]teacher[/]", teacher.network.name, "", points(ap), points(nds))
        table.add_section()
    for i, row in enumerate(rows):
        if i and rows[i - 1].student != row.student:
            table.add_section()
        step = "" if row.step_seconds is None else f"{1000 * row.step_seconds:.0f}"
        table.add_row(
            row.student,
            row.method,
            str(len(row.seeds)),
            spread(row.ap),
            spread(row.nds),
            spread(row.gain, signed=True),
            "" if row.gap is None else f"{round(100 * row.gap)} %",
            step if row.cost is None else f"{step} x{row.cost.step_time:.2f}",
            "" if row.peak_memory_mb is None else f"{row.peak_memory_mb:.0f}",
        )
    return table


def points(share: float | None, signed: bool = False) -> str:
    """A share in percentage points, or nothing."""
    # The sum turns -0.0 into 0.0.
    return "" if share is None else f"{round(100 * share, 1) + 0.0:{'+' if signed else ''}.1f}"


def spread(value: Interval | None, signed: bool = False) -> str:
    """A mean in percentage points with half its interval, or nothing."""
    if value is None:
        return ""
    text = points(value.mean, signed)
    return text if value.high is None else f"{text} ± {100 * (value.high - value.mean):.1f}"


@contextlib.contextmanager
def board(
    console: Console, total: int, done: int, table: Callable[[], Table]
) -> Iterator[Callable[[str], None]]:
    """Show the standing below a stream of lines; yields what takes a line for each finished task.

    A console that is no terminal gets the lines, and the standing at the end.

    Args:
        console: Where.
        total: How many tasks there are.
        done: How many of them were found finished.
        table: Gives the standing now.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # The first estimate of a long task would else be forgotten before the second is made.
    progress = Progress(*columns, console=console, speed_estimate_period=24 * 3600)
    bar = progress.add_task("trainings", total=total, completed=done)
    count = done
    with contextlib.ExitStack() as stack:
        live = None
        if console.is_terminal:
            shown = Group(table(), progress)
            live = stack.enter_context(Live(shown, console=console, refresh_per_second=2))

        def advance(text: str) -> None:
            nonlocal count
            count += 1
            progress.advance(bar)
            console.print(f"[{count}/{total}] {text}", markup=False, highlight=False)
            if live is not None:
                live.update(Group(table(), progress))

        yield advance
    if not console.is_terminal:
        console.print(table())
