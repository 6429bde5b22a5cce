"""Where the ground is: how high a LiDAR is mounted, how it is tilted, which way is up.

Judged from one cloud alone, for checks: a detector trained 1.7 m above the ground finds little
from a mast or a mowing robot, and nothing upside down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud

#: Points within these horizontal distances are looked at [m]: no ego vehicle, no far hills.
NEAR, FAR = 2.5, 25.0
#: Heights above the ground that are believed [m]; clouds may be given in a frame on the ground.
LOWEST, HIGHEST = -0.3, 6.0
#: Share of the cells in sight that level ground must fill to be believed.
ENOUGH = 0.15
#: A slope must fill more, so many times its rise per metre: steep planes are bushes and walls.
_DOUBT = 2.0
#: With this share any slope is believed, and nobody looks for another axis that might point up.
_CERTAIN = 0.4

#: A smaller tilt is left alone [rad]: turning a cloud costs a pass over its points, and networks
#: are trained with the half degree that mounts are usually off.
LEVEL_ENOUGH = float(np.deg2rad(1.0))

_SAMPLE = 20_000
_CELL = 1.0
_MIN_CELLS = 40
_TOLERANCE = 0.12
_MAX_SLOPE = np.tan(np.deg2rad(30))
_TRIALS = 200
_SIDE = int(np.ceil(2 * FAR / _CELL))
#: Drawn once: equal clouds give equal answers.
_JITTER = np.random.default_rng(0).random(_SAMPLE, np.float32)
_TRIPLES = np.random.default_rng(0).random((_TRIALS, 3))
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

    @property
    def tilt(self) -> float:
        """Angle between the sensor's z axis and the ground's normal [rad]."""
        return float(np.arctan(np.hypot(np.tan(self.pitch), np.tan(self.roll))))

    def levelling(self, ground_height: float, enough: float = LEVEL_ENOUGH) -> NDArray[np.float64]:
        """What brings a cloud to the mount that a network knows.

        Args:
            ground_height: How far below the origin the ground shall lie [m].
            enough: A tilt up to this is level enough [rad].

        Returns:
            (4, 4) pose levelled_from_cloud. It only shifts z where the sensor is level enough;
            else it turns the ground's normal to z by the shortest way as well, which leaves
            headings alone.
        """
        pose = pose_matrix((0, 0, self.height - ground_height))
        if self.tilt <= enough:
            return pose
        normal = np.array([-np.tan(self.pitch), np.tan(self.roll), 1.0])
        x, y, z = normal / np.linalg.norm(normal)
        # Rodrigues' rotation from the normal to +z, about their cross product.
        pose[:3, :3] = [
            [1 - x * x / (1 + z), -x * y / (1 + z), -x],
            [-x * y / (1 + z), 1 - y * y / (1 + z), -y],
            [x, y, z],
        ]
        return pose


def estimate_ground(cloud: PointCloud, axes: Sequence[str] = tuple(_UP)) -> GroundEstimate | None:
    """Find the ground in one cloud; about a millisecond where +z points up.

    The plane that holds the lowest points of the most cells around the sensor, and that has the
    fewest points below it. Other axes than +z are tried when there is no such plane below the
    sensor. Exchanged x and y axes (a yaw of 90 degrees) cannot be told from one cloud.

    Args:
        cloud: In the sensor's frame. At most 20,000 of its points are looked at, the same ones in
            equal clouds: equal clouds give equal answers.
        axes: That may point up, in the order of preference.

    Returns:
        The estimate; None when not enough ground is in sight to tell.
    """
    points = cloud.points
    if len(points) > _SAMPLE:
        points = _sample(points, _JITTER)
    found: list[GroundEstimate] = []
    for up in axes:
        turned = points if up == "+z" else points[:, :3] @ np.array(_UP[up], np.float32).T
        estimate = _fit(turned, up)
        if estimate is not None and estimate.share >= _needed(estimate):
            found.append(estimate)
        if up == "+z" and found and found[0].share >= _CERTAIN:
            break
    # A wall is flat as well: another axis must be far better than +z to be believed.
    return max(found, key=lambda e: e.share * (2 if e.up == "+z" else 1), default=None)


def _needed(estimate: GroundEstimate) -> float:
    """The share from which on an estimate is believed."""
    return min(ENOUGH + _DOUBT * float(np.tan(estimate.tilt)), _CERTAIN)


def warm_up() -> None:
    """Compile everything, so that the first cloud is as quick as any."""
    floor = np.random.default_rng(0).random((_SAMPLE + 1, 4), np.float32) - np.float32(0.5)
    estimate_ground(PointCloud(floor * np.array([FAR, FAR, 0.01, 1], np.float32)))


def _fit(xyz: NDArray[np.float32], up: str) -> GroundEstimate | None:
    """The ground below the sensor in (N, 3 or more) float32 points whose third axis points up."""
    near, low = _lowest(xyz)
    if len(low) < _MIN_CELLS:
        return None
    plane = _search(low, _TRIPLES)
    if not np.isfinite(plane[0]):
        return None
    for points, reach in ((low, 0.2), (near, 0.15), (near, 0.1)):
        plane = _least_squares(points, plane, reach)
        if not np.isfinite(plane[0]):
            return None
    if not LOWEST <= -plane[2] <= HIGHEST:
        return None
    slope_x, slope_y, offset = plane.tolist()
    return GroundEstimate(
        height=-offset / float(np.sqrt(1 + slope_x**2 + slope_y**2)),
        pitch=float(np.arctan(slope_x)),
        roll=float(-np.arctan(slope_y)),
        share=max(_score(low, slope_x, slope_y, offset) / len(low), 0.0),
        up=up,
    )


@njit(cache=True, nogil=True)
def _sample(points: NDArray[np.float32], jitter: NDArray[np.float32]) -> NDArray[np.float32]:
    """(S, 3) of (N, 3 or more) points: one of each of S equal runs, at the place in [0, 1) drawn.

    Every n-th point could be the same beam over and over; this one is not, and memory is read in
    its order.
    """
    chosen = np.empty((len(jitter), 3), np.float32)
    run = len(points) / len(jitter)
    for i in range(len(jitter)):
        place = min(int((i + jitter[i]) * run), len(points) - 1)
        for axis in range(3):
            chosen[i, axis] = points[place, axis]
    return chosen


@njit(cache=True, nogil=True)
def _lowest(xyz: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where the ground may be.

    Args:
        xyz: (N, 3 or more) points.

    Returns:
        (M, 3) float32 points around the sensor, and the (C, 3) second lowest of each cell of
        theirs: single points below are noise.
    """
    near = np.empty((len(xyz), 3), np.float32)
    lowest = np.full(_SIDE * _SIDE, -1)
    second = np.full(_SIDE * _SIDE, -1)
    count = 0
    for i in range(len(xyz)):
        x, y, z = xyz[i, 0], xyz[i, 1], xyz[i, 2]
        flat = x * x + y * y
        if not (NEAR * NEAR < flat < FAR * FAR and z < HIGHEST):
            continue
        near[count] = xyz[i, :3]
        cell = int((x + FAR) / _CELL) * _SIDE + int((y + FAR) / _CELL)
        if lowest[cell] < 0 or z < near[lowest[cell], 2]:
            second[cell] = lowest[cell]
            lowest[cell] = count
        elif second[cell] < 0 or z < near[second[cell], 2]:
            second[cell] = count
        count += 1
    return near[:count], near[second[second >= 0]]


@njit(cache=True, nogil=True)
def _score(low: NDArray[np.float32], slope_x: float, slope_y: float, offset: float) -> int:
    """How many of (C, 3) points lie on a plane, less those below it."""
    score = 0
    for i in range(len(low)):
        above = low[i, 2] - low[i, 0] * slope_x - low[i, 1] * slope_y - offset
        if abs(above) < _TOLERANCE:
            score += 1
        elif above < -2 * _TOLERANCE:
            score -= 1
    return score


@njit(cache=True, nogil=True)
def _search(low: NDArray[np.float32], triples: NDArray[np.float64]) -> NDArray[np.float64]:
    """The best of many planes through three points each.

    Args:
        low: (C, 3) points.
        triples: (T, 3) the points of each plane, as shares of C in [0, 1).

    Returns:
        (3,) float64 slope along x and along y, offset [m]; NaN when none is possible.
    """
    best, plane = -np.inf, np.full(3, np.nan)
    for triple in triples:
        a = low[int(triple[0] * len(low))].astype(np.float64)
        one = low[int(triple[1] * len(low))] - a
        two = low[int(triple[2] * len(low))] - a
        up = one[0] * two[1] - one[1] * two[0]
        if up == 0:
            continue
        slope_x = -(one[1] * two[2] - one[2] * two[1]) / up
        slope_y = -(one[2] * two[0] - one[0] * two[2]) / up
        offset = a[2] - slope_x * a[0] - slope_y * a[1]
        slope = np.hypot(slope_x, slope_y)
        if not (-HIGHEST < offset < -LOWEST and slope < _MAX_SLOPE):
            continue
        # Of two planes that hold as much, the more level one is the ground.
        score = _score(low, slope_x, slope_y, offset) - 0.5 * slope * len(low)
        if score > best:
            best = score
            plane[:] = slope_x, slope_y, offset
    return plane


@njit(cache=True, nogil=True)
def _least_squares(
    points: NDArray[np.float32], plane: NDArray[np.float64], reach: float
) -> NDArray[np.float64]:
    """The plane through the points near another one.

    Args:
        points: (N, 3).
        plane: (3,) slope along x and along y, offset [m].
        reach: Points farther above or below it [m] do not count.

    Returns:
        (3,) float64 in the same order; NaN when fewer than ten points are near.
    """
    count = 0
    sx = sy = sz = sxx = sxy = syy = sxz = syz = 0.0
    for i in range(len(points)):
        x, y, z = float(points[i, 0]), float(points[i, 1]), float(points[i, 2])
        if abs(z - x * plane[0] - y * plane[1] - plane[2]) >= reach:
            continue
        count += 1
        sx, sy, sz = sx + x, sy + y, sz + z
        sxx, sxy, syy = sxx + x * x, sxy + x * y, syy + y * y
        sxz, syz = sxz + x * z, syz + y * z
    found = np.full(3, np.nan)
    if count < 10:
        return found
    # About the mean, the offset drops out of the normal equations.
    sx, sy, sz = sx / count, sy / count, sz / count
    sxx, sxy, syy = sxx - count * sx * sx, sxy - count * sx * sy, syy - count * sy * sy
    sxz, syz = sxz - count * sx * sz, syz - count * sy * sz
    spread = sxx * syy - sxy * sxy
    if spread > 1e-6 * sxx * syy:  # else they lie on a line
        found[0] = (sxz * syy - syz * sxy) / spread
        found[1] = (syz * sxx - sxz * sxy) / spread
        found[2] = sz - found[0] * sx - found[1] * sy
    return found
