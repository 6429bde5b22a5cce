"""Clouds out of bags of every storage."""

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores
from rosbags.typesys import get_typestore

from kd3d_core.datasets.bags import iter_bag
from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import iter_clouds
from kd3d_core.datasets.pointcloud2 import encode_pointcloud2_arrays
from kd3d_core.errors import Kd3dError
from kd3d_core.pointcloud import PointCloud

CLOUD = "sensor_msgs/msg/PointCloud2"
STORE1 = get_typestore(Stores.ROS1_NOETIC)
STORE2 = get_typestore(Stores.ROS2_JAZZY)


def clouds(count=3):
    generator = np.random.default_rng(0)
    return [
        PointCloud.from_arrays(generator.normal(size=(50 + i, 3)), generator.uniform(size=50 + i))
        for i in range(count)
    ]


def message(cloud, index, store):
    types = store.types
    fields, step, data = encode_pointcloud2_arrays(cloud)
    stamp = types["builtin_interfaces/msg/Time"](sec=100 + index, nanosec=500_000_000)
    more = {"seq": index} if store is STORE1 else {}
    return types[CLOUD](
        header=types["std_msgs/msg/Header"](stamp=stamp, frame_id="lidar", **more),
        height=1,
        width=len(cloud),
        fields=[types["sensor_msgs/msg/PointField"](*field) for field in fields],
        is_bigendian=False,
        point_step=step,
        row_step=len(data),
        data=np.frombuffer(data, np.uint8),
        is_dense=True,
    )


def write2(path, storage, topics=("/points",)):
    with Writer2(path, version=9, storage_plugin=storage) as writer:
        links = [writer.add_connection(topic, CLOUD, typestore=STORE2) for topic in topics]
        words = writer.add_connection("/words", "std_msgs/msg/String", typestore=STORE2)
        text = STORE2.types["std_msgs/msg/String"](data="hello")
        writer.write(words, 1, STORE2.serialize_cdr(text, "std_msgs/msg/String"))
        for index, cloud in enumerate(clouds()):
            for link in links:
                raw = STORE2.serialize_cdr(message(cloud, index, STORE2), CLOUD)
                writer.write(link, index + 10, raw)


def check(frames, path):
    assert len(frames) == 3
    for index, (frame, cloud) in enumerate(zip(frames, clouds(), strict=True)):
        np.testing.assert_array_equal(frame.cloud.points, cloud.points)
        assert frame.stamp == pytest.approx(100.5 + index)
        assert frame.source == f"{path}:/points#{index}"


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_rosbag2(tmp_path, storage):
    path = tmp_path / "bag"
    write2(path, storage)
    check(list(iter_bag(path)), path)
    check(list(iter_clouds([path])), path)
    bare = next(file for file in path.iterdir() if file.suffix in (".db3", ".mcap"))
    check(list(iter_clouds([bare])), bare)


def test_rosbag1(tmp_path):
    path = tmp_path / "old.bag"
    with Writer1(path) as writer:
        link = writer.add_connection("/points", CLOUD, typestore=STORE1)
        for index, cloud in enumerate(clouds()):
            raw = STORE1.serialize_ros1(message(cloud, index, STORE1), CLOUD)
            writer.write(link, index + 10, raw)
    check(list(iter_bag(path)), path)


def test_topic_must_be_told_apart(tmp_path):
    path = tmp_path / "bag"
    write2(path, StoragePlugin.SQLITE3, ("/points", "/rear/points"))
    with pytest.raises(Kd3dError, match=r"2 PointCloud2 topics.*--topic: /points, /rear/points"):
        list(iter_bag(path))
    check(list(iter_clouds([path], CloudOptions(topic="/points"))), path)
    with pytest.raises(Kd3dError, match=r"no PointCloud2 topic /front; it has: /points, /rear"):
        list(iter_bag(path, "/front"))
    write2(tmp_path / "none", StoragePlugin.SQLITE3, ())
    with pytest.raises(Kd3dError, match=r"no PointCloud2 topic. Its topics: /words \(std_msgs"):
        list(iter_bag(tmp_path / "none"))


@pytest.mark.parametrize("name", ["a.mcap", "a.db3", "a.bag"])
def test_damaged_bags(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(Kd3dError, match="is not a readable bag"):
        list(iter_bag(tmp_path / name))
    with pytest.raises(Kd3dError, match="does not exist"):
        list(iter_bag(tmp_path / "missing"))


def test_truncated_bag(tmp_path):
    path = tmp_path / "bag"
    write2(path, StoragePlugin.MCAP)
    file = next(path.glob("*.mcap"))
    whole = file.read_bytes()
    for share in (0.3, 0.6, 0.9):
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(Kd3dError, match="bag"):
            list(iter_bag(path))


def test_message_that_lies_is_named(tmp_path):
    path = tmp_path / "bag"
    with Writer2(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        link = writer.add_connection("/points", CLOUD, typestore=STORE2)
        lying = message(clouds()[0], 0, STORE2)
        raw = STORE2.serialize_cdr(STORE2.types[CLOUD](**(vars(lying) | {"width": 10_000})), CLOUD)
        writer.write(link, 10, raw)
    with pytest.raises(Kd3dError, match=r"bag:/points#0: PointCloud2 is truncated"):
        list(iter_bag(path))
