"""The charts of a data check as SVG."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kd3d_core.inspection.table import BoxTable
from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import join
from kd3d_core.replay.report_html import tag
from kd3d_core.replay.report_plot import Plot
from kd3d_core.replay.report_plot import line
from kd3d_core.replay.report_plot import rectangle
from kd3d_core.replay.report_plot import round_up
from kd3d_core.replay.report_plot import ticks_between
from kd3d_core.replay.report_plot import words

COLOURS = ("#1f5f94", "#d1495b", "#3a8f5c", "#c77700", "#7a5195", "#4a9aa8", "#8a94a0")
_WIDTH, _HEIGHT = 440.0, 250.0
#: Classes with a colour of their own; the others share the last one.
_NAMED = len(COLOURS) - 1
_MOST_DOTS = 1500


def size_chart(table: BoxTable, classes: Sequence[str]) -> Html:
    """A dot for each box: width over length."""
    rows = _some(np.flatnonzero(table.finite))
    reach = round_up(float(np.quantile(table.size[rows, 0], 0.99))) if len(rows) else 1.0
    high = round_up(float(np.quantile(table.size[rows, 1], 0.995))) if len(rows) else 1.0
    plot = Plot(_WIDTH, _HEIGHT, (0.0, reach), (0.0, high), top=44)
    dots = [
        _dot(plot, table.size[i, 0], table.size[i, 1], _colour(table.name[i], classes))
        for i in rows
        if table.size[i, 0] <= reach and table.size[i, 1] <= high
    ]
    diagonal = plot.path([(0.0, 0.0), (min(reach, high), min(reach, high))], "ideal")
    return plot.svg("Width and length of boxes", *_axes(plot, " m", " m"), diagonal, *dots,
                    legend(classes, plot))  # fmt: skip


def points_chart(table: BoxTable, classes: Sequence[str]) -> Html:
    """A dot for each box: points inside (on a logarithmic axis) over distance."""
    rows = _some(np.flatnonzero(table.finite))
    far = round_up(float(table.range[rows].max())) if len(rows) else 1.0
    most = float(np.log10(max(int(table.points[rows].max(initial=1)), 10)))
    plot = Plot(_WIDTH, _HEIGHT, (0.0, far), (-0.3, most), top=44)
    across = [line(plot.left, plot.py(t), plot.width - plot.right, plot.py(t))
              for t in range(int(most) + 1)]  # fmt: skip
    names = [
        words(f"{10**t:,}", plot.left - 7, plot.py(t) + 4, "end") for t in range(int(most) + 1)
    ]
    zero = words("0", plot.left - 7, plot.py(-0.3) + 4, "end")
    dots = [
        _dot(
            plot,
            table.range[i],
            np.log10(table.points[i]) if table.points[i] else -0.3,
            _colour(table.name[i], classes),
        )
        for i in rows
    ]
    columns = plot.columns(ticks_between(0, far, 5), " m")
    return plot.svg("Points in a box by its distance", *across, *names, zero, columns, *dots,
                    legend(classes, plot))  # fmt: skip


def range_chart(table: BoxTable, classes: Sequence[str]) -> Html:
    """How many boxes there are by distance, a line a class."""
    far = round_up(float(table.range.max(initial=1.0)))
    edges = np.linspace(0.0, far, 17)
    counts = {name: np.histogram(table.range[table.name == name], edges)[0] for name in classes}
    most = round_up(max((int(c.max()) for c in counts.values()), default=1))
    plot = Plot(_WIDTH, _HEIGHT, (0.0, far), (0.0, most), top=44)
    middle = (edges[1:] + edges[:-1]) / 2
    lines = [_curve(plot, middle, counts[name], _colour(name, classes)) for name in classes]
    return plot.svg("Boxes by distance", *_axes(plot, " m", ""), *lines, legend(classes, plot))


def yaw_chart(table: BoxTable, classes: Sequence[str]) -> Html:
    """Share of the boxes of a class by heading, a line a class."""
    edges = np.linspace(-np.pi, np.pi, 25)
    shares = {}
    for name in classes:
        yaw = table.yaw[(table.name == name) & table.finite]
        shares[name] = 100 * np.histogram(yaw, edges)[0] / max(len(yaw), 1)
    most = round_up(max((float(s.max()) for s in shares.values()), default=1.0))
    plot = Plot(_WIDTH, _HEIGHT, (-180.0, 180.0), (0.0, most), top=44)
    middle = np.rad2deg((edges[1:] + edges[:-1]) / 2)
    lines = [_curve(plot, middle, shares[name], _colour(name, classes)) for name in classes]
    axes = (
        plot.rows(ticks_between(0, most, 4), " %"),
        plot.columns((-180, -90, 0, 90, 180), "\N{DEGREE SIGN}"),
    )
    return plot.svg("Boxes by heading", *axes, *lines, legend(classes, plot))


def ground_chart(table: BoxTable) -> Html:
    """How high the bottoms of boxes lie above the ground around them."""
    above = np.clip(table.above[np.isfinite(table.above)], -2, 2)
    edges = np.linspace(-2.0, 2.0, 41)
    return histogram_chart(above, edges, " m", "Bottoms of boxes above the ground")


def intensity_chart(values: NDArray[np.float64]) -> Html:
    """The median intensity of each cloud, (N,) in [0, 1]."""
    return histogram_chart(values, np.linspace(0.0, 1.0, 41), "", "Median intensity of clouds")


def histogram_chart(
    values: NDArray[np.float64], edges: NDArray[np.float64], unit: str, label: str
) -> Html:
    """Bars of how many of (N,) values lie between (B + 1,) edges."""
    counts, _ = np.histogram(values, edges)
    most = round_up(int(counts.max(initial=1)))
    plot = Plot(_WIDTH, _HEIGHT - 40, (float(edges[0]), float(edges[-1])), (0.0, most))
    width = plot.px(float(edges[1])) - plot.px(float(edges[0]))
    bars = []
    for edge, count in zip(edges, counts.tolist(), strict=False):
        top = plot.py(count)
        if count:
            left = plot.px(float(edge))
            bars.append(rectangle(left, top, width - 1, plot.low - top, COLOURS[0]))
    return plot.svg(label, *_axes(plot, unit, ""), *bars)


def _axes(plot: Plot, x_unit: str, y_unit: str) -> tuple[Html, Html]:
    """Lines and values of both axes."""
    return (
        plot.rows(ticks_between(*plot.y, 4), y_unit),
        plot.columns(ticks_between(*plot.x, 5), x_unit),
    )


def _some(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most so many dots that a page stays small, spread evenly."""
    if len(rows) <= _MOST_DOTS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _MOST_DOTS).astype(int)]


def _colour(name: str, classes: Sequence[str]) -> str:
    """The colour of a class."""
    place = list(classes).index(name) if name in classes else _NAMED
    return COLOURS[min(place, _NAMED)]


def _dot(plot: Plot, x: float, y: float, colour: str) -> Html:
    """A small dot at a datum."""
    return tag("circle", cx=plot.px(x), cy=plot.py(y), r=2, fill=colour, fill_opacity=0.55)


def _curve(plot: Plot, x: NDArray[np.float64], y: NDArray[np.generic], colour: str) -> Html:
    """A coloured line through (N,) data."""
    steps = " L".join(f"{plot.px(a):.1f} {plot.py(b):.1f}" for a, b in zip(x, y, strict=True))
    return tag("path", d=f"M{steps}", fill="none", stroke=colour, stroke_width=1.6)


def legend(classes: Sequence[str], plot: Plot) -> Html:
    """A coloured square and the name of each class, above the chart."""
    parts, x, y = [], plot.left, 6.0
    named = [*classes[:_NAMED], *(["others"] if len(classes) > _NAMED else [])]
    for i, name in enumerate(named):
        width = 24 + 6.6 * len(name)
        if x + width > plot.width and x > plot.left:
            x, y = plot.left, y + 16
        parts += [rectangle(x, y, 10, 10, COLOURS[i]), words(name, x + 15, y + 9, "start")]
        x += width
    return join(*parts)
