"""How much of a box a LiDAR sweep sees: the share of the rays that are not stopped before it."""

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.boxes import Boxes3D

#: A ray that ends this near before a box still reached it [m].
MARGIN = 0.2
#: Fewer rays than this say nothing.
FEWEST = 3
#: From these shares on a box is visible, or partly occluded; below it is largely occluded.
VISIBLE, PARTLY = 0.8, 0.4


def visible_share(
    boxes: Boxes3D, points: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The share of the rays towards each box that end in it or behind it.

    Args:
        boxes: N boxes in the sensor frame.
        points: (M, 3 or more) of the whole sweep, whose rays start at the origin [m].

    Returns:
        (N,) float64 in [0, 1], 0 without rays, and (N,) int64 rays towards each box.
    """
    xyz = points[:, :3].astype(np.float64)
    distance = np.linalg.norm(xyz, axis=1)
    xyz, distance = xyz[distance > 1e-3], distance[distance > 1e-3]
    rays = xyz / distance[:, None]
    share, count = np.zeros(len(boxes)), np.zeros(len(boxes), np.int64)
    for i in range(len(boxes)):
        center = boxes.center[i].astype(np.float64)
        away = float(np.linalg.norm(center))
        radius = float(np.linalg.norm(boxes.size[i])) / 2
        # A cone around the box first: of 120,000 rays few go near it.
        least = -1.0 if away <= radius else np.sqrt(1 - (radius / away) ** 2)
        near = np.flatnonzero(rays @ (center / max(away, 1e-9)) >= least)
        entry = _entry(rays[near], center, boxes.size[i].astype(np.float64), float(boxes.yaw[i]))
        hit = np.isfinite(entry)
        count[i] = np.count_nonzero(hit)
        if count[i]:
            share[i] = (distance[near][hit] >= entry[hit] - MARGIN).mean()
    return share, count


def occlusion_level(share: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.int64]:
    """KITTI's levels by `visible_share`: 0 visible, 1 partly, 2 largely occluded, 3 unknown."""
    level = np.where(share >= VISIBLE, 0, np.where(share >= PARTLY, 1, 2))
    return np.where(count < FEWEST, 3, level).astype(np.int64)


def _entry(
    rays: NDArray[np.float64], center: NDArray[np.float64], size: NDArray[np.float64], yaw: float
) -> NDArray[np.float64]:
    """(M,) float64 distance at which each ray enters a box, inf where it misses it."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    ahead, start = rays @ turn.T, -turn @ center
    ahead = np.where(np.abs(ahead) < 1e-12, 1e-12, ahead)
    one, other = (-size / 2 - start) / ahead, (size / 2 - start) / ahead
    enter = np.minimum(one, other).max(axis=1)
    leave = np.maximum(one, other).min(axis=1)
    return np.where((enter <= leave) & (leave > 0), np.maximum(enter, 0.0), np.inf)
