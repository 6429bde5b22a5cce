"""`SweepBuffer`: sweeps of a moving robot become one cloud of a world that stands still."""

import numpy as np
import pytest

from kd3d_core.geometry.transform_tree import TransformTree
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud
from kd3d_ros.detector.sweeps import SweepBuffer

#: As a robot's clock gives them, and a map frame far from its origin.
START_NS = 1_700_000_000_000_000_000
ORIGIN = np.array([450_000.0, 5_400_000.0, 300.0])
MOUNT = pose_matrix((1.0, 0.2, 1.7), yaw=0.1, pitch=0.03)
STEP_NS = 100_000_000


def ego(seconds):
    """odom_from_base_link: 15 m/s ahead while turning 0.6 rad/s."""
    return pose_matrix(np.add(ORIGIN, (15 * seconds, 0.5 * seconds, 0)), yaw=0.6 * seconds)


def tree_of(until=2.0):
    """Odometry at 50 Hz, not at the moments of the sweeps, and the mount."""
    tree = TransformTree()
    for step in range(round(until * 50)):
        moment = 0.02 * step - 0.007
        tree.set("odom", "base_link", ego(moment), START_NS * 1e-9 + moment)
    tree.set("base_link", "lidar", MOUNT)
    return tree


def wall():
    """(N, 3) a wall ahead of the start, in the world."""
    y, z = np.meshgrid(np.linspace(-20, 20, 200), np.linspace(0, 3, 20))
    return ORIGIN + np.stack([np.full(y.size, 40.0), y.ravel(), z.ravel()], axis=1)


def seen(number):
    """The wall as sweep number `number` sees it, and the sweep's stamp."""
    stamp = 100_000_000 + number * STEP_NS
    sensor = invert_pose(ego(stamp * 1e-9) @ MOUNT)
    points = wall() @ sensor[:3, :3].T + sensor[:3, 3]
    return PointCloud.from_arrays(points, np.full(len(points), 0.1 * number)), START_NS + stamp


def test_static_wall_stays_one_wall():
    buffer = SweepBuffer(3)
    tree = tree_of()
    for number in range(5):
        cloud, stamp = seen(number)
        buffer.add(cloud, stamp, "lidar")
        merged = buffer.merged(tree.lookup)
        assert merged.sweeps == min(number + 1, 3)
        assert merged.reason == ""
    count = len(cloud)
    np.testing.assert_array_equal(merged.cloud.points[:count], cloud.points)
    for part, age in ((slice(count, 2 * count), 0.1), (slice(2 * count, None), 0.2)):
        # The same point of the wall in every sweep: 3 m of driving and 7 degrees of turn are out.
        apart = np.linalg.norm(merged.cloud.xyz[part] - cloud.xyz, axis=1)
        assert apart.max() < 0.01
        np.testing.assert_allclose(merged.cloud.time[part], -age, atol=1e-6)
    np.testing.assert_allclose(merged.cloud.points[count::count, 3], [0.3, 0.2], atol=1e-6)


def test_one_sweep_is_given_back_as_it_is():
    def never(*_args):
        raise AssertionError("a single sweep needs no transform")

    buffer = SweepBuffer(1)
    with pytest.raises(ValueError, match="add a cloud"):
        buffer.merged(never)
    for number in range(2):
        cloud, stamp = seen(number)
        buffer.add(cloud, stamp, "lidar")
        merged = buffer.merged(never)
        assert merged.cloud is cloud
        assert merged.sweeps == 1


def test_missing_transforms_cost_sweeps_and_say_why():
    buffer = SweepBuffer(3)
    empty = TransformTree()
    for number in range(3):
        cloud, stamp = seen(number)
        buffer.add(cloud, stamp, "lidar")
    merged = buffer.merged(empty.lookup)
    assert merged.cloud is cloud
    assert merged.sweeps == 1
    assert "2 of 3 sweeps" in merged.reason
    assert "'odom'" in merged.reason
    # tf is known from the second sweep on: only the first cannot be placed.
    late = TransformTree()
    late.set("base_link", "lidar", MOUNT)
    for step in range(20):
        moment = 0.15 + 0.02 * step
        late.set("odom", "base_link", ego(moment), START_NS * 1e-9 + moment)
    merged = buffer.merged(late.lookup)
    assert merged.sweeps == 2
    assert "1 of 3 sweeps" in merged.reason
    assert "odom -> base_link" in merged.reason


def test_known_places_are_not_asked_for_again():
    tree = tree_of()
    asked = []

    def lookup(target, source, stamp):
        asked.append((target, source, stamp))
        return tree.lookup(target, source, stamp)

    buffer = SweepBuffer(3, "odom")
    for number in range(6):
        cloud, stamp = seen(number)
        buffer.add(cloud, stamp, "lidar")
        buffer.merged(lookup)
    assert len(asked) == 6
    assert asked[-1] == ("odom", "lidar", stamp * 1e-9)


def test_time_going_back_and_other_frames_start_anew():
    buffer = SweepBuffer(4)
    for number in (3, 4, 5):
        cloud, stamp = seen(number)
        buffer.add(cloud, stamp, "lidar")
    assert len(buffer) == 3
    buffer.add(cloud, stamp, "lidar")  # the same cloud again
    assert len(buffer) == 3
    buffer.add(*seen(1), "lidar")
    assert len(buffer) == 1
    buffer.add(*seen(2), "other_lidar")
    assert len(buffer) == 1
    buffer.clear()
    assert len(buffer) == 0


def test_sweeps_before_a_gap_are_left_out():
    buffer = SweepBuffer(4, max_age=0.5)
    tree = tree_of()
    for number in (0, 1, 8):
        buffer.add(*seen(number), "lidar")
    merged = buffer.merged(tree.lookup)
    assert merged.sweeps == 1
    assert "2 earlier sweeps are more than 0.5 s older" in merged.reason
    buffer.add(*seen(9), "lidar")
    merged = buffer.merged(tree.lookup)
    assert merged.sweeps == 2
    assert merged.reason == ""
