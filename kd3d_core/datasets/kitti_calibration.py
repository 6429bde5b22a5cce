"""KITTI's calibration: LiDAR, left colour camera and IMU, and what the camera sees of boxes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D

#: Pixels (width, height) of the left colour camera; a few drives are up to 18 x 5 pixels smaller.
IMAGE_SIZE = (1242, 375)
#: Parts of a box nearer to the image plane than this are not projected [m].
NEAR = 0.1
#: Matrices of a calibration file by their names in the object and in the tracking benchmark.
_NAMES = {
    "P2": ("P2",),
    "R0_rect": ("R0_rect", "R_rect"),
    "Tr_velo_to_cam": ("Tr_velo_to_cam", "Tr_velo_cam"),
    "Tr_imu_to_velo": ("Tr_imu_to_velo", "Tr_imu_velo"),
}
#: The twelve edges of a box by the corners that `camera_corners` numbers.
_EDGES = np.array(
    [[0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3], [1, 2, 3, 0, 5, 6, 7, 4, 4, 5, 6, 7]], np.int64
).T


@dataclass(frozen=True, eq=False)
class Calibration:
    """How the LiDAR and the left colour camera see each other.

    Attributes:
        camera_from_lidar: (4, 4) float64: R0_rect @ Tr_velo_to_cam, into the rectified camera
            frame (x right, y down, z forward).
        projection: (3, 4) float64: P2, from the rectified frame to homogeneous pixels.
        lidar_from_imu: (4, 4) float64: Tr_imu_to_velo, or None where the file has none.
    """

    camera_from_lidar: NDArray[np.float64]
    projection: NDArray[np.float64]
    lidar_from_imu: NDArray[np.float64] | None = None


def read_rows(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read `name: numbers` lines; the tracking benchmark's lines without the colon as well.

    Lines whose values are no numbers (dates of raw calibrations) are left out, unless the name
    is one of a matrix that the project needs.

    Raises:
        Kd3dError: The file cannot be read, or such a matrix has something else in it.
    """
    needed = {name for names in _NAMES.values() for name in names}
    rows: dict[str, NDArray[np.float64]] = {}
    for line in text_lines(path):
        key, *words = line.split()
        key = key.rstrip(":")
        try:
            rows[key] = np.array(words, np.float64)
        except ValueError as error:
            if key in needed:
                raise Kd3dError(f"{path}: {key} holds something that is not a number.") from error
    return rows


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file of the object or the tracking benchmark.

    Raises:
        Kd3dError: The file cannot be read or lacks P2, R0_rect or Tr_velo_to_cam.
    """
    rows = read_rows(path)
    sizes = {"P2": 12, "R0_rect": 9, "Tr_velo_to_cam": 12}
    found = {name: _first(rows, names) for name, names in _NAMES.items()}
    for key, size in sizes.items():
        if found[key].size != size:
            raise Kd3dError(f"{path}: {key} is missing or is not {size} numbers.")
    rectify, lidar = np.eye(4), np.eye(4)
    rectify[:3, :3] = found["R0_rect"].reshape(3, 3)
    lidar[:3] = found["Tr_velo_to_cam"].reshape(3, 4)
    imu = found["Tr_imu_to_velo"]
    return Calibration(
        rectify @ lidar,
        found["P2"].reshape(3, 4),
        np.r_[imu.reshape(3, 4), [[0.0, 0.0, 0.0, 1.0]]] if imu.size == 12 else None,
    )


def _first(rows: dict[str, NDArray[np.float64]], names: tuple[str, ...]) -> NDArray[np.float64]:
    """The row of the first of `names` that there is, or an empty one."""
    return next((rows[name] for name in names if name in rows), np.empty(0))


def project(
    calibration: Calibration, xyz: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points in the LiDAR frame to pixels.

    Args:
        calibration: Of the frame.
        xyz: (N, 3) [m].

    Returns:
        (N, 2) float64 column, row [px] and (N,) float64 depth [m]; pixels of points behind the
        camera mean nothing.
    """
    camera = (
        np.c_[np.asarray(xyz, np.float64), np.ones(len(xyz))]
        @ (calibration.projection @ calibration.camera_from_lidar).T
    )
    depth = camera[:, 2]
    return camera[:, :2] / np.where(np.abs(depth) < 1e-6, 1e-6, depth)[:, None], depth


def to_camera(boxes: Boxes3D, calibration: Calibration) -> NDArray[np.float64]:
    """Boxes as KITTI writes them.

    Args:
        boxes: N boxes in the LiDAR frame.
        calibration: Of the frame.

    Returns:
        (N, 7) float64: x, y, z of the middle of the bottom in the rectified camera frame, length,
        width, height [m], and rotation_y = -yaw - pi / 2 about the camera's y axis in
        (-pi, pi] [rad].
    """
    bottom = boxes.center.astype(np.float64)
    bottom[:, 2] -= boxes.size[:, 2].astype(np.float64) / 2
    place = np.c_[bottom, np.ones(len(boxes))] @ calibration.camera_from_lidar[:3].T
    turn = np.pi - np.mod(boxes.yaw.astype(np.float64) + np.pi / 2 + np.pi, 2 * np.pi)
    return np.c_[place, boxes.size.astype(np.float64), turn].reshape(-1, 7)


def from_camera(
    camera: NDArray[np.float64], calibration: Calibration
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The inverse of `to_camera`.

    Args:
        camera: (N, 7) as `to_camera` gives them.
        calibration: Of the frame.

    Returns:
        (N, 3) centres [m], (N, 3) length, width, height [m] and (N,) yaw [rad] in the LiDAR
        frame, float64.
    """
    bottom = np.c_[camera[:, :3], np.ones(len(camera))]
    center = (bottom @ np.linalg.inv(calibration.camera_from_lidar).T)[:, :3]
    center[:, 2] += camera[:, 5] / 2
    return center, camera[:, 3:6], -(camera[:, 6] + np.pi / 2)


def camera_corners(camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 8, 3) float64 corners [m] of (N, 7) boxes of `to_camera`: four below, four above."""
    ahead = np.array([1, -1, -1, 1, 1, -1, -1, 1]) / 2 * camera[:, 3:4]
    aside = np.array([1, 1, -1, -1, 1, 1, -1, -1]) / 2 * camera[:, 4:5]
    up = np.array([0, 0, 0, 0, 1, 1, 1, 1]) * camera[:, 5:6]
    cos, sin = np.cos(camera[:, 6:7]), np.sin(camera[:, 6:7])
    corners = np.stack([cos * ahead + sin * aside, -up, cos * aside - sin * ahead], axis=-1)
    return corners + camera[:, None, :3]


def image_boxes(
    camera: NDArray[np.float64],
    projection: NDArray[np.float64],
    size: tuple[int, int] = IMAGE_SIZE,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What boxes cover of the image.

    Edges are cut where they pass the camera, so that boxes beside it keep a sensible rectangle.

    Args:
        camera: (N, 7) boxes of `to_camera`.
        projection: (3, 4) from the rectified frame to homogeneous pixels.
        size: Width and height of the image [px].

    Returns:
        (N, 4) float64 left, top, right, bottom [px] inside the image, without area where nothing
        is seen; and (N,) float64, the share of the uncut rectangle that the image does not show.
    """
    if not len(camera):
        return np.zeros((0, 4)), np.zeros(0)
    homogeneous = np.insert(camera_corners(camera), 3, 1.0, axis=2) @ projection.T
    start, end = homogeneous[:, _EDGES[:, 0]], homogeneous[:, _EDGES[:, 1]]
    # Linear in 3D is linear in homogeneous pixels: cut both ends at the near plane.
    rise = end[..., 2] - start[..., 2]
    cut = np.clip((NEAR - start[..., 2]) / np.where(np.abs(rise) < 1e-9, 1e-9, rise), 0.0, 1.0)[
        ..., None
    ]
    crossing = start + cut * (end - start)
    ends = np.concatenate(
        [
            np.where(start[..., 2:] < NEAR, crossing, start),
            np.where(end[..., 2:] < NEAR, crossing, end),
        ],
        axis=1,
    )
    seen = (ends[..., 2] >= NEAR - 1e-6)[..., None]
    pixels = ends[..., :2] / np.where(seen, ends[..., 2:], 1.0)
    low = np.where(seen, pixels, np.inf).min(axis=1)
    high = np.where(seen, pixels, -np.inf).max(axis=1)
    limit = np.array(size, np.float64) - 1
    hidden = ~np.isfinite(low).all(axis=1)
    low, high = np.where(hidden[:, None], 0.0, low), np.where(hidden[:, None], 0.0, high)
    inside_low, inside_high = np.clip(low, 0.0, limit), np.clip(high, 0.0, limit)
    whole = (high - low).prod(axis=1)
    shown = (inside_high - inside_low).prod(axis=1)
    share = np.where(whole > 0, 1 - shown / np.where(whole > 0, whole, 1.0), 1.0)
    return np.c_[inside_low, inside_high], share


def text_lines(path: Path) -> list[str]:
    """The lines of a text file that are not blank.

    Raises:
        Kd3dError: The file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Kd3dError(f"cannot read {path}: {error}.") from error
    return [line for line in text.splitlines() if line.strip()]
