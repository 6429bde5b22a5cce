"""Transforms over time, against poses that are known in closed form."""

import threading
import time

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.transform_tree import TransformError
from kd3d_core.geometry.transform_tree import TransformTree
from kd3d_core.geometry.transforms import matrix_from_quaternion
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.geometry.transforms import quaternion_from_matrix

MOUNT = pose_matrix((1.2, 0.1, 1.7), yaw=0.3, pitch=0.05)


def ego(stamp):
    """Where a vehicle is that drives 10 m/s and turns 0.5 rad/s, along a straight line."""
    return pose_matrix((10 * stamp, 2 - stamp, 0), yaw=0.5 * stamp)


@pytest.fixture
def tree():
    """A lidar on a vehicle that drives in `odom` from 0 s to 5 s, told ten times a second."""
    tree = TransformTree()
    for step in range(51):
        tree.set("odom", "base_link", ego(0.1 * step), 0.1 * step)
    tree.set("base_link", "lidar", MOUNT)
    return tree


@pytest.mark.parametrize("stamp", [0.0, 0.05, 1.23, 3.3, 5.0])
def test_interpolates_between_samples_and_through_static_links(tree, stamp):
    np.testing.assert_allclose(tree.lookup("odom", "lidar", stamp), ego(stamp) @ MOUNT, atol=1e-9)
    there = tree.lookup("lidar", "odom", stamp)
    np.testing.assert_allclose(there @ ego(stamp) @ MOUNT, np.eye(4), atol=1e-9)


def test_half_turn_is_halved_along_the_way_of_the_quaternions():
    tree = TransformTree()
    tree.set("a", "b", np.eye(4), 0.0)
    tree.set("a", "b", pose_matrix((2, 0, 0), yaw=np.pi), 1.0)
    half = tree.lookup("a", "b", 0.5)
    np.testing.assert_allclose(half[:3, 3], (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(np.abs(half[:3, :3]), [[0, 1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-9)


def test_turns_the_shorter_way_across_pi():
    tree = TransformTree()
    tree.set("a", "b", pose_matrix((0, 0, 0), yaw=3.0), 0.0)
    tree.set("a", "b", pose_matrix((0, 0, 0), yaw=-3.0), 1.0)
    expected = pose_matrix((0, 0, 0), yaw=np.pi)
    np.testing.assert_allclose(tree.lookup("a", "b", 0.5), expected, atol=1e-9)


def test_common_ancestor_may_lie_below_the_root(tree):
    tree.set("base_link", "camera", pose_matrix((2, 0, 1)))
    tree.set("map", "odom", pose_matrix((100, 0, 0)), 50.0)  # not known while the others are
    expected = np.linalg.inv(pose_matrix((2, 0, 1))) @ MOUNT
    np.testing.assert_allclose(tree.lookup("camera", "lidar", 1.0), expected, atol=1e-12)
    np.testing.assert_allclose(tree.lookup("camera", "lidar"), expected, atol=1e-12)
    assert tree.latest_common_time("camera", "lidar") is None


def test_latest_common_time_is_that_of_the_slowest_link(tree):
    for stamp in (4.0, 4.2, 4.4):
        tree.set("map", "odom", pose_matrix((stamp, 0, 0)), stamp)
    assert tree.latest_common_time("map", "lidar") == pytest.approx(4.4)
    expected = pose_matrix((4.4, 0, 0)) @ ego(4.4) @ MOUNT
    np.testing.assert_allclose(tree.lookup("map", "lidar"), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("target", "source", "stamp", "kind", "words"),
    [
        (
            "odom",
            "lidar",
            5.2,
            "future",
            ("odom -> base_link", "5.200", "0.200 s", "use_sim_time"),
        ),
        ("odom", "lidar", -1.0, "too old", ("odom -> base_link", "0.000", "-1.000")),
        ("odom", "radar", 1.0, "unknown", ("'radar'", "base_link, lidar, odom")),
        ("world", "lidar", None, "disconnected", ("'world'", "'lidar'", "publish a transform")),
    ],
)
def test_errors_name_frames_times_and_remedies(tree, target, source, stamp, kind, words):
    tree.set("world", "pole", np.eye(4))
    with pytest.raises(TransformError) as caught:
        tree.lookup(target, source, stamp)
    assert caught.value.kind == kind
    assert isinstance(caught.value, Kd3dError)
    for word in words:
        assert word in str(caught.value)
    assert not tree.can_answer(target, source, stamp)


def test_extrapolates_constant_motion_only_as_far_as_allowed(tree):
    ahead = tree.lookup("odom", "base_link", 5.08, extrapolation=0.1)
    np.testing.assert_allclose(ahead, ego(5.08), atol=1e-9)
    np.testing.assert_allclose(
        tree.lookup("odom", "base_link", -0.08, extrapolation=0.1), ego(-0.08), atol=1e-9
    )
    with pytest.raises(TransformError):
        tree.lookup("odom", "base_link", 5.12, extrapolation=0.1)


def test_extrapolation_ignores_the_noise_between_close_samples(tree):
    jump = ego(5.0)
    jump[0, 3] += 0.01  # 1 cm of noise within a millisecond would be 10 m/s
    tree.set("odom", "base_link", jump, 5.001)
    ahead = tree.lookup("odom", "base_link", 5.05, extrapolation=0.1)
    assert np.linalg.norm(ahead[:3, 3] - ego(5.05)[:3, 3]) < 0.03


def test_stamps_apart_by_rounding_are_one_moment():
    tree = TransformTree()
    stamp_ns = 1_700_000_000_123_456_789
    tree.set("a", "b", np.eye(4), 1_700_000_000 + 123_456_789e-9)
    assert tree.can_answer("a", "b", stamp_ns * 1e-9)
    assert not tree.can_answer("a", "b", stamp_ns * 1e-9 + 1e-5)


def test_history_is_bounded_and_old_or_repeated_samples_are_ignored():
    tree = TransformTree(history=2.0)
    for step in range(100):
        assert tree.set("a", "b", pose_matrix((step, 0, 0)), 0.1 * step)
    assert len(tree._links["b"].samples) == 21
    assert not tree.set("a", "b", np.eye(4), 1.0)
    assert not tree.set("a", "b", np.eye(4), 9.0)
    assert tree.newest == pytest.approx(9.9)
    with pytest.raises(TransformError, match="known from 7"):
        tree.lookup("a", "b", 5.0)


def test_late_samples_take_their_place_in_time(tree):
    fresh = TransformTree()
    for stamp in (0.0, 0.2, 0.1):
        fresh.set("a", "b", pose_matrix((stamp**2, 0, 0)), stamp)
    assert fresh.lookup("a", "b", 0.1)[0, 3] == pytest.approx(0.01)
    assert fresh.lookup("a", "b", 0.15)[0, 3] == pytest.approx(0.025)


def test_new_parent_holds_from_its_first_sample_on():
    tree = TransformTree()
    tree.set("old", "child", pose_matrix((1, 0, 0)), 1.0)
    tree.set("new", "child", pose_matrix((5, 0, 0)), 2.0)
    tree.set("old", "new", pose_matrix((0, 7, 0)))
    np.testing.assert_allclose(tree.lookup("old", "child", 1.9)[:3, 3], (1, 0, 0))
    np.testing.assert_allclose(tree.lookup("old", "child", 2.0)[:3, 3], (5, 7, 0))


def test_clear_keeps_the_static_part_when_asked(tree):
    tree.clear(static=False)
    assert tree.frames == ("base_link", "lidar")
    assert tree.newest is None
    np.testing.assert_allclose(tree.lookup("base_link", "lidar", 1.0), MOUNT, atol=1e-9)
    assert tree.set("odom", "base_link", np.eye(4), 0.5)  # older than before the clear
    tree.clear()
    assert tree.frames == ()


def test_loops_and_bad_transforms_are_refused():
    tree = TransformTree()
    tree.set("a", "b", np.eye(4))
    tree.set("b", "a", np.eye(4))
    tree.set("c", "d", np.eye(4))
    with pytest.raises(TransformError):
        tree.lookup("d", "a", 0.0)
    with pytest.raises(ValueError, match="not rigid"):
        tree.set("a", "b", 2 * np.eye(4))
    with pytest.raises(ValueError, match="different frames"):
        tree.set("a", "/a", np.eye(4))
    for parts in (((0, 0, 0), (0, 0, 0, 0)), ((np.nan, 0, 0), (0, 0, 0, 1))):
        with pytest.raises(ValueError, match="quaternion"):
            tree.set_parts("a", "b", *parts)


def test_waits_for_a_transform_that_arrives_late_and_for_nothing_else(tree):
    sender = threading.Timer(0.05, lambda: tree.set("odom", "base_link", ego(5.1), 5.1))
    sender.start()
    found = tree.lookup("odom", "lidar", 5.05, timeout=5.0)
    sender.join()
    np.testing.assert_allclose(found, ego(5.05) @ MOUNT, atol=1e-9)
    start = time.monotonic()
    with pytest.raises(TransformError, match="radar"):
        tree.lookup("odom", "radar", 5.05, timeout=5.0)
    assert time.monotonic() - start < 2.0


def test_threads_may_write_and_read_together():
    tree = TransformTree(history=0.5)
    tree.set("odom", "base_link", ego(0.0), 0.0)
    faults = []

    def write():
        for step in range(1, 1500):
            tree.set_parts("odom", "base_link", (0.01 * step, 0, 0), (0, 0, 0, 1), 0.001 * step)

    def read():
        for _ in range(300):
            newest = tree.newest
            place = tree.lookup("odom", "base_link", newest)[0, 3]
            if abs(place - 10 * newest) > 1e-9:
                faults.append((newest, place))

    threads = [threading.Thread(target=work) for work in (write, read, read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_quaternions_and_matrices_are_inverse():
    rng = np.random.default_rng(0)
    for angles in [*rng.uniform(-np.pi, np.pi, (50, 3)), (np.pi, 0, 0), (0, 0, np.pi), (0, 0, 0)]:
        rotation = pose_matrix((0, 0, 0), *angles)[:3, :3]
        quaternion = quaternion_from_matrix(rotation)
        assert quaternion[3] >= 0
        np.testing.assert_allclose(matrix_from_quaternion(quaternion), rotation, atol=1e-9)
