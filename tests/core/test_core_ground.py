"""The mount of a LiDAR from one cloud: made planes, simulated streets, real roads."""

import numpy as np
import pytest

from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.ground import LEVEL_ENOUGH
from kd3d_core.ground import GroundEstimate
from kd3d_core.ground import estimate_ground
from kd3d_core.pointcloud import PointCloud

#: x forward, y left, z up to other axes: (3, 3) rotations.
UPSIDE_DOWN = np.diag([1.0, -1.0, -1.0])
CAMERA = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float)


def yard(height=1.7, pitch=0.0, roll=0.0, seed=0):
    """Flat ground with boxes on it, as a sensor at this height and tilt sees it."""
    rng = np.random.default_rng(seed)
    reach = rng.uniform(2, 40, 8000)
    angle = rng.uniform(-np.pi, np.pi, 8000)
    ground = np.column_stack([reach * np.cos(angle), reach * np.sin(angle), np.zeros(8000)])
    spots = rng.uniform(-25, 25, (12, 1, 3)) * (1, 1, 0)
    things = (spots + rng.uniform((-1, -1, 0), (1, 1, 1.8), (12, 300, 3))).reshape(-1, 3)
    wall = np.column_stack(
        [rng.uniform(-30, 30, 3000), np.full(3000, 9.0), rng.uniform(0, 6, 3000)]
    )
    world = np.concatenate([ground, things, wall]) + rng.normal(0, 0.02, (14600, 3))
    sensor = invert_pose(pose_matrix((0, 0, height), 0.4, pitch, roll))
    return PointCloud.from_arrays(world @ sensor[:3, :3].T + sensor[:3, 3])


def turned(cloud, rotation):
    return PointCloud.from_arrays(cloud.xyz @ np.asarray(rotation).T)


@pytest.mark.parametrize("height", [0.0, 0.4, 1.0, 1.73, 2.5, 4.0])
def test_height_of_level_sensors(height):
    found = estimate_ground(yard(height))
    assert found.up == "+z"
    assert found.height == pytest.approx(height, abs=0.05)
    assert found.share > 0.5


@pytest.mark.parametrize(("pitch", "roll"), [(0.2, 0.0), (0.0, -0.15), (-0.1, 0.1)])
def test_tilt_of_the_mount(pitch, roll):
    found = estimate_ground(yard(1.5, pitch, roll))
    assert found.height == pytest.approx(1.5, abs=0.05)
    assert found.pitch == pytest.approx(pitch, abs=0.02)
    assert found.roll == pytest.approx(roll, abs=0.02)


@pytest.mark.parametrize(("rotation", "up"), [(UPSIDE_DOWN, "-z"), (CAMERA, "-y")])
def test_wrong_axes_are_seen(rotation, up):
    found = estimate_ground(turned(yard(), rotation))
    assert found.up == up
    assert found.height == pytest.approx(1.7, abs=0.05)


def test_points_below_the_ground_and_hollow_clouds():
    cloud = yard()
    rng = np.random.default_rng(1)
    noise = rng.uniform((-25, -25, -8), (25, 25, -3), (150, 3))
    found = estimate_ground(PointCloud.from_arrays(np.concatenate([cloud.xyz, noise])))
    assert found.height == pytest.approx(1.7, abs=0.05)
    assert estimate_ground(PointCloud(np.zeros((0, 4), np.float32))) is None
    assert estimate_ground(cloud[:20]) is None
    ball = rng.normal(size=(20000, 3))
    ball *= 15 / np.linalg.norm(ball, axis=1, keepdims=True)
    assert estimate_ground(PointCloud.from_arrays(ball)) is None


def test_equal_clouds_give_equal_answers():
    cloud = PointCloud.from_arrays(np.concatenate([yard(seed=i).xyz for i in range(3)]))
    assert len(cloud) > 20_000
    assert estimate_ground(cloud) == estimate_ground(cloud)


def test_levelling_puts_the_ground_flat_at_the_wanted_height():
    for height, pitch, roll in ((0.4, 0.0, 0.0), (2.6, 0.2, 0.0), (1.0, -0.1, 0.15)):
        cloud = yard(height, pitch, roll)
        pose = estimate_ground(cloud).levelling(1.73)
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        again = estimate_ground(cloud.transformed(pose))
        assert again.height == pytest.approx(1.73, abs=0.02)
        assert again.tilt < 0.005
        # Headings stay: x is still ahead.
        assert abs(np.arctan2(pose[1, 0], pose[0, 0])) < 0.01


def test_small_tilts_are_only_shifted():
    estimate = GroundEstimate(height=1.0, pitch=0.9 * LEVEL_ENOUGH, roll=0.0, share=0.5)
    np.testing.assert_array_equal(estimate.levelling(1.7), pose_matrix((0, 0, 1.0 - 1.7)))
    assert estimate.levelling(1.7, enough=0.5 * LEVEL_ENOUGH)[2, 2] < 1
    assert estimate.tilt == pytest.approx(0.9 * LEVEL_ENOUGH)


def test_a_slope_needs_more_evidence_than_level_ground():
    """A bank with a fifth of the cells is no ground; as much level ground is."""
    rng = np.random.default_rng(3)
    clutter = rng.uniform((-25, -25, 0.3), (25, 25, 3), (9000, 3))
    patch = rng.uniform((3, -12, 0), (24, 12, 0.02), (4000, 3))
    for rise, believed in ((0.0, True), (0.25, False)):
        bank = patch + np.outer(patch[:, 0] * rise, (0, 0, 1))
        xyz = np.concatenate([clutter, bank]) - (0, 0, 1.5)
        found = estimate_ground(PointCloud.from_arrays(xyz), axes=("+z",))
        assert (found is not None) == believed
        assert found is None or found.height == pytest.approx(1.5, abs=0.05)


@pytest.mark.parametrize(("sensor", "height"), [("vlp16", 0.6), ("livox-mid360", 0.4)])
def test_simulated_streets(sensor, height):
    from kd3d_core.simulation.drives import SimulationConfig
    from kd3d_core.simulation.drives import simulate_drive

    config = SimulationConfig(
        drives=1, frames_per_drive=1, sensors=(sensor,), height=height, height_jitter=0, seed=4
    )
    _, frame = next(simulate_drive(config, 0))
    assert estimate_ground(frame.cloud).height == pytest.approx(height, abs=0.15)


def test_real_roads(shared_data):
    """KITTI's sensor is 1.73 m above the road; frames 3 and 7 are on slopes."""
    from kd3d_core.datasets.clouds import read_cloud

    paths = sorted((shared_data / "kitti/training/velodyne").glob("*.bin"))
    paths += sorted((shared_data / "kitti_odometry_00").glob("*.bin"))[:1]
    for path in paths:
        cloud = read_cloud(path)
        found = estimate_ground(cloud)
        assert found.up == "+z", path
        assert found.height == pytest.approx(1.73, abs=0.15), path
        assert estimate_ground(turned(cloud, UPSIDE_DOWN)).up == "-z", path
        assert estimate_ground(turned(cloud, CAMERA)).up == "-y", path


def test_real_cloud_in_a_vehicle_frame(shared_data):
    """Argoverse 2 gives clouds in the frame of the rear axle, 0.33 m above the road."""
    feather = pytest.importorskip("pyarrow.feather")
    path = next((shared_data / "argoverse2").glob("**/lidar/*.feather"))
    table = feather.read_table(path)
    xyz = np.stack([table[name].to_numpy().astype(np.float32) for name in "xyz"], axis=1)
    found = estimate_ground(PointCloud.from_arrays(xyz))
    assert found.up == "+z"
    assert found.height == pytest.approx(0.33, abs=0.15)
