"""Rigid transforms as (4, 4) matrices: `target_from_source @ point_in_source`."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray


def pose_matrix(
    translation: ArrayLike, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0
) -> NDArray[np.float64]:
    """(4, 4) float64 pose: roll about x, then pitch about y, then yaw about z, then translation.

    Args:
        translation: (3,) x, y, z [m].
        yaw: Counter-clockwise about +z [rad].
        pitch: About +y [rad]; positive looks down.
        roll: About +x [rad].
    """
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    pose = np.eye(4)
    pose[:3, :3] = (
        np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        @ np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    )
    pose[:3, 3] = np.asarray(translation, np.float64)
    return pose


def invert_pose(pose: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The inverse of a rigid (4, 4) pose, exact to rounding."""
    inverse = np.eye(4)
    inverse[:3, :3] = pose[:3, :3].T
    inverse[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return inverse


def transform_points(
    pose: NDArray[np.floating[Any]], points: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Apply a (4, 4) pose to the first three columns of (N, 3 or more) float32 points.

    Returns:
        A copy of the same shape; columns after the third are kept as they are.
    """
    moved = points.copy()
    moved[:, :3] = points[:, :3] @ pose[:3, :3].T.astype(np.float32) + pose[:3, 3].astype(
        np.float32
    )
    return moved


def quaternion_from_yaw(yaw: float) -> tuple[float, float, float, float]:
    """(x, y, z, w) unit quaternion of a rotation by `yaw` [rad] about +z."""
    return 0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2))
