"""Rigid transforms as (4, 4) matrices: `target_from_source @ point_in_source`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
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
    pose: NDArray[np.floating[Any]],
    points: NDArray[np.float32],
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Apply a (4, 4) pose to the first three columns of (N, 3 or more) float32 points.

    Args:
        pose: target_from_source.
        points: (N, 3 or more).
        out: Takes the result, of the same shape; None takes fresh memory, which costs about as
            much as the work.

    Returns:
        A copy of the same shape; columns after the third are kept as they are.
    """
    moved = np.empty(points.shape, points.dtype) if out is None else out
    _move(np.asarray(pose[:3], np.float32), points, moved)
    return moved


@njit(cache=True, nogil=True)
def _move(
    pose: NDArray[np.float32], points: NDArray[np.float32], moved: NDArray[np.float32]
) -> None:
    """Fill `moved` in one pass; NumPy takes twenty times as long over columns of rows.

    Args:
        pose: (3, 4), the upper rows.
        points: (N, 3 or more).
        moved: Of the same shape; output.
    """
    # Written out: the compiler keeps these in registers, not what an array holds, and a loop over
    # an unknown number of columns costs half as much again as the work.
    four = points.shape[1] == 4
    xx, xy, xz, dx = pose[0, 0], pose[0, 1], pose[0, 2], pose[0, 3]
    yx, yy, yz, dy = pose[1, 0], pose[1, 1], pose[1, 2], pose[1, 3]
    zx, zy, zz, dz = pose[2, 0], pose[2, 1], pose[2, 2], pose[2, 3]
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        moved[i, 0] = xx * x + xy * y + xz * z + dx
        moved[i, 1] = yx * x + yy * y + yz * z + dy
        moved[i, 2] = zx * x + zy * y + zz * z + dz
        if four:
            moved[i, 3] = points[i, 3]
    if not four:
        moved[:, 3:] = points[:, 3:]


def quaternion_from_yaw(yaw: float) -> tuple[float, float, float, float]:
    """(x, y, z, w) unit quaternion of a rotation by `yaw` [rad] about +z."""
    return 0.0, 0.0, float(np.sin(yaw / 2)), float(np.cos(yaw / 2))


def quaternion_from_matrix(
    rotation: NDArray[np.floating[Any]],
) -> tuple[float, float, float, float]:
    """(x, y, z, w >= 0) of a (3, 3) rotation of any angle: Bar-Itzhack's eigenvector (2000)."""
    r = np.asarray(rotation, np.float64)
    lower = np.zeros((4, 4))  # eigh reads the lower triangle
    lower[np.diag_indices(4)] = (
        r[0, 0] - r[1, 1] - r[2, 2],
        r[1, 1] - r[0, 0] - r[2, 2],
        r[2, 2] - r[0, 0] - r[1, 1],
        np.trace(r),
    )
    lower[1:3, 0] = r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]
    lower[2, 1] = r[1, 2] + r[2, 1]
    lower[3, :3] = r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]
    quaternion = np.linalg.eigh(lower)[1][:, -1]
    x, y, z, w = (quaternion if quaternion[3] >= 0 else -quaternion).tolist()
    return x, y, z, w


def matrix_from_quaternion(quaternion: Sequence[float]) -> NDArray[np.float64]:
    """(3, 3) rotation of an (x, y, z, w) quaternion, which need not be of unit length."""
    x, y, z, w = quaternion
    s = 2.0 / (x * x + y * y + z * z + w * w)
    return np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
            [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
            [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
        ]
    )
