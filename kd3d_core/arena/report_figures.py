"""The charts of an arena's report."""

from collections.abc import Callable
from collections.abc import Sequence

import numpy as np

from kd3d_core.arena.config import BASELINE
from kd3d_core.arena.result import CellResult
from kd3d_core.arena.result import Curve
from kd3d_core.arena.result import Scores
from kd3d_core.arena.statistics import Interval
from kd3d_core.models.losses import LossWeights
from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import tag
from kd3d_core.replay.report_plot import Plot
from kd3d_core.replay.report_plot import line
from kd3d_core.replay.report_plot import shortened
from kd3d_core.replay.report_plot import ticks_between
from kd3d_core.replay.report_plot import words

_NAMES = 128.0
_ROW = 27.0

#: Terms of the detection loss, which every method has.
DETECTION = tuple(LossWeights.model_fields)


def dots(
    results: Sequence[CellResult],
    means: dict[str, Interval],
    teacher: float | None,
    measure: Callable[[Scores], float | None],
    label: str,
) -> Html:
    """A row for each method, best first: a dot for each seed, the mean, its interval.

    Args:
        results: Of one student.
        means: By method.
        teacher: The same measure of the teacher, drawn as a line; or None.
        measure: What is drawn, a share in [0, 1].
        label: Read to who cannot see it.
    """
    values = {
        method: [
            100 * value
            for result in results
            if result.method == method and (value := measure(result.scores)) is not None
        ]
        for method in means
    }
    shown = [value for group in values.values() for value in group]
    shown += [] if teacher is None else [100 * teacher]
    low, high = min(shown), max(shown)
    margin = max(0.12 * (high - low), 0.5)
    order = sorted(means, key=lambda method: -means[method].mean)
    height = 22 + _ROW * len(order) + 26
    span = (max(low - margin, 0.0), min(high + margin, 100.0))
    plot = Plot(440, height, span, (0.0, 1.0), left=_NAMES, top=22)
    parts = [plot.columns(ticks_between(*span, 6))]
    if teacher is not None:
        parts += _upright(plot, 100 * teacher, "teacher", "teacher")
    if BASELINE in means:
        parts += _upright(plot, 100 * means[BASELINE].mean, "", "edge")
    for row, method in enumerate(order):
        y = plot.top + (row + 0.5) * _ROW
        name = shortened(method, _NAMES - 10)
        bold = "strong" if method == BASELINE else None
        parts.append(words(name, _NAMES - 10, y + 4, "end", bold))
        parts.append(line(plot.left, y, plot.width - plot.right, y))
        parts.append(_whisker(plot, y, means[method]))
        parts += [tag("circle", cx=plot.px(v), cy=y, r=2.6, class_="seed") for v in values[method]]
        parts.append(_mean(plot, y, method, means[method]))
    return plot.svg(label, *parts)


def detection_loss(result: CellResult) -> Curve:
    """The sum of the terms that every method has, at the steps that all of them have."""
    terms = [dict(result.curves[name]) for name in DETECTION if name in result.curves]
    if not terms:
        return ()
    steps = sorted(set.intersection(*(set(term) for term in terms)))
    return tuple((step, sum(term[step] for term in terms)) for step in steps)


def average(curves: Sequence[Curve]) -> Curve:
    """The mean of the curves of several seeds, at the steps that all of them have."""
    tables = [dict(curve) for curve in curves if curve]
    if not tables:
        return ()
    steps = sorted(set.intersection(*(set(table) for table in tables)))
    return tuple((step, float(np.mean([table[step] for table in tables]))) for step in steps)


def small_chart(
    label: str, curves: Sequence[Curve], behind: Curve = (), top: float | None = None
) -> Html:
    """Curves over the steps of training, from 0 upwards.

    Args:
        label: Read to who cannot see it.
        curves: One a seed; their mean is drawn boldly.
        behind: Another curve to compare with.
        top: End of the y axis; where the curves end when None.
    """
    seen = [value for curve in (*curves, behind) for _, value in curve]
    end = max((curve[-1][0] for curve in (*curves, behind) if curve), default=1)
    lowest = min([0.0, *seen])
    highest = top or max(seen, default=1.0) or 1.0
    plot = Plot(220, 132, (0.0, max(end, 1)), (lowest, highest), left=36, right=8, top=8)
    parts = [plot.rows(ticks_between(lowest, highest, 3)), plot.columns(_ends(end))]
    parts += [_path(plot, curve, "envelope") for curve in curves]
    parts.append(_path(plot, behind, "ideal"))
    parts.append(_path(plot, average(curves), "series"))
    return plot.svg(label, *parts)


def reach(curves: Sequence[Curve]) -> float | None:
    """Where the y axis of loss curves ends: above all but the first, wild steps."""
    late = [value for curve in curves for _, value in curve[len(curve) // 10 :]]
    return 1.15 * float(np.quantile(late, 0.98)) if late else None


def _path(plot: Plot, curve: Curve, class_: str) -> Html:
    """A curve, cut off at the upper end of the plot."""
    return plot.path([(step, min(value, plot.y[1])) for step, value in curve], class_)


def _ends(end: float) -> list[float]:
    """First and last step."""
    return [0.0, float(end)]


def _upright(plot: Plot, value: float, name: str, class_: str) -> list[Html]:
    """A line from bottom to top."""
    x = plot.px(value)
    return [
        line(x, plot.top, x, plot.low, class_),
        words(name, x, plot.top - 7, "middle", "quiet"),
    ]


def _whisker(plot: Plot, y: float, value: Interval) -> Html:
    """The confidence interval, cut off where the plot ends."""
    if value.low is None or value.high is None:
        return Html()
    ends = (max(100 * value.low, plot.x[0]), min(100 * value.high, plot.x[1]))
    return line(plot.px(ends[0]), y, plot.px(ends[1]), y, "whisker")


def _mean(plot: Plot, y: float, method: str, value: Interval) -> Html:
    """The mean, with its figures where a pointer rests on it."""
    text = f"{method}: {100 * value.mean:.1f}, {value.n} seed{'' if value.n == 1 else 's'}"
    if value.low is not None and value.high is not None:
        text += f", 95 % interval {100 * value.low:.1f} to {100 * value.high:.1f}"
    x = plot.px(100 * value.mean)
    return tag("circle", tag("title", text), cx=x, cy=y, r=5, class_="dot")
