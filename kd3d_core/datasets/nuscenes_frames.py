"""Between the frames of nuScenes and the project's: quaternions, headings and the sensor's axes.

nuScenes mounts its LiDAR with x to the right and y forward; ours looks along x. The reader turns
the axes by the whole number of quarter turns that brings x closest to the vehicle's front, which
moves coordinates without rounding them.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray


def rotations(quaternion: ArrayLike) -> NDArray[np.float64]:
    """(N, 3, 3) rotation matrices of (N, 4) quaternions w, x, y, z of any length but zero."""
    q = np.asarray(quaternion, np.float64).reshape(-1, 4)
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def yaws(quaternion: ArrayLike) -> NDArray[np.float64]:
    """(N,) direction of the x axis in the xy plane [rad] of (N, 4) quaternions w, x, y, z."""
    matrix = rotations(quaternion)
    return np.asarray(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))


def poses(translation: ArrayLike, quaternion: ArrayLike) -> NDArray[np.float64]:
    """(N, 4, 4) poses of (N, 3) translations [m] and (N, 4) quaternions w, x, y, z."""
    shift = np.asarray(translation, np.float64).reshape(-1, 3)
    result = np.tile(np.eye(4), (len(shift), 1, 1))
    result[:, :3, :3] = rotations(quaternion)
    result[:, :3, 3] = shift
    return result


def quarter_turns(ego_from_lidar: NDArray[np.floating[Any]]) -> int:
    """How many quarter turns the LiDAR's x axis is counter-clockwise of the vehicle's front.

    nuScenes' own mount gives 3 (x points to the right).
    """
    yaw = np.arctan2(ego_from_lidar[1, 0], ego_from_lidar[0, 0])
    return int(np.round(yaw / (np.pi / 2))) % 4


def quarter_turn(turns: int) -> NDArray[np.float64]:
    """(4, 4) rotation by a whole number of quarter turns about z, exact."""
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns % 4]
    result = np.eye(4)
    result[:2, :2] = [[cos, -sin], [sin, cos]]
    return result


def level_turn(world_from_sensor: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(2, 2) matrix that takes the x, y of a horizontal vector in the sensor frame to the world.

    A box stands upright in the world, and a mount is tilted by a degree: the vector meant is the
    one that is horizontal in the world and has these x and y in the sensor frame. The inverse
    leads back exactly, so headings and velocities survive a round trip.
    """
    sensor_from_world = np.asarray(world_from_sensor, np.float64)[:3, :3].T
    return np.asarray(np.linalg.inv(sensor_from_world[:2, :2]))


def turned_yaw(
    turn: NDArray[np.floating[Any]], yaw: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """(N,) headings [rad] after the (2, 2) `turn` of their (N,) headings before."""
    yaw = np.asarray(yaw, np.float64)
    x, y = turn @ np.stack([np.cos(yaw), np.sin(yaw)])
    return np.asarray(np.arctan2(y, x))
