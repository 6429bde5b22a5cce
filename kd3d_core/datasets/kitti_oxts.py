"""Where KITTI's car was: rows of the GPS/IMU (OXTS) to poses and back."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.kitti_calibration import text_lines
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.transforms import pose_matrix

#: Radius that the benchmark's Mercator projection takes for the earth [m].
EARTH = 6378137.0
#: Numbers in a row; the first six are latitude, longitude [deg], altitude [m], roll, pitch, yaw.
COLUMNS = 30


def read_oxts(path: Path) -> NDArray[np.float64]:
    """(N, 6 or more) float64 rows of a file.

    Raises:
        Kd3dError: The file cannot be read or has rows of fewer than six numbers.
    """
    try:
        rows = [np.array(line.split(), np.float64) for line in text_lines(path)]
    except ValueError as error:
        raise Kd3dError(f"{path} holds something that is not a number.") from error
    if not rows or min(map(len, rows)) < 6:
        raise Kd3dError(
            f"{path} is not an OXTS file: a row has latitude, longitude, altitude, roll, pitch, "
            f"yaw and more, {COLUMNS} numbers in all."
        )
    width = min(map(len, rows))
    return np.stack([row[:width] for row in rows])


def poses_from_oxts(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses of the IMU in a plane east-north-up world whose origin is the first position.

    The plane is the Mercator projection at the first latitude, as in KITTI's development kit
    (Geiger et al., IJRR 2013, section 4).

    Args:
        rows: (N, 6 or more): latitude, longitude [deg], altitude [m], roll, pitch, yaw [rad].

    Returns:
        (N, 4, 4) float64 world_from_imu.
    """
    scale = EARTH * np.cos(np.deg2rad(rows[0, 0]))
    east = scale * np.deg2rad(rows[:, 1])
    north = scale * np.log(np.tan(np.pi / 4 + np.deg2rad(rows[:, 0]) / 2))
    place = np.c_[east, north, rows[:, 2]]
    return np.stack(
        [
            pose_matrix(where, yaw=row[5], pitch=row[4], roll=row[3])
            for where, row in zip(place - place[0], rows, strict=True)
        ]
    )


def oxts_from_poses(
    poses: NDArray[np.float64], origin: tuple[float, float, float] = (49.0, 8.4, 110.0)
) -> NDArray[np.float64]:
    """The inverse of `poses_from_oxts`; everything but position and attitude is 0.

    Args:
        poses: (N, 4, 4) world_from_imu.
        origin: Latitude, longitude [deg] and altitude [m] of the first pose.

    Returns:
        (N, 30) float64 rows.
    """
    scale = EARTH * np.cos(np.deg2rad(origin[0]))
    shift = poses[:, :3, 3] - poses[0, :3, 3]
    start = np.log(np.tan(np.pi / 4 + np.deg2rad(origin[0]) / 2))
    rows = np.zeros((len(poses), COLUMNS))
    rows[:, 0] = np.rad2deg(2 * np.arctan(np.exp(start + shift[:, 1] / scale)) - np.pi / 2)
    rows[:, 1] = origin[1] + np.rad2deg(shift[:, 0] / scale)
    rows[:, 2] = origin[2] + shift[:, 2]
    turn = poses[:, :3, :3]
    rows[:, 3] = np.arctan2(turn[:, 2, 1], turn[:, 2, 2])
    rows[:, 4] = np.arcsin(np.clip(-turn[:, 2, 0], -1, 1))
    rows[:, 5] = np.arctan2(turn[:, 1, 0], turn[:, 0, 0])
    return rows
