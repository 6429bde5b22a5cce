"""Greedy non-maximum suppression of oriented boxes and of centres."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kd3d_core.geometry.iou import pair_iou


@njit(cache=True, nogil=True)
def _rotated(
    boxes: NDArray[np.float32],
    label: NDArray[np.int64],
    order: NDArray[np.int64],
    threshold: NDArray[np.float64],
    most: int,
) -> NDArray[np.int64]:
    """Kept indices (K,) of boxes (N, 5), visited in `order` (N,), at most `most`."""
    work = np.empty((2, 12, 2), np.float64)
    reach = np.hypot(boxes[:, 2], boxes[:, 3]) / 2
    kept = np.empty(min(len(order), most), np.int64)
    count = 0
    for index in order:
        if count == len(kept):
            break
        free = True
        for k in range(count):
            other = kept[k]
            if label[other] != label[index]:
                continue
            # Most pairs are far apart: circles round the boxes tell without any trigonometry.
            dx, dy = boxes[other, 0] - boxes[index, 0], boxes[other, 1] - boxes[index, 1]
            limit = reach[other] + reach[index]
            if dx * dx + dy * dy > limit * limit:
                continue
            if pair_iou(boxes[other], boxes[index], work) > threshold[index]:
                free = False
                break
        if free:
            kept[count] = index
            count += 1
    return kept[:count].copy()


@njit(cache=True, nogil=True)
def _circle(
    centers: NDArray[np.float32],
    label: NDArray[np.int64],
    order: NDArray[np.int64],
    radius: NDArray[np.float64],
    most: int,
) -> NDArray[np.int64]:
    """Kept indices (K,) of centres (N, 2), visited in `order` (N,), at most `most`."""
    kept = np.empty(min(len(order), most), np.int64)
    count = 0
    for index in order:
        if count == len(kept):
            break
        free = True
        for k in range(count):
            if label[kept[k]] != label[index]:
                continue
            dx = np.float64(centers[kept[k], 0]) - centers[index, 0]
            dy = np.float64(centers[kept[k], 1]) - centers[index, 1]
            if dx * dx + dy * dy < radius[index] * radius[index]:
                free = False
                break
        if free:
            kept[count] = index
            count += 1
    return kept[:count].copy()


def rotated_nms(
    bev: NDArray[np.float32],
    score: NDArray[np.float32],
    threshold: float | NDArray[np.float64],
    *,
    label: NDArray[np.int64] | None = None,
    most: int | None = None,
) -> NDArray[np.int64]:
    """Keep the best of boxes that overlap, judged by their rotated IoU seen from above.

    Args:
        bev: (N, 5) x, y, length, width [m], yaw [rad].
        score: (N,), higher is better; equal scores go by index.
        threshold: A box whose IoU with a kept one is above this is left out; one value, or (N,),
            of which that of the weaker box counts.
        label: (N,) classes; only boxes of one class compete. None: all do.
        most: Stop when so many are kept; None keeps all.

    Returns:
        (K,) int64 indices of the kept boxes, by falling score.
    """
    boxes = np.ascontiguousarray(bev, np.float32).reshape(-1, 5)
    count = len(boxes)
    order = _falling(score, count)
    return _rotated(boxes, _labels(label, count), order, _limits(threshold, count), most or count)


def circle_nms(
    xy: NDArray[np.float32],
    score: NDArray[np.float32],
    radius: float | NDArray[np.float64],
    *,
    label: NDArray[np.int64] | None = None,
    most: int | None = None,
) -> NDArray[np.int64]:
    """Keep the best of centres that are near to each other (CenterPoint, CVPR 2021, sec. 5).

    Args:
        xy: (N, 2) centres [m].
        score: (N,), higher is better; equal scores go by index.
        radius: A centre nearer than this [m] to a kept one is left out; one value, or (N,), of
            which that of the weaker centre counts.
        label: (N,) classes; only centres of one class compete. None: all do.
        most: Stop when so many are kept; None keeps all.

    Returns:
        (K,) int64 indices of the kept centres, by falling score.
    """
    centers = np.ascontiguousarray(xy, np.float32).reshape(-1, 2)
    count = len(centers)
    order = _falling(score, count)
    return _circle(centers, _labels(label, count), order, _limits(radius, count), most or count)


def _labels(label: NDArray[np.int64] | None, count: int) -> NDArray[np.int64]:
    """(N,) int64 classes; zeros for none."""
    if label is None:
        return np.zeros(count, np.int64)
    return np.ascontiguousarray(label, np.int64)


def _limits(value: float | NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """(N,) float64: one limit for each box."""
    return np.ascontiguousarray(np.broadcast_to(np.asarray(value, np.float64), (count,)))


def _falling(score: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """(N,) int64 order of falling score, stable."""
    score = np.asarray(score, np.float32)
    if score.shape != (count,):
        raise ValueError(f"score has shape {score.shape}, not {(count,)}")
    return np.argsort(-score, kind="stable").astype(np.int64)
