"""Where the ground is: how high a LiDAR is mounted, how it is tilted, which way is up.

Judged from one cloud alone, for checks: a detector trained 1.7 m above the ground finds little
from a mast or a mowing robot, and nothing upside down.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.pointcloud import PointCloud

#: Points within these horizontal distances are looked at [m]: no ego vehicle, no far hills.
NEAR, FAR = 2.5, 25.0
#: Heights above the ground that are believed [m]; clouds may be given in a frame on the ground.
LOWEST, HIGHEST = -0.3, 6.0
#: Share of the cells in sight that the ground must fill to be believed.
ENOUGH = 0.25
#: With this share nobody looks for another axis that might point up.
_CERTAIN = 0.4

_SAMPLE = 20_000
_CELL = 1.0
_MIN_CELLS = 40
_TOLERANCE = 0.12
_MAX_SLOPE = np.tan(np.deg2rad(30))
_TRIALS = 200
#: Rows of the rotation that turns each axis up; the order is that of preference.
_UP = {
    "+z": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-z": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "-y": ((0, 0, 1), (-1, 0, 0), (0, -1, 0)),
    "+y": ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
    "+x": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "-x": ((0, -1, 0), (0, 0, 1), (-1, 0, 0)),
}


@dataclass(frozen=True)
class GroundEstimate:
    """The ground plane around the sensor.

    Attributes:
        height: Of the sensor above the plane [m].
        pitch: Of the sensor [rad]; positive looks down.
        roll: Of the sensor [rad]; positive tips to the right.
        share: In [0, 1]: how many of the 1 m cells in sight have their lowest points on the plane,
            less those that have points below it.
        up: The axis of the cloud that points up; "+z" is the project's convention, "-z" is a
            sensor mounted upside down, "-y" are the axes of a camera.
    """

    height: float
    pitch: float
    roll: float
    share: float
    up: str = "+z"


def estimate_ground(cloud: PointCloud) -> GroundEstimate | None:
    """Find the ground in one cloud.

    The plane that holds the lowest points of the most cells around the sensor, and that has the
    fewest points below it. Other axes than +z are tried when there is no such plane below the
    sensor. Exchanged x and y axes (a yaw of 90 degrees) cannot be told from one cloud.

    Args:
        cloud: In the sensor's frame. At most 20,000 of its points are looked at, drawn with a
            fixed seed: equal clouds give equal answers.

    Returns:
        The estimate; None when not enough ground is in sight to tell.
    """
    points = cloud.xyz
    if len(points) > _SAMPLE:
        # Every n-th point could be the same beam over and over; random ones are not.
        points = points[np.random.default_rng(0).integers(0, len(points), _SAMPLE)]
    found: list[GroundEstimate] = []
    for up, turn in _UP.items():
        estimate = _fit(points @ np.array(turn, np.float32).T, up)
        if estimate is not None and estimate.share >= ENOUGH:
            found.append(estimate)
        if up == "+z" and found and found[0].share >= _CERTAIN:
            break
    # A wall is flat as well: another axis must be far better than +z to be believed.
    return max(found, key=lambda e: e.share * (2 if e.up == "+z" else 1), default=None)


def _fit(xyz: NDArray[np.float32], up: str) -> GroundEstimate | None:
    """The ground below the sensor in a cloud whose third axis points up; (N, 3) float32."""
    flat = np.hypot(xyz[:, 0], xyz[:, 1])
    near = xyz[(flat > NEAR) & (flat < FAR) & (xyz[:, 2] < HIGHEST)]
    low = _lowest(near)
    if len(low) < _MIN_CELLS:
        return None
    plane = _search(low)
    if plane is None:
        return None
    for points, reach in ((low, 0.2), (near, 0.15), (near, 0.1)):
        close = points[np.abs(_above(plane, points)) < reach]
        if len(close) < 10:
            return None
        plane = _least_squares(close)
    if not LOWEST <= -plane[2] <= HIGHEST:
        return None
    residual = _above(plane, low)
    on_plane = np.count_nonzero(np.abs(residual) < _TOLERANCE)
    share = (on_plane - np.count_nonzero(residual < -2 * _TOLERANCE)) / len(low)
    slope_x, slope_y, offset = plane.tolist()
    return GroundEstimate(
        height=-offset / float(np.sqrt(1 + slope_x**2 + slope_y**2)),
        pitch=float(np.arctan(slope_x)),
        roll=float(-np.arctan(slope_y)),
        share=max(share, 0.0),
        up=up,
    )


def _lowest(near: NDArray[np.float32]) -> NDArray[np.float32]:
    """(M, 3) float32, the second lowest point of each cell: single points below are noise."""
    side = int(np.ceil(2 * FAR / _CELL))
    row, column = ((near[:, i] + FAR) // _CELL for i in (0, 1))
    cell = (row * side + column).astype(np.int32)
    order = np.lexsort((near[:, 2], cell))
    ordered = cell[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    count = np.diff(first, append=len(ordered))
    chosen = first[count >= 2] + 1
    return near[order[chosen]]


def _search(low: NDArray[np.float32]) -> NDArray[np.float64] | None:
    """(3,) slope along x and along y, offset [m] of the best of many planes through 3 points."""
    rng = np.random.default_rng(0)
    triple = low[rng.integers(0, len(low), (_TRIALS, 3))].astype(np.float64)
    one, two = triple[:, 1] - triple[:, 0], triple[:, 2] - triple[:, 0]
    normal = np.cross(one, two)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = -normal[:, :2] / normal[:, 2:]
    offset = triple[:, 0, 2] - np.sum(slope * triple[:, 0, :2], axis=1)
    planes = np.column_stack([slope, offset])
    fits = (np.hypot(*slope.T) < _MAX_SLOPE) & (offset < -LOWEST) & (offset > -HIGHEST)
    planes = planes[fits]
    if not len(planes):
        return None
    above = low[:, 2] - (low[:, :2] @ planes[:, :2].T.astype(np.float32)).T - planes[:, 2:]
    score = np.count_nonzero(np.abs(above) < _TOLERANCE, axis=1)
    score = score - np.count_nonzero(above < -2 * _TOLERANCE, axis=1)
    return np.asarray(planes[np.argmax(score)])


def _above(plane: NDArray[np.float64], points: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) height of (N, 3) points above a plane [m]."""
    return points[:, 2] - points[:, :2] @ plane[:2] - plane[2]


def _least_squares(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """(3,) slope along x, slope along y, offset [m] of the plane through (N, 3) points."""
    columns: NDArray[Any] = np.column_stack([points[:, :2], np.ones(len(points))])
    return np.asarray(np.linalg.lstsq(columns, points[:, 2], rcond=None)[0], np.float64)
