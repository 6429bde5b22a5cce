"""Greedy non-maximum suppression of oriented boxes and of centres."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kd3d_core.geometry.iou import pair_iou


@njit(cache=True, nogil=True)
def _rotated(
    boxes: NDArray[np.float32], order: NDArray[np.int64], threshold: float
) -> NDArray[np.int64]:
    """Kept indices (K,) of boxes (N, 5), visited in `order` (N,)."""
    work = np.empty((2, 12, 2), np.float64)
    reach = np.hypot(boxes[:, 2], boxes[:, 3]) / 2
    kept = np.empty(len(order), np.int64)
    count = 0
    for index in order:
        free = True
        for k in range(count):
            other = kept[k]
            # Most pairs are far apart: circles round the boxes tell without any trigonometry.
            dx, dy = boxes[other, 0] - boxes[index, 0], boxes[other, 1] - boxes[index, 1]
            limit = reach[other] + reach[index]
            if dx * dx + dy * dy > limit * limit:
                continue
            if pair_iou(boxes[other], boxes[index], work) > threshold:
                free = False
                break
        if free:
            kept[count] = index
            count += 1
    return kept[:count].copy()


@njit(cache=True, nogil=True)
def _circle(
    centers: NDArray[np.float32], order: NDArray[np.int64], radius: float
) -> NDArray[np.int64]:
    """Kept indices (K,) of centres (N, 2), visited in `order` (N,)."""
    kept = np.empty(len(order), np.int64)
    count = 0
    for index in order:
        free = True
        for k in range(count):
            dx = np.float64(centers[kept[k], 0]) - centers[index, 0]
            dy = np.float64(centers[kept[k], 1]) - centers[index, 1]
            if dx * dx + dy * dy < radius * radius:
                free = False
                break
        if free:
            kept[count] = index
            count += 1
    return kept[:count].copy()


def rotated_nms(
    bev: NDArray[np.float32], score: NDArray[np.float32], threshold: float
) -> NDArray[np.int64]:
    """Keep the best of boxes that overlap, judged by their rotated IoU seen from above.

    Args:
        bev: (N, 5) x, y, length, width [m], yaw [rad].
        score: (N,), higher is better; equal scores go by index.
        threshold: A box whose IoU with a kept one is above this is left out.

    Returns:
        (K,) int64 indices of the kept boxes, by falling score.
    """
    boxes = np.ascontiguousarray(bev, np.float32).reshape(-1, 5)
    return _rotated(boxes, _falling(score, len(boxes)), float(threshold))


def circle_nms(
    xy: NDArray[np.float32], score: NDArray[np.float32], radius: float
) -> NDArray[np.int64]:
    """Keep the best of centres that are near to each other (CenterPoint, CVPR 2021, sec. 5).

    Args:
        xy: (N, 2) centres [m].
        score: (N,), higher is better; equal scores go by index.
        radius: A centre nearer than this [m] to a kept one is left out.

    Returns:
        (K,) int64 indices of the kept centres, by falling score.
    """
    centers = np.ascontiguousarray(xy, np.float32).reshape(-1, 2)
    return _circle(centers, _falling(score, len(centers)), float(radius))


def _falling(score: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """(N,) int64 order of falling score, stable."""
    score = np.asarray(score, np.float32)
    if score.shape != (count,):
        raise ValueError(f"score has shape {score.shape}, not {(count,)}")
    return np.argsort(-score, kind="stable").astype(np.int64)
