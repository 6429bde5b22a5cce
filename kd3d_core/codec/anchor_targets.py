"""Which anchor shall report which object: SECOND (Sensors 2018), "Anchors and Targets"."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kd3d_core.codec.anchors import Anchor
from kd3d_core.codec.anchors import anchor_boxes
from kd3d_core.codec.anchors import encode_boxes
from kd3d_core.codec.anchors import heading
from kd3d_core.codec.grid import BevGrid
from kd3d_core.geometry.boxes import Boxes3D

#: Labels of anchors that report nothing.
BACKGROUND = -1
IGNORED = -2


@dataclass(frozen=True, eq=False)
class AnchorTargets:
    """What the anchors of one frame should say: A slots of H rows and W columns, P positive.

    Attributes:
        label: (A, H, W) int8: the class that the anchor reports, `BACKGROUND` or `IGNORED`.
        positive: (P,) int64 number of each anchor that reports: (slot * H + row) * W + column.
        residual: (P, 7) float32 of its object, as `encode_boxes` gives them.
        direction: (P,) int64 `heading` of its object.
    """

    label: NDArray[np.int8]
    positive: NDArray[np.int64]
    residual: NDArray[np.float32]
    direction: NDArray[np.int64]


def assign_anchors(
    boxes: Boxes3D,
    grid: BevGrid,
    stride: int,
    anchors: Sequence[Anchor],
    doubtful: Boxes3D | None = None,
) -> AnchorTargets:
    """Match the anchors of each class with the boxes of the class.

    The overlap is the IoU seen from above of boxes turned to the nearer axis. An anchor reports
    the box it overlaps most where that is `matched` or more, or where no anchor overlaps that box
    more, so that every object within reach of an anchor is somebody's.

    Args:
        boxes: N objects on the grid, in the order of the classes.
        grid: The input grid.
        stride: Grid cells per output cell.
        anchors: One for each class, in the order of the classes.
        doubtful: Boxes of which nobody knows whether they are there: anchors that overlap one
            with `unmatched` or more, and report nothing else, are ignored.
    """
    rows, columns = grid.shape[0] // stride, grid.shape[1] // stride
    label = np.full((2 * len(anchors), rows, columns), BACKGROUND, np.int8)
    owner = np.full(label.shape, -1, np.int64)
    objects = _in_cells(boxes, grid, stride)
    unsure = None if doubtful is None else _in_cells(doubtful, grid, stride)
    for k, anchor in enumerate(anchors):
        slots = slice(2 * k, 2 * k + 2)
        length, width = (edge / (grid.cell * stride) for edge in anchor.size[:2])
        sizes = np.array([[length, width], [width, length]])
        mine = np.flatnonzero(boxes.label == k)
        best, whose, forced = _overlaps(objects[mine], sizes, rows, columns)
        reports = (best >= anchor.matched) | forced
        ignored = best >= anchor.unmatched
        if doubtful is not None and unsure is not None:
            near, _, _ = _overlaps(unsure[doubtful.label == k], sizes, rows, columns)
            ignored |= near >= anchor.unmatched
        label[slots][ignored] = IGNORED
        label[slots][reports] = k
        if len(mine):
            owner[slots] = mine[whose]
    positive = np.flatnonzero(label >= 0)
    matched = boxes[owner.reshape(-1)[positive]]
    values = np.concatenate([matched.center, matched.size, matched.yaw[:, None]], axis=1)
    residual = encode_boxes(values, anchor_boxes(positive, grid, stride, anchors))
    return AnchorTargets(
        label=label,
        positive=positive,
        residual=residual.astype(np.float32),
        direction=heading(matched.yaw),
    )


def _in_cells(boxes: Boxes3D, grid: BevGrid, stride: int) -> NDArray[np.float64]:
    """(N, 4) float64 centre x, y from the grid's low corner, extent along x, y [output cells]."""
    step = grid.cell * stride
    center = (boxes.center[:, :2].astype(np.float64) - (grid.x[0], grid.y[0])) / step
    across = np.abs(np.mod(boxes.yaw.astype(np.float64), math.pi) - math.pi / 2) < math.pi / 4
    size = boxes.size[:, :2].astype(np.float64) / step
    return np.concatenate([center, np.where(across[:, None], size[:, ::-1], size)], axis=1)


@njit(cache=True, nogil=True)
def _iou(box: NDArray[np.float64], x: float, y: float, size: NDArray[np.float64]) -> float:
    """IoU of a box (4,) with an anchor at x, y of extent (2,)."""
    width = min(box[0] + box[2] / 2, x + size[0] / 2) - max(box[0] - box[2] / 2, x - size[0] / 2)
    height = min(box[1] + box[3] / 2, y + size[1] / 2) - max(box[1] - box[3] / 2, y - size[1] / 2)
    if width <= 0.0 or height <= 0.0:
        return 0.0
    shared = width * height
    return shared / (box[2] * box[3] + size[0] * size[1] - shared)


@njit(cache=True, nogil=True)
def _window(center: float, reach: float, count: int) -> tuple[int, int]:
    """First and last + 1 of `count` cells whose centres are within `reach` of `center`."""
    low = min(max(math.floor(center - reach - 0.5), 0), count)
    high = max(min(math.ceil(center + reach - 0.5) + 1, count), low)
    return low, high


@njit(cache=True, nogil=True)
def _overlaps(
    boxes: NDArray[np.float64], sizes: NDArray[np.float64], rows: int, columns: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """What the anchors of one class overlap.

    Args:
        boxes: (N, 4) as `_in_cells` gives them, of that class.
        sizes: (2, 2) extents along x, y of the anchors at both yaws [output cells].
        rows: Output cells along y.
        columns: Output cells along x.

    Returns:
        (2, rows, columns) each: the best IoU of an anchor, the box it is with (0 where there is
        none), and whether no anchor overlaps some box more than this one.
    """
    best = np.zeros((2, rows, columns))
    owner = np.zeros((2, rows, columns), np.int64)
    forced = np.zeros((2, rows, columns), np.bool_)
    highest = np.zeros(len(boxes))
    # Twice over the same numbers: only after the first is known what the most of a box is.
    for second in (False, True):
        for n in range(len(boxes)):
            box = boxes[n]
            for turned in range(2):
                size = sizes[turned]
                left, right = _window(box[0], (box[2] + size[0]) / 2, columns)
                low, high = _window(box[1], (box[3] + size[1]) / 2, rows)
                for row in range(low, high):
                    for column in range(left, right):
                        iou = _iou(box, column + 0.5, row + 0.5, size)
                        if second:
                            if iou > 0.0 and iou == highest[n]:
                                forced[turned, row, column] = True
                            continue
                        highest[n] = max(highest[n], iou)
                        if iou > best[turned, row, column]:
                            best[turned, row, column] = iou
                            owner[turned, row, column] = n
    return best, owner, forced
