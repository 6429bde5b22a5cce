"""A scene: what stands still, what moves, and how the ego vehicle drives through it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.simulation.mesh import TriangleMesh


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A path over the ground as samples that are joined linearly, and held at both ends.

    Attributes:
        time: (T,) float64, increasing [s].
        position: (T, 3) float64 [m].
        yaw: (T,) float64 [rad], unwrapped (no jump by 2 pi).
    """

    time: NDArray[np.float64]
    position: NDArray[np.float64]
    yaw: NDArray[np.float64]

    @classmethod
    def parked(cls, position: Sequence[float], yaw: float) -> "Trajectory":
        """Stand still at (x, y, z) [m]."""
        return cls(np.zeros(1), np.array([position], np.float64), np.array([yaw], np.float64))

    def pose(self, time: float) -> NDArray[np.float64]:
        """(4, 4) world_from_body at `time` [s]."""
        position = [np.interp(time, self.time, self.position[:, i]) for i in range(3)]
        return pose_matrix(position, float(np.interp(time, self.time, self.yaw)))

    def velocity(self, time: float) -> NDArray[np.float64]:
        """(3,) world velocity at `time` [m/s]; zero before the first and after the last sample."""
        if len(self.time) < 2 or not self.time[0] <= time <= self.time[-1]:
            return np.zeros(3)
        i = int(np.clip(np.searchsorted(self.time, time, side="right") - 1, 0, len(self.time) - 2))
        return np.asarray(
            (self.position[i + 1] - self.position[i]) / (self.time[i + 1] - self.time[i])
        )


@dataclass(frozen=True, eq=False)
class Actor:
    """A labelled object.

    Attributes:
        mesh: In the body frame: origin at the centre of its box, x along the heading.
        size: (3,) length, width, height of the box that encloses the mesh [m].
        label: Index into `DEFAULT_CLASSES`.
        track_id: Unique in the scene.
        path: Of the box's centre.
    """

    mesh: TriangleMesh
    size: tuple[float, float, float]
    label: int
    track_id: int
    path: Trajectory


@dataclass(frozen=True, eq=False)
class Scene:
    """A street with its traffic.

    Attributes:
        static: Everything unlabelled, in the world frame.
        actors: Everything labelled.
        ego: Path of the ego vehicle's point on the ground below the sensor.
        duration: Length of the drive [s].
    """

    static: TriangleMesh
    actors: tuple[Actor, ...]
    ego: Trajectory
    duration: float

    def boxes(self, time: float) -> tuple[Boxes3D, NDArray[np.int64]]:
        """Ground truth of all actors in the world frame at `time` [s].

        Returns:
            The boxes and their (N,) int64 track ids, in the order of `actors`.
        """
        if not self.actors:
            return Boxes3D.empty(), np.zeros(0, np.int64)
        poses = [actor.path.pose(time) for actor in self.actors]
        rows: list[Any] = [actor.path.velocity(time)[:2] for actor in self.actors]
        boxes = Boxes3D.make(
            center=[pose[:3, 3] for pose in poses],
            size=[actor.size for actor in self.actors],
            yaw=[np.arctan2(pose[1, 0], pose[0, 0]) for pose in poses],
            label=[actor.label for actor in self.actors],
            velocity=rows,
            classes=DEFAULT_CLASSES,
        )
        return boxes, np.array([actor.track_id for actor in self.actors], np.int64)
