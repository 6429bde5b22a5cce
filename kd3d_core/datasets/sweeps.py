"""Several sweeps as one cloud: earlier ones of a drive, moved to where the sensor is now."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.labels import boxes_of
from kd3d_core.datasets.labels import drive_of
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.pointcloud import PointCloud
from kd3d_core.pointcloud import merge_sweeps


class MergedSweeps:
    """A data set whose clouds hold the sweeps before them as well.

    What stands still lies on top of itself, what moves leaves a trail; `PointCloud.time` tells the
    sweeps apart. Boxes and their counts of points are those of the newest sweep.

    Args:
        dataset: Drives with poses, frames in the order of time.
        sweeps: How many a cloud has, the newest included; fewer where a drive begins.
        stride: Every so many-th frame back is taken.
    """

    def __init__(self, dataset: FrameDataset, sweeps: int, stride: int = 1) -> None:
        if sweeps < 1 or stride < 1:
            raise ValueError(f"sweeps {sweeps} and stride {stride} are not both 1 or more")
        self.dataset = dataset
        self.sweeps, self.stride = sweeps, stride

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return tuple(self.dataset.classes)

    def drive(self, index: int) -> str:
        """Name of the drive of a frame."""
        return drive_of(self.dataset, index)

    def boxes(self, index: int) -> Boxes3D | None:
        """The ground truth of a frame, without its cloud."""
        return boxes_of(self.dataset, index)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Frame:
        """A frame with its sweeps.

        Raises:
            Kd3dError: A frame has no pose.
        """
        index = range(len(self))[index]
        newest = self.dataset[index]
        sensor_from_world = invert_pose(_pose(newest))
        earlier: list[tuple[PointCloud, NDArray[np.float64], float]] = []
        drive = self.drive(index)
        for past in range(index - self.stride, -1, -self.stride):
            if len(earlier) + 1 == self.sweeps or self.drive(past) != drive:
                break
            frame = self.dataset[past]
            age = newest.stamp - frame.stamp
            if age < 0:
                raise Kd3dError(
                    f"{frame.source} is later than {newest.source} but stands before it: sweeps "
                    "can be joined only in the order of time. Mend the stamps, or set data.sweeps "
                    "to 1."
                )
            earlier.append((frame.cloud, sensor_from_world @ _pose(frame), age))
        return replace(newest, cloud=merge_sweeps(newest.cloud, earlier))


def _pose(frame: Frame) -> NDArray[np.float64]:
    """(4, 4) float64 world_from_sensor of a frame."""
    if frame.pose is None:
        raise Kd3dError(
            f"{frame.source} has no pose, without which sweeps cannot be joined: set data.sweeps "
            "to 1, or take a data set of drives with poses."
        )
    return np.asarray(frame.pose, np.float64)
