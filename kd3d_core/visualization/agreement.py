"""Two detectors' boxes on one map: agreed green, missed red, extra amber. Made for white paper."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_core.visualization.parts import DPI
from kd3d_core.visualization.parts import LIGHT
from kd3d_core.visualization.parts import BevStyle
from kd3d_core.visualization.parts import draw_ground
from kd3d_core.visualization.parts import outline
from kd3d_core.visualization.parts import reach
from kd3d_core.visualization.parts import ticks

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from PIL import Image
except ImportError as _error:
    raise Kd3dError("pictures need matplotlib: pip install 'kd3d_ros[viz]'.") from _error

#: Colours that keep apart in print and for most colour-blind eyes; the line styles differ too.
AGREED, MISSED, EXTRA = "#1a7f4b", "#c4314b", "#c77700"
#: Shades between white and each colour; six colours and white fit into a byte.
_TINTS = 32


@dataclass(frozen=True, eq=False)
class Compared:
    """The boxes of two detectors on one cloud, sorted by what became of them.

    Attributes:
        agreed: The student's boxes that the teacher confirms.
        partners: The teacher's boxes that belong to `agreed`, or None to leave them out.
        missed: The teacher's boxes that the student lacks.
        extra: The student's boxes that the teacher does not confirm.
    """

    agreed: Boxes3D
    partners: Boxes3D | None
    missed: Boxes3D
    extra: Boxes3D


@dataclass(frozen=True)
class Mark:
    """A square on the map that another picture shows larger.

    Attributes:
        name: Written at its corner.
        x: Centre, forward [m].
        y: Centre, to the left [m].
        side: Length of an edge [m].
    """

    name: str
    x: float
    y: float
    side: float


def agreement_png(
    cloud: PointCloud,
    compared: Compared,
    style: BevStyle | None = None,
    marks: Sequence[Mark] = (),
) -> bytes:
    """Draw a frame from above; forward is up, left is left.

    Args:
        cloud: Points in the sensor's frame, grey by height.
        compared: Boxes in the same frame. Agreed ones are solid green, with the teacher's
            version as a thin line; missed ones solid red and filled; extra ones dashed amber.
        style: Extent and size; the default is white. `scores` names missed and extra boxes.
        marks: Squares to outline.

    Returns:
        A PNG of few colours (tens of kB); equal frames give equal bytes.
    """
    style = BevStyle(theme=LIGHT) if style is None else style
    forward, across = style.x[1] - style.x[0], style.y[1] - style.y[0]
    scale = style.pixels / max(forward, across)
    width, height = round(scale * across), round(scale * forward)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=style.theme.background)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    # Points and lines grow when few metres fill the picture.
    size = (style.pixels / 1000) * min(max(100 / max(forward, across), 1.0), 2.2)
    draw_ground(axes, cloud, style, size)
    _draw(axes, compared, style, size)
    for mark in marks:
        _draw_mark(axes, mark, style)
    canvas.draw()
    return _small_png(canvas)


def _draw(axes: Axes, compared: Compared, style: BevStyle, size: float) -> None:
    """All boxes; what needs attention lies on top."""
    line = 1.0 + 0.5 * size
    if compared.partners is not None:
        _boxes(axes, compared.partners, AGREED, 0.5 * line, fill="00", zorder=4, ticked=False)
    _boxes(axes, compared.agreed, AGREED, line, fill="1c", zorder=5)
    _boxes(axes, compared.extra, EXTRA, 1.2 * line, fill="26", zorder=7, dashes=(0, (3, 1.6)))
    _boxes(axes, compared.missed, MISSED, 1.4 * line, fill="40", zorder=8)
    if style.scores:
        taken: list[tuple[float, float]] = []
        _names(axes, compared.missed, MISSED, style, taken)
        _names(axes, compared.extra, EXTRA, style, taken)


def _boxes(
    axes: Axes,
    boxes: Boxes3D,
    colour: str,
    width: float,
    *,
    fill: str,
    zorder: float,
    ticked: bool = True,
    dashes: str | tuple[float, tuple[float, ...]] = "solid",
) -> None:
    """Outlines in one colour; `fill` is the opacity of the inside in hexadecimal."""
    if not len(boxes):
        return
    outlines = outline(boxes)
    axes.add_collection(
        PolyCollection(
            list(outlines), facecolors=colour + fill, edgecolors=colour, linewidths=width,
            linestyles=dashes, zorder=zorder,
        )
    )  # fmt: skip
    if ticked:
        axes.add_collection(
            LineCollection(list(ticks(outlines)), colors=colour, linewidths=width, zorder=zorder)
        )


def _names(
    axes: Axes,
    boxes: Boxes3D,
    colour: str,
    style: BevStyle,
    taken: list[tuple[float, float]],
) -> None:
    """Class and score beside each box in sight, the surest first.

    Args:
        axes: To write on.
        boxes: Of one colour.
        colour: Of the words.
        style: The extent.
        taken: Places (x, y) [m] that have words; where they would overlap, none are written.
    """
    reaches = reach(boxes)
    tall, wide = 0.04 * (style.x[1] - style.x[0]), 0.3 * (style.y[1] - style.y[0])
    for i in (-boxes.score).argsort(kind="stable").tolist():
        x, y = float(boxes.center[i, 0]), float(boxes.center[i, 1])
        if not (style.x[0] < x < style.x[1] and style.y[0] < y < style.y[1]):
            continue
        if any(abs(x - other) < tall and abs(y - across) < wide for other, across in taken):
            continue
        taken.append((x, y))
        side = 1 if y - reaches[i] > style.y[0] + 1.1 * wide else -1  # or they leave the picture
        axes.annotate(
            f"{boxes.names[i]} {boxes.score[i]:.2f}", (-y + side * reaches[i], x),
            xytext=(4 * side, 0), textcoords="offset points", color=colour, fontsize=9.5,
            fontweight="bold", ha="left" if side > 0 else "right", va="center", zorder=9,
            annotation_clip=True,
            bbox={"facecolor": style.theme.background, "edgecolor": "none", "pad": 0.8,
                  "alpha": 0.75},
        )  # fmt: skip


def _draw_mark(axes: Axes, mark: Mark, style: BevStyle) -> None:
    """A thin dark square with its name at the upper left corner."""
    left, low = -mark.y - mark.side / 2, mark.x - mark.side / 2
    axes.add_patch(
        Rectangle(
            (left, low), mark.side, mark.side, fill=False, edgecolor=style.theme.title,
            linewidth=0.9, zorder=9,
        )
    )  # fmt: skip
    axes.annotate(
        mark.name, (left, low + mark.side), xytext=(3, -3), textcoords="offset points",
        color=style.theme.title, fontsize=9, fontweight="bold", ha="left", va="top", zorder=10,
    )  # fmt: skip


def _small_png(canvas: FigureCanvasAgg) -> bytes:
    """What is drawn, in a palette of its own colours: a third of the bytes of full colour."""
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette())
    near = Image.fromarray(pixels).quantize(palette=palette, dither=Image.Dither.NONE)
    # The search for the nearest colour is a rough one; paper must stay white.
    index = np.where((pixels == 255).all(axis=-1), 0, np.asarray(near)).astype(np.uint8)
    small = Image.fromarray(index, "P")
    small.putpalette(_palette())
    file = io.BytesIO()
    small.save(file, "PNG", compress_level=6)
    return file.getvalue()


def _palette() -> list[int]:
    """Red, green, blue of every colour that occurs: tints of the words, points and boxes.

    A palette chosen by counting pixels would drop the boxes, which are few among many points.
    """
    colours = [255, 255, 255]
    for ink in (LIGHT.title, LIGHT.heights[-1], LIGHT.ring, AGREED, MISSED, EXTRA):
        full = [int(ink[i : i + 2], 16) for i in (1, 3, 5)]
        for step in range(1, _TINTS + 1):
            colours += [round(255 + (value - 255) * step / _TINTS) for value in full]
    return colours
