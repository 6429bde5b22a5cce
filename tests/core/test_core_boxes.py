"""Boxes and clouds: one convention, checked."""

import numpy as np
import pytest

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.boxes import wrap_angle
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud


def random_boxes(count: int, seed: int = 0) -> Boxes3D:
    rng = np.random.default_rng(seed)
    return Boxes3D.make(
        center=rng.uniform(-40, 40, (count, 3)),
        size=rng.uniform(0.5, 6, (count, 3)),
        yaw=rng.uniform(-9, 9, count),
        label=rng.integers(0, 6, count),
        velocity=rng.uniform(-9, 9, (count, 2)),
    )


def test_yaw_is_wrapped_into_the_half_open_interval():
    wrapped = wrap_angle(np.linspace(-20, 20, 4001))
    assert (wrapped > -np.pi).all()
    assert (wrapped <= np.float32(np.pi)).all()
    np.testing.assert_allclose(np.sin(wrapped), np.sin(np.linspace(-20, 20, 4001)), atol=1e-5)
    assert wrap_angle(-np.pi) == np.float32(np.pi)


def test_corner_order_of_a_box_that_faces_left():
    corners = Boxes3D.make([[1, 2, 3]], [[4, 2, 1]], [np.pi / 2], [0]).corners()[0]
    np.testing.assert_allclose(corners[0], [0, 4, 2.5], atol=1e-5)  # front left, bottom
    np.testing.assert_allclose(corners[1], [0, 0, 2.5], atol=1e-5)  # rear left
    np.testing.assert_allclose(corners[6], [2, 0, 3.5], atol=1e-5)  # rear right, top


def test_transform_and_inverse_are_the_identity():
    boxes = random_boxes(50)
    pose = pose_matrix([3, -4, 1], yaw=2.1)
    back = boxes.transformed(pose).transformed(invert_pose(pose))
    for name in ("center", "velocity"):
        np.testing.assert_allclose(getattr(back, name), getattr(boxes, name), atol=1e-4)
    np.testing.assert_allclose(wrap_angle(back.yaw - boxes.yaw), 0, atol=1e-5)


def test_transform_moves_boxes_and_points_together():
    boxes = random_boxes(20)
    rng = np.random.default_rng(1)
    points = np.concatenate(
        [rng.uniform(-45, 45, (99000, 3)), rng.random((99000, 1))], axis=1
    ).astype(np.float32)
    pose = pose_matrix([10, 5, -1], yaw=-0.7)
    cloud = PointCloud(points).transformed(pose)
    before = boxes.contains(points)
    after = boxes.transformed(pose).contains(cloud.points)
    assert before.sum() > 50
    # Rounding may flip a point that lies on a face, no more.
    assert (before != after).sum() <= 2


def test_contains_agrees_with_the_plain_definition():
    boxes = random_boxes(10, seed=3)
    points = np.random.default_rng(2).uniform(-45, 45, (5000, 3)).astype(np.float32)
    for i, inside in enumerate(boxes.contains(points, margin=0.3)):
        cos, sin = np.cos(boxes.yaw[i]), np.sin(boxes.yaw[i])
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        local = (points - boxes.center[i]) @ turn.T
        plain = (np.abs(local) <= boxes.size[i] / 2 + 0.3).all(axis=1)
        np.testing.assert_array_equal(inside, plain)


def test_selection_and_concatenation():
    boxes = random_boxes(6)
    joined = Boxes3D.concatenate([boxes[:2], boxes[np.array([2, 3])], boxes[4], boxes[5]])
    np.testing.assert_array_equal(joined.center, boxes.center)
    assert len(boxes[boxes.label == 99]) == 0


def test_wrong_shapes_and_labels_are_refused():
    with pytest.raises(ValueError, match="size"):
        Boxes3D.make([[0, 0, 0]], np.ones((2, 3)), [0], [0])
    with pytest.raises(ValueError, match="label"):
        Boxes3D.make([[0, 0, 0]], [[1, 1, 1]], [0], [6])


def test_cloud_drops_what_is_not_finite_and_keeps_columns_aligned():
    xyz = np.array([[0, 0, 0], [np.nan, 0, 0], [1, 2, 3], [0, np.inf, 0]], np.float64)
    cloud = PointCloud.from_arrays(
        xyz, np.array([0, 1, 255, 3]), intensity_scale=255, ring=np.arange(4), time=np.arange(4.0)
    )
    np.testing.assert_array_equal(cloud.points, [[0, 0, 0, 0], [1, 2, 3, 1]])
    assert cloud.ring.tolist() == [0, 2]
    assert cloud.time.tolist() == [0, 2]
    assert cloud.dropped == 2


def test_cloud_without_intensity_says_so():
    cloud = PointCloud.from_arrays(np.ones((3, 3)))
    assert not cloud.has_intensity
    assert (cloud.points[:, 3] == 0).all()


def test_cloud_keeps_a_point_whose_intensity_is_nan():
    cloud = PointCloud.from_arrays(np.ones((1, 3)), np.array([np.nan]))
    assert len(cloud) == 1
    assert cloud.points[0, 3] == 0
