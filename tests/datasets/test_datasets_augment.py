"""Augmentation keeps points and boxes together; sampling pastes whole objects into free places."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kd3d_core.datasets import augment as steps
from kd3d_core.datasets.augment import AugmentConfig
from kd3d_core.datasets.augment import augment
from kd3d_core.datasets.augment import count_points
from kd3d_core.datasets.augment import points_in_any
from kd3d_core.datasets.sampling import ObjectDatabase
from kd3d_core.datasets.sampling import ObjectSampler
from kd3d_core.datasets.sampling import SamplingConfig
from kd3d_core.datasets.sampling import build_database
from kd3d_core.datasets.sampling import cached_database
from kd3d_core.geometry.iou import bev_iou

sys.path.insert(0, str(Path(__file__).parents[1] / "training"))
from toy_frames import ToyDataset
from toy_frames import toy_frame


def membership(frame):
    return frame.boxes.contains(frame.cloud.points, margin=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_every_step_keeps_each_point_in_its_box(seed):
    frame = toy_frame(seed)
    before = membership(frame)
    assert before.sum() > 300
    rng = np.random.default_rng(seed)
    for changed in (
        steps.flip(frame, "x"),
        steps.flip(frame, "y"),
        steps.rotate(frame, rng.uniform(-4, 4)),
        steps.scale(frame, rng.uniform(0.9, 1.1)),
        steps.shift_height(frame, rng.uniform(-0.5, 0.5)),
    ):
        # A point on the very edge may fall either way by rounding.
        assert (membership(changed) != before).sum() <= 2


def test_flips_are_their_own_inverse_and_mirror_heading_and_speed():
    frame = toy_frame(1)
    for axis, column in (("x", 0), ("y", 1)):
        once = steps.flip(frame, axis)
        speed = frame.boxes.velocity[:, column]
        np.testing.assert_allclose(once.boxes.velocity[:, column], -speed)
        heading = np.stack([np.cos(frame.boxes.yaw), np.sin(frame.boxes.yaw)], 1)
        heading[:, column] *= -1
        mirrored = np.stack([np.cos(once.boxes.yaw), np.sin(once.boxes.yaw)], 1)
        np.testing.assert_allclose(mirrored, heading, atol=1e-6)
        twice = steps.flip(once, axis)
        np.testing.assert_allclose(twice.boxes.center, frame.boxes.center)
        np.testing.assert_allclose(np.cos(twice.boxes.yaw - frame.boxes.yaw), 1, atol=1e-6)


def test_rotation_turns_heading_and_speed_with_the_boxes():
    frame = toy_frame(2)
    moving = replace(
        frame,
        boxes=replace(
            frame.boxes,
            velocity=np.stack([np.cos(frame.boxes.yaw), np.sin(frame.boxes.yaw)], 1) * 3,
        ),
    )
    turned = steps.rotate(moving, 1.1).boxes
    direction = np.arctan2(turned.velocity[:, 1], turned.velocity[:, 0])
    np.testing.assert_allclose(np.cos(direction - turned.yaw), 1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(*turned.velocity.T), 3, rtol=1e-5)


def test_objects_are_scaled_on_the_spot_with_their_points():
    frame = toy_frame(3, objects=6)
    scaled = steps.scale_objects(frame, (0.8, 1.1), np.random.default_rng(0))
    factor = scaled.boxes.size / frame.boxes.size
    assert np.ptp(factor, axis=1).max() < 1e-6
    assert 0.8 <= factor.min() < 0.95 < factor.max() <= 1.1
    bottom = [f.boxes.center[:, 2] - f.boxes.size[:, 2] / 2 for f in (frame, scaled)]
    np.testing.assert_allclose(*bottom, atol=1e-5)
    np.testing.assert_array_equal(scaled.boxes.center[:, :2], frame.boxes.center[:, :2])
    # Every point keeps its place relative to its box; those outside of all boxes do not move.
    for number in range(len(frame.boxes)):
        own = frame.boxes[number].contains(frame.cloud.points)[0]
        foot = frame.boxes.center[number] - [0, 0, frame.boxes.size[number, 2] / 2]
        wanted = foot + (frame.cloud.points[own, :3] - foot) * factor[number, 0]
        np.testing.assert_allclose(scaled.cloud.points[own, :3], wanted, atol=1e-4)
    outside = ~points_in_any(frame.boxes, frame.cloud.points)
    np.testing.assert_array_equal(scaled.cloud.points[outside], frame.cloud.points[outside])


def test_unknown_velocity_stays_unknown():
    frame = toy_frame(0)
    frame = replace(
        frame, boxes=replace(frame.boxes, velocity=np.full_like(frame.boxes.velocity, np.nan))
    )
    changed = augment(frame, AugmentConfig(), np.random.default_rng(0))
    assert np.isnan(changed.boxes.velocity).all()


def test_augment_is_decided_by_the_generator_and_leaves_the_input_alone():
    frame = toy_frame(3)
    points, center = frame.cloud.points.copy(), frame.boxes.center.copy()
    first = augment(frame, AugmentConfig(), np.random.default_rng(7))
    second = augment(frame, AugmentConfig(), np.random.default_rng(7))
    other = augment(frame, AugmentConfig(), np.random.default_rng(8))
    np.testing.assert_array_equal(first.cloud.points, second.cloud.points)
    assert not np.array_equal(first.boxes.center, other.boxes.center)
    np.testing.assert_array_equal(frame.cloud.points, points)
    np.testing.assert_array_equal(frame.boxes.center, center)


def test_dropping_points_counts_them_anew():
    frame = toy_frame(4)
    fewer = steps.drop_points(frame, 0.5, np.random.default_rng(0))
    assert 0.4 < len(fewer.cloud) / len(frame.cloud) < 0.6
    expected = fewer.boxes.contains(fewer.cloud.points).sum(axis=1)
    assert np.abs(fewer.num_points - expected).max() <= 1


def test_intensity_stays_in_range_and_can_go():
    frame = toy_frame(5)
    rng = np.random.default_rng(0)
    loud = steps.change_intensity(frame, AugmentConfig(intensity_gain=2, intensity_off=0), rng)
    assert loud.cloud.points[:, 3].min() >= 0
    assert loud.cloud.points[:, 3].max() <= 1
    gone = steps.change_intensity(frame, AugmentConfig(intensity_off=1), rng)
    assert not gone.cloud.points[:, 3].any()
    assert not gone.cloud.has_intensity


def test_counts_agree_with_the_plain_way():
    frame = toy_frame(6)
    inside = frame.boxes.contains(frame.cloud.points)
    assert np.abs(count_points(frame.boxes, frame.cloud.points) - inside.sum(axis=1)).max() <= 1
    differing = points_in_any(frame.boxes, frame.cloud.points) != inside.any(axis=0)
    assert differing.sum() <= 2


@pytest.fixture(scope="module")
def database():
    config = SamplingConfig(min_points=5, max_objects=40)
    return build_database(ToyDataset(20, first=100), config, range(20))


def test_database_holds_the_points_of_each_object(database, tmp_path):
    assert len(database) > 20
    for i in range(len(database)):
        points = database.points_of(i)
        assert len(points) >= 5
        assert database.boxes[i].contains(points).all()
    database.save(tmp_path / "objects.npz")
    again = ObjectDatabase.load(tmp_path / "objects.npz")
    np.testing.assert_array_equal(again.points, database.points)
    np.testing.assert_array_equal(again.boxes.bev, database.boxes.bev)
    assert again.boxes.classes == database.boxes.classes


def test_cache_is_used_and_tells_data_sets_apart(tmp_path):
    config = SamplingConfig()
    dataset = ToyDataset(3)
    first = cached_database(dataset, config, 0, tmp_path, "a")
    assert len(list(tmp_path.glob("*.npz"))) == 1
    second = cached_database(ToyDataset(3, first=50), config, 0, tmp_path, "a")
    np.testing.assert_array_equal(first.points, second.points)
    cached_database(dataset, config, 0, tmp_path, "b")
    assert len(list(tmp_path.glob("*.npz"))) == 2


@pytest.mark.parametrize("seed", range(5))
def test_sampling_pastes_without_collision_and_clears_the_place(database, seed):
    frame = toy_frame(seed, objects=2)
    clutter = np.random.default_rng(seed).uniform((-10, -10, -1.7, 0), (10, 10, 0, 1), (5000, 4))
    points = np.concatenate([frame.cloud.points, clutter.astype(np.float32)])
    frame = replace(frame, cloud=replace(frame.cloud, points=points))
    config = SamplingConfig(per_class={"car": 4, "pedestrian": 4}, probability=1)
    sampler = ObjectSampler(database, config)
    filled = sampler(frame, np.random.default_rng(seed))
    added = len(filled.boxes) - len(frame.boxes)
    assert added >= 1
    overlap = bev_iou(filled.boxes.bev, filled.boxes.bev)
    np.fill_diagonal(overlap, 0)
    assert overlap.max() == 0
    for label in (0, 1):
        assert (filled.boxes.label == label).sum() <= max(4, (frame.boxes.label == label).sum())
    inside = filled.boxes.contains(filled.cloud.points).sum(axis=1)
    # Only its own points lie in a pasted box.
    assert np.abs(inside[len(frame.boxes) :] - filled.num_points[len(frame.boxes) :]).max() <= 1


def test_pasted_objects_stand_on_the_ground_of_a_higher_sensor(database):
    frame = replace(toy_frame(0, objects=1), sensor_height=2.5)
    config = SamplingConfig(per_class={"car": 6, "pedestrian": 6}, probability=1)
    filled = ObjectSampler(database, config)(frame, np.random.default_rng(0))
    pasted = filled.boxes[np.arange(len(filled.boxes)) >= 1]
    assert len(pasted)
    np.testing.assert_allclose(pasted.center[:, 2] - pasted.size[:, 2] / 2, -2.5, atol=1e-5)


def test_sampling_probability_zero_changes_nothing(database):
    frame = toy_frame(0)
    sampler = ObjectSampler(database, SamplingConfig(probability=0))
    assert sampler(frame, np.random.default_rng(0)) is frame
