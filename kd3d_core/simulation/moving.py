"""Where each actor is when the beam of a spinning LiDAR passes it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.mounting import Mount
from kd3d_core.simulation.scene import Actor
from kd3d_core.simulation.scene import Trajectory
from kd3d_core.simulation.sweep import sensor_positions


@dataclass(frozen=True, eq=False)
class Sighting:
    """One actor in one sweep.

    Attributes:
        time: When the beam passes the actor's centre [s].
        sensor: (4, 4) world_from_sensor at that time.
        body: (4, 4) world_from_body of the actor at that time.
    """

    time: float
    sensor: NDArray[np.float64]
    body: NDArray[np.float64]

    @property
    def offset(self) -> NDArray[np.float64]:
        """(3,) the actor's centre in the sensor frame [m]."""
        offset = self.sensor[:3, :3].T @ (self.body[:3, 3] - self.sensor[:3, 3])
        return np.asarray(offset)


def is_parked(path: Trajectory) -> bool:
    """Whether nothing on the path ever moves."""
    return len(path.time) == 1 or (np.ptp(path.position, 0).max() < 1e-9 and np.ptp(path.yaw) == 0)


def sensor_pose(path: Trajectory, mount: Mount, time: float) -> NDArray[np.float64]:
    """(4, 4) world_from_sensor at `time` [s]."""
    position, yaw = sensor_positions(path, mount, np.array([time]))
    return pose_matrix(
        position[0],
        float(yaw[0]),
        float(np.deg2rad(mount.pitch_deg)),
        float(np.deg2rad(mount.roll_deg)),
    )


def sight_all(
    path: Trajectory, actors: Sequence[Actor], mount: Mount, middle: float, period: float
) -> list[Sighting]:
    """Find when the beam passes the centre of each actor.

    Args:
        path: Of the ego vehicle.
        actors: Whom to look for.
        mount: Of the sensor.
        middle: When the head faces forward [s].
        period: Of one turn [s].
    """
    time = np.full(len(actors), middle)
    tilt = mount.pose()[:3, :3]
    for _ in range(3):  # converges by the ratio of angular rates, about 1 % a round
        eye, yaw = sensor_positions(path, mount, time)
        body = np.array(
            [
                [np.interp(t, actor.path.time, actor.path.position[:, i]) for i in range(3)]
                for actor, t in zip(actors, time, strict=True)
            ]
        ).reshape(-1, 3)
        x, y, z = (body - eye).T
        level = np.stack([np.cos(yaw) * x + np.sin(yaw) * y, np.cos(yaw) * y - np.sin(yaw) * x, z])
        x, y, _ = tilt.T @ level
        time = middle - np.arctan2(y, x) / (2 * np.pi) * period
    return [
        Sighting(float(t), sensor_pose(path, mount, float(t)), actor.path.pose(float(t)))
        for actor, t in zip(actors, time, strict=True)
    ]


def swept_mesh(actor: Actor, sighting: Sighting, period: float) -> TriangleMesh:
    """The actor's mesh in the world, each vertex where it is when the beam passes that vertex.

    This gives a moving object the shear that a real sweep gives it, with one set of triangles for
    the whole turn. An actor right behind the sensor, where the turn begins and ends, is taken to
    be seen in one go.
    """
    body = actor.mesh.vertices
    turn = (invert_pose(sighting.sensor) @ sighting.body).astype(np.float32)
    seen = body @ turn[:3, :3].T + turn[:3, 3]
    x, y, _ = sighting.offset
    cos, sin = x / np.hypot(x, y), y / np.hypot(x, y)
    # Azimuth relative to the centre's, so that nothing jumps at +-pi.
    azimuth = np.arctan2(cos * seen[:, 1] - sin * seen[:, 0], cos * seen[:, 0] + sin * seen[:, 1])
    time = sighting.time - azimuth / (2 * np.pi) * period
    path = actor.path
    yaw = np.interp(time, path.time, path.yaw)
    vertices = np.empty_like(body)
    vertices[:, 0] = np.cos(yaw) * body[:, 0] - np.sin(yaw) * body[:, 1]
    vertices[:, 1] = np.sin(yaw) * body[:, 0] + np.cos(yaw) * body[:, 1]
    vertices[:, 2] = body[:, 2]
    for i in range(3):
        vertices[:, i] += np.interp(time, path.time, path.position[:, i]).astype(np.float32)
    return TriangleMesh(vertices, actor.mesh.faces, actor.mesh.material)
