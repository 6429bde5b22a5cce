"""One page that tells how an arena stands; to read, print and mail."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from kd3d_core.arena.config import BASELINE
from kd3d_core.arena.report_figures import DETECTION
from kd3d_core.arena.report_figures import detection_loss
from kd3d_core.arena.report_figures import dots
from kd3d_core.arena.report_figures import reach
from kd3d_core.arena.report_figures import small_chart
from kd3d_core.arena.report_tables import class_table
from kd3d_core.arena.report_tables import cost_table
from kd3d_core.arena.report_tables import facts
from kd3d_core.arena.report_tables import outcome_table
from kd3d_core.arena.report_words import budget
from kd3d_core.arena.report_words import certainty
from kd3d_core.arena.report_words import limits
from kd3d_core.arena.report_words import verdict
from kd3d_core.arena.result import CellResult
from kd3d_core.arena.show import points
from kd3d_core.arena.state import Arena
from kd3d_core.arena.summary import Row
from kd3d_core.config import dump_config
from kd3d_core.files import write_text
from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import bullets
from kd3d_core.replay.report_html import join
from kd3d_core.replay.report_html import tag
from kd3d_core.replay.report_words import DASH

_STYLE = """
.seed { fill: #8db6d6; } .whisker { stroke: var(--blue); stroke-width: 2.4; }
.teacher { stroke: var(--agreed); stroke-width: 1.4; }
thead th:first-child { text-align: left; padding-left: 0; }
.small h3 { font-size: 13px; }
.small { display: grid; grid-template-columns: repeat(4, 1fr); gap: 20px 18px; margin-top: 10px; }
.small figcaption { overflow-wrap: anywhere; }
.small figure { min-width: 0; break-inside: avoid; }
section > .scroll { margin-bottom: 22px; }
@media (max-width: 760px) { .small { grid-template-columns: 1fr 1fr; } }
"""


def write_report(path: Path, arena: Arena) -> Path:
    """Write one self-contained HTML file: nothing is loaded from elsewhere, no script runs.

    Args:
        path: The file to write, atomically.
        arena: What is told.

    Returns:
        `path`.

    Raises:
        Kd3dError: The file cannot be written.
    """
    style = files("kd3d_core.replay").joinpath("report.css").read_text(encoding="utf-8")
    title = f"Arena {arena.out.name}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(style + _STYLE)),
    )
    rows = arena.rows
    students = list(dict.fromkeys(row.student for row in rows))
    body = tag(
        "main",
        _header(arena, rows, title),
        *(_student(arena, student, rows) for student in students),
        _about(arena),
    )
    page = tag("html", head, tag("body", body), lang="en")
    write_text(path, f"<!DOCTYPE html>\n{page}\n")
    return path


def _header(arena: Arena, rows: Sequence[Row], title: str) -> Html:
    """What matters at first sight."""
    gains = [row for row in rows if row.gain is not None]
    best = max(gains, key=lambda row: row.gain.mean if row.gain else 0.0, default=None)
    gap = None if best is None or best.gap is None else f"{round(100 * best.gap)} %"
    taught = None if arena.teacher is None else arena.teacher.scores.mean_ap
    gain = None if best is None or best.gain is None else best.gain.mean
    who = "" if best is None else f"{best.method} on {best.student}"
    cards = (
        (f"{len(arena.results)} of {len(arena.cells)}", "trainings done", "cells"),
        (points(taught) or DASH, "mean AP of the teacher", "points"),
        (points(gain, signed=True) or DASH, "largest mean gain over the student alone", who),
        (gap or DASH, "of the gap to the teacher closed by it", who),
    )
    figures = (
        tag("div", tag("b", value), tag("span", told), tag("small", kind), class_="figure")
        for value, told, kind in cards
    )
    missing = len(arena.cells) - len(arena.results)
    note = f"{missing} trainings are still to come: what is below is how it stands now."
    return tag(
        "header",
        tag("p", "Distillation arena", class_="kicker"),
        tag("h1", title),
        tag("p", verdict(rows), class_="verdict"),
        tag("p", certainty(rows), class_="lead"),
        tag("p", budget(arena.config, arena.results), class_="quiet"),
        tag("div", *figures, class_="figures"),
        tag("p", note, class_="note") if missing else Html(),
    )


def _student(arena: Arena, student: str, rows: Sequence[Row]) -> Html:
    """Everything about one student."""
    own = [row for row in rows if row.student == student]
    results = [result for result in arena.results if result.student == student]
    network = results[0].network
    size = f"{network.parameters / 1e6:.2f} M weights, {network.macs / 1e9:.2f} G multiply-adds"
    if arena.teacher is not None:
        taught = arena.teacher.network
        size += (
            f"; its teacher {taught.name}: {taught.parameters / 1e6:.2f} M and "
            f"{taught.macs / 1e9:.2f} G"
        )
    told = "Points; mean ± half of its 95 % interval. Gain: paired with none, seed by seed."
    return join(
        tag(
            "section",
            tag("h2", f"Student {student}"),
            tag("p", f"{size}.", class_="quiet"),
            tag("p", told, class_="quiet"),
            outcome_table(own, arena.teacher),
            _dot_charts(arena, own, results),
            tag("h3", "Average precision by class"),
            class_table(own, arena.teacher),
            tag("h3", "Cost of training"),
            tag(
                "p", "Multiples (x) are of the student alone with the same seeds.", class_="quiet"
            ),
            cost_table(own),
        ),
        _curves(student, own, results),
    )


def _dot_charts(arena: Arena, rows: Sequence[Row], results: Sequence[CellResult]) -> Html:
    """Mean average precision and NDS by method."""
    teacher = None if arena.teacher is None else arena.teacher.scores
    parts = []
    ap = {row.method: row.ap for row in rows if row.ap is not None}
    if ap:
        best = None if teacher is None else teacher.mean_ap
        chart = dots(results, ap, best, lambda s: s.mean_ap, "mean AP by method")
        parts.append(_figure("Mean AP", chart))
    nds = {row.method: row.nds for row in rows if row.nds is not None}
    if nds:
        best = None if teacher is None else teacher.nds
        parts.append(_figure("NDS", dots(results, nds, best, lambda s: s.nds, "NDS by method")))
    told = (
        "Small dots: seeds. Large dot and bar: mean and 95 % interval, cut off where the chart "
        "ends. Dashed line: the student alone."
    )
    return join(tag("div", *parts, class_="charts"), tag("p", told, class_="quiet"))


def _curves(student: str, rows: Sequence[Row], results: Sequence[CellResult]) -> Html:
    """How the losses fell, and what the methods watched."""
    of = {row.method: [r for r in results if r.method == row.method] for row in rows}
    losses = {method: [detection_loss(r) for r in own] for method, own in of.items()}
    alone = losses.get(BASELINE, [()])[0]
    top = reach([curve for group in losses.values() for curve in group])
    panels = [
        _figure(method, small_chart(f"loss of {method}", curves, alone, top))
        for method, curves in losses.items()
    ]
    extra = []
    for method, own in of.items():
        names = sorted({name for r in own for name in r.curves} - {*DETECTION, "loss"})
        extra += [
            _figure(
                f"{method}: {name}",
                small_chart(
                    f"{name} of {method}", [r.curves[name] for r in own if name in r.curves]
                ),
            )
            for name in names
        ]
    told = (
        "Thin: seeds; bold: their mean; dashed: none with its first seed. The same terms for all, "
        "on augmented training frames."
    )
    watched = "Weighted, as they enter the loss; keep-rates and counts as they are."
    return tag(
        "section",
        tag("h2", f"Student {student}: curves"),
        tag("h3", "Detection loss by step"),
        tag("p", told, class_="quiet"),
        tag("div", *panels, class_="small"),
        tag("h3", "Terms and monitors of the methods") if extra else Html(),
        tag("p", watched, class_="quiet") if extra else Html(),
        tag("div", *extra, class_="small"),
    )


def _figure(caption: str, chart: Html) -> Html:
    """A chart under its name."""
    return tag("figure", tag("figcaption", tag("h3", caption)), chart)


def _about(arena: Arena) -> Html:
    """What the figures do not say, and what is needed to get them again."""
    machines = sorted({tuple(r.machine.model_dump().values()) for r in arena.results})
    told = [("configuration", arena.hash)]
    if arena.teacher is not None:
        told.append(("teacher", f"{arena.teacher.network.name}, sha256 {arena.teacher.sha256}"))
    told += [
        ("machine", f"{device}; kd3d {kd3d}, torch {torch}, Python {python}")
        for device, kd3d, torch, python in machines
    ]
    told.append(("seeds", ", ".join(str(seed) for seed in arena.config.seeds)))
    return tag(
        "section",
        tag("h2", "What these figures do not say"),
        bullets(limits(arena.config)),
        tag("h3", "How they were made"),
        facts(told),
        tag("pre", dump_config(arena.config)),
    )
