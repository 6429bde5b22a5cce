"""What a sweep looks like to its own sensor: returns in the order in which they were fired.

Everything that compares simulated with recorded sweeps starts here, with the same steps for both:
ground at height 0, returns sorted along the beams, what is missing between them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.ground import estimate_ground
from kd3d_core.pointcloud import PointCloud

#: Returns fewer than this after the last jump of the azimuth start no new ring: KITTI's correction
#: for the car's motion makes azimuths go to and fro at the seam.
_SHORTEST_RING = 150
#: In a file of rings, this share of the points is followed by one less than so far [rad] ahead.
_ORDERED, _STRIDE = 0.7, 0.1
#: Range jumps larger than this [m] to both neighbours make a return lonely.
_LONELY = 0.5
#: Neighbours farther apart than this many steps are no neighbours.
_NEXT = 1.6
#: At most this many missing returns in a row are a drop-out; more are sky or the own roof.
_DROP = 5


@dataclass(frozen=True, eq=False)
class Returns:
    """N returns of one sweep, sorted by ring and then by azimuth.

    Attributes:
        xyz: (N, 3) float32 [m], in the sensor's frame.
        height: (N,) float32 above the ground plane [m].
        range: (N,) float32, horizontally [m].
        azimuth: (N,) float32 [rad], in (-pi, pi].
        intensity: (N,) float32 in [0, 1].
        ring: (N,) int64, from the lowest beam up.
        missing: (N,) float32, returns missing between this one and the next of its ring, 0 to 5;
            NaN where more are missing.
        bend: (N,) float32 [m], half the second difference of the range along the ring; NaN where
            a neighbour is missing. Of a smooth surface, it is the noise of the ranges times
            sqrt(6) / 2.
        lonely: (N,) bool, far from both neighbours, which are there.
    """

    xyz: NDArray[np.float32]
    height: NDArray[np.float32]
    range: NDArray[np.float32]
    azimuth: NDArray[np.float32]
    intensity: NDArray[np.float32]
    ring: NDArray[np.int64]
    missing: NDArray[np.float32]
    bend: NDArray[np.float32]
    lonely: NDArray[np.bool_]


def returns_of(frame: Frame, origin: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Returns:
    """Sort the points of a sweep along its beams.

    Args:
        frame: A cloud with `ring`, or one whose points are stored ring after ring from the top
            down, as KITTI's are.
        origin: Of the sensor in the cloud's frame [m].

    Raises:
        Kd3dError: There are neither rings nor an order, or no ground and no known height.
    """
    cloud = frame.cloud
    height = _heights(frame)
    ring = _rings(cloud, frame.source)
    xyz = cloud.xyz - np.array(origin, np.float32)
    azimuth = np.arctan2(xyz[:, 1], xyz[:, 0])
    order = np.lexsort((azimuth, ring))
    xyz, azimuth, ring = xyz[order], azimuth[order], ring[order]
    slant = np.linalg.norm(xyz, axis=1)
    missing, bend, lonely = _along(ring, azimuth, slant)
    return Returns(
        xyz=xyz,
        height=height[order],
        range=np.hypot(xyz[:, 0], xyz[:, 1]),
        azimuth=azimuth,
        intensity=cloud.points[order, 3],
        ring=ring,
        missing=missing,
        bend=bend,
        lonely=lonely,
    )


def rings_in_order(cloud: PointCloud) -> NDArray[np.int64]:
    """The rings of points stored ring after ring from the top down, each counter-clockwise.

    Returns:
        (N,) int64 from the lowest beam up.
    """
    azimuth = np.mod(np.arctan2(cloud.xyz[:, 1], cloud.xyz[:, 0]), 2 * np.pi)
    jumps = np.flatnonzero(np.diff(azimuth) < -np.pi) + 1
    kept: list[int] = []
    for jump in jumps.tolist():
        if jump - (kept[-1] if kept else 0) >= _SHORTEST_RING:
            kept.append(jump)
    starts = np.zeros(len(azimuth), np.int64)
    starts[kept] = 1
    down = np.cumsum(starts)
    return np.asarray(down.max(initial=0) - down)


def _rings(cloud: PointCloud, source: str) -> NDArray[np.int64]:
    """(N,) ring of each point, stored or found."""
    if cloud.ring is not None:
        return cloud.ring.astype(np.int64)
    ring = rings_in_order(cloud)
    turn = np.diff(np.arctan2(cloud.xyz[:, 1], cloud.xyz[:, 0]))
    if np.count_nonzero((turn >= 0) & (turn < _STRIDE)) < _ORDERED * len(turn):
        raise Kd3dError(
            f"{source} has no ring column, and its points are not stored ring after ring; "
            "a sweep cannot be compared without its rings."
        )
    return ring


def _heights(frame: Frame) -> NDArray[np.float32]:
    """(N,) height above the ground [m]: the plane in sight, or else the mount's own height."""
    xyz = frame.cloud.xyz
    ground = estimate_ground(frame.cloud)
    if ground is None or ground.up != "+z":
        if frame.sensor_height is None:
            raise Kd3dError(f"{frame.source}: no ground is in sight, and no height is known.")
        return np.asarray(xyz[:, 2] + np.float32(frame.sensor_height), np.float32)
    slope = np.array([np.tan(ground.pitch), -np.tan(ground.roll)], np.float32)
    length = np.sqrt(1 + float(slope @ slope))
    above = (xyz[:, 2] - xyz[:, :2] @ slope) / length + ground.height
    return np.asarray(above, np.float32)


def _along(
    ring: NDArray[np.int64], azimuth: NDArray[Any], slant: NDArray[Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """`missing`, `bend` and `lonely` of returns sorted by ring and azimuth."""
    count = len(ring)
    same = ring[1:] == ring[:-1]
    turn = np.diff(azimuth)
    step = float(np.median(turn[same & (turn > 0)])) if same.any() else 1.0
    gaps = np.full(count, np.nan, np.float32)
    lost = np.rint(turn / step) - 1
    gaps[:-1] = np.where(same & (lost <= _DROP), np.maximum(lost, 0), np.nan)
    beside = np.zeros(count, bool)
    beside[:-1] = same & (turn < _NEXT * step)
    inner = np.zeros(count, bool)
    inner[1:-1] = beside[1:-1] & beside[:-2]
    bend = np.full(count, np.nan, np.float32)
    lonely = np.zeros(count, bool)
    i = np.flatnonzero(inner)
    before, after = slant[i] - slant[i - 1], slant[i] - slant[i + 1]
    bend[i] = (before + after) / 2
    lonely[i] = (np.abs(before) > _LONELY) & (np.abs(after) > _LONELY)
    return gaps, bend, lonely
