"""`merge_sweeps`: several sweeps as one cloud."""

import numpy as np

from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.geometry.transforms import transform_points
from kd3d_core.pointcloud import PointCloud
from kd3d_core.pointcloud import merge_sweeps


def sweep(seed, count, *, time=None, ring=True, intensity=True):
    rng = np.random.default_rng(seed)
    return PointCloud.from_arrays(
        rng.uniform(-50, 50, (count, 3)),
        rng.uniform(0, 1, count) if intensity else None,
        time=time,
        ring=np.arange(count) % 16 if ring else None,
    )


def test_earlier_points_are_moved_and_dated():
    newest = sweep(0, 100, time=np.linspace(-0.1, 0, 100))
    before, first = sweep(1, 70), sweep(2, 50, time=np.full(50, -0.05))
    poses = [pose_matrix((-1, 0.2, 0), yaw=0.1), pose_matrix((-2, 0.3, 0.1), 0.2, 0.1, -0.1)]
    merged = merge_sweeps(newest, [(before, poses[0], 0.1), (first, poses[1], 0.2)])
    assert len(merged) == 220
    np.testing.assert_array_equal(merged.points[:100], newest.points)
    for cloud, pose, part in (
        (before, poses[0], slice(100, 170)),
        (first, poses[1], slice(170, 220)),
    ):
        np.testing.assert_allclose(
            merged.points[part], transform_points(pose, cloud.points), atol=1e-5
        )
        np.testing.assert_array_equal(merged.points[part, 3], cloud.points[:, 3])
    np.testing.assert_array_equal(merged.time[:100], newest.time)
    np.testing.assert_allclose(merged.time[100:170], -0.1)
    np.testing.assert_allclose(merged.time[170:], -0.25)
    np.testing.assert_array_equal(merged.ring[100:170], before.ring)


def test_columns_that_one_sweep_lacks_are_given_up():
    merged = merge_sweeps(
        sweep(0, 5), [(sweep(1, 5, ring=False, intensity=False), np.eye(4), 0.1)]
    )
    assert merged.ring is None
    assert not merged.has_intensity
    np.testing.assert_allclose(merged.time, [0] * 5 + [-0.1] * 5)


def test_no_earlier_and_empty_sweeps():
    newest = sweep(0, 5)
    np.testing.assert_array_equal(merge_sweeps(newest, []).points, newest.points)
    empty = PointCloud(np.zeros((0, 4), np.float32))
    assert len(merge_sweeps(newest, [(empty, np.eye(4), 0.1)])) == 5
    assert len(merge_sweeps(empty, [(newest, np.eye(4), 0.1)])) == 5
