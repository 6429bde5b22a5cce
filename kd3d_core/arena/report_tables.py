"""The tables of an arena's report."""

from collections.abc import Sequence

from kd3d_core.arena.result import TeacherResult
from kd3d_core.arena.show import points
from kd3d_core.arena.show import spread
from kd3d_core.arena.summary import Row
from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import tag
from kd3d_core.replay.report_words import DASH


def outcome_table(rows: Sequence[Row], teacher: TeacherResult | None) -> Html:
    """Accuracy of one student by method."""
    head = ("method", "seeds", "mean AP", "gain", "gap closed", "NDS", "gap closed, NDS")
    body = [
        (
            row.method,
            str(len(row.seeds)),
            spread(row.ap),
            spread(row.gain, signed=True),
            _percent(row.gap),
            spread(row.nds),
            _percent(row.nds_gap),
        )
        for row in rows
    ]
    foot = None
    if teacher is not None:
        scores = teacher.scores
        foot = ("teacher", "", points(scores.mean_ap), "", "", points(scores.nds), "")
    return _table(head, body, foot)


def class_table(rows: Sequence[Row], teacher: TeacherResult | None) -> Html:
    """Average precision of one student by method and class."""
    names = list(rows[0].class_ap)
    body = [(row.method, *(points(row.class_ap.get(name)) for name in names)) for row in rows]
    foot = None
    if teacher is not None:
        foot = ("teacher", *(points(teacher.scores.ap.get(name)) for name in names))
    return _table(("method", *names), body, foot)


def cost_table(rows: Sequence[Row]) -> Html:
    """What the trainings of one student took, by method."""
    head = ("method", "step", "", "whole training", "peak memory", "")
    body = []
    for row in rows:
        cost = row.cost
        body.append(
            (
                row.method,
                "" if row.step_seconds is None else f"{1000 * row.step_seconds:.0f} ms",
                _times(None if cost is None else cost.step_time),
                _times(None if cost is None else cost.train_time),
                "" if row.peak_memory_mb is None else f"{row.peak_memory_mb:.0f} MiB",
                _times(None if cost is None else cost.memory),
            )
        )
    return _table(head, body)


def facts(pairs: Sequence[tuple[str, str]]) -> Html:
    """Names with what is to be said of them."""
    rows = (tag("tr", tag("th", name, scope="row"), tag("td", text)) for name, text in pairs)
    return tag("table", tag("tbody", *rows), class_="facts")


def _table(
    head: Sequence[str], body: Sequence[Sequence[str]], foot: Sequence[str] | None = None
) -> Html:
    """A table whose first column names the rows; an empty cell is a dash."""
    titles = tag("thead", tag("tr", *(tag("th", text, scope="col") for text in head)))
    rows = [_line(cells) for cells in body]
    if foot is not None:
        rows.append(_line(foot, "total"))
    return tag("div", tag("table", titles, tag("tbody", *rows)), class_="scroll")


def _line(cells: Sequence[str], class_: str | None = None) -> Html:
    """A row."""
    first = tag("th", cells[0], scope="row")
    return tag("tr", first, *(tag("td", cell or DASH) for cell in cells[1:]), class_=class_)


def _times(ratio: float | None) -> str:
    """A multiple of what the student alone takes."""
    return "" if ratio is None else f"x {ratio:.2f}"


def _percent(share: float | None) -> str:
    """A share of the gap."""
    return "" if share is None else f"{round(100 * share)} %"
