"""Clouds as from the mount that a network knows: level, the ground at one height below the origin.

A network learns at which height things are. With `Manifest.ground_height_m` it sees every cloud
shifted, and turned where the sensor is tilted, so that the ground lies where it lay in training,
and its boxes are moved back: one bundle for a mowing robot and for a lorry.
"""

import statistics
from collections import deque
from dataclasses import dataclass
from typing import Literal
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.geometry.transforms import transform_points
from kd3d_core.ground import LEVEL_ENOUGH
from kd3d_core.ground import GroundEstimate
from kd3d_core.ground import estimate_ground
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.manifest import Manifest

#: Who says where the ground is: an estimate from the cloud, from a stream of clouds, the user, or
#: nobody, because no ground was in sight.
Source = Literal["cloud", "stream", "user", "nobody"]

#: Below this share of `LEVEL_ENOUGH` a stream is turned no more: a mount near the limit shall not
#: flicker.
_STILL = 0.7


@dataclass(frozen=True, eq=False)
class Levelling:
    """What is done to a cloud before the network sees it.

    Attributes:
        pose: (4, 4) float64 levelled_from_cloud.
        source: Who says where the ground is.
        height: Of the sensor above the ground [m]; None where nobody knows.
        pitch: Of the sensor [rad]; positive looks down. What is small stays in the cloud.
        roll: Of the sensor [rad]; positive tips to the right.
    """

    pose: NDArray[np.float64]
    source: Source
    height: float | None = None
    pitch: float = 0.0
    roll: float = 0.0

    @property
    def turns(self) -> bool:
        """Whether the cloud is turned, and not only shifted along z."""
        return bool(self.pose[2, 2] != 1)

    @property
    def words(self) -> str:
        """What is done and why, for people."""
        if self.height is None:
            return "as it comes: no ground in sight"
        turned = f"turned by {np.degrees(np.arccos(self.pose[2, 2])):.1f} degrees, "
        told = {"cloud": "estimated", "stream": "estimated", "user": "given"}[self.source]
        return (
            f"{turned if self.turns else ''}raised by {self.pose[2, 3]:.2f} m "
            f"(sensor height {self.height:.2f} m, {told})"
        )

    def forth(
        self, points: NDArray[np.float32], room: "Room | None" = None
    ) -> tuple[NDArray[np.float32], float]:
        """The levelled points, and how far they are still to be raised [m].

        Points that are only shifted come back as they are: who draws them raises them at no cost.

        Args:
            points: (N, 4) float32: x, y, z [m], intensity.
            room: Where turned ones may lie; None takes fresh memory.
        """
        if not self.turns:
            return points, float(self.pose[2, 3])
        out = None if room is None else room.of(len(points))
        return transform_points(self.pose, points, out), 0.0

    def back(self, boxes: Boxes3D) -> Boxes3D:
        """Boxes of the levelled cloud in the cloud's own frame; they stay upright in it."""
        return boxes.transformed(invert_pose(self.pose))


class Room:
    """Memory for the points of one cloud after the other."""

    def __init__(self) -> None:
        """Take none yet."""
        self._points = np.empty((0, 4), np.float32)

    def of(self, count: int) -> NDArray[np.float32]:
        """(count, 4) float32 that the next call gives away again."""
        if len(self._points) < count:
            self._points = np.empty((count + count // 4, 4), np.float32)
        return self._points[:count]


class Leveller(Protocol):
    """Says for one cloud after the other how it is levelled."""

    def __call__(self, cloud: PointCloud) -> Levelling:
        """The levelling of a cloud, which stays as it is."""
        ...


class ByCloud:
    """Every cloud by itself: for single clouds, in any order.

    Args:
        ground_height: How far below the origin the network wants the ground [m].
    """

    def __init__(self, ground_height: float) -> None:
        self.ground_height = ground_height

    def __call__(self, cloud: PointCloud) -> Levelling:
        """The levelling by the ground in sight; none where there is none."""
        found = estimate_ground(cloud, axes=("+z",))
        if found is None:
            return as_it_is()
        return _levelling(found, self.ground_height, LEVEL_ENOUGH, "cloud")


class ByUser:
    """The height of a level mount, as the user measured it.

    Args:
        ground_height: How far below the origin the network wants the ground [m].
        height: Of the sensor above the ground [m].
    """

    def __init__(self, ground_height: float, height: float) -> None:
        pose = pose_matrix((0, 0, height - ground_height))
        self._levelling = Levelling(pose, "user", height)

    def __call__(self, cloud: PointCloud) -> Levelling:
        """The same for every cloud."""
        return self._levelling


class ByStream:
    """The clouds of one sensor as they come: the mount stays, the road below it changes.

    The first clouds are each looked at, later ones now and then. Height, pitch and roll are the
    medians of the last estimates, so a kerb, a ramp or a bad estimate does not move them, and a
    mount that was changed is followed within seconds. Without ground in sight the last levelling
    stays. Not for several threads.

    Args:
        ground_height: How far below the origin the network wants the ground [m].
        first: So many estimates are made as quickly as possible.
        every: Later every so many-th cloud is looked at: an estimate costs one to two
            milliseconds.
        window: Estimates that the medians are of.
    """

    def __init__(
        self, ground_height: float, *, first: int = 5, every: int = 15, window: int = 15
    ) -> None:
        self.ground_height = ground_height
        self._first, self._every = first, every
        self._seen: deque[GroundEstimate] = deque(maxlen=window)
        self._clouds = 0
        self._levelling = as_it_is()

    def __call__(self, cloud: PointCloud) -> Levelling:
        """The levelling of the next cloud."""
        # A sensor that sees no ground is not looked at in vain for ever.
        hurry = len(self._seen) < self._first and self._clouds < 4 * self._first
        if hurry or self._clouds % self._every == 0:
            found = estimate_ground(cloud, axes=("+z",))
            if found is not None:
                self._seen.append(found)
                self._levelling = self._middle()
        self._clouds += 1
        return self._levelling

    def _middle(self) -> Levelling:
        """The levelling by the medians of what was seen."""
        height, pitch, roll, share = (
            statistics.median(getattr(estimate, name) for estimate in self._seen)
            for name in ("height", "pitch", "roll", "share")
        )
        enough = LEVEL_ENOUGH * (_STILL if self._levelling.turns else 1.0)
        middle = GroundEstimate(height, pitch, roll, share)
        return _levelling(middle, self.ground_height, enough, "stream")


def as_it_is() -> Levelling:
    """No levelling, because nobody knows where the ground is."""
    return Levelling(np.eye(4), "nobody")


def leveller_for_stream(manifest: Manifest, sensor_height: float | None = None) -> Leveller | None:
    """How the clouds of a sensor are levelled for a bundle.

    Args:
        manifest: Of the bundle.
        sensor_height: Of a level sensor above the ground [m]; None estimates height and tilt.

    Returns:
        A leveller with its own memory; None for bundles without a `ground_height_m`, which take
        clouds as they come.
    """
    wanted = manifest.ground_height_m
    if wanted is None:
        return None
    return ByStream(wanted) if sensor_height is None else ByUser(wanted, sensor_height)


def level_cloud(cloud: PointCloud, manifest: Manifest) -> PointCloud:
    """One cloud as the network of a bundle is to see it: for calibration and comparison.

    Args:
        cloud: In the sensor's frame.
        manifest: Of the bundle; without a `ground_height_m` the cloud comes back as it is.
    """
    if manifest.ground_height_m is None:
        return cloud
    levelling = ByCloud(manifest.ground_height_m)(cloud)
    return cloud if levelling.source == "nobody" else cloud.transformed(levelling.pose)


def _levelling(
    found: GroundEstimate, ground_height: float, enough: float, source: Source
) -> Levelling:
    """By an estimate."""
    pose = found.levelling(ground_height, enough)
    return Levelling(pose, source, found.height, found.pitch, found.roll)
