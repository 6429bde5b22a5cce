"""What pictures from above are made of: a theme, an extent, rings, points, outlines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

try:
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Circle
    from matplotlib.patches import Polygon
except ImportError as _error:
    raise Kd3dError("pictures need matplotlib: pip install 'kd3d_ros[viz]'.") from _error

#: Pixels of an inch; sizes of text and lines in the pictures are meant for this many.
DPI = 100
#: Cells of the grid on which points are painted, for each pixel.
_FINE = 2


@dataclass(frozen=True)
class Theme:
    """The colours of everything but the boxes.

    Attributes:
        background: Behind everything.
        ring: Circles of equal range.
        text: Quiet words.
        title: Words that stand out.
        sensor: The arrow at the origin.
        heights: Colours of the points, from the lowest to the highest.
    """

    background: str
    ring: str
    text: str
    title: str
    sensor: str
    heights: tuple[str, ...]


DARK = Theme(
    background="#0d1117",
    ring="#2d3846",
    text="#aab6c5",
    title="#e6edf3",
    sensor="#ffffff",
    heights=("#2b3f5c", "#3d6a8a", "#58939b", "#93b28f", "#d9cf8b", "#f3e7b9"),
)
#: For paper: the ground is faint, what stands on it is darker.
LIGHT = Theme(
    background="#ffffff",
    ring="#dde3ea",
    text="#66707c",
    title="#1c2128",
    sensor="#1c2128",
    heights=("#d3dae2", "#c3ccd6", "#9aa7b5", "#7a8896", "#66737f", "#55616d"),
)


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
        rings: Radii of the circles [m]; None chooses them by the extent.
        theme: Colours.
    """

    x: tuple[float, float] = (-51.2, 51.2)
    y: tuple[float, float] = (-51.2, 51.2)
    height: tuple[float, float] = (-2.5, 1.5)
    pixels: int = 1000
    scores: bool = True
    side: bool = False
    labels: bool = True
    rings: tuple[float, ...] | None = None
    theme: Theme = DARK


def bare(axes: Axes, theme: Theme) -> None:
    """No ticks, no frame."""
    axes.set_facecolor(theme.background)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_ground(axes: Axes, cloud: PointCloud, style: BevStyle, size: float) -> None:
    """All that lies below the boxes: rings, the points that are in sight, the sensor.

    Args:
        axes: Its limits are set to `style`'s extent: left is left, forward is up.
        cloud: Points in the sensor's frame.
        style: Extent and colours.
        size: Scale of lines and text; 1 for a picture of 1000 pixels.
    """
    axes.set(xlim=(-style.y[1], -style.y[0]), ylim=style.x)
    bare(axes, style.theme)
    _draw_rings(axes, style, size)
    xyz = cloud.xyz
    seen = (
        (xyz[:, 0] >= style.x[0])
        & (xyz[:, 0] < style.x[1])
        & (xyz[:, 1] >= style.y[0])
        & (xyz[:, 1] < style.y[1])
    )
    shown = xyz[seen][np.argsort(xyz[seen][:, 2], kind="stable")]  # the highest on top
    draw_points(axes, -shown[:, 1], shown[:, 0], shown[:, 2], style, size)
    nose = np.array([(0.0, 1.6), (-0.9, -1.2), (0.0, -0.6), (0.9, -1.2)])
    axes.add_patch(
        Polygon(nose, closed=True, facecolor=style.theme.sensor, edgecolor="none", zorder=6)
    )


def draw_points(
    axes: Axes,
    across: NDArray[np.float32],
    up: NDArray[np.float32],
    height: NDArray[np.float32],
    style: BevStyle,
    size: float,
) -> None:
    """Points (N,) as small dots coloured by height [m]; later ones cover earlier ones.

    The dots are painted here, on a grid twice as fine as the picture: matplotlib takes seconds
    for a sweep.
    """
    box = axes.get_window_extent()
    columns, rows = _FINE * round(box.width), _FINE * round(box.height)
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    x = np.floor((across - left) / (right - left) * columns).astype(np.int64)
    y = np.floor((high - up) / (high - low) * rows).astype(np.int64)
    bottom, top = style.height
    level = np.clip((height - bottom) / max(top - bottom, 1e-6), 0, 1) * 254 + 1
    x, y = x[:, None] + _dot(size)[:, 0], y[:, None] + _dot(size)[:, 1]
    inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    levels = np.zeros((rows, columns), np.uint8)
    levels[y[inside], x[inside]] = np.broadcast_to(level[:, None], x.shape)[inside]
    axes.imshow(
        _smoothed(levels, style.theme.heights), extent=(left, right, low, high), aspect="auto",
        interpolation="nearest", zorder=3,
    )  # fmt: skip


def _dot(size: float) -> NDArray[np.int64]:
    """(K, 2) cells of the fine grid that one dot covers, around its own."""
    radius = _FINE * 0.79 * size
    reach = np.arange(-int(radius), int(radius) + 1)
    cells = np.stack(np.meshgrid(reach, reach), axis=-1).reshape(-1, 2)
    return cells[np.hypot(*cells.T) <= radius]


def _smoothed(levels: NDArray[np.uint8], heights: Sequence[str]) -> NDArray[np.uint8]:
    """(rows, columns, 4) uint8 colours of the picture from levels on the fine grid; 0: nothing."""
    colours = (_colormap(heights)(np.linspace(0, 1, 255)) * 255).round().astype(np.uint16)
    table = np.concatenate([np.zeros((1, 4), np.uint16), colours])
    cells = [table[levels[i::_FINE, j::_FINE]] for i in range(_FINE) for j in range(_FINE)]
    total = sum(cells[1:], cells[0])
    covered = np.maximum(total[..., 3:] // 255, 1)
    result = total // covered  # the mean colour of what is covered
    result[..., 3] = total[..., 3] // _FINE**2
    return result.astype(np.uint8)


def outline(boxes: Boxes3D) -> NDArray[np.float32]:
    """(N, 4, 2) corners on the picture: right, up [m]; front left first."""
    corners = boxes.corners()[:, :4]
    return np.stack([-corners[..., 1], corners[..., 0]], axis=-1)


def ticks(outlines: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 2, 2) lines from the middle of (N, 4, 2) outlines to a little beyond their fronts."""
    front = outlines[:, [0, 3]].mean(axis=1)
    middle = outlines.mean(axis=1)
    return np.stack([middle, front + 0.35 * (front - middle)], axis=1)


def reach(boxes: Boxes3D) -> NDArray[np.float64]:
    """(N,) how far each box goes to the right of its centre on the picture [m]."""
    turned = np.abs(np.sin(boxes.yaw)) * boxes.size[:, 0]
    return (turned + np.abs(np.cos(boxes.yaw)) * boxes.size[:, 1]).astype(np.float64) / 2


def _draw_rings(axes: Axes, style: BevStyle, size: float) -> None:
    """Circles of equal range, labelled where they cross the forward axis."""
    for radius in _radii(style) if style.rings is None else style.rings:
        axes.add_patch(
            Circle(
                (0, 0), radius, fill=False, edgecolor=style.theme.ring, linewidth=0.9 * size,
                zorder=1,
            )
        )  # fmt: skip
        # The outermost label would stand on the edge of the picture or under the title.
        if style.labels and style.x[0] < radius < 0.9 * style.x[1]:
            axes.text(
                0, radius, f"{radius:g} m", color=style.theme.text, fontsize=8 * size, alpha=0.8,
                ha="center", va="center", zorder=3.5, clip_on=True,
                bbox={"facecolor": style.theme.background, "edgecolor": "none", "pad": 1.0,
                      "alpha": 0.6},
            )  # fmt: skip


def _radii(style: BevStyle) -> Sequence[float]:
    """Every 10 or 25 m, out to the corners."""
    farthest = float(max(np.abs([*style.x, *style.y])))
    step = 10 if farthest <= 60 else 25
    return range(step, math.floor(farthest * 1.42) + 1, step)


def _colormap(colours: Sequence[str]) -> LinearSegmentedColormap:
    """A smooth map through `colours`."""
    return LinearSegmentedColormap.from_list("heights", colours)
