"""Ground truth to what the head should have said: CenterPoint (CVPR 2021), sec. 4."""

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kd3d_core.codec.anchor_targets import AnchorTargets
from kd3d_core.codec.anchor_targets import assign_anchors
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.layout import AnchorLayout
from kd3d_core.codec.layout import CenterLayout
from kd3d_core.codec.rotation import encode_rotation
from kd3d_core.geometry.boxes import Boxes3D

#: A peak reaches every box whose overlap with the truth would still be this large.
MIN_OVERLAP = 0.1
#: The smallest radius of a peak [output cells].
MIN_RADIUS = 2
#: Heat of a place that is left open. The focal loss weighs background by (1 - heat)^4, so next to
#: 1 it asks for nothing, and only exactly 1 asks for a peak.
OPEN = np.nextafter(np.float32(1), np.float32(0))


@dataclass(frozen=True, eq=False)
class CenterTargets:
    """Training targets of one frame: K classes, M objects, maps of H rows and W columns.

    Attributes:
        heatmap: (K, H, W) float32 in [0, 1]: a Gaussian at each centre, exactly 1 in its cell;
            `OPEN` where nobody knows.
        cell: (M,) int64 output cell of each centre: row * W + column.
        label: (M,) int64 class.
        offset: (M, 2) float32 centre minus the low corner of its cell, x then y, in output cells.
        height: (M, 1) float32 z of the centre [m].
        size: (M, 3) float32 natural logarithm of length, width, height [m].
        rotation: (M, 4) float32 as `encode_rotation` gives them.
        velocity: (M, 2) float32 vx, vy [m/s]; NaN where unknown.
        anchors: What the anchors of the same frame should say; None for a centre head.
    """

    heatmap: NDArray[np.float32]
    cell: NDArray[np.int64]
    label: NDArray[np.int64]
    offset: NDArray[np.float32]
    height: NDArray[np.float32]
    size: NDArray[np.float32]
    rotation: NDArray[np.float32]
    velocity: NDArray[np.float32]
    anchors: AnchorTargets | None = None

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.cell)


@njit(cache=True, nogil=True)
def gaussian_radius(length: float, width: float, min_overlap: float) -> float:
    """How far both ends of a diagonal may move while the IoU stays `min_overlap`.

    CornerNet (ECCV 2018), sec. 3.2, solved for its three cases: the box is shifted, shrinks or
    grows by the radius at each corner; the smallest answer counts.

    Args:
        length: Length of the box [cells].
        width: Width of the box [cells].
        min_overlap: In (0, 1).

    Returns:
        The radius [cells].
    """
    total = length + width
    area = length * width
    shift = 4.0 * area * (1.0 - min_overlap) / (1.0 + min_overlap)
    shifted = (total - math.sqrt(max(total * total - shift, 0.0))) / 2.0
    shrink = 4.0 * total * total - 16.0 * (1.0 - min_overlap) * area
    shrunk = (2.0 * total - math.sqrt(max(shrink, 0.0))) / 8.0
    growth = min_overlap * total
    slack = growth * growth + 4.0 * min_overlap * (1.0 - min_overlap) * area
    grown = (math.sqrt(slack) - growth) / (4.0 * min_overlap)
    return min(shifted, shrunk, grown)


@njit(cache=True, nogil=True)
def _draw(
    heatmap: NDArray[np.float32],
    label: NDArray[np.int64],
    cell: NDArray[np.int64],
    radius: NDArray[np.int64],
) -> None:
    """Paint M peaks into (K, H, W) in place; where they meet the higher value stays."""
    _, rows, columns = heatmap.shape
    for i in range(len(label)):
        row, column = cell[i] // columns, cell[i] % columns
        r = radius[i]
        # CenterNet: the kernel of 2 r + 1 cells spans six standard deviations.
        sigma = (2.0 * r + 1.0) / 6.0
        for y in range(max(row - r, 0), min(row + r + 1, rows)):
            for x in range(max(column - r, 0), min(column + r + 1, columns)):
                square = (y - row) ** 2 + (x - column) ** 2
                value = np.float32(math.exp(-square / (2.0 * sigma * sigma)))
                heatmap[label[i], y, x] = max(heatmap[label[i], y, x], value)


def make_targets(
    boxes: Boxes3D,
    grid: BevGrid,
    stride: int,
    *,
    num_points: NDArray[np.int64] | None = None,
    min_points: int = 0,
    doubtful: NDArray[np.bool_] | None = None,
    max_objects: int = 500,
    layout: CenterLayout | AnchorLayout | None = None,
) -> CenterTargets:
    """Targets for the boxes whose centres lie on the grid.

    `decode` gives the same boxes back from maps that fulfil the targets, as long as no two of one
    class share a cell.

    Args:
        boxes: Ground truth in the frame of the grid.
        grid: The input grid.
        stride: Grid cells per output cell.
        num_points: (N,) LiDAR points in each box; needed for `min_points`.
        min_points: Boxes with fewer points are left out: nothing in the cloud tells of them.
        doubtful: (N,) bool: boxes of which nobody knows whether they are there. They are no
            objects, and where their peak would be, a detection of their class costs nothing.
        max_objects: Boxes beyond this many are left out.
        layout: The kind of head that learns; None for a centre head. One with anchors gets
            targets of both kinds: the centres tell distillation where the objects are.
    """
    rows, columns = grid.shape[0] // stride, grid.shape[1] // stride
    step = grid.cell * stride
    x = (boxes.center[:, 0].astype(np.float64) - grid.x[0]) / step
    y = (boxes.center[:, 1].astype(np.float64) - grid.y[0]) / step
    column, row = np.floor(x), np.floor(y)
    keep = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    keep &= (boxes.size > 0).all(axis=1)
    unsure = np.zeros(len(boxes), np.bool_) if doubtful is None else keep & doubtful
    keep &= ~unsure
    if min_points > 0:
        if num_points is None:
            raise ValueError("make_targets: min_points needs num_points")
        keep &= np.asarray(num_points) >= min_points
    index = np.flatnonzero(keep)[:max_objects]
    kept = boxes[index]
    cell = (row[index] * columns + column[index]).astype(np.int64)
    heatmap = np.zeros((len(boxes.classes), rows, columns), np.float32)
    _draw(heatmap, kept.label, cell, _radii(kept, step))
    for i, reach in zip(np.flatnonzero(unsure), _radii(boxes[unsure], step), strict=True):
        low, left = (int(max(place[i] - reach, 0)) for place in (row, column))
        high, right = (int(place[i] + reach + 1) for place in (row, column))
        window = heatmap[boxes.label[i], low:high, left:right]
        np.maximum(window, OPEN, out=window)
    assigned = None
    if isinstance(layout, AnchorLayout):
        order = [layout.anchors[name] for name in boxes.classes]
        assigned = assign_anchors(kept, grid, stride, order, boxes[unsure])
    return CenterTargets(
        heatmap=heatmap,
        cell=cell,
        label=kept.label,
        offset=np.stack([x[index] - column[index], y[index] - row[index]], 1).astype(np.float32),
        height=kept.center[:, 2:].copy(),
        size=np.log(kept.size),
        rotation=encode_rotation(kept.yaw),
        velocity=kept.velocity,
        anchors=assigned,
    )


def _radii(boxes: Boxes3D, step: float) -> NDArray[np.int64]:
    """(N,) int64 reach of the peaks of boxes [output cells], for cells of edge `step` [m]."""
    return np.array(
        [
            max(MIN_RADIUS, int(gaussian_radius(length / step, width / step, MIN_OVERLAP)))
            for length, width in boxes.size[:, :2].astype(np.float64)
        ],
        np.int64,
    )
