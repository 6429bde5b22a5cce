"""Frames with the ground at the height that a network knows, whatever carried the sensor."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.augment import shift_height
from kd3d_core.datasets.labels import boxes_of
from kd3d_core.datasets.labels import drive_of
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.ground import estimate_ground


def ground_pose(frame: Frame, ground_height: float) -> NDArray[np.float64] | None:
    """What brings the ground of a frame to a height.

    The height of the sensor that the data set states is taken at its word. Frames without one are
    treated as the robot treats its clouds: the ground is estimated, and a tilt mended as well.

    Args:
        frame: One sweep.
        ground_height: How far below the origin the ground shall lie [m].

    Returns:
        (4, 4) pose levelled_from_sensor; None where no ground is in sight or z does not point up.
    """
    if frame.sensor_height is not None:
        return pose_matrix((0, 0, frame.sensor_height - ground_height))
    found = estimate_ground(frame.cloud)
    return None if found is None or found.up != "+z" else found.levelling(ground_height)


def moved(frame: Frame, pose: NDArray[np.float64] | None, ground_height: float) -> Frame:
    """The frame after `ground_pose`; where that found nothing, the frame itself."""
    if pose is None:
        return frame
    if np.array_equal(pose[:3, :3], np.eye(3)):
        frame = shift_height(frame, pose[2, 3])
    else:
        boxes = None if frame.boxes is None else frame.boxes.transformed(pose)
        frame = replace(frame, cloud=frame.cloud.transformed(pose), boxes=boxes, pose=None)
    return replace(frame, sensor_height=ground_height)


class OnGround:
    """A data set whose frames have the ground at one height.

    Args:
        dataset: Any reader.
        ground_height: How far below the origin the ground lies [m].
    """

    def __init__(self, dataset: FrameDataset, ground_height: float) -> None:
        self.dataset = dataset
        self.ground_height = ground_height
        # An estimate costs some milliseconds, and a training asks for a frame again and again.
        self._poses: dict[int, NDArray[np.float64] | None] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return tuple(self.dataset.classes)

    def drive(self, index: int) -> str:
        """Name of the drive of a frame."""
        return drive_of(self.dataset, index)

    def boxes(self, index: int) -> Boxes3D | None:
        """The ground truth of a frame without its cloud, at the height of the data set."""
        return boxes_of(self.dataset, index)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Frame:
        frame = self.dataset[index]
        if index not in self._poses:
            self._poses[index] = ground_pose(frame, self.ground_height)
        return moved(frame, self._poses[index], self.ground_height)


def on_ground(dataset: FrameDataset, ground_height: float | None) -> FrameDataset:
    """The data set with the ground at this height; the data set itself where it is None."""
    return dataset if ground_height is None else OnGround(dataset, ground_height)
