"""An evaluation as one page: curves, and what is found by distance, points and occlusion."""

from collections.abc import Callable
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from kd3d_core.evaluation.ap import EvalResult
from kd3d_core.evaluation.breakdown_result import Breakdown
from kd3d_core.evaluation.breakdown_result import ClassBreakdown
from kd3d_core.evaluation.breakdown_result import Share
from kd3d_core.files import write_text
from kd3d_core.inspection.charts import COLOURS
from kd3d_core.inspection.charts import legend
from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import tag
from kd3d_core.replay.report_plot import Plot
from kd3d_core.replay.report_plot import words

DASH = "\N{EN DASH}"
_WIDTH, _HEIGHT = 440.0, 270.0
_TICKS = (0, 25, 50, 75, 100)
#: Shares of fewer objects than this are noise: their dots are hollow.
_FEW = 5


def write_evaluation_page(
    path: Path, breakdown: Breakdown, result: EvalResult, title: str
) -> Path:
    """Write one self-contained HTML file without scripts.

    Args:
        path: The file, written atomically.
        breakdown: Curves and shares.
        result: Average precisions of the same frames.
        title: Model and data.

    Raises:
        Kd3dError: The file cannot be written.
    """
    style = files("kd3d_core.replay").joinpath("report.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Evaluation: {title}"),
        tag("style", Html(style)),
    )
    seen = {n: e for n, e in breakdown.classes.items() if n != "all" and e.truths}
    body = tag(
        "main",
        _header(breakdown, result, title),
        _charts(seen),
        _tables(breakdown),
    )
    page = tag("html", head, tag("body", body), lang="en")
    write_text(path, f"<!DOCTYPE html>\n{page}\n")
    return path


def _header(breakdown: Breakdown, result: EvalResult, title: str) -> Html:
    """Title and four figures."""
    every, config = breakdown.classes["all"], breakdown.config
    best = result.mean_ap()
    found = sum(s.truths * (s.recall or 0) for s in every.by_range)
    recall = found / every.truths if every.truths else None
    figures = (
        (_percent(best), "mean average precision", "of the classes with ground truth"),
        (_percent(recall), "of the objects found", f"at score {config.score_threshold:g}"),
        (f"{every.truths:,}", "objects that count", f"in {breakdown.frames:,} frames"),
        (f"{every.detections:,}", "detections that count", "of any score"),
    )
    cards = (
        tag("div", tag("b", value), tag("span", told), tag("small", kind), class_="figure")
        for value, told, kind in figures
    )
    what = (
        "overlap seen from above"
        if config.criterion == "bev_iou"
        else f"centres within {config.center_distance:g} m"
    )
    lead = (
        f"Objects count with at least {config.min_points} points within {config.max_range:g} m. "
        f"A detection is right by {what}."
    )
    return tag(
        "header",
        tag("p", "Evaluation", class_="kicker"),
        tag("h1", title),
        tag("p", lead, class_="lead"),
        tag("div", *cards, class_="figures"),
    )


def _charts(classes: dict[str, ClassBreakdown]) -> Html:
    """Curves of all classes, and their shares."""
    names = list(classes)
    shown = [
        ("Precision over recall", "Each class by falling score: up and to the right is better.",
         _curves(classes)),
        ("Found by distance", "Share of the objects that are found.",
         _lines(classes, lambda c: c.by_range, "recall")),
        ("Right by distance", "Share of the detections that are right.",
         _lines(classes, lambda c: c.by_range, "precision")),
        ("Found by points", "Share of the objects that are found, by how many points they have.",
         _lines(classes, lambda c: c.by_points, "recall")),
    ]  # fmt: skip
    if any(entry.by_occlusion for entry in classes.values()):
        told = "Share of the objects that are found, by how much of them is hidden."
        chart = _lines(classes, lambda c: c.by_occlusion, "recall")
        shown.append(("Found by occlusion", told, chart))
    figures = (
        tag("figure", tag("figcaption", tag("h3", name), tag("p", told)), chart)
        for name, told, chart in shown
    )
    if not names:
        return tag("section", tag("p", "There is no ground truth that counts."))
    told = f"Hollow dots stand for fewer than {_FEW} objects."
    return tag(
        "section",
        tag("h2", "In pictures"),
        tag("p", told, class_="quiet"),
        tag("div", *figures, class_="charts"),
    )


def _curves(classes: dict[str, ClassBreakdown]) -> Html:
    """Precision over recall, a line a class."""
    plot = Plot(_WIDTH, _HEIGHT, (0.0, 100.0), (0.0, 100.0), top=44)
    lines = []
    for i, entry in enumerate(classes.values()):
        if entry.curve is not None:
            curve = entry.curve
            dots = [(100 * r, 100 * p) for r, p in zip(curve.recall, curve.precision, strict=True)]
            lines.append(_line(plot, dots, _colour(i)))
    axes = (plot.rows(_TICKS, " %"), plot.columns(_TICKS, " %"))
    return plot.svg("Precision over recall", *axes, *lines, legend(list(classes), plot))


def _lines(
    classes: dict[str, ClassBreakdown],
    pick: Callable[[ClassBreakdown], Sequence[Share]],
    measure: str,
) -> Html:
    """A share by bin, a line a class; dots of few objects are hollow."""
    bins = max((pick(entry) for entry in classes.values()), key=len, default=())
    plot = Plot(_WIDTH, _HEIGHT, (-0.5, max(len(bins), 1) - 0.5), (0.0, 100.0), top=44)
    parts = [plot.rows(_TICKS, " %")]
    for k, share in enumerate(bins):
        parts.append(words(share.bin.removesuffix(" m"), plot.px(k), plot.low + 16))
    for i, entry in enumerate(classes.values()):
        dots = [
            (float(k), 100 * value, share.truths)
            for k, share in enumerate(pick(entry))
            if (value := getattr(share, measure)) is not None
        ]
        parts.append(_line(plot, [(x, y) for x, y, _ in dots], _colour(i)))
        parts += [
            tag(
                "circle",
                cx=plot.px(x),
                cy=plot.py(y),
                r=3,
                fill=_colour(i) if truths >= _FEW else "#fff",
                stroke=_colour(i),
            )
            for x, y, truths in dots
        ]
    return plot.svg(f"{measure} by bin", *parts, legend(list(classes), plot))


def _line(plot: Plot, dots: Sequence[tuple[float, float]], colour: str) -> Html:
    """A coloured line through data."""
    if not dots:
        return Html()
    steps = " L".join(f"{plot.px(x):.1f} {plot.py(y):.1f}" for x, y in dots)
    return tag("path", d=f"M{steps}", fill="none", stroke=colour, stroke_width=1.6)


def _colour(index: int) -> str:
    """The colour of a class."""
    return COLOURS[min(index, len(COLOURS) - 1)]


def _tables(breakdown: Breakdown) -> Html:
    """Every share, by class."""
    heads = ("", "objects", "found", "right")
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in heads)))
    rows = []
    for name, entry in breakdown.classes.items():
        if not entry.truths:
            continue
        ap = "" if entry.curve is None else f" (AP {_percent(entry.curve.ap)})"
        rows.append(_row(name + (ap if name != "all" else ""), entry.truths, "", "", "total"))
        for kind, shares in (
            ("", entry.by_range),
            (" points", entry.by_points),
            ("", entry.by_occlusion),
        ):
            rows += [
                _row(f"{s.bin}{kind}", s.truths, _percent(s.recall), _percent(s.precision), "ring")
                for s in shares
                if s.truths
            ]
    threshold = breakdown.config.score_threshold
    told = f"Found: share of the objects. Right: share of the detections. At score {threshold:g}."
    return tag(
        "section",
        tag("h2", "By class"),
        tag("p", told, class_="quiet"),
        tag("div", tag("table", head, tag("tbody", *rows)), class_="scroll"),
    )


def _row(name: str, truths: int, recall: str, precision: str, class_: str) -> Html:
    """One line of the table."""
    cells = (tag("td", value) for value in (f"{truths:,}", recall, precision))
    return tag("tr", tag("th", name, scope="row"), *cells, class_=class_)


def _percent(value: float | None) -> str:
    """A share in [0, 1] as per cent, or a dash."""
    return DASH if value is None else f"{100 * value:.1f} %"
