"""The figures of a report."""

from kd3d_core.evaluation.agreement import Agreement
from kd3d_core.evaluation.agreement import Cell
from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import tag
from kd3d_core.replay.report_words import degrees
from kd3d_core.replay.report_words import percent
from kd3d_core.replay.report_words import quantity
from kd3d_core.replay.report_words import ring_words


def tables(agreement: Agreement) -> Html:
    """Every figure, by class and ring."""
    heads = (
        "",
        *[
            "both",
            "missed",
            "extra",
            "recall",
            "precision",
            "centre",
            "size",
            "heading",
            "velocity",
        ],
    )
    rows = [_row("all classes", agreement.total, "total")]
    rows += [_row(ring_words(r), c, "ring") for r, c in agreement.by_ring["all"].items()]
    for name in agreement.classes:
        rows.append(_row(name, agreement.by_class[name], "total"))
        rows += [_row(ring_words(r), c, "ring") for r, c in agreement.by_ring[name].items()]
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in heads)))
    told = (
        "Both, missed and extra count boxes that both models, only the teacher and only the "
        "student report. Centre, size, heading and velocity are mean differences within a pair."
    )
    return tag(
        "section",
        tag("h2", "By class and distance"),
        tag("p", told, class_="quiet"),
        tag("div", tag("table", head, tag("tbody", *rows)), class_="scroll"),
    )


def _row(name: str, cell: Cell, class_: str) -> Html:
    """One line of the table."""
    values = (
        f"{cell.pairs:,}",
        f"{cell.missed:,}",
        f"{cell.extra:,}",
        _shaded(cell.recall),
        _shaded(cell.precision),
        quantity(cell.centre_error, " m"),
        quantity(cell.size_error, " m"),
        degrees(cell.heading_error),
        quantity(cell.velocity_error, " m/s"),
    )
    cells = (v if isinstance(v, Html) else tag("td", v) for v in values)
    return tag("tr", tag("th", name, scope="row"), *cells, class_=class_)


def _shaded(share: float | None) -> Html:
    """A share with a bar behind it."""
    if share is None:
        return tag("td", percent(share))
    return tag("td", percent(share), class_="bar", style=f"--share:{100 * share:.0f}%")
