"""Boxes and clouds to messages and back."""

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
pytest.importorskip("vision_msgs", reason="run python scripts/build_ros_messages.py first")

from builtin_interfaces.msg import Time
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from kd3d_core.datasets.detection3d import from_message
from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud
from kd3d_ros.common import conversions

HEADER = Header(frame_id="front_lidar", stamp=Time(sec=12, nanosec=345_678_901))


def boxes(count: int = 20, seed: int = 0) -> Boxes3D:
    rng = np.random.default_rng(seed)
    return Boxes3D.make(
        rng.uniform(-50, 50, (count, 3)),
        rng.uniform(0.3, 12, (count, 3)),
        rng.uniform(-np.pi, np.pi, count),
        rng.integers(0, len(DEFAULT_CLASSES), count),
        score=rng.uniform(0, 1, count),
    )


def test_detections_keep_every_value_and_the_header() -> None:
    original = boxes()
    message = conversions.to_detections(original, HEADER, [f"t{i}" for i in range(20)])
    assert message.header == HEADER
    assert [detection.id for detection in message.detections] == [f"t{i}" for i in range(20)]
    assert all(detection.header == HEADER for detection in message.detections)
    back = from_message(message, DEFAULT_CLASSES)
    np.testing.assert_allclose(back.center, original.center, rtol=1e-6)
    np.testing.assert_allclose(back.size, original.size, rtol=1e-6)
    np.testing.assert_allclose(back.yaw, original.yaw, atol=1e-5)
    np.testing.assert_allclose(back.score, original.score, rtol=1e-6)
    np.testing.assert_array_equal(back.label, original.label)


def test_yaw_turns_x_towards_y() -> None:
    box = Boxes3D.make([[0, 0, 0]], [[4, 2, 1]], [np.pi / 2], [0])
    q = conversions.to_detections(box, HEADER).detections[0].bbox.center.orientation
    assert (q.x, q.y) == (0.0, 0.0)
    assert (q.z, q.w) == pytest.approx((np.sqrt(0.5), np.sqrt(0.5)))


def test_unknown_classes_and_empty_hypotheses_are_left_out() -> None:
    message = conversions.to_detections(boxes(3), HEADER)
    message.detections[0].results[0].hypothesis.class_id = "tram"
    message.detections[1].results = []
    assert len(from_message(message, DEFAULT_CLASSES)) == 1


def test_markers_begin_with_deleteall_and_all_end_by_themselves() -> None:
    original = boxes(7)
    markers = conversions.to_markers(original, HEADER, 1.25).markers
    assert markers[0].action == Marker.DELETEALL
    assert all(marker.header == HEADER for marker in markers)
    assert {(m.lifetime.sec, m.lifetime.nanosec) for m in markers[1:]} == {(1, 250_000_000)}
    keys = [(marker.ns, marker.id) for marker in markers[1:]]
    assert len(set(keys)) == len(keys)
    edges = [marker for marker in markers if marker.type == Marker.LINE_LIST]
    assert sum(len(marker.points) for marker in edges) == 7 * 12 * 2
    assert sum(marker.type == Marker.ARROW for marker in markers[1:]) == 7


def test_box_edges_have_the_lengths_of_the_box() -> None:
    original = boxes(1)
    (edges,) = (m for m in conversions.to_markers(original, HEADER, 1.0).markers if m.points)
    ends = np.array([[p.x, p.y, p.z] for p in edges.points]).reshape(12, 2, 3)
    lengths = np.sort(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1))
    np.testing.assert_allclose(lengths, np.sort(np.repeat(original.size[0], 4)), rtol=1e-4)


def test_cloud_survives_the_message() -> None:
    rng = np.random.default_rng(0)
    cloud = PointCloud(
        rng.uniform(0.1, 1, (500, 4)).astype(np.float32),
        time=np.linspace(-0.05, 0.05, 500, dtype=np.float32),
        ring=np.arange(500, dtype=np.int16) % 16,
    )
    message = conversions.to_point_cloud2(cloud, HEADER)
    assert message.header == HEADER
    assert message.row_step == message.width * message.point_step == len(message.data)
    back = decode_pointcloud2(message)
    np.testing.assert_array_equal(back.points, cloud.points)
    assert back.time is not None
    np.testing.assert_array_equal(back.time, cloud.time)


def test_transform_names_both_frames() -> None:
    message = conversions.to_transform(pose_matrix((1, 2, 3), 0.5), HEADER, "lidar")
    assert (message.header.frame_id, message.child_frame_id) == ("front_lidar", "lidar")
    t = message.transform.translation
    assert (t.x, t.y, t.z) == (1.0, 2.0, 3.0)
    turn = message.transform.rotation
    assert 2 * np.arctan2(turn.z, turn.w) == pytest.approx(0.5)


@pytest.mark.parametrize("seconds", [0.0, 1.5, 1_700_000_000.25, 3.9999999999])
def test_stamps_are_normalised(seconds: float) -> None:
    stamp = conversions.to_time(seconds)
    assert 0 <= stamp.nanosec < 10**9
    assert conversions.nanoseconds(stamp) == pytest.approx(seconds * 1e9, abs=300)
