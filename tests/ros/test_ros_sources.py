"""The nodes that publish clouds, live."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError


def test_simulated_lidar_publishes_cloud_truth_and_tf_of_one_sweep(graph: Any) -> None:
    pytest.importorskip("embreex", reason="embreex is not installed (pip install '.[sim]')")
    from rclpy.parameter import Parameter
    from sensor_msgs.msg import PointCloud2
    from tf2_msgs.msg import TFMessage
    from vision_msgs.msg import Detection3DArray

    from kd3d_core.datasets.detection3d import from_message
    from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
    from kd3d_core.geometry.boxes import DEFAULT_CLASSES
    from kd3d_ros.sources.simulated_lidar import SimulatedLidarNode

    peer = graph.node("peer")
    heard: dict[str, list[Any]] = {"points": [], "truth/detections": [], "tf": []}
    for kind, name, topic in (
        (PointCloud2, "points", "/simulated_lidar/points"),
        (Detection3DArray, "truth/detections", "/simulated_lidar/truth/detections"),
        (TFMessage, "tf", "/tf"),
    ):
        peer.create_subscription(kind, topic, heard[name].append, 10)
    values = {"sensor": "vlp16", "duration": 0.2, "ahead": 0.1, "rate": 10.0, "frame_id": "top"}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    graph.add(SimulatedLidarNode(context=graph.context, parameter_overrides=overrides))
    # Three of a drive of two sweeps: the drive is repeated.
    graph.until(lambda: all(len(messages) >= 3 for messages in heard.values()), timeout=60)
    truths = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in heard["truth/detections"]}
    message = next(
        m for m in heard["points"] if (m.header.stamp.sec, m.header.stamp.nanosec) in truths
    )
    truth = truths[message.header.stamp.sec, message.header.stamp.nanosec]
    assert message.header == truth.header
    assert message.header.frame_id == "top"
    transform = heard["tf"][0].transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ("map", "top")
    cloud, boxes = decode_pointcloud2(message), from_message(truth, DEFAULT_CLASSES)
    assert len(cloud) > 5000
    assert len(boxes) > 0
    # What the truth says to be seen has points in it.
    assert boxes.contains(cloud.points, 0.1).any(axis=1).mean() > 0.9
    ids = [detection.id for detection in truth.detections]
    assert len(set(ids)) == len(ids)


def test_cloud_player_plays_every_file_once_and_ends(graph: Any, tmp_path: Path) -> None:
    from rclpy.parameter import Parameter
    from sensor_msgs.msg import PointCloud2

    from kd3d_ros.sources.cloud_player import CloudPlayerNode

    for count in (10, 20, 30):
        np.full((count, 4), 0.5, np.float32).tofile(tmp_path / f"{count}.bin")
    peer = graph.node("peer")
    sizes: list[int] = []
    peer.create_subscription(
        PointCloud2, "/cloud_player/points", lambda m: sizes.append(m.width), 10
    )
    values = {"path": str(tmp_path), "loop": False, "rate": 4.0}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = graph.add(CloudPlayerNode(context=graph.context, parameter_overrides=overrides))
    graph.until(lambda: node.finished, timeout=30)
    assert node._published == 3
    # The first cloud may go out before the two ends have found one another.
    assert sizes in ([10, 20, 30], [20, 30])


def test_cloud_player_asks_for_a_path(graph: Any) -> None:
    from kd3d_ros.sources.cloud_player import CloudPlayerNode

    with pytest.raises(Kd3dError, match="path"):
        CloudPlayerNode(context=graph.context)


START = 1_700_000_000_000_000_000  # when the first message of the bag was recorded [ns]
DELAY = 40_000_000  # from a cloud's stamp to its recording [ns]


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Three clouds of 1, 2 and 3 points, 0.2 s apart, with /tf, /tf_static and another topic."""
    pytest.importorskip("vision_msgs", reason="run python scripts/build_ros_messages.py first")
    from builtin_interfaces.msg import Time
    from geometry_msgs.msg import TransformStamped
    from rclpy.serialization import serialize_message
    from rosbags.rosbag2 import StoragePlugin
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import Stores
    from rosbags.typesys import get_typestore
    from std_msgs.msg import Header
    from std_msgs.msg import String
    from tf2_msgs.msg import TFMessage

    from kd3d_core.pointcloud import PointCloud
    from kd3d_ros.common.conversions import to_point_cloud2

    def header(nanoseconds: int, frame: str) -> Any:
        stamp = Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        return Header(stamp=stamp, frame_id=frame)

    path = tmp_path / "drive"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        store = get_typestore(Stores.ROS2_JAZZY)
        kinds = {
            "/top/points": "sensor_msgs/msg/PointCloud2",
            "/tf": "tf2_msgs/msg/TFMessage",
            "/tf_static": "tf2_msgs/msg/TFMessage",
            "/chatter": "std_msgs/msg/String",
        }
        topics = {t: writer.add_connection(t, kind, typestore=store) for t, kind in kinds.items()}

        def write(topic: str, nanoseconds: int, message: Any) -> None:
            writer.write(topics[topic], nanoseconds, serialize_message(message))

        fixed = TransformStamped(header=header(START, "base"), child_frame_id="top")
        write("/tf_static", START, TFMessage(transforms=[fixed]))
        write("/chatter", START, String(data="hello"))
        for i in range(3):
            recorded = START + DELAY + 200_000_000 * i
            moving = TransformStamped(header=header(recorded, "map"), child_frame_id="base")
            moving.transform.translation.x = float(i)
            write("/tf", recorded, TFMessage(transforms=[moving]))
            cloud = PointCloud.from_arrays(np.full((i + 1, 3), 5.0), np.full(i + 1, 0.5))
            message = to_point_cloud2(cloud, header(recorded - DELAY, "top"))
            write("/top/points", recorded, message)
    return path


def listen(graph: Any, **values: Any) -> SimpleNamespace:
    """A player with these parameters, and everything that it says."""
    from rclpy.parameter import Parameter
    from rclpy.qos import DurabilityPolicy
    from rclpy.qos import QoSProfile
    from rosgraph_msgs.msg import Clock
    from sensor_msgs.msg import PointCloud2
    from std_srvs.srv import SetBool
    from tf2_msgs.msg import TFMessage

    from kd3d_ros.sources.cloud_player import CloudPlayerNode

    peer = graph.node("peer")
    heard = SimpleNamespace(points=[], tf=[], tf_static=[], clock=[])
    latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    for kind, topic, store, qos in (
        (PointCloud2, "/cloud_player/points", heard.points, 10),
        (TFMessage, "/tf", heard.tf, 100),
        (TFMessage, "/tf_static", heard.tf_static, latched),
        (Clock, "/clock", heard.clock, 100),
    ):
        peer.create_subscription(kind, topic, store.append, qos)
    values = {"wait_for_subscribers": 1, "loop": False, **values}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    heard.node = graph.add(CloudPlayerNode(context=graph.context, parameter_overrides=overrides))
    client = peer.create_client(SetBool, "/cloud_player/pause")
    heard.pause = lambda on: client.call_async(SetBool.Request(data=on))
    return heard


def stamp(message: Any) -> int:
    from kd3d_ros.common.conversions import nanoseconds

    return nanoseconds(message.header.stamp)


def test_bag_with_clock_keeps_its_stamps_bytes_and_transforms(graph: Any, bag: Path) -> None:
    from rclpy.serialization import deserialize_message
    from sensor_msgs.msg import PointCloud2

    from kd3d_ros.sources.recording import iter_recording

    heard = listen(graph, path=str(bag), clock=True)
    graph.until(lambda: heard.node.finished, timeout=30)
    assert [message.width for message in heard.points] == [1, 2, 3]
    assert [stamp(message) - START for message in heard.points] == [0, 200_000_000, 400_000_000]
    assert {message.header.frame_id for message in heard.points} == {"top"}
    recorded = [item.data for item in iter_recording(bag) if item.kind == "points"]
    assert heard.points == [deserialize_message(data, PointCloud2) for data in recorded]
    assert [message.transforms[0].transform.translation.x for message in heard.tf] == [0, 1, 2]
    assert len(heard.tf_static) == 1
    times = [message.clock.sec * 10**9 + message.clock.nanosec for message in heard.clock]
    assert times == sorted(times)
    assert times[0] >= START
    # The clock runs between the clouds as well, and does not stop before the last one.
    assert times[-1] >= START + DELAY + 400_000_000
    assert len(set(times)) > 6


def test_bag_without_clock_is_moved_to_now_as_a_whole(graph: Any, bag: Path) -> None:
    heard = listen(graph, path=str(bag), speed=2.0)
    before = heard.node.get_clock().now().nanoseconds
    graph.until(lambda: heard.node.finished, timeout=30)
    stamps = [stamp(message) for message in heard.points]
    assert all(abs(value - before) < 20e9 for value in stamps)
    # Twice as fast: half the time between clouds, and half the delay behind the transform.
    np.testing.assert_allclose(np.diff(stamps), 100e6, atol=5e6)
    transforms = [stamp(message.transforms[0]) for message in heard.tf]
    np.testing.assert_allclose(np.subtract(transforms, stamps), DELAY / 2, atol=5e6)
    assert not heard.clock


def test_the_clock_jumps_back_where_a_round_begins(graph: Any, bag: Path) -> None:
    heard = listen(graph, path=str(bag), clock=True, loop=True, speed=4.0)
    graph.until(lambda: len(heard.points) >= 5, timeout=30)
    assert [message.width for message in heard.points[:5]] == [1, 2, 3, 1, 2]
    times = [message.clock.sec * 10**9 + message.clock.nanosec for message in heard.clock]
    jumps = np.flatnonzero(np.diff(times) < 0)
    assert len(jumps) == 1
    # Back to the begin of the bag; a busy machine may have missed the first ticks of the round.
    assert times[jumps[0]] - times[jumps[0] + 1] > 100_000_000
    assert times[jumps[0] + 1] >= START


def test_a_paused_player_stands_still_and_goes_on(graph: Any, bag: Path) -> None:
    heard = listen(graph, path=str(bag), clock=True, speed=0.5)
    graph.until(lambda: heard.points, timeout=30)
    call = heard.pause(True)
    graph.until(call.done)
    assert call.result().message == "paused"
    graph.spin(0.2)
    heard.clock.clear()
    count = len(heard.points)
    graph.spin(1.2)
    assert len(heard.points) == count < 3
    assert len({(item.clock.sec, item.clock.nanosec) for item in heard.clock}) == 1
    heard.pause(False)
    graph.until(lambda: heard.node.finished, timeout=30)
    assert [message.width for message in heard.points] == [1, 2, 3]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"topic": "/bottom/points"}, "no PointCloud2 topic /bottom/points; it has: /top/points"),
        ({"speed": 0.0}, "speed"),
    ],
)
def test_player_refuses_what_the_bag_does_not_have(
    graph: Any, bag: Path, values: dict[str, Any], words: str
) -> None:
    def play() -> None:
        heard = listen(graph, path=str(bag), wait_for_subscribers=0, **values)
        graph.until(lambda: heard.node.finished)

    with pytest.raises(Kd3dError, match=words):
        play()


def test_files_have_no_clock(graph: Any, tmp_path: Path) -> None:
    np.full((10, 4), 0.5, np.float32).tofile(tmp_path / "a.bin")
    with pytest.raises(Kd3dError, match="not a bag"):
        listen(graph, path=str(tmp_path), clock=True)
