"""Several sweeps as one cloud."""

from dataclasses import replace

import numpy as np
import pytest

from kd3d_core.datasets.sweeps import MergedSweeps
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.geometry.transforms import transform_points
from kd3d_core.pointcloud import PointCloud

#: Something that stands still, in the world.
WALL = np.array([[10, 5, 1], [12, -3, 0], [20, 0, 2]], np.float32)


class Drives:
    """Two drives of four frames past the wall, 0.1 s and 1 m apart, turning."""

    classes = ("car",)

    def __init__(self):
        self.frames = [self._frame(i) for i in range(8)]

    def _frame(self, i):
        step = i % 4
        pose = pose_matrix((step, 0.2 * step, 1.5), yaw=0.1 * step)
        points = np.column_stack([WALL, np.full(3, i / 8)]).astype(np.float32)
        cloud = PointCloud(transform_points(invert_pose(pose), points))
        boxes = Boxes3D.make([[i, 0, 0]], [[4, 2, 1]], [0], [0], classes=self.classes)
        return Frame(cloud, f"drives:{i}", stamp=100 + 0.1 * step, boxes=boxes, pose=pose)

    def drive(self, index):
        return "ab"[index // 4]

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.frames[index]


def test_what_stands_still_lies_on_itself_and_tells_its_age():
    merged = MergedSweeps(Drives(), 3)
    frame = merged[3]
    assert len(frame.cloud) == 9
    now = frame.cloud.xyz[:3]
    for sweep in (1, 2):
        np.testing.assert_allclose(frame.cloud.xyz[3 * sweep : 3 * sweep + 3], now, atol=1e-5)
    np.testing.assert_allclose(frame.cloud.time, np.repeat([0, -0.1, -0.2], 3), atol=1e-6)
    np.testing.assert_allclose(frame.cloud.points[:, 3], np.repeat([3, 2, 1], 3) / 8)
    assert frame.boxes.center[0, 0] == 3  # the newest sweep's own


def test_a_drive_has_no_past_before_it_begins():
    merged = MergedSweeps(Drives(), 3)
    assert [len(merged[i].cloud) // 3 for i in range(8)] == [1, 2, 3, 3, 1, 2, 3, 3]
    assert [len(MergedSweeps(Drives(), 3, stride=2)[i].cloud) // 3 for i in range(4)] == [
        1,
        1,
        2,
        2,
    ]
    np.testing.assert_allclose(MergedSweeps(Drives(), 2, stride=3)[3].cloud.time[3:], -0.3)
    assert len(merged[-1].cloud) == 9


def test_what_cannot_be_joined_is_told():
    drives = Drives()
    drives.frames[1] = replace(drives.frames[1], pose=None)
    with pytest.raises(Kd3dError, match=r"drives:1 has no pose.*data\.sweeps"):
        MergedSweeps(drives, 2)[2]
    drives = Drives()
    drives.frames[1] = replace(drives.frames[1], stamp=200.0)
    with pytest.raises(Kd3dError, match="later than"):
        MergedSweeps(drives, 2)[2]
    with pytest.raises(ValueError, match="1 or more"):
        MergedSweeps(Drives(), 0)
