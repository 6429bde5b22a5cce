"""Agreement and timing as tables for a terminal."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from kd3d_core.evaluation.agreement import ALL
from kd3d_core.evaluation.agreement import Agreement
from kd3d_core.evaluation.agreement import Cell

if TYPE_CHECKING:
    from rich.console import Console

#: How many malformed clouds are named on the terminal; the files name them all.
_NAMED = 5


def agreement_table(agreement: Agreement, title: str) -> Table:
    """A row a class: counts, recall by ring, precision, and the errors of the pairs."""
    rings = [
        f"{low:g}-{high:g}"
        for low, high in zip(agreement.rings, agreement.rings[1:], strict=False)
    ]
    table = Table(
        title=f"{title}: {agreement.frames} clouds",
        caption="R: share of the teacher's boxes that the student finds, by distance in metres; "
        f"P: share of the student's boxes that the teacher confirms; within "
        f"{agreement.rings[-1]:g} m",
    )
    table.add_column("class")
    for heading in ("both", "missed", "extra", "P", "R", *(f"R {ring}" for ring in rings)):
        table.add_column(heading, justify="right")
    for heading in ("centre, m", "size, m", "heading, deg"):
        table.add_column(heading, justify="right")
    for name in agreement.classes:
        table.add_row(name, *_row(agreement.by_class[name], agreement.by_ring[name], rings))
    table.add_section()
    table.add_row(ALL, *_row(agreement.total, agreement.by_ring[ALL], rings))
    return table


def timing_table(rows: Mapping[str, Mapping[str, float]]) -> Table:
    """A row a stage with its percentiles [ms]."""
    table = Table(title="Milliseconds for each cloud")
    table.add_column("stage")
    names = ("p50", "p90", "p99", "max")
    for name in names:
        table.add_column(name, justify="right")
    for label, values in rows.items():
        table.add_row(label, *(f"{values[name]:.1f}" if values else "-" for name in names))
    return table


def print_malformed(malformed: Sequence[str], console: "Console") -> None:
    """Name the clouds that could not be read, at most a few of them."""
    if not malformed:
        return
    console.print(f"[yellow]{len(malformed)} cloud(s) could not be read:[/]")
    for text in malformed[:_NAMED]:
        console.print(f"  {escape(text)}", soft_wrap=True, highlight=False)
    if len(malformed) > _NAMED:
        console.print(f"  and {len(malformed) - _NAMED} more")


def _row(cell: Cell, by_ring: Mapping[str, Cell], rings: Sequence[str]) -> list[str]:
    """The columns of a class."""
    heading = None if cell.heading_error is None else cell.heading_error * 57.29578
    return [
        *(str(count) for count in (cell.pairs, cell.missed, cell.extra)),
        _percent(cell.precision),
        _percent(cell.recall),
        *(_percent(by_ring[ring].recall) for ring in rings),
        *("-" if v is None else f"{v:.2f}" for v in (cell.centre_error, cell.size_error)),
        "-" if heading is None else f"{heading:.0f}",
    ]


def _percent(value: float | None) -> str:
    """A share in [0, 1] as per cent, or a dash."""
    return "-" if value is None else f"{100 * value:.1f}"
