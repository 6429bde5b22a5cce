"""A cloud and its boxes from above, as a PNG. Works without a display."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_core.visualization.parts import DPI
from kd3d_core.visualization.parts import BevStyle
from kd3d_core.visualization.parts import bare
from kd3d_core.visualization.parts import draw_ground
from kd3d_core.visualization.parts import draw_points
from kd3d_core.visualization.parts import outline
from kd3d_core.visualization.parts import reach
from kd3d_core.visualization.parts import ticks

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure
except ImportError as _error:
    raise Kd3dError("pictures need matplotlib: pip install 'kd3d_ros[viz]'.") from _error

__all__ = ["CLASS_COLOURS", "BevStyle", "class_colour", "draw_bev"]

#: Colour of each default class; others take `_SPARE` in turn.
CLASS_COLOURS = {
    "car": "#4cc9f0",
    "truck": "#f8961e",
    "bus": "#f9c74f",
    "pedestrian": "#ff5d8f",
    "cyclist": "#90e05a",
    "motorcycle": "#b388ff",
}
_SPARE = ("#4dd0a7", "#e57373", "#aed581", "#ba9ffb")
_TRUTH = "#ffffff"
_STYLE = BevStyle()


def draw_bev(
    cloud: PointCloud,
    boxes: Boxes3D,
    truth: Boxes3D | None = None,
    path: Path | str = "view.png",
    *,
    title: str = "",
    style: BevStyle = _STYLE,
) -> None:
    """Draw a frame as a PNG; forward is up, left is left.

    Predictions are solid in the colour of their class, with a tick from the centre to the front;
    the truth is dashed white.

    Args:
        cloud: Its points are coloured by height.
        boxes: Predictions, in the cloud's frame.
        truth: Ground truth, or None.
        path: The PNG to write, atomically.
        title: Written above the map.
        style: Extent, size and what is written.

    Raises:
        Kd3dError: The file cannot be written.
    """
    forward, across = style.x[1] - style.x[0], style.y[1] - style.y[0]
    side = 0.22 * across if style.side else 0.0
    scale = style.pixels / max(across, forward + side)
    # Even sides, because video encoders ask for them.
    width, height = (2 * round(scale * metres / 2) for metres in (across, forward + side))
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=style.theme.background)
    canvas = FigureCanvasAgg(figure)
    share = side / (forward + side)
    axes = figure.add_axes((0, share, 1, 1 - share))
    size = style.pixels / 1000  # text and lines grow with the picture
    draw_ground(axes, cloud, style, size)
    _draw_boxes(axes, boxes, truth, style, size)
    if style.labels:
        _draw_words(axes, boxes, truth, title, style, size)
    if style.side:
        _draw_side(figure.add_axes((0, 0, 1, share)), cloud, boxes, truth, style, size)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        canvas.print_png(file, metadata={"Software": "kd3d"})


def class_colour(name: str, classes: Sequence[str]) -> str:
    """The colour of a class."""
    index = list(classes).index(name) if name in classes else 0
    return CLASS_COLOURS.get(name, _SPARE[index % len(_SPARE)])


def _draw_boxes(
    axes: Axes, boxes: Boxes3D, truth: Boxes3D | None, style: BevStyle, size: float
) -> None:
    """Truth dashed; predictions solid, with a tick to the front and the score."""
    if truth is not None and len(truth):
        axes.add_collection(
            PolyCollection(
                list(outline(truth)),
                facecolors="none",
                edgecolors=_TRUTH,
                linewidths=1.1 * size,
                linestyles=(0, (3, 2)),
                zorder=5.5,
            )
        )
    if not len(boxes):
        return
    colours = [class_colour(name, boxes.classes) for name in boxes.names]
    outlines = outline(boxes)
    axes.add_collection(
        PolyCollection(
            list(outlines),
            facecolors=[colour + "30" for colour in colours],
            edgecolors=colours,
            linewidths=1.7 * size,
            zorder=5,
        )
    )
    axes.add_collection(
        LineCollection(list(ticks(outlines)), colors=colours, linewidths=1.7 * size, zorder=5)
    )
    if style.scores:
        _draw_scores(axes, boxes, colours, style, size)


def _draw_scores(
    axes: Axes, boxes: Boxes3D, colours: Sequence[str], style: BevStyle, size: float
) -> None:
    """Scores at the right of each box, left out where the box is outside of the picture."""
    reaches = reach(boxes)
    for i in range(len(boxes)):
        x, y = float(boxes.center[i, 0]), float(boxes.center[i, 1])
        if not (style.x[0] < x < style.x[1] and style.y[0] < y < style.y[1]):
            continue
        axes.annotate(
            f"{boxes.score[i]:.2f}", (-y + reaches[i], x), xytext=(3 * size, 0),
            textcoords="offset points", color=colours[i], fontsize=7.5 * size, va="center",
            zorder=7, annotation_clip=True,
        )  # fmt: skip


def _draw_words(
    axes: Axes,
    boxes: Boxes3D,
    truth: Boxes3D | None,
    title: str,
    style: BevStyle,
    size: float,
) -> None:
    """The title, and what each colour means, with counts."""
    box = {"facecolor": style.theme.background, "edgecolor": "none", "alpha": 0.8, "pad": 3 * size}
    top, line = 0.982, 0.024
    if title:
        axes.text(
            0.016, top, title, transform=axes.transAxes, color=style.theme.title,
            fontsize=11 * size, va="top", zorder=9, bbox=box,
        )  # fmt: skip
        top -= 0.034
    rows = [
        (class_colour(name, boxes.classes), f"{name}  {count}")
        for label, name in enumerate(boxes.classes)
        if (count := int(np.count_nonzero(boxes.label == label)))
    ]
    if truth is not None:
        rows.append((_TRUTH, f"truth  {len(truth)} (dashed)"))
    for i, (colour, words) in enumerate(rows or [(style.theme.text, "no objects")]):
        axes.text(
            0.016, top - i * line, words, transform=axes.transAxes, color=colour,
            fontsize=9.5 * size, va="top", zorder=9, bbox=box,
        )  # fmt: skip


def _draw_side(
    axes: Axes,
    cloud: PointCloud,
    boxes: Boxes3D,
    truth: Boxes3D | None,
    style: BevStyle,
    size: float,
) -> None:
    """Everything seen from the right: forward is to the right, up is up (stretched)."""
    bare(axes, style.theme)
    axes.set(xlim=style.x, ylim=(style.height[0] - 0.7, style.height[1] + 2.5))
    axes.axhline(axes.get_ylim()[1], color=style.theme.ring, linewidth=2 * size)
    xyz = cloud.xyz[np.abs(cloud.xyz[:, 1]) < max(np.abs(style.y))]
    draw_points(axes, xyz[:, 0], xyz[:, 2], xyz[:, 2], style, size)
    for group, dashed in ((boxes, False), (truth, True)):
        if group is None or not len(group):
            continue
        corners = group.corners()
        low, high = corners.min(axis=1), corners.max(axis=1)
        outline = np.stack(
            [low[:, [0, 2]], np.c_[high[:, 0], low[:, 2]], high[:, [0, 2]],
             np.c_[low[:, 0], high[:, 2]]], axis=1,
        )  # fmt: skip
        axes.add_collection(
            PolyCollection(
                list(outline),
                facecolors="none",
                edgecolors=_TRUTH
                if dashed
                else [class_colour(name, group.classes) for name in group.names],
                linewidths=1.2 * size,
                linestyles=(0, (3, 2)) if dashed else "solid",
                zorder=5.5 if dashed else 5,
            )
        )
