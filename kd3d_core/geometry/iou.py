"""Overlap of oriented boxes: exact polygon clipping, compiled by numba on first use."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kd3d_core.geometry.boxes import Boxes3D


@njit(cache=True, nogil=True)
def _clip(
    source: NDArray[np.float64], count: int, axis: int, sign: float, limit: float,
    target: NDArray[np.float64],
) -> int:  # fmt: skip
    """Keep the part of a convex polygon where sign * coordinate <= limit.

    Sutherland and Hodgman (Communications of the ACM 17, 1974), one half-plane.

    Args:
        source: (12, 2) buffer whose first `count` rows are the vertices [m].
        count: Number of vertices.
        axis: 0 to bound x, 1 to bound y.
        sign: +1 for an upper bound, -1 for a lower one.
        limit: The bound, times `sign` [m].
        target: (12, 2) buffer for the clipped polygon.

    Returns:
        The number of vertices written.
    """
    written = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        here = limit - sign * source[i, axis]
        there = limit - sign * source[j, axis]
        if here >= 0.0:
            target[written, 0] = source[i, 0]
            target[written, 1] = source[i, 1]
            written += 1
        if (here > 0.0 and there < 0.0) or (here < 0.0 and there > 0.0):
            share = here / (here - there)
            target[written, 0] = source[i, 0] + share * (source[j, 0] - source[i, 0])
            target[written, 1] = source[i, 1] + share * (source[j, 1] - source[i, 1])
            written += 1
    return written


@njit(cache=True, nogil=True)
def overlap_area(
    a: NDArray[np.floating], b: NDArray[np.floating], work: NDArray[np.float64]
) -> float:
    """Area [m2] shared by two rectangles seen from above; for use inside other kernels.

    `b` is moved into the frame of `a`, where `a` is aligned with the axes, and clipped by its four
    sides: no intersection points of nearly parallel edges are ever solved for, so identical and
    touching boxes are exact to rounding.

    Args:
        a: (5,) float32 or float64: x, y, length, width [m], yaw [rad].
        b: (5,) the same.
        work: (2, 12, 2) float64 scratch.
    """
    half_length = abs(np.float64(a[2])) / 2
    half_width = abs(np.float64(a[3])) / 2
    other_length = abs(np.float64(b[2])) / 2
    other_width = abs(np.float64(b[3])) / 2
    dx = np.float64(b[0]) - np.float64(a[0])
    dy = np.float64(b[1]) - np.float64(a[1])
    reach = math.hypot(half_length, half_width) + math.hypot(other_length, other_width)
    if not dx * dx + dy * dy < reach * reach:  # also leaves when a coordinate is NaN
        return 0.0
    cos_a, sin_a = math.cos(a[4]), math.sin(a[4])
    turn = np.float64(b[4]) - np.float64(a[4])
    cos_t, sin_t = math.cos(turn), math.sin(turn)
    x = cos_a * dx + sin_a * dy
    y = cos_a * dy - sin_a * dx
    polygon, other = work[0], work[1]
    for i in range(4):
        along = other_length if i == 0 or i == 3 else -other_length
        across = other_width if i < 2 else -other_width
        polygon[i, 0] = x + cos_t * along - sin_t * across
        polygon[i, 1] = y + sin_t * along + cos_t * across
    count = _clip(polygon, 4, 0, 1.0, half_length, other)
    count = _clip(other, count, 0, -1.0, half_length, polygon)
    count = _clip(polygon, count, 1, 1.0, half_width, other)
    count = _clip(other, count, 1, -1.0, half_width, polygon)
    twice = 0.0
    for i in range(1, count - 1):
        ux, uy = polygon[i, 0] - polygon[0, 0], polygon[i, 1] - polygon[0, 1]
        vx, vy = polygon[i + 1, 0] - polygon[0, 0], polygon[i + 1, 1] - polygon[0, 1]
        twice += ux * vy - uy * vx
    return max(twice / 2, 0.0)


@njit(cache=True, nogil=True)
def pair_iou(a: NDArray[np.float32], b: NDArray[np.float32], work: NDArray[np.float64]) -> float:
    """IoU in [0, 1] of two rectangles (5,) float32 seen from above; 0 where both have no area.

    `work` is (2, 12, 2) float64 scratch, as for `overlap_area`.
    """
    shared = overlap_area(a, b, work)
    if shared <= 0.0:
        return 0.0
    area = abs(np.float64(a[2]) * a[3]) + abs(np.float64(b[2]) * b[3]) - shared
    return min(shared / area, 1.0)


@njit(cache=True, nogil=True)
def _overlap_matrix(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, M) float64 shared areas [m2] of (N, 5) and (M, 5) float32 rectangles."""
    work = np.empty((2, 12, 2), np.float64)
    result = np.zeros((len(a), len(b)), np.float64)
    for i in range(len(a)):
        for j in range(len(b)):
            result[i, j] = overlap_area(a[i], b[j], work)
    return result


def bev_overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Shared area of every pair of rectangles seen from above.

    Args:
        a: (N, 5) x, y, length, width [m], yaw [rad], as `Boxes3D.bev` gives them.
        b: (M, 5) the same.

    Returns:
        (N, M) float64 areas [m2].
    """
    return _overlap_matrix(_rectangles(a), _rectangles(b))


def bev_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of every pair of rectangles seen from above.

    Args:
        a: (N, 5) x, y, length, width [m], yaw [rad], as `Boxes3D.bev` gives them.
        b: (M, 5) the same.

    Returns:
        (N, M) float32 in [0, 1]; 0 where both rectangles have no area.
    """
    a, b = _rectangles(a), _rectangles(b)
    area_a = np.abs(a[:, 2].astype(np.float64) * a[:, 3])
    area_b = np.abs(b[:, 2].astype(np.float64) * b[:, 3])
    return _ratio(_overlap_matrix(a, b), area_a, area_b)


def iou_3d(a: Boxes3D, b: Boxes3D) -> NDArray[np.float32]:
    """Intersection over union by volume of N and M upright boxes.

    Returns:
        (N, M) float32 in [0, 1]; 0 where both boxes have no volume.
    """
    z_a, z_b = a.center[:, 2].astype(np.float64), b.center[:, 2].astype(np.float64)
    half_a, half_b = a.size[:, 2] / 2, b.size[:, 2] / 2
    top = np.minimum((z_a + half_a)[:, None], (z_b + half_b)[None])
    bottom = np.maximum((z_a - half_a)[:, None], (z_b - half_b)[None])
    shared = bev_overlap(a.bev, b.bev) * np.maximum(top - bottom, 0.0)
    return _ratio(shared, _volume(a), _volume(b))


def _volume(boxes: Boxes3D) -> NDArray[np.float64]:
    """(N,) float64 volumes [m3]."""
    return np.prod(boxes.size, axis=1, dtype=np.float64)


def _ratio(
    shared: NDArray[np.float64], of_a: NDArray[np.float64], of_b: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(N, M) float32 shared over union, of measures (N,) and (M,); 0 where nothing is shared."""
    union = of_a[:, None] + of_b[None] - shared
    ratio = np.divide(shared, union, out=np.zeros_like(shared), where=(shared > 0) & (union > 0))
    return np.clip(ratio, 0.0, 1.0).astype(np.float32)


def _rectangles(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 5) float32, C-contiguous: the one layout that the kernels are compiled for."""
    array = np.ascontiguousarray(boxes, np.float32)
    if array.ndim != 2 or array.shape[1] != 5:
        raise ValueError(f"rectangles have shape {array.shape}, not (N, 5)")
    return array
