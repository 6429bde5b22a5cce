"""Waymo's Parquet tables: simulated drives written in the official schema and read back."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from simulated_frames import short_drive

from kd3d_core.datasets.waymo import WaymoDataset
from kd3d_core.datasets.waymo import is_waymo
from kd3d_core.datasets.waymo_range_image import LaserCalibration
from kd3d_core.datasets.waymo_range_image import points_from_image
from kd3d_core.datasets.waymo_segment import track_number
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix

pyarrow = pytest.importorskip("pyarrow", reason="Waymo's tables need the extra 'data' (pyarrow)")
import pyarrow.parquet as parquet  # noqa: E402

from kd3d_core.datasets.waymo_writer import write_waymo  # noqa: E402

WIDTH = 2650
WANTED = ("car", "truck", "bus", "motorcycle", "pedestrian", "cyclist")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with one segment, the frames it was made of and how many points found no room."""
    root, drive = tmp_path_factory.mktemp("waymo"), short_drive()
    told = []
    lost = write_waymo([drive], root, width=WIDTH, pixel_poses=True, progress=told.append)
    assert told == [1, 1, 1]
    return root, drive, lost


def lifted(frame):
    """vehicle_from_sensor of a simulated frame."""
    return pose_matrix([0, 0, frame.sensor_height])


def test_points_come_back_within_half_a_column(written):
    root, drive, lost = written
    dataset = WaymoDataset(root, split="training")
    assert lost < 0.001 * sum(len(frame.cloud) for frame in drive)
    assert sum(len(dataset[i].cloud) for i in range(3)) + lost == sum(len(f.cloud) for f in drive)
    back, frame = dataset[0].cloud, drive[0].cloud
    # In the sensor's frame, points of a beam in the order of their azimuth are the same points.
    xyz = back.xyz - [0, 0, drive[0].sensor_height]
    for beam in (5, 30, 60):
        one, other = xyz_of(xyz, dataset_ring(root), beam), xyz_of(frame.xyz, frame.ring, beam)
        nearest = np.linalg.norm(one[:, None] - other[None], axis=2).min(axis=1)
        reach = np.linalg.norm(one, axis=1)
        assert (nearest <= reach * np.pi / WIDTH + 2e-3).all()
        # Ranges are exact; so are heights, but for the spread of a beam's elevation.
        np.testing.assert_allclose(
            np.sort(reach), np.sort(np.linalg.norm(other, axis=1))[: len(one)], atol=1e-3
        )
    if len(back) == len(frame):
        intensity, wanted = np.sort(back.points[:, 3]), np.sort(frame.points[:, 3])
        np.testing.assert_allclose(intensity, wanted, atol=1e-5)


def dataset_ring(root):
    """Beams of the first frame."""
    return WaymoDataset(root / "training", lasers=("top",))[0].cloud.ring


def xyz_of(xyz, ring, beam):
    """Points of a beam."""
    return xyz[ring == beam]


def test_boxes_poses_and_velocities_come_back(written):
    root, drive, _ = written
    dataset = WaymoDataset(root / "training", classes=("pedestrian", "car", "cyclist"))
    assert [dataset.drive(i) for i in range(3)] == ["kd3d_drive_00000"] * 3
    for index, frame in enumerate(drive):
        back, wanted = dataset[index], frame.boxes.transformed(lifted(frame))
        names = ["car" if name in WANTED[:4] else name for name in wanted.names]
        assert back.boxes.names == names
        np.testing.assert_allclose(back.boxes.center, wanted.center, atol=1e-5)
        np.testing.assert_allclose(back.boxes.size, wanted.size, atol=1e-6)
        np.testing.assert_allclose(np.cos(back.boxes.yaw - wanted.yaw), 1, atol=1e-6)
        # The world's velocity is level, the tilted sensor's is not quite.
        np.testing.assert_allclose(back.boxes.velocity, wanted.velocity, atol=0.01)
        np.testing.assert_array_equal(back.num_points, frame.num_points)
        np.testing.assert_array_equal(back.track_id, frame.track_id)
        np.testing.assert_allclose(back.pose @ lifted(frame), frame.pose, atol=1e-9)
        assert back.stamp == pytest.approx(frame.stamp, abs=1e-6)
        # The boxes are where the points are.
        inside = back.boxes.contains(back.cloud.points).sum(axis=1)
        many = frame.num_points > 100
        np.testing.assert_allclose(inside[many], frame.num_points[many], rtol=0.1)
    labels = dataset.labels(0)
    np.testing.assert_array_equal(labels.points, drive[0].num_points)
    assert labels.object_id[0] == str(drive[0].track_id[0])
    assert not dataset.in_no_label_zone(0, labels.boxes).any()


def test_a_jump_back_and_a_copy_give_the_same_frame(written):
    root, _, _ = written
    dataset = WaymoDataset(root / "training", lasers=("top",), returns=(1,))
    first = dataset[0].cloud.points
    last = dataset[2].cloud.points
    copy = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(dataset[0].cloud.points, first)
    np.testing.assert_array_equal(copy[2].cloud.points, last)


def test_one_row_group_of_all_frames_reads_the_same(written, tmp_path):
    root, _, _ = written
    for path in (root / "training").glob("*/*.parquet"):
        target = tmp_path / "training" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Official files are of few row groups, and not in the order of time.
        parquet.write_table(_turned(path), target)
    one, other = WaymoDataset(root / "training"), WaymoDataset(tmp_path / "training")
    for index in (0, 2, 1):
        np.testing.assert_array_equal(one[index].cloud.points, other[index].cloud.points)


def _turned(path):
    """The rows of a file from the last to the first."""
    table = parquet.read_table(path)
    return table.take(list(range(table.num_rows - 1, -1, -1)))


def test_moving_pixels_and_evenly_spaced_beams():
    """Every pixel by hand: beam, azimuth, mount, motion."""
    generator = np.random.default_rng(0)
    image = np.full((3, 8, 4), -1, np.float32)
    image[..., 0] = generator.uniform(-5, 30, (3, 8))
    image[1, 2, 3] = 1
    image[1, 2, 0] = 7.0
    mount = pose_matrix([1.4, 0.1, 2.0], yaw=0.4, pitch=0.05, roll=-0.02)
    calibration = LaserCalibration(mount, -0.3, 0.3)
    vehicle = pose_matrix([1000.0, -500.0, 12.0], yaw=2.0, pitch=0.02)
    poses = np.zeros((3, 8, 6), np.float32)
    poses[..., :3] = generator.uniform(-0.5, 0.5, (3, 8, 3))
    poses[..., 3:] = generator.uniform([998, -502, 10], [1002, -498, 14], (3, 8, 3))
    found = points_from_image(image, calibration, poses, vehicle)
    expected, beams = [], []
    for row in range(3):
        for column in range(8):
            distance = float(image[row, column, 0])
            if distance <= 0:
                continue
            up = [0.2, 0.0, -0.2][row]
            turn = np.pi - (column + 0.5) * np.pi / 4 - np.arctan2(mount[1, 0], mount[0, 0])
            point = distance * np.array(
                [np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)]
            )
            roll, pitch, yaw, *place = poses[row, column].astype(float)
            world = pose_matrix(place, yaw, pitch, roll) @ mount @ np.append(point, 1)
            expected.append((invert_pose(vehicle) @ world)[:3])
            beams.append(2 - row)
    np.testing.assert_allclose(found.xyz, expected, atol=1e-9)
    np.testing.assert_array_equal(found.beam, beams)
    assert found.no_label_zone.sum() == 1
    still = points_from_image(image, calibration)
    assert np.abs(still.xyz - found.xyz).max() > 0.1


def test_no_label_zones_are_known_by_their_points(tmp_path):
    frame = short_drive()[0]
    write_waymo([[frame]], tmp_path, width=600)
    (path,) = (tmp_path / "training" / "lidar").glob("*")
    table = parquet.read_table(path)
    name = "[LiDARComponent].range_image_return1.values"
    values = table.column(name).combine_chunks().flatten().to_numpy().reshape(64, 600, 4).copy()
    values[:, :300, 3] = 1  # the left half turn
    column = pyarrow.array([values.ravel()], table.schema.field(name).type)
    table = table.set_column(table.schema.get_field_index(name), name, column)
    parquet.write_table(table, path)
    dataset = WaymoDataset(tmp_path, split="training", returns=(1,))
    boxes = dataset.labels(0).boxes
    left = (boxes.center[:, 1] - np.linalg.norm(boxes.size, axis=1)) > 0
    right = (boxes.center[:, 1] + np.linalg.norm(boxes.size, axis=1)) < 0
    many = dataset.labels(0).points > 20
    inside = dataset.in_no_label_zone(0, boxes)
    assert (left & many).any()
    assert inside[left & many].all()
    assert not inside[right].any()


def test_no_labels_in_the_testing_split(written, tmp_path):
    root, drive, _ = written
    write_waymo([drive[:1]], tmp_path, split="testing", width=100)
    assert is_waymo(tmp_path)
    (path,) = (tmp_path / "testing" / "lidar_box").glob("*")
    path.unlink()
    with pytest.raises(Kd3dError, match=r"cannot read .*lidar_box"):
        _ = WaymoDataset(tmp_path, split="testing")[0]
    path.parent.rmdir()
    dataset = WaymoDataset(tmp_path, split="testing", intensity="clip")
    assert dataset[0].boxes is None
    assert dataset.labels(0) is None
    assert len(dataset[0].cloud) > 1000
    assert is_waymo(root)


def test_faults_have_their_sentences(written, tmp_path):
    root, drive, _ = written
    assert not is_waymo(tmp_path)
    with pytest.raises(Kd3dError, match=r"is not a split .* Choose a split: training"):
        WaymoDataset(root)
    with pytest.raises(Kd3dError, match="choose some of top, front"):
        WaymoDataset(root / "training", lasers=("roof",))
    with pytest.raises(Kd3dError, match="no range image of the chosen lasers"):
        _ = WaymoDataset(root / "training", lasers=("front",))[0]
    with pytest.raises(Kd3dError, match="has no rings"):
        write_waymo([[replace(drive[0], cloud=replace(drive[0].cloud, ring=None))]], tmp_path)
    write_waymo([drive[:1]], tmp_path, width=50)
    home = tmp_path / "training"
    box = next((home / "lidar_box").glob("*"))
    parquet.write_table(pyarrow.table({"key.frame_timestamp_micros": [1]}), box)
    with pytest.raises(Kd3dError, match=r"lacks the column key\.laser_object_id: .*v2"):
        _ = WaymoDataset(home)[0]
    box.write_bytes(b"no parquet")
    with pytest.raises(Kd3dError, match="cannot read"):
        _ = WaymoDataset(home)[0]
    next((home / "vehicle_pose").glob("*")).unlink()
    (home / "vehicle_pose" / "other.parquet").write_bytes(b"")
    with pytest.raises(Kd3dError, match="is missing: every segment"):
        WaymoDataset(home)


def test_names_of_objects_become_stable_numbers():
    assert track_number("17") == 17
    assert track_number("-J8teKYOxlMOng_8Xs2rAg") == track_number("-J8teKYOxlMOng_8Xs2rAg")
    assert 0 <= track_number("a") < 2**63
    assert track_number("a") != track_number("b")
