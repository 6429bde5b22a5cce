"""KITTI's three layouts: simulated drives written and read back."""

from dataclasses import replace

import numpy as np
import pytest
from simulated_frames import short_drive

from kd3d_core.datasets.kitti import KittiDataset
from kd3d_core.datasets.kitti import is_kitti
from kd3d_core.datasets.kitti_calibration import image_boxes
from kd3d_core.datasets.kitti_drive_writer import write_kitti_raw
from kd3d_core.datasets.kitti_drive_writer import write_kitti_tracking
from kd3d_core.datasets.kitti_oxts import oxts_from_poses
from kd3d_core.datasets.kitti_oxts import poses_from_oxts
from kd3d_core.datasets.kitti_raw import KittiRawDataset
from kd3d_core.datasets.kitti_raw import is_kitti_raw
from kd3d_core.datasets.kitti_tracking import KittiTrackingDataset
from kd3d_core.datasets.kitti_tracking import is_kitti_tracking
from kd3d_core.datasets.kitti_visibility import occlusion_level
from kd3d_core.datasets.kitti_visibility import visible_share
from kd3d_core.datasets.kitti_writer import CAMERA
from kd3d_core.datasets.kitti_writer import seen_boxes
from kd3d_core.datasets.kitti_writer import write_kitti
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud


def same_boxes(one, other, atol=2e-5):
    """Whether boxes are equal but for their order of rounding."""
    assert one.names == other.names
    np.testing.assert_allclose(one.center, other.center, atol=atol)
    np.testing.assert_allclose(one.size, other.size, atol=atol)
    np.testing.assert_allclose(np.cos(one.yaw - other.yaw), 1, atol=1e-6)


def labelled(frame, classes=("car", "truck", "pedestrian", "cyclist")):
    """Indices of the boxes of a frame that a KITTI reader gives back."""
    seen = seen_boxes(frame)
    kept = np.array([frame.boxes.names[i] in classes for i in seen.index], bool)
    return seen.index[kept]


def steady_drive(count=4):
    """A car that overtakes at 15 m/s, and a standing one, seen from a turning ego vehicle."""
    frames = []
    for i in range(count):
        pose = pose_matrix([8.0 * 0.1 * i, 0, 1.7], yaw=0.02 * i)
        world = np.array([[10 + 15.0 * 0.1 * i, 3, 0.8], [20, -3, 0.8]])
        center = (world - pose[:3, 3]) @ pose[:3, :3]
        boxes = Boxes3D.make(center, [[4, 2, 1.5]] * 2, [-0.02 * i] * 2, [0, 0])
        velocity = (np.array([[15.0, 0, 0], [0, 0, 0]]) @ pose[:3, :3])[:, :2]
        frames.append(
            Frame(
                cloud=PointCloud.from_arrays(np.r_[center, center * 0.5], np.full(4, 0.5)),
                source=f"steady {i}",
                stamp=1000.0 + 0.1 * i,
                boxes=replace(boxes, velocity=velocity.astype(np.float32)),
                num_points=np.ones(2, np.int64),
                track_id=np.array([7, 9]),
                pose=pose,
            )
        )
    return frames


def test_simulated_frames_come_back_from_the_object_layout(tmp_path):
    drive = short_drive()
    told = []
    assert write_kitti(drive[:2], tmp_path, split="train", progress=told.append) == 2
    assert write_kitti(drive[2:], tmp_path, split="val") == 1
    assert told == [1, 1]
    assert is_kitti(tmp_path)
    assert not is_kitti_tracking(tmp_path)
    assert not is_kitti_raw(tmp_path)
    assert len(KittiDataset(tmp_path)) == 3
    assert KittiDataset(tmp_path, split="val").names == ["000002"]
    dataset = KittiDataset(tmp_path, split="train")
    for index, frame in enumerate(drive[:2]):
        back = dataset[index]
        kept = labelled(frame)
        assert len(kept) > 3
        same_boxes(back.boxes, frame.boxes[kept])
        np.testing.assert_array_equal(back.cloud.points, frame.cloud.points)
        np.testing.assert_allclose(back.num_points, frame.num_points[kept], atol=2)


def test_labels_say_what_the_camera_sees(tmp_path):
    frame = short_drive()[0]
    write_kitti([frame], tmp_path)
    dataset = KittiDataset(tmp_path)
    labels, calibration = dataset.labels(0), dataset.calibration(0)
    pixels, outside = image_boxes(labels.camera_boxes, calibration.projection)
    np.testing.assert_allclose(labels.image_boxes, pixels, atol=1e-3)
    np.testing.assert_allclose(labels.truncated, outside, atol=0.006)
    np.testing.assert_array_equal(labels.occluded, seen_boxes(frame).occluded)
    # Buses and motorcycles are there, as Misc.
    assert len(labels.types) == len(seen_boxes(frame).index)
    behind = frame.boxes.center[:, 0] < -3
    assert behind.any()
    assert labels.camera_boxes[:, 2].min() > -3


def test_a_wall_hides_what_is_behind_it():
    boxes = Boxes3D.make([[20, 0, 0], [20, 8, 0], [20, -8, 0]], [[4, 2, 2]] * 3, [0] * 3, [0] * 3)
    y, z = (
        axis.ravel() for axis in np.meshgrid(np.linspace(-12, 12, 400), np.linspace(-2, 2, 60))
    )
    rays = np.c_[np.full(len(y), 20.0), y, z]
    rays *= 1 / np.linalg.norm(rays, axis=1, keepdims=True)
    far = np.full(len(rays), 40.0)
    # A wall at x = 10 from y = -0.05 on: half of the first box, all of the second.
    wall = (rays[:, 1] / rays[:, 0] * 10) > -0.05
    reach = np.where(wall, 10 / rays[:, 0], far)
    share, count = visible_share(boxes, (rays * reach[:, None]).astype(np.float32))
    assert (count > 50).all()
    np.testing.assert_allclose(share, [0.45, 0, 1], atol=0.06)
    np.testing.assert_array_equal(occlusion_level(share, count), [1, 2, 0])
    np.testing.assert_array_equal(occlusion_level(np.ones(1), np.array([2])), [3])


def test_oxts_and_poses_are_inverse():
    generator = np.random.default_rng(0)
    steps = generator.uniform([-200, -200, -5], [200, 200, 5], (5, 3))
    angles = generator.uniform([-3, -0.3, -0.3], [3, 0.3, 0.3], (5, 3))
    poses = np.stack([pose_matrix(s, *a) for s, a in zip(steps, angles, strict=True)])
    back = poses_from_oxts(oxts_from_poses(poses))
    np.testing.assert_allclose(back[:, :3, :3], poses[:, :3, :3], atol=1e-9)
    np.testing.assert_allclose(back[:, :3, 3], steps - steps[0], atol=1e-5)


def check_steady(dataset, drive):
    """Poses, tracks and velocities of `steady_drive`."""
    assert len(dataset) == len(drive)
    first, wanted_first = dataset[0].pose, drive[0].pose
    for index, frame in enumerate(drive):
        back = dataset[index]
        same_boxes(back.boxes, frame.boxes)
        np.testing.assert_allclose(back.boxes.velocity, frame.boxes.velocity, atol=2e-3)
        moved, wanted = invert_pose(first) @ back.pose, invert_pose(wanted_first) @ frame.pose
        np.testing.assert_allclose(moved, wanted, atol=1e-5)
        np.testing.assert_array_equal(back.cloud.points, frame.cloud.points)


def test_tracking_keeps_poses_tracks_and_velocities(tmp_path):
    drive = steady_drive()
    write_kitti_tracking([drive, drive[:2]], tmp_path)
    assert is_kitti_tracking(tmp_path)
    assert not is_kitti(tmp_path)
    dataset = KittiTrackingDataset(tmp_path, sequences=("0000",))
    check_steady(dataset, drive)
    np.testing.assert_array_equal(dataset[1].track_id, [7, 9])
    assert dataset[1].stamp - dataset[0].stamp == pytest.approx(0.1)
    assert len(KittiTrackingDataset(tmp_path)) == 6
    assert KittiTrackingDataset(tmp_path).drive(4) == "0001"
    # Without OXTS nothing is known of the motion; a missing cloud is no fault.
    (tmp_path / "training" / "oxts" / "0000.txt").unlink()
    (tmp_path / "training" / "velodyne" / "0000" / "000001.bin").unlink()
    dataset = KittiTrackingDataset(tmp_path, sequences=("0000",))
    assert len(dataset) == 3
    assert dataset[0].pose is None
    assert np.isnan(dataset[0].boxes.velocity).all()


def test_tracking_of_a_simulated_drive(tmp_path):
    drive = short_drive()
    write_kitti_tracking([drive], tmp_path)
    dataset = KittiTrackingDataset(tmp_path)
    for index, frame in enumerate(drive):
        kept = labelled(frame)
        back = dataset[index]
        same_boxes(back.boxes, frame.boxes[kept])
        np.testing.assert_array_equal(back.track_id, frame.track_id[kept])
    # In the middle frame the tracks give what the simulation says.
    both = np.isfinite(dataset[1].boxes.velocity).all(axis=1)
    wanted = drive[1].boxes.velocity[labelled(drive[1])]
    assert both.sum() > 3
    np.testing.assert_allclose(dataset[1].boxes.velocity[both], wanted[both], atol=0.4)


def test_raw_drives_with_and_without_tracklets(tmp_path):
    drive = steady_drive()
    unlabelled = [replace(f, boxes=None, num_points=None, track_id=None) for f in drive]
    write_kitti_raw([drive, unlabelled], tmp_path)
    assert is_kitti_raw(tmp_path)
    assert not is_kitti(tmp_path)
    folder = next(tmp_path.glob("*/*_drive_0000_sync"))
    dataset = KittiRawDataset(folder)
    check_steady(dataset, drive)
    assert dataset[2].stamp == pytest.approx(1000.2, abs=1e-6)
    np.testing.assert_array_equal(dataset[1].track_id, dataset[3].track_id)
    for root in (tmp_path, folder.parent):
        assert len(KittiRawDataset(root)) == 8
    other = KittiRawDataset(folder.parent)
    assert other[5].boxes is None
    assert other[5].pose is not None
    assert other.drive(5).endswith("drive_0001_sync")
    (folder.parent / "calib_imu_to_velo.txt").unlink()
    assert KittiRawDataset(folder)[0].pose is None


def test_faults_have_their_sentences(tmp_path):
    drive = steady_drive()
    with pytest.raises(Kd3dError, match="has no pose"):
        write_kitti_tracking([[replace(drive[0], pose=None)]], tmp_path)
    with pytest.raises(Kd3dError, match="has no ground truth"):
        write_kitti([replace(drive[0], boxes=None)], tmp_path)
    with pytest.raises(Kd3dError, match="no KITTI raw drive"):
        KittiRawDataset(tmp_path)
    with pytest.raises(Kd3dError, match="not a KITTI tracking data set"):
        KittiTrackingDataset(tmp_path / "none")
    write_kitti_tracking([drive], tmp_path)
    with pytest.raises(Kd3dError, match="has no sequence 0005"):
        KittiTrackingDataset(tmp_path, sequences=("0005",))
    label = tmp_path / "training" / "label_02" / "0000.txt"
    label.write_text("0 car\n")
    with pytest.raises(Kd3dError, match="begins with the numbers"):
        KittiTrackingDataset(tmp_path)[0]
    label.write_text("0 1 Car 0 0\n")
    with pytest.raises(Kd3dError, match="a type and 14 numbers"):
        KittiTrackingDataset(tmp_path)[0]
    label.unlink()
    with pytest.raises(Kd3dError, match=r"0000\.txt is missing"):
        KittiTrackingDataset(tmp_path)


def test_faults_of_splits_and_raw_files(tmp_path):
    drive = steady_drive()
    write_kitti(drive, tmp_path / "object", split="train")
    with pytest.raises(Kd3dError, match="no list of the split 'val'"):
        KittiDataset(tmp_path / "object", split="val")
    (tmp_path / "object" / "ImageSets" / "val.txt").write_text("000000\n000099\n")
    with pytest.raises(Kd3dError, match="such as 000099"):
        KittiDataset(tmp_path / "object", split="val")
    write_kitti_raw([drive], tmp_path)
    folder = next(tmp_path.glob("*/*_drive_0000_sync"))
    (folder / "tracklet_labels.xml").write_text("<a><b>")
    with pytest.raises(Kd3dError, match="not a KITTI tracklet file"):
        KittiRawDataset(folder)[0]
    stamps = folder / "velodyne_points" / "timestamps.txt"
    stamps.write_text("2011-09-26 13:02:25.5\n")
    with pytest.raises(Kd3dError, match="has 1 lines, but there is a cloud with the number 3"):
        KittiRawDataset(folder)[0]
    stamps.write_text("never\n")
    with pytest.raises(Kd3dError, match="not a date with a time"):
        KittiRawDataset(folder)[0]


def test_the_camera_of_the_writer_is_the_one_of_its_description():
    assert CAMERA.projection[0, 0] == CAMERA.projection[1, 1] == 721.5
    ahead = CAMERA.camera_from_lidar @ [10.27, 0, -0.08, 1]
    np.testing.assert_allclose(ahead[:3], [0, 0, 10], atol=1e-9)
