"""The charts of a report as SVG: no script, sharp on paper, equal for equal data."""

from collections.abc import Mapping
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kd3d_core.evaluation.agreement import Agreement
from kd3d_core.evaluation.agreement import CalibrationBin
from kd3d_core.replay.report_data import Moment
from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import join
from kd3d_core.replay.report_html import tag
from kd3d_core.replay.report_plot import Plot
from kd3d_core.replay.report_plot import line
from kd3d_core.replay.report_plot import rectangle
from kd3d_core.replay.report_plot import round_up
from kd3d_core.replay.report_plot import shortened
from kd3d_core.replay.report_plot import ticks_between
from kd3d_core.replay.report_plot import words
from kd3d_core.replay.report_words import DASH
from kd3d_core.replay.report_words import ring_words

#: Rings from near to far.
_RINGS = ("#123a5e", "#3f7cac", "#8db6d6", "#c9dcea", "#e3edf4")
_MODELS = ("#3f7cac", "#8a94a0")
_MOST_CLASSES = 12
#: Steps of a time line: a recording of hours must not make a page of many megabytes.
_STEPS = 300
_WIDTH = 440.0


def timeline(
    moments: Sequence[Moment],
    scores: Sequence[float],
    marks: Sequence[int],
    width: float,
    class_: str = "chart",
) -> Html:
    """Disagreement over time, bag after bag.

    Args:
        moments: When each cloud was taken.
        scores: Disagreement of each cloud.
        marks: Indices of the clouds that the page shows, worst first; each becomes a link.
        width: Of the picture in pixels.
        class_: For the style sheet, which shows one picture to wide pages and one to phones.
    """
    at, starts = _one_after_another(moments)
    end = max(float(at.max(initial=0.0)), 1.0)
    top = round_up(max(scores, default=0.0))
    plot = Plot(width, 200, (-0.012 * end, end), (0.0, 1.12 * top))
    parts = [
        plot.rows(ticks_between(0, top, 4)),
        plot.columns(ticks_between(0, end, width / 110), " s"),
    ]
    if len(starts) > 1:
        for bag, start in starts.items():
            x = plot.px(start)
            parts.append(line(x, plot.top, x, plot.low, "edge"))
            if len(starts) <= width / 50:
                parts.append(words(f"bag {bag + 1}", x + 4, plot.top + 5, "start", "quiet"))
    parts.append(_series(plot, at, np.asarray(scores, np.float64)))
    for rank, index in enumerate(marks, 1):
        x, y = plot.px(float(at[index])), plot.py(scores[index])
        dot = tag("circle", cx=x, cy=y, r=3.5, class_="mark")
        # On a narrow picture only the first numbers have room.
        name = words(str(rank) if rank * 70 <= width else "", x, y - 7, class_="strong")
        parts.append(tag("a", dot, name, href=f"#worst-{rank}"))
    return plot.svg("Disagreement of the two models over time", *parts, class_=class_)


def ring_bars(agreement: Agreement, measure: str) -> Html:
    """Bars of "recall" or "precision" by class and ring; a share of nothing is a dash."""
    rings = list(agreement.by_ring["all"])
    classes = sorted(agreement.classes, key=lambda name: -_seen(agreement, name))
    classes = [name for name in classes if _seen(agreement, name)][:_MOST_CLASSES]
    plot = Plot(_WIDTH, 240, (0.0, max(len(classes), 1)), (0.0, 100.0), top=40)
    parts = [plot.rows((0, 25, 50, 75, 100), " %"), _ring_legend(rings, plot)]
    group = plot.px(1) - plot.px(0)
    bar = 0.84 * group / len(rings)
    for k, name in enumerate(classes):
        left = plot.px(k) + 0.08 * group
        for i, ring in enumerate(rings):
            share = getattr(agreement.by_ring[name][ring], measure)
            parts.append(_bar(plot, left + i * bar, bar, share, _RINGS[i % len(_RINGS)]))
        parts.append(words(shortened(name, group), plot.px(k + 0.5), plot.low + 16))
    return plot.svg(f"{measure} by class and distance", *parts)


def calibration_chart(bins: Sequence[CalibrationBin]) -> Html:
    """How often the teacher confirms a box, by the student's score; larger dots: more boxes."""
    plot = Plot(_WIDTH, 240, (0.0, 100.0), (0.0, 100.0), top=12)
    parts = [
        plot.rows((0, 25, 50, 75, 100), " %"),
        plot.columns((0, 25, 50, 75, 100), " %"),
        plot.path([(0, 0), (100, 100)], "ideal"),
    ]
    filled = [
        (100 * b.mean_score, 100 * b.share_confirmed, b.count)
        for b in bins
        if b.mean_score is not None and b.share_confirmed is not None
    ]
    parts.append(plot.path([(x, y) for x, y, _ in filled], "series"))
    most = max((count for *_, count in filled), default=1)
    for x, y, count in filled:
        radius = 3 + 7 * (count / most) ** 0.5
        boxes = tag("title", f"{count:,} boxes of score {x / 100:.2f}: {y:.0f} % confirmed")
        parts.append(tag("circle", boxes, cx=plot.px(x), cy=plot.py(y), r=radius, class_="dot"))
    return plot.svg("Share of the student's boxes that the teacher confirms, by score", *parts)


def latency_chart(timing: Mapping[str, Sequence[float]]) -> Html:
    """A histogram for each series of milliseconds, on one axis."""
    series = {name: np.asarray(values, np.float64) for name, values in timing.items() if values}
    end = max((float(np.quantile(v, 0.995)) for v in series.values()), default=1.0)
    edges = np.linspace(0.0, round_up(1.05 * end), 49)
    height = 12 + 104 * max(len(series), 1) + 24
    plot = Plot(_WIDTH, height, (0.0, float(edges[-1])), (0.0, 1.0), left=12, right=28)
    parts = [plot.columns(ticks_between(0, float(edges[-1]), 5), " ms")]
    for row, (name, values) in enumerate(series.items()):
        base = 12 + 104 * (row + 1) - 6
        parts.append(_histogram(plot, name, values, edges, base, _MODELS[row % len(_MODELS)]))
    return plot.svg("How long each model takes for a cloud", *parts)


def _one_after_another(
    moments: Sequence[Moment],
) -> tuple[NDArray[np.float64], dict[int, float]]:
    """(N,) seconds on an axis on which the bags follow each other, and where each starts."""
    lengths: dict[int, float] = {}
    for moment in moments:
        lengths[moment.bag] = max(moment.seconds, lengths.get(moment.bag, 0.0))
    starts, at = {}, 0.0
    for bag, length in lengths.items():
        starts[bag] = at
        at += length
    return np.array([starts[m.bag] + m.seconds for m in moments], np.float64), starts


def _series(plot: Plot, at: NDArray[np.float64], scores: NDArray[np.float64]) -> Html:
    """A line of all values (N,), or the mean and the most of each of `_STEPS` steps."""
    if len(at) <= _STEPS:
        return plot.path(list(zip(at, scores, strict=True)), "series")
    parts = np.array_split(np.arange(len(at)), _STEPS)  # frames come bag after bag, by time
    mean = [(float(at[p].mean()), float(scores[p].mean())) for p in parts]
    most = [(float(at[p].mean()), float(scores[p].max())) for p in parts]
    return join(plot.path(most, "envelope"), plot.path(mean, "series"))


def _ring_legend(rings: Sequence[str], plot: Plot) -> Html:
    """A coloured square and the distance of each ring, above the bars."""
    parts, x = [], plot.left
    for i, ring in enumerate(rings):
        text = ring_words(ring)
        parts += [
            rectangle(x, 6, 10, 10, _RINGS[i % len(_RINGS)]),
            words(text, x + 15, 15, "start"),
        ]
        x += 36 + 6 * len(text)
    return join(*parts)


def _bar(plot: Plot, x: float, width: float, share: float | None, fill: str) -> Html:
    """One bar with its value above, where that has room."""
    middle = x + width / 2
    if share is None:
        return words(DASH, middle, plot.low - 4, class_="quiet")
    top = plot.py(100 * share)
    bar = rectangle(x, top, max(width - 1.5, 1.0), plot.low - top, fill)
    if width < 15:
        return bar
    return join(bar, words(f"{100 * share:.0f}", middle - 0.75, top - 4, class_="value"))


def _histogram(
    plot: Plot,
    name: str,
    values: NDArray[np.float64],
    edges: NDArray[np.float64],
    base: float,
    fill: str,
) -> Html:
    """Bars of how many of (N,) `values` lie between (B + 1,) `edges`, and two quantiles."""
    counts, _ = np.histogram(np.minimum(values, edges[-1]), edges)
    tall = 58 / max(int(counts.max()), 1)
    width = plot.px(float(edges[1])) - plot.px(float(edges[0]))
    parts = [
        rectangle(plot.px(float(edges[k])), base - tall * count, width - 1, tall * count, fill)
        for k, count in enumerate(counts.tolist())
        if count
    ]
    half, most = np.quantile(values, (0.5, 0.99))
    told = f"half of the clouds within {_ms(half)}, 99 % within {_ms(most)}"
    return join(
        words(name.removesuffix(" [ms]"), plot.left, base - 80, "start", "strong"),
        words(told, plot.left, base - 65, "start", "quiet"),
        *parts,
        line(plot.left, base, plot.width - plot.right, base, "axis"),
    )


def _ms(value: float) -> str:
    """Milliseconds with three digits or more."""
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def _seen(agreement: Agreement, name: str) -> int:
    """Boxes of a class in all."""
    cell = agreement.by_class[name]
    return cell.pairs + cell.missed + cell.extra
