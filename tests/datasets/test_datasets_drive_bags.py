"""Simulated drives as bags, and bags as a data set that is read in any order."""

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from kd3d_core.datasets.bag_writer import write_bag
from kd3d_core.datasets.bags import POINT_CLOUD
from kd3d_core.datasets.bags import cloud_to_cdr
from kd3d_core.datasets.bags import iter_bag
from kd3d_core.datasets.detection3d import from_message
from kd3d_core.datasets.detection3d import typestore
from kd3d_core.datasets.drive_bags import write_drive_bag
from kd3d_core.datasets.drive_bags import write_drives
from kd3d_core.datasets.recorded import cache_clouds
from kd3d_core.datasets.simulated import SimulatedDataset
from kd3d_core.datasets.simulated import frame_path
from kd3d_core.datasets.simulated import write_frame
from kd3d_core.datasets.simulated import write_index
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import matrix_from_quaternion
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud


def frame(number):
    rng = np.random.default_rng(number)
    cloud = PointCloud.from_arrays(
        rng.normal(size=(400, 3)) * 9,
        rng.uniform(size=400),
        time=-rng.uniform(0, 0.1, 400),
        ring=np.arange(400) // 100,
    )
    boxes = Boxes3D.make([[3, 4, -1]], [[4, 2, 1.5]], [0.4 + number], [3])
    return Frame(
        cloud=cloud,
        source="made",
        stamp=1.5 + number,
        boxes=boxes,
        num_points=np.array([7]),
        track_id=np.array([1]),
        pose=pose_matrix((1.0, 2.0 * number, 1.7), 0.5, 0.02, -0.01),
        sensor="made",
        sensor_height=1.7,
    )


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "sim"
    write_index(root, {}, 4)
    for drive in range(2):
        for number in range(2):
            write_frame(frame_path(root, drive, number), frame(2 * drive + number))
    return SimulatedDataset(root)


def test_a_bag_says_what_the_drive_was(dataset, tmp_path):
    bags = write_drives(dataset, tmp_path / "bags")
    assert [bag.name for bag in bags] == ["drive_00000", "drive_00001"]
    for index, got in enumerate(iter_bag(bags[1])):
        wanted = dataset[2 + index]
        np.testing.assert_array_equal(got.cloud.points, wanted.cloud.points)
        np.testing.assert_allclose(got.cloud.time, wanted.cloud.time)
        assert got.stamp == wanted.stamp
    with AnyReader([bags[1]], default_typestore=typestore()) as reader:
        messages = {}
        for link, _, raw in reader.messages():
            messages.setdefault(link.topic, []).append(reader.deserialize(raw, link.msgtype))
    assert {topic: len(items) for topic, items in messages.items()} == {
        "/points": 2,
        "/truth/detections": 2,
        "/tf": 2,
    }
    truth = messages["/truth/detections"][1]
    boxes = from_message(truth, dataset.classes)
    np.testing.assert_allclose(boxes.center, dataset[3].boxes.center)
    np.testing.assert_allclose(boxes.yaw, dataset[3].boxes.yaw, atol=1e-6)
    assert boxes.names == dataset[3].boxes.names
    transform = messages["/tf"][1].transforms[0]
    assert transform.header.frame_id == "odom"
    assert transform.child_frame_id == messages["/points"][1].header.frame_id == "lidar"
    assert transform.header.stamp == truth.header.stamp == messages["/points"][1].header.stamp
    turn, place = transform.transform.rotation, transform.transform.translation
    pose = dataset[3].pose
    rotation = matrix_from_quaternion((turn.x, turn.y, turn.z, turn.w))
    np.testing.assert_allclose(rotation, pose[:3, :3], atol=1e-12)
    np.testing.assert_allclose((place.x, place.y, place.z), pose[:3, 3])


def test_bags_that_are_there_are_kept(dataset, tmp_path):
    first = write_drives(dataset, tmp_path)
    age = (first[0] / "metadata.yaml").stat().st_mtime_ns
    assert write_drives(dataset, tmp_path) == first
    assert (first[0] / "metadata.yaml").stat().st_mtime_ns == age


def test_a_malformed_cloud_is_left_out_and_counted(tmp_path):
    clouds = [frame(number).cloud for number in range(3)]
    with write_bag(tmp_path / "bag") as bag:
        bag.add_topic("/points", POINT_CLOUD)
        for number, cloud in enumerate(clouds):
            data = cloud_to_cdr(cloud, number * 10**9, "lidar")
            bag.write("/points", number, data[:-900] if number == 1 else data)
    recorded = cache_clouds([tmp_path / "bag"], tmp_path / "cache")
    assert len(recorded) == 2
    assert recorded.left_out == 1
    np.testing.assert_array_equal(recorded[1].cloud.points, clouds[2].points)


def test_clouds_of_several_bags_are_one_data_set(tmp_path):
    for number in range(2):
        write_drive_bag([frame(number)], tmp_path / "bags" / f"b{number}")
    recorded = cache_clouds([tmp_path / "bags"], tmp_path / "cache")
    assert [item.stamp for item in (recorded[0], recorded[1])] == [1.5, 2.5]
    assert recorded[0].cloud.has_intensity
    assert recorded[0].boxes is None
