"""A cloud and its boxes from above, as a PNG. Works without a display."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle
    from matplotlib.patches import Polygon
except ImportError as _error:
    raise Kd3dError("pictures need matplotlib: pip install 'kd3d_ros[viz]'.") from _error

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
_BACKGROUND = "#0d1117"
_RING = "#2d3846"
_TEXT = "#aab6c5"
_TRUTH = "#ffffff"
_HEIGHTS = LinearSegmentedColormap.from_list(
    "heights", ("#2b3f5c", "#3d6a8a", "#58939b", "#93b28f", "#d9cf8b", "#f3e7b9")
)
_DPI = 100


@dataclass(frozen=True)
class BevStyle:
    """How the picture looks.

    Attributes:
        x: Extent forward [m].
        y: Extent to the left [m].
        height: Heights [m] that the colours of the points span, in the sensor's frame.
        pixels: Longest side of the picture.
        scores: Write the score beside each prediction.
        side: Add a view from the right below the map.
        labels: Write the title, the legend and the rings' distances.
    """

    x: tuple[float, float] = (-51.2, 51.2)
    y: tuple[float, float] = (-51.2, 51.2)
    height: tuple[float, float] = (-2.5, 1.5)
    pixels: int = 1000
    scores: bool = True
    side: bool = False
    labels: bool = True


def draw_bev(
    cloud: PointCloud,
    boxes: Boxes3D,
    truth: Boxes3D | None = None,
    path: Path | str = "view.png",
    *,
    title: str = "",
    style: BevStyle = BevStyle(),
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
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_BACKGROUND)
    canvas = FigureCanvasAgg(figure)
    share = side / (forward + side)
    axes = figure.add_axes((0, share, 1, 1 - share))
    axes.set(xlim=(-style.y[1], -style.y[0]), ylim=style.x)
    size = style.pixels / 1000  # text and lines grow with the picture
    _draw_map(axes, cloud, boxes, truth, style, size)
    if style.labels:
        _draw_words(axes, boxes, truth, title, size)
    if style.side:
        _draw_side(figure.add_axes((0, 0, 1, share)), cloud, boxes, truth, style, size)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        canvas.print_png(file, metadata={"Software": "kd3d"})


def class_colour(name: str, classes: Sequence[str]) -> str:
    """The colour of a class."""
    index = list(classes).index(name) if name in classes else 0
    return CLASS_COLOURS.get(name, _SPARE[index % len(_SPARE)])


def _draw_map(
    axes: Axes,
    cloud: PointCloud,
    boxes: Boxes3D,
    truth: Boxes3D | None,
    style: BevStyle,
    size: float,
) -> None:
    """Rings, points, boxes, and the sensor itself."""
    _bare(axes)
    _draw_rings(axes, style, size)
    xyz = cloud.xyz
    seen = (
        (xyz[:, 0] >= style.x[0])
        & (xyz[:, 0] < style.x[1])
        & (xyz[:, 1] >= style.y[0])
        & (xyz[:, 1] < style.y[1])
    )
    shown = xyz[seen][np.argsort(xyz[seen][:, 2], kind="stable")]  # the highest on top
    _scatter(axes, -shown[:, 1], shown[:, 0], shown[:, 2], style, size)
    if truth is not None and len(truth):
        corners = _outline(truth)
        axes.add_collection(
            PolyCollection(
                list(corners),
                facecolors="none",
                edgecolors=_TRUTH,
                linewidths=1.1 * size,
                linestyles=(0, (3, 2)),
                zorder=5.5,
            )
        )
    if len(boxes):
        colours = [class_colour(name, boxes.classes) for name in boxes.names]
        outline = _outline(boxes)
        axes.add_collection(
            PolyCollection(
                list(outline),
                facecolors=[colour + "30" for colour in colours],
                edgecolors=colours,
                linewidths=1.7 * size,
                zorder=5,
            )
        )
        front = outline[:, [0, 3]].mean(axis=1)
        middle = outline.mean(axis=1)
        tick = np.stack([middle, front + 0.35 * (front - middle)], axis=1)
        axes.add_collection(
            LineCollection(list(tick), colors=colours, linewidths=1.7 * size, zorder=5)
        )
        if style.scores:
            _draw_scores(axes, boxes, colours, style, size)
    nose = np.array([(0.0, 1.6), (-0.9, -1.2), (0.0, -0.6), (0.9, -1.2)])
    axes.add_patch(Polygon(nose, closed=True, facecolor="#ffffff", edgecolor="none", zorder=6))


def _draw_rings(axes: Axes, style: BevStyle, size: float) -> None:
    """Circles of equal range, labelled where they cross the forward axis."""
    reach = float(max(np.abs([*style.x, *style.y])))
    step = 10 if reach <= 60 else 25
    for radius in range(step, int(reach * 1.42) + 1, step):
        axes.add_patch(
            Circle((0, 0), radius, fill=False, edgecolor=_RING, linewidth=0.9 * size, zorder=1)
        )
        # The outermost label would stand on the edge of the picture or under the title.
        if style.labels and radius < 0.9 * style.x[1]:
            axes.text(
                0, radius, f"{radius} m", color=_TEXT, fontsize=8 * size, alpha=0.8,
                ha="center", va="center", zorder=3.5,
                bbox={"facecolor": _BACKGROUND, "edgecolor": "none", "pad": 1.0, "alpha": 0.6},
            )  # fmt: skip


def _scatter(
    axes: Axes,
    across: NDArray[np.float32],
    up: NDArray[np.float32],
    height: NDArray[np.float32],
    style: BevStyle,
    size: float,
) -> None:
    """Points (N,) as small dots coloured by height [m]."""
    axes.scatter(
        across, up, c=height, cmap=_HEIGHTS, vmin=style.height[0], vmax=style.height[1],
        s=1.3 * size**2, marker="o", linewidths=0, zorder=3,
    )  # fmt: skip


def _draw_scores(
    axes: Axes, boxes: Boxes3D, colours: Sequence[str], style: BevStyle, size: float
) -> None:
    """Scores at the right of each box, left out where the box is outside of the picture."""
    for i in range(len(boxes)):
        x, y = float(boxes.center[i, 0]), float(boxes.center[i, 1])
        if not (style.x[0] < x < style.x[1] and style.y[0] < y < style.y[1]):
            continue
        yaw = float(boxes.yaw[i])
        reach = abs(np.sin(yaw)) * boxes.size[i, 0] / 2 + abs(np.cos(yaw)) * boxes.size[i, 1] / 2
        axes.annotate(
            f"{boxes.score[i]:.2f}", (-y + float(reach), x), xytext=(3 * size, 0),
            textcoords="offset points", color=colours[i], fontsize=7.5 * size, va="center",
            zorder=7, annotation_clip=True,
        )  # fmt: skip


def _draw_words(
    axes: Axes, boxes: Boxes3D, truth: Boxes3D | None, title: str, size: float
) -> None:
    """The title, and what each colour means, with counts."""
    box = {"facecolor": _BACKGROUND, "edgecolor": "none", "alpha": 0.8, "pad": 3 * size}
    top, line = 0.982, 0.024
    if title:
        axes.text(
            0.016, top, title, transform=axes.transAxes, color="#e6edf3", fontsize=11 * size,
            va="top", zorder=9, bbox=box,
        )  # fmt: skip
        top -= 0.034
    rows = [
        (class_colour(name, boxes.classes), f"{name}  {count}")
        for label, name in enumerate(boxes.classes)
        if (count := int(np.count_nonzero(boxes.label == label)))
    ]
    if truth is not None:
        rows.append((_TRUTH, f"truth  {len(truth)} (dashed)"))
    for i, (colour, words) in enumerate(rows or [(_TEXT, "no objects")]):
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
    _bare(axes)
    axes.set(xlim=style.x, ylim=(style.height[0] - 0.7, style.height[1] + 2.5))
    axes.axhline(axes.get_ylim()[1], color=_RING, linewidth=2 * size)
    xyz = cloud.xyz[np.abs(cloud.xyz[:, 1]) < max(np.abs(style.y))]
    _scatter(axes, xyz[:, 0], xyz[:, 2], xyz[:, 2], style, size)
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


def _bare(axes: Axes) -> None:
    """No ticks, no frame."""
    axes.set_facecolor(_BACKGROUND)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _outline(boxes: Boxes3D) -> NDArray[np.float32]:
    """(N, 4, 2) corners on the picture: right, up [m]; front left first."""
    corners = boxes.corners()[:, :4]
    return np.stack([-corners[..., 1], corners[..., 0]], axis=-1)
