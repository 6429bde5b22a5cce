"""Several sweeps and another frame through /tf, and what happens without it."""

from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from detector_bench import STAMP_SECONDS
from detector_bench import Bench
from detector_bench import cluster
from detector_bench import message
from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header

from kd3d_core.geometry.transforms import pose_matrix


class Odometry:
    """A vehicle that drives along x of odom at 2 m/s, and its sensor, 1.5 m up and turned left."""

    def __init__(self, bench: Bench) -> None:
        from rclpy.qos import DurabilityPolicy
        from rclpy.qos import QoSProfile
        from tf2_msgs.msg import TFMessage

        self.bench, self.message = bench, TFMessage
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.moving = bench.peer.create_publisher(TFMessage, "/tf", 10)
        self.static = bench.peer.create_publisher(TFMessage, "/tf_static", latched)

    def mount(self) -> None:
        """Say where the sensor is on the vehicle."""
        pose = pose_matrix((1.0, 0.0, 1.5), yaw=np.pi / 2)
        self.static.publish(self.message(transforms=[self.link("base_link", "front_lidar", pose)]))

    def drive(self, *offsets: float) -> None:
        """Say where the vehicle is, so many seconds after the first cloud."""
        links = [
            self.link("odom", "base_link", pose_matrix((2.0 * offset, 0.0, 0.0)), offset)
            for offset in offsets
        ]
        self.moving.publish(self.message(transforms=links))

    def heard(self, count: int) -> None:
        """Wait until the node has so many transforms."""
        self.bench.graph.until(lambda: self.bench.node.pipeline.tf.received >= count)

    @staticmethod
    def link(parent: str, child: str, pose: Any, offset: float = 0.0) -> TransformStamped:
        """A transform parent_from_child."""
        from kd3d_ros.common.conversions import to_transform

        nanoseconds = 123_456_789 + round(offset * 1e9)
        stamp = Time(sec=STAMP_SECONDS + nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        return to_transform(pose, Header(frame_id=parent, stamp=stamp), child)


def centre(found: Any) -> tuple[float, float, float]:
    """Of the one detection."""
    (detection,) = found.detections
    position = detection.bbox.center.position
    return position.x, position.y, position.z


def test_single_sweeps_never_listen_to_tf(graph: Any, known: Any) -> None:
    bench = Bench(graph, known).start()
    assert not [sub for sub in bench.node.subscriptions if sub.topic_name.startswith("/tf")]
    assert bench.node.pipeline.tf is None
    assert "kd3d_detector: tf" not in bench.statuses()


def test_boxes_are_moved_into_the_target_frame(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, target_frame="base_link").start()
    odometry = Odometry(bench)
    found = bench.detect(message(cluster(5.25, -3.25)))
    assert found.header.frame_id == "front_lidar"  # as long as nobody says where that is
    bench.graph.until(lambda: bench.count("processed"))
    status = bench.status("tf")
    assert status.level == status.WARN
    assert "base_link" in status.message
    odometry.mount()
    odometry.heard(1)
    found = bench.detect(message(cluster(5.25, -3.25), offset=1))
    assert found.header.frame_id == "base_link"
    assert found.header.stamp.sec == STAMP_SECONDS + 1
    # Turned by 90 degrees to the left, then moved to the mount.
    np.testing.assert_allclose(centre(found), (4.25, 5.25, 1.5 + known.height), atol=1e-3)
    turn = found.detections[0].bbox.center.orientation
    assert 2 * np.arctan2(turn.z, turn.w) == pytest.approx(known.yaw + np.pi / 2, abs=1e-3)
    bench.graph.until(lambda: bench.count("processed") == 2)
    assert bench.status("tf").level == status.OK


def test_the_model_looks_in_its_own_frame(graph: Any, known: Any) -> None:
    # Regions are in that frame as well: in the cloud's frame this one holds nothing.
    bench = Bench(graph, known, model_frame="base_link", roi=[4.0, 5.0, 4.5, 5.5]).start()
    odometry = Odometry(bench)
    found = bench.detect(message(cluster(5.25, -3.25)))
    assert (found.header.frame_id, found.detections) == ("front_lidar", [])
    odometry.mount()
    odometry.heard(1)
    found = bench.detect(message(cluster(5.25, -3.25), offset=1))
    assert found.header.frame_id == "base_link"
    (x, y, _), turn = centre(found), found.detections[0].bbox.center.orientation
    np.testing.assert_allclose((x, y), (4.25, 5.25), atol=1e-3)
    # The network saw the cloud turned, so what it says of the heading is said in that frame.
    assert 2 * np.arctan2(turn.z, turn.w) == pytest.approx(known.yaw, abs=1e-3)


def test_sweeps_are_merged_with_the_vehicles_motion_taken_out(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, sweeps=2).start()
    odometry = Odometry(bench)
    odometry.mount()
    odometry.drive(0.0, 1.0)
    odometry.heard(3)
    # A standing thing, more certain in two sweeps than in one. The sensor looks to the left, so
    # driving 2 m forward moves what it sees by 2 m along its own +y.
    once = bench.detect(message(cluster(5.25, -3.25, count=14)))
    found = bench.detect(message(cluster(5.25, -1.25, count=14), offset=1))
    scores = [answer.detections[0].results[0].hypothesis.score for answer in (once, found)]
    assert scores[0] + 0.01 < scores[1]
    np.testing.assert_allclose(centre(found)[:2], (5.25, -1.25), atol=1e-3)
    bench.graph.until(lambda: bench.count("processed") == 2)
    shown = {item.key: item.value for item in bench.status("detector").values}
    assert shown["sweeps"] == "2"


def test_missing_and_late_transforms_degrade_to_one_sweep(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, sweeps=3, tf_timeout=0.05).start()
    odometry = Odometry(bench)
    for offset in (0, 1):
        assert len(bench.detect(message(cluster(5.25, -3.25), offset=offset)).detections) == 1
    bench.graph.until(lambda: bench.count("processed") == 2)
    status = bench.status("tf")
    assert status.level == status.WARN
    assert "odom" in status.message
    odometry.mount()
    odometry.drive(0.0)  # and then it stops
    odometry.heard(2)
    assert len(bench.detect(message(cluster(5.25, -3.25), offset=2)).detections) == 1
    bench.graph.until(lambda: bench.count("processed") == 3)
    status = bench.status("tf")
    assert status.level == status.WARN
    assert bench.count("without_tf") == 2
    assert bench.count("failed") == 0


def test_transforms_are_let_go_with_the_activation(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, sweeps=2).start()
    assert bench.peer.count_subscribers("/tf") == 1
    bench.node.trigger_deactivate()
    graph.until(lambda: bench.peer.count_subscribers("/tf") == 0)
    assert bench.node.pipeline.tf is None
