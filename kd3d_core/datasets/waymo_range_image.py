"""Waymo's range images: pixels to points in the vehicle frame, and points to pixels.

A row of an image is a beam, the topmost first, and a column a direction of the head: azimuth falls
from +pi at the left edge to -pi at the right one, in the vehicle's axes, and a pixel means its
middle. A pixel has four channels: range [m] (not above 0 where nothing came back), intensity,
elongation, and 1 in a no-label zone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHANNELS = 4
#: What a pixel without a return holds.
NOTHING = -1.0


@dataclass(frozen=True, eq=False)
class LaserCalibration:
    """Where a laser is and where its beams point.

    Attributes:
        extrinsic: (4, 4) float64 vehicle_from_laser.
        lowest: Inclination of the lowest edge of the field of view [rad].
        highest: Of the highest edge [rad].
        beams: (H,) float64 inclination of each beam from the lowest up [rad], or None where the
            beams are evenly spaced.
    """

    extrinsic: NDArray[np.float64]
    lowest: float
    highest: float
    beams: NDArray[np.float64] | None = None

    def inclination(self, height: int) -> NDArray[np.float64]:
        """(height,) float64 inclination of each row of an image, the topmost first [rad]."""
        if self.beams is not None:
            return self.beams[::-1]
        steps = (np.arange(height) + 0.5) / height
        return (self.lowest + steps * (self.highest - self.lowest))[::-1]

    def azimuth(self, width: int) -> NDArray[np.float64]:
        """(width,) float64 azimuth of each column in the frame of the laser [rad]."""
        turn = np.arctan2(self.extrinsic[1, 0], self.extrinsic[0, 0])
        return np.pi * (1 - 2 * (np.arange(width) + 0.5) / width) - turn


@dataclass(frozen=True, eq=False)
class LaserPoints:
    """The returns of an image.

    Attributes:
        xyz: (N, 3) float64 in the vehicle frame [m].
        intensity: (N,) float32 as measured, without an upper bound.
        beam: (N,) int64, from the lowest beam up.
        no_label_zone: (N,) bool.
    """

    xyz: NDArray[np.float64]
    intensity: NDArray[np.float32]
    beam: NDArray[np.int64]
    no_label_zone: NDArray[np.bool_]


def points_from_image(
    image: NDArray[np.float32],
    calibration: LaserCalibration,
    pixel_pose: NDArray[np.float32] | None = None,
    vehicle_pose: NDArray[np.float64] | None = None,
) -> LaserPoints:
    """All returns of an image in the vehicle frame at the time of the frame.

    Args:
        image: (H, W, 4) range image.
        calibration: Of the laser.
        pixel_pose: (H, W, 6) roll, pitch, yaw [rad], x, y, z [m]: world_from_vehicle when each
            pixel was measured; None where the vehicle is taken to stand still.
        vehicle_pose: (4, 4) world_from_vehicle of the frame; needed with `pixel_pose`.
    """
    height, width = image.shape[:2]
    row, column = np.nonzero(image[..., 0] > 0)
    distance = image[row, column, 0].astype(np.float64)
    inclination = calibration.inclination(height)[row]
    azimuth = calibration.azimuth(width)[column]
    level = distance * np.cos(inclination)
    laser = np.stack(
        [level * np.cos(azimuth), level * np.sin(azimuth), distance * np.sin(inclination)], axis=1
    )
    xyz = laser @ calibration.extrinsic[:3, :3].T + calibration.extrinsic[:3, 3]
    if pixel_pose is not None:
        if vehicle_pose is None:
            raise ValueError("points_from_image: pixel_pose needs vehicle_pose")
        xyz = _undo_motion(xyz, pixel_pose[row, column].astype(np.float64), vehicle_pose)
    return LaserPoints(
        xyz,
        image[row, column, 1],
        height - 1 - row.astype(np.int64),
        image[row, column, 3] > 0,
    )


def _undo_motion(
    xyz: NDArray[np.float64], poses: NDArray[np.float64], vehicle_pose: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points from the vehicle frame of their own time into that of the frame.

    Args:
        xyz: (N, 3) [m].
        poses: (N, 6) roll, pitch, yaw [rad], x, y, z [m]; Rz(yaw) Ry(pitch) Rx(roll).
        vehicle_pose: (4, 4) world_from_vehicle of the frame.
    """
    x, y, z = xyz.T
    (roll, pitch, yaw), (sin_roll, sin_pitch, sin_yaw) = np.cos(poses.T[:3]), np.sin(poses.T[:3])
    y, z = roll * y - sin_roll * z, sin_roll * y + roll * z
    x, z = pitch * x + sin_pitch * z, pitch * z - sin_pitch * x
    x, y = yaw * x - sin_yaw * y, sin_yaw * x + yaw * y
    world = np.stack([x, y, z], axis=1) + poses[:, 3:] - vehicle_pose[:3, 3]
    return world @ vehicle_pose[:3, :3]


def images_from_points(
    points: NDArray[np.float32],
    beam: NDArray[np.integer],
    intensity: NDArray[np.float32],
    height: int,
    width: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Range images of a sweep: the nearest return of each pixel, the next one, and the rest.

    Args:
        points: (N, 3 or more) in the frame of a laser whose axes are the vehicle's [m].
        beam: (N,) from the lowest up.
        intensity: (N,) as it is to be stored.
        height: Number of beams.
        width: Number of columns.

    Returns:
        Two (height, width, 4) float32 images, and how many points had no room in them.
    """
    xyz = points[:, :3].astype(np.float64)
    distance = np.linalg.norm(xyz, axis=1)
    share = (1 - np.arctan2(xyz[:, 1], xyz[:, 0]) / np.pi) / 2
    column = np.floor(share * width).astype(np.int64) % width
    pixel = (height - 1 - np.asarray(beam, np.int64)) * width + column
    order = np.lexsort((distance, pixel))
    order = order[distance[order] > 0]
    first = np.r_[True, np.diff(pixel[order]) > 0][: len(order)]
    place = np.arange(len(order)) - np.maximum.accumulate(
        np.where(first, np.arange(len(order)), 0)
    )
    images = np.zeros((2, height * width, CHANNELS), np.float32)
    images[..., 0] = NOTHING
    images[..., 3] = -1.0
    for echo, image in enumerate(images):
        chosen = order[place == echo]
        image[pixel[chosen], 0] = distance[chosen]
        image[pixel[chosen], 1] = intensity[chosen]
    one, two = images.reshape(2, height, width, CHANNELS)
    return one, two, int((place > 1).sum() + (len(points) - len(order)))
