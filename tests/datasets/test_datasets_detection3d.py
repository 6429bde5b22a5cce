"""Boxes as Detection3DArray, without ROS."""

from types import SimpleNamespace

import numpy as np
import pytest

from kd3d_core.datasets.detection3d import DETECTIONS
from kd3d_core.datasets.detection3d import from_message
from kd3d_core.datasets.detection3d import to_cdr
from kd3d_core.datasets.detection3d import to_message
from kd3d_core.datasets.detection3d import typestore
from kd3d_core.geometry.boxes import Boxes3D

#: As `ros2 topic info --verbose` shows it.
OFFICIAL = "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"
STAMP = 1_700_000_000_123_456_789


def some_boxes(count=7):
    generator = np.random.default_rng(0)
    return Boxes3D.make(
        generator.uniform(-50, 50, (count, 3)),
        generator.uniform(0.5, 12, (count, 3)),
        generator.uniform(-np.pi, np.pi, count),
        generator.integers(0, 6, count),
        score=generator.uniform(size=count),
    )


def check(found, boxes):
    for name in ("center", "size", "score", "label"):
        np.testing.assert_array_equal(getattr(found, name), getattr(boxes, name))
    np.testing.assert_allclose(found.yaw, boxes.yaw, atol=1e-6)
    assert np.isnan(found.velocity).all()


def test_field_lists_are_the_official_ones():
    assert typestore().hash_rihs01(DETECTIONS) == OFFICIAL


def test_bytes_and_back():
    boxes = some_boxes()
    message = typestore().deserialize_cdr(to_cdr(boxes, STAMP, "velodyne"), DETECTIONS)
    check(from_message(message, boxes.classes), boxes)
    assert message.header.frame_id == "velodyne"
    assert message.detections[3].header == message.header
    stamp = message.header.stamp
    assert stamp.sec * 10**9 + stamp.nanosec == STAMP
    assert message.detections[0].results[0].hypothesis.class_id == boxes.names[0]


def test_no_boxes():
    empty = Boxes3D.empty()
    message = typestore().deserialize_cdr(to_cdr(empty, STAMP, ""), DETECTIONS)
    assert len(from_message(message, empty.classes)) == 0


def test_rclpy_gets_what_it_would_write_itself():
    vision_msgs = pytest.importorskip("vision_msgs.msg")
    serialization = pytest.importorskip("rclpy.serialization")
    boxes = some_boxes()
    data = to_cdr(boxes, STAMP, "velodyne")
    message = serialization.deserialize_message(data, vision_msgs.Detection3DArray)
    check(from_message(message, boxes.classes), boxes)


def test_labels_go_by_name_and_others_are_left_out():
    message = to_message(some_boxes(), STAMP, "lidar")
    names = [item.results[0].hypothesis.class_id for item in message.detections]
    found = from_message(message, ("pedestrian", "car"))
    assert found.names == [name for name in names if name in ("pedestrian", "car")]
    assert found.classes == ("pedestrian", "car")


def test_best_hypothesis_counts_and_none_is_left_out():
    message = to_message(some_boxes(2), STAMP, "lidar")
    first, second = message.detections
    second.results = []
    better = to_message(some_boxes(1), STAMP, "lidar").detections[0].results[0]
    better.hypothesis.class_id, better.hypothesis.score = "bus", 1.0
    first.results.append(better)
    found = from_message(message, ("bus",))
    assert (found.names, found.score.tolist()) == (["bus"], [1.0])


def test_older_layout_of_the_hypothesis():
    message = to_message(some_boxes(1), STAMP, "lidar")
    message.detections[0].results = [SimpleNamespace(id="car", score=0.25)]
    found = from_message(message, ("car",))
    assert (found.names, found.score.tolist()) == (["car"], [0.25])
