import numpy as np
import pytest

from kd3d_core.datasets.bag_writer import write_bag
from kd3d_core.datasets.bags import POINT_CLOUD
from kd3d_core.datasets.bags import cloud_to_cdr
from kd3d_core.datasets.drive_bags import write_drive_bag
from kd3d_core.datasets.labelled_bag import LabelledBagDataset
from kd3d_core.datasets.labelled_bag import find_bags
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud


def frames(count=4, seed=0):
    rng = np.random.default_rng(seed)
    for number in range(count):
        cloud = PointCloud.from_arrays(rng.uniform(-9, 9, (300, 3)) * (1, 1, 0.1), rng.random(300))
        boxes = Boxes3D.make([[3, number, 0]], [[4, 2, 2]], [0.1 * number], [3 * (number % 2)])
        yield Frame(
            cloud,
            source="",
            stamp=50.0 + 0.1 * number,
            boxes=None if number == 2 else boxes,
            pose=pose_matrix((number, 1, 2), yaw=0.2),
        )


def test_frames_of_a_bag_in_any_order(tmp_path):
    write_drive_bag(frames(), tmp_path / "one")
    dataset = LabelledBagDataset(tmp_path / "one")
    assert len(dataset) == 4
    assert dataset.classes == ("car", "pedestrian")
    for index in (3, 0, 2, 1):
        read, written = dataset[index], list(frames())[index]
        np.testing.assert_allclose(read.cloud.points, written.cloud.points, atol=1e-6)
        np.testing.assert_allclose(read.pose, written.pose, atol=1e-9)
        assert read.stamp == pytest.approx(written.stamp, abs=1e-6)
        assert read.source.endswith(f"/points#{index}")
        if index == 2:
            assert read.boxes is None
            continue
        np.testing.assert_allclose(read.boxes.center, written.boxes.center)
        assert read.boxes.names == written.boxes.names
        assert read.num_points[0] == read.boxes.contains(read.cloud.points).sum() > 0


def test_a_folder_of_bags_is_a_set_of_drives(tmp_path):
    for seed, name in enumerate(("a", "b")):
        write_drive_bag(frames(2, seed), tmp_path / name)
    assert [path.name for path in find_bags(tmp_path)] == ["a", "b"]
    dataset = LabelledBagDataset(tmp_path, classes=("car",))
    assert [dataset.drive(i) for i in range(4)] == ["a", "a", "b", "b"]
    assert len(dataset[3].boxes) == 0
    np.testing.assert_allclose(dataset[2].cloud.points, next(frames(1, 1)).cloud.points, atol=1e-6)


def test_a_bag_without_labels_is_refused(tmp_path):
    frame = next(frames())
    with write_bag(tmp_path / "bare") as bag:
        bag.add_topic("/points", POINT_CLOUD)
        bag.write("/points", 10, cloud_to_cdr(frame.cloud, 10, "lidar"))
    with pytest.raises(Kd3dError, match=r"0 topics of type .*Detection3DArray.*needs one"):
        LabelledBagDataset(tmp_path / "bare")
    with pytest.raises(Kd3dError, match="is no bag and holds none"):
        LabelledBagDataset(tmp_path / "bare" / "nothing")


def test_two_clouds_recorded_at_one_time(tmp_path):
    written = list(frames(2))
    write_drive_bag(written, tmp_path / "one")
    made = list(frames(3))
    same = [Frame(f.cloud, source="", stamp=7.0, boxes=f.boxes, pose=f.pose) for f in made[:2]]
    write_drive_bag(same, tmp_path / "two")
    dataset = LabelledBagDataset(tmp_path / "two")
    np.testing.assert_allclose(dataset[1].cloud.points, made[1].cloud.points, atol=1e-6)
