import shutil

import numpy as np
import pytest

from kd3d_core.datasets.argoverse2 import Argoverse2Dataset
from kd3d_core.datasets.argoverse2 import is_argoverse2
from kd3d_core.datasets.argoverse2_classes import ARGOVERSE2_CLASSES
from kd3d_core.datasets.argoverse2_classes import CATEGORY_OF_CLASS
from kd3d_core.datasets.argoverse2_classes import CLASS_OF_CATEGORY
from kd3d_core.datasets.argoverse2_writer import write_argoverse2
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.ground import estimate_ground
from kd3d_core.pointcloud import PointCloud

pytest.importorskip("pyarrow", reason="pyarrow (pip install 'kd3d_ros[data]') is not installed")

START = 1_600_000_000.0
SPEED = np.array([8.0, 1.0])


def drive(frames=4, seed=0):
    """A vehicle that turns, one object that moves at SPEED in the city and one that stands."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(frames):
        seconds = 0.1 * number
        pose = pose_matrix((5.0 * seconds, 1.0, 0.5), yaw=0.3 + 0.5 * seconds, pitch=0.01)
        back = np.linalg.inv(pose)
        city = np.array([[20 + SPEED[0] * seconds, SPEED[1] * seconds, 1.0], [12, -6, 1.2]])
        boxes = Boxes3D.make(
            city @ back[:3, :3].T + back[:3, 3],
            [[4.5, 1.9, 1.6], [0.8, 0.7, 1.8]],
            [0.1, -2.0],
            [0, 3],
        )
        around = boxes.center[:, None] + rng.uniform(-0.3, 0.3, (2, 50, 3))
        xyz = np.concatenate([around.reshape(-1, 3), rng.uniform(-40, 40, (900, 3))])
        cloud = PointCloud.from_arrays(
            xyz,
            rng.integers(0, 256, len(xyz)) / 255,
            time=np.linspace(-0.1, 0, len(xyz)),
            ring=rng.integers(0, 64, len(xyz)),
        )
        made.append(
            Frame(
                cloud,
                source=f"frame {number}",
                stamp=START + seconds,
                boxes=boxes,
                num_points=boxes.contains(cloud.points).sum(axis=1),
                track_id=np.array([7, 3]),
                pose=pose,
            )
        )
    return made


def test_writing_and_reading_gives_the_same_frames(tmp_path):
    frames = drive()
    write_argoverse2(frames, tmp_path, split="val", log="one")
    dataset = Argoverse2Dataset(tmp_path, split="val", classes=DEFAULT_CLASSES)
    assert len(dataset) == 4
    assert dataset.classes == DEFAULT_CLASSES
    assert dataset.drive(0) == "one"
    for written, read in zip(frames, dataset, strict=True):
        np.testing.assert_allclose(read.cloud.points, written.cloud.points, atol=1e-6)
        np.testing.assert_allclose(read.cloud.time, written.cloud.time, atol=1e-8)
        np.testing.assert_array_equal(read.cloud.ring, written.cloud.ring)
        for name in ("center", "size", "yaw", "label"):
            np.testing.assert_allclose(
                getattr(read.boxes, name), getattr(written.boxes, name), atol=1e-5
            )
        np.testing.assert_array_equal(read.num_points, written.num_points)
        np.testing.assert_allclose(read.pose, written.pose, atol=1e-9)
        assert read.stamp == pytest.approx(written.stamp, abs=1e-6)
        # Tracks are numbered anew; the same two go on through the drive.
        np.testing.assert_array_equal(read.track_id, dataset[0].track_id)


def test_velocity_is_over_ground_in_the_axes_of_the_vehicle(tmp_path):
    write_argoverse2(drive(), tmp_path)
    for frame in Argoverse2Dataset(tmp_path):
        turn = frame.pose[:3, :3].T @ np.append(SPEED, 0)
        np.testing.assert_allclose(frame.boxes.velocity[0], turn[:2], atol=1e-3)
        np.testing.assert_allclose(frame.boxes.velocity[1], 0, atol=1e-3)


def test_velocity_of_a_track_seen_once_is_unknown(tmp_path):
    write_argoverse2(drive(1), tmp_path)
    assert np.isnan(Argoverse2Dataset(tmp_path)[0].boxes.velocity).all()


def test_sweeps_are_moved_to_where_the_vehicle_is(tmp_path):
    write_argoverse2(drive(), tmp_path, log="a")
    write_argoverse2(drive(), tmp_path, log="b")
    single, several = Argoverse2Dataset(tmp_path), Argoverse2Dataset(tmp_path, sweeps=3)
    count = len(single[0].cloud)
    assert [len(frame.cloud) for frame in several] == [count * n for n in (1, 2, 3, 3)] * 2
    frame = several[3]
    # The object that stands has the points of three sweeps in its box.
    inside = frame.boxes[1].contains(frame.cloud.points).sum()
    assert inside > 140
    assert frame.cloud.time.min() == pytest.approx(-0.3, abs=1e-3)


def test_own_categories_may_be_the_classes(tmp_path):
    write_argoverse2(drive(1), tmp_path)
    frame = Argoverse2Dataset(tmp_path)[0]
    assert frame.boxes.names == ["REGULAR_VEHICLE", "PEDESTRIAN"]
    only = Argoverse2Dataset(tmp_path, classes=("pedestrian",))[0]
    assert only.boxes.names == ["pedestrian"]
    assert len(only.num_points) == len(only.track_id) == 1


def test_classes_and_categories_fit_together():
    assert {CLASS_OF_CATEGORY[CATEGORY_OF_CLASS[name]] for name in DEFAULT_CLASSES} == set(
        DEFAULT_CLASSES
    )
    assert set(CLASS_OF_CATEGORY) - set(ARGOVERSE2_CLASSES) == {"OFFICIAL_SIGNALER"}


def test_the_folder_is_told_from_others(tmp_path):
    assert not is_argoverse2(tmp_path)
    with pytest.raises(Kd3dError, match=r"no folder in it has a sensors/lidar"):
        Argoverse2Dataset(tmp_path)
    log = write_argoverse2(drive(1), tmp_path, split="val")
    assert all(is_argoverse2(folder) for folder in (tmp_path, log.parent, log))
    with pytest.raises(Kd3dError, match="train is not an Argoverse 2 data set"):
        Argoverse2Dataset(tmp_path, split="train")


def test_a_log_without_annotations_has_no_boxes(tmp_path):
    log = write_argoverse2(drive(1), tmp_path, split="test")
    (log / "annotations.feather").unlink()
    assert Argoverse2Dataset(tmp_path)[0].boxes is None


def test_damage_is_told(tmp_path):
    log = write_argoverse2(drive(2), tmp_path)
    sweeps = sorted((log / "sensors" / "lidar").iterdir())
    shutil.copy(log / "annotations.feather", sweeps[0])
    sweeps[1].write_bytes(b"no feather")
    with pytest.raises(Kd3dError, match="has no column x, y, z, intensity"):
        Argoverse2Dataset(tmp_path)[0]
    with pytest.raises(Kd3dError, match="is not a readable Feather file"):
        Argoverse2Dataset(tmp_path)[1]
    (log / "city_SE3_egovehicle.feather").unlink()
    with pytest.raises(Kd3dError, match="the log is incomplete"):
        Argoverse2Dataset(tmp_path)[0]


def test_real_sweep(shared_data):
    root = shared_data / "argoverse2"
    if not root.is_dir():
        pytest.skip(f"no Argoverse 2 sweep at {root}")
    assert is_argoverse2(root)
    dataset = Argoverse2Dataset(root, split="val")
    frame = dataset[0]
    assert len(dataset) == 1
    assert len(frame.cloud) == 100_660
    assert len(frame.boxes) == 47
    # The published counts are exact: no box gains or loses a point.
    counted = frame.boxes.contains(frame.cloud.points).sum(axis=1)
    np.testing.assert_array_equal(counted, frame.num_points)
    assert frame.cloud.points[:, 3].max() == 1.0
    assert 0 <= frame.cloud.time.min() < frame.cloud.time.max() < 0.11
    ground = estimate_ground(frame.cloud)
    assert ground.height == pytest.approx(frame.sensor_height, abs=0.05)
    # Cars drive the way they face.
    speed = np.hypot(*frame.boxes.velocity.T)
    cars = (speed > 3) & (np.array(frame.boxes.names) == "REGULAR_VEHICLE")
    heading = np.arctan2(*frame.boxes.velocity[cars].T[::-1]) - frame.boxes.yaw[cars]
    assert cars.sum() == 4
    assert (np.cos(heading) > 0.95).all()
