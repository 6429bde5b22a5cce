"""One bundle at every mount: clouds go levelled to the network, boxes come back in their frame."""

import handmade_bundle
import numpy as np
import pytest

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.inputs import encode
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.ground import GroundEstimate
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime import levelling
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.bundle import write_bundle
from kd3d_core.runtime.default import bundle_path
from kd3d_core.runtime.detector import Detector
from kd3d_core.runtime.levelling import ByCloud
from kd3d_core.runtime.levelling import ByStream
from kd3d_core.runtime.levelling import ByUser
from kd3d_core.runtime.levelling import level_cloud
from kd3d_core.runtime.levelling import leveller_for_stream

HEIGHT = 1.73


def yard(height, pitch=0.0, roll=0.0, clumps=((4.3, -2.2),), floor=True):
    """Flat ground and posts of 60 cm to 2.6 m, from a sensor at this height and tilt."""
    rng = np.random.default_rng(0)
    reach, angle = rng.uniform(2, 40, 9000), rng.uniform(-np.pi, np.pi, 9000)
    ground = np.column_stack([reach * np.cos(angle), reach * np.sin(angle), np.zeros(9000)])
    spots = [
        rng.uniform((x - 0.05, y - 0.05, 0.6), (x + 0.05, y + 0.05, 2.6), (600, 3))
        for x, y in clumps
    ]
    world = np.concatenate([*([ground] if floor else []), *spots])
    sensor = invert_pose(pose_matrix((0, 0, height), 0, pitch, roll))
    xyz = world @ sensor[:3, :3].T + sensor[:3, 3]
    return PointCloud.from_arrays(xyz, np.full(len(xyz), 0.5))


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """Finds a car, centre at z = -1 m, where many points are 0.6 to 2.6 m above the ground."""
    path = tmp_path_factory.mktemp("levelled") / "levelled.kd3d"
    grid = BevGrid(x=(-10.24, 10.24), y=(-10.24, 10.24), z=(-1.2, 1.2), cell=0.32)
    about = handmade_bundle.manifest(ground_height_m=HEIGHT, grid=grid)
    write_bundle(path, about, handmade_bundle.graph())
    return Detector.load(path, "onnxruntime", threads=1)


@pytest.mark.parametrize("height", [0.0, 0.4, 1.73, 2.6, 4.0])
def test_boxes_are_the_same_from_every_height(detector, height):
    found = detector(yard(height))
    assert found.boxes.names == ["car"]
    shift = HEIGHT - height
    np.testing.assert_allclose(found.boxes.center, [[4.16, -2.24, -1.0 + shift]], atol=0.02)
    assert found.levelling.height == pytest.approx(height, abs=0.02)
    assert found.levelling.source == "cloud"
    assert not found.levelling.turns
    # Without levelling the network looks at another part of the posts, or at the ground.
    if shift:
        bare = detector.with_leveller(None)(yard(height))
        assert bare.levelling is None
        assert bare.points_in_range != found.points_in_range


@pytest.mark.parametrize(("pitch", "roll"), [(0.2, 0.0), (0.0, -0.15), (-0.1, 0.12)])
def test_boxes_of_tilted_sensors_lie_in_their_own_frame(detector, pitch, roll):
    found = detector(yard(0.9, pitch, roll))
    assert found.levelling.turns
    assert found.levelling.pitch == pytest.approx(pitch, abs=0.01)
    assert found.levelling.roll == pytest.approx(roll, abs=0.01)
    sensor = invert_pose(pose_matrix((0, 0, 0.9), 0, pitch, roll))
    # z = -1 in the levelled cloud is 0.73 m above the ground.
    wanted = sensor @ (4.16, -2.24, 0.73, 1)
    assert found.boxes.names == ["car"]
    np.testing.assert_allclose(found.boxes.center[0], wanted[:3], atol=0.35)  # half a cell
    np.testing.assert_allclose(found.boxes.center[0, 2], wanted[2], atol=0.1)


def test_bundles_without_a_height_take_clouds_as_they_come(tmp_path):
    path = handmade_bundle.write(tmp_path / "old.kd3d")
    detector = Detector.load(path, "onnxruntime", threads=1)
    assert detector.leveller is None
    assert leveller_for_stream(detector.manifest) is None
    cloud = yard(0.9, 0.1)
    assert level_cloud(cloud, detector.manifest) is cloud
    found = detector(cloud)
    assert found.levelling is None
    fed = encode(cloud.points, detector.manifest.grid, detector.manifest.input)
    assert found.points_in_range == fed.points_in_range
    shipped = read_bundle(bundle_path()).manifest
    assert shipped.ground_height_m is None or shipped.ground_height_m > 0


@pytest.mark.parametrize("config", [BevImageInput(slices=5), PillarInput()])
def test_lifting_is_shifting(config):
    grid = BevGrid(x=(-10.24, 10.24), y=(-10.24, 10.24), z=(-2, 2), cell=0.32)
    points = np.random.default_rng(2).uniform((-11, -11, -3, 0), (11, 11, 3, 1), (9000, 4))
    points = points.astype(np.float32)
    before = points.copy()
    lifted = encode(points, grid, config, lift=0.75)
    shifted = encode(points + np.array([0, 0, 0.75, 0], np.float32), grid, config)
    np.testing.assert_array_equal(points, before)
    assert lifted.points_in_range == shifted.points_in_range
    for name, array in shifted.arrays.items():
        np.testing.assert_allclose(lifted.arrays[name], array, atol=1e-6)


def test_no_ground_and_given_heights(detector):
    hollow = yard(0.9, floor=False)
    found = detector(hollow)
    assert found.levelling.source == "nobody"
    assert found.levelling.height is None
    assert "no ground in sight" in found.levelling.words
    told = detector.with_leveller(leveller_for_stream(detector.manifest, 0.9))(hollow)
    assert isinstance(leveller_for_stream(detector.manifest, 0.9), ByUser)
    np.testing.assert_allclose(told.boxes.center, [[4.16, -2.24, -0.17]], atol=1e-3)
    assert told.levelling.words == "raised by -0.83 m (sensor height 0.90 m, given)"


def test_levelled_clouds_have_their_ground_where_it_is_wanted(detector):
    for cloud in (yard(0.5), yard(2.6, 0.15, 0.05)):
        again = ByCloud(HEIGHT)(level_cloud(cloud, detector.manifest))
        np.testing.assert_allclose(again.pose, np.eye(4), atol=0.03)


class Script:
    """Estimates in a row instead of clouds: (height, pitch [rad]) or None for no ground."""

    def __init__(self, monkeypatch, estimates):
        self.left = list(estimates)
        self.asked = 0
        monkeypatch.setattr(levelling, "estimate_ground", self)

    def __call__(self, cloud, axes):
        self.asked += 1
        found = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        return None if found is None else GroundEstimate(found[0], found[1], 0.0, 0.6)


def follow(leveller, clouds):
    return [leveller(yard(1.0)) for _ in range(clouds)]


def test_a_stream_is_looked_at_now_and_then(monkeypatch):
    script = Script(monkeypatch, [(1.2, 0.0)])
    told = follow(ByStream(HEIGHT, first=5, every=10), 100)
    assert script.asked == 5 + 9
    assert {each.source for each in told} == {"stream"}
    assert told[-1].height == 1.2
    np.testing.assert_allclose(told[-1].pose, pose_matrix((0, 0, 1.2 - HEIGHT)))


def test_neither_a_bad_estimate_nor_a_ramp_moves_a_stream(monkeypatch):
    steady = [(1.2, 0.0)] * 20
    for odd in ([(3.0, 0.3)], [(1.3, 0.1)] * 6, [None] * 30):
        Script(monkeypatch, [*steady, *odd, *steady])
        told = follow(ByStream(HEIGHT, first=5, every=1), 40 + len(odd))
        assert {each.height for each in told} == {1.2}
        assert not any(each.turns for each in told)


def test_a_changed_mount_is_followed(monkeypatch):
    Script(monkeypatch, [(1.2, 0.0)] * 20 + [(0.6, 0.2)])
    told = follow(ByStream(HEIGHT, first=5, every=1, window=15), 40)
    assert [each.height for each in told[20:]].index(0.6) == 7
    assert told[-1].turns
    assert told[-1].pitch == 0.2


def test_a_mount_near_the_limit_does_not_flicker(monkeypatch):
    limit = levelling.LEVEL_ENOUGH
    waver = [(1.0, limit * factor) for factor in (1.1, 0.9, 1.1, 0.9, 0.9, 1.1, 0.9) * 5]
    Script(monkeypatch, waver)
    told = follow(ByStream(HEIGHT, first=1, every=1, window=3), len(waver))
    assert all(each.turns for each in told)
    Script(monkeypatch, [*waver, (1.0, 0.5 * limit)])
    told = follow(ByStream(HEIGHT, first=1, every=1, window=3), len(waver) + 3)
    assert not told[-1].turns


def test_a_stream_that_shows_no_ground_at_first(monkeypatch):
    script = Script(monkeypatch, [None] * 22 + [(0.8, 0.0)])
    told = follow(ByStream(HEIGHT, first=5, every=10), 80)
    assert told[0].source == "nobody"
    np.testing.assert_array_equal(told[0].pose, np.eye(4))
    assert told[-1].height == 0.8
    assert script.asked < 35


def test_streams_of_real_sweeps_stand_still(shared_data):
    from kd3d_core.datasets.clouds import read_cloud

    leveller = ByStream(HEIGHT)
    for path in sorted((shared_data / "kitti_odometry_00").glob("**/*.bin")):
        told = leveller(read_cloud(path))
        assert told.height == pytest.approx(1.73, abs=0.06)
        assert abs(told.pose[2, 3]) < 0.06


def test_real_cloud_in_a_vehicle_frame_is_brought_up(shared_data):
    from kd3d_core.datasets.opening import open_dataset

    pytest.importorskip("pyarrow")
    frame = open_dataset(shared_data / "argoverse2")[0]
    bundle = read_bundle(bundle_path())
    about = bundle.manifest.model_copy(update={"ground_height_m": HEIGHT})
    backend = make_backend("onnxruntime", bundle.onnx, threads=1)
    found = Detector(type(bundle)(about, bundle.onnx), backend)(frame.cloud)
    assert found.levelling.height == pytest.approx(0.33, abs=0.06)
    cars = [name == "car" for name in found.boxes.names]
    assert sum(cars) > 5
    bottom = found.boxes.center[:, 2] - found.boxes.size[:, 2] / 2
    assert np.median(bottom[cars]) == pytest.approx(-0.33, abs=0.3)
