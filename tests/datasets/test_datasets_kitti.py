"""KITTI's conventions, on a made-up frame and on real ones."""

import numpy as np
import pytest

from kd3d_core.datasets.kitti import KittiDataset
from kd3d_core.datasets.kitti import project
from kd3d_core.errors import Kd3dError

#: A camera at the LiDAR, looking forward: x right = -y, y down = -z, z forward = x.
CALIBRATION = """P0: 1 0 0 0 0 1 0 0 0 0 1 0
P2: 700 0 600 0 0 700 180 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0

"""
#: Heading forward is rotation_y = -pi/2 in KITTI's camera frame.
LABELS = """Car 0.00 0 0 0 0 10 10 1.5 1.6 4.0 2.0 1.7 20.0 -1.5707963
Van 0.00 1 0 0 0 10 10 2.0 1.9 5.0 -3.0 1.7 30.0 0.0
Misc 0.00 0 0 0 0 10 10 1.0 1.0 1.0 0.0 1.7 10.0 0.0
DontCare -1 -1 -10 500 170 520 190 -1 -1 -1 -1000 -1000 -1000 -10
Person_sitting 0.00 2 0 0 0 10 10 1.2 0.6 0.8 5.0 1.7 15.0 3.1415926
"""


@pytest.fixture
def root(tmp_path):
    for part, name, text in (("calib", "a.txt", CALIBRATION), ("label_2", "a.txt", LABELS)):
        (tmp_path / part).mkdir()
        (tmp_path / part / name).write_text(text)
    (tmp_path / "velodyne").mkdir()
    rows = [[20, -2, -1, 0.5], [21.9, -2.7, -0.3, 0.1], [22.1, -2, -1, 0], [30, 3, -1, 1]]
    np.array(rows, np.float32).tofile(tmp_path / "velodyne" / "a.bin")
    return tmp_path


def test_boxes_come_into_the_lidar_frame(root):
    frame = KittiDataset(root)[0]
    assert frame.boxes.names == ["car", "car", "pedestrian"]
    np.testing.assert_allclose(
        frame.boxes.center, [[20, -2, -0.95], [30, 3, -0.7], [15, -5, -1.1]], atol=1e-5
    )
    np.testing.assert_allclose(frame.boxes.size[0], [4.0, 1.6, 1.5])
    np.testing.assert_allclose(frame.boxes.yaw, [0, -np.pi / 2, np.pi / 2], atol=1e-6)
    assert np.isnan(frame.boxes.velocity).all()
    np.testing.assert_array_equal(frame.num_points, [2, 1, 0])


def test_labels_keep_what_frames_leave_out(root):
    labels = KittiDataset(root).labels(0)
    assert labels.types == ("Car", "Van", "Misc", "Person_sitting")
    np.testing.assert_array_equal(labels.known, [True, True, False, True])
    np.testing.assert_array_equal(labels.occluded, [0, 1, 0, 2])
    np.testing.assert_array_equal(labels.dont_care, [[500, 170, 520, 190]])


def test_classes_of_the_model_decide(root):
    dataset = KittiDataset(root, classes=("pedestrian", "car"))
    np.testing.assert_array_equal(dataset[0].boxes.label, [1, 1, 0])
    assert len(KittiDataset(root, classes=("bus",))[0].boxes) == 0


def test_camera_view(root):
    dataset = KittiDataset(root)
    xyz = np.array(
        [[10, 0, 0], [-10, 0, 0], [10, 8.5, 0], [10, 8.6, 0], [10, 0, 2.6], [10, 0, 2.5]]
    )
    np.testing.assert_array_equal(
        dataset.in_camera_view(0, xyz), [True, False, True, False, False, True]
    )
    pixel, depth = project(dataset.calibration(0), xyz[:1])
    np.testing.assert_allclose(pixel, [[600, 180]])
    np.testing.assert_allclose(depth, [10])


def test_faults_have_their_sentences(root):
    with pytest.raises(Kd3dError, match=r"is not a KITTI object data set: .*velodyne is missing"):
        KittiDataset(root / "calib")
    label = root / "label_2" / "a.txt"
    label.write_text("Car 0 0\n")
    with pytest.raises(Kd3dError, match=r"a\.txt, line 1: a KITTI label has a type and 14"):
        KittiDataset(root)[0]
    label.write_text("")
    assert len(KittiDataset(root)[0].boxes) == 0
    label.unlink()
    with pytest.raises(Kd3dError, match="cannot read"):
        KittiDataset(root)[0]
    (root / "calib" / "a.txt").write_text("P2: 1 2 3\n")
    with pytest.raises(Kd3dError, match="P2 is missing or is not 12 numbers"):
        KittiDataset(root)[0]
    (root / "velodyne" / "a.bin").unlink()
    with pytest.raises(Kd3dError, match=r"holds no \.bin files"):
        KittiDataset(root)


def test_real_boxes_hold_their_points_and_agree_with_a_detector(shared_data):
    """A wrong axis, height or yaw would empty the boxes or turn them from the reference's."""
    dataset = KittiDataset(shared_data / "kitti")
    compared = 0
    for index, name in enumerate(dataset.names):
        frame = dataset[index]
        cars = np.array([kind == "car" for kind in frame.boxes.names], bool)
        near = cars & (np.hypot(*frame.boxes.center[:, :2].T) < 40)
        assert (frame.num_points[near] >= 20).all()
        assert dataset.in_camera_view(index, frame.boxes.center).all()
        path = shared_data / "kitti" / "reference_pointpillars" / "pred_velo" / f"{name}.txt"
        reference = np.loadtxt(path, ndmin=2)
        reference = reference[reference[:, 7] == 0]
        for i in np.flatnonzero(near):
            gap = np.linalg.norm(reference[:, :3] - frame.boxes.center[i], axis=1)
            best = gap.argmin()
            assert gap[best] < 0.5
            # Modulo pi: the reference sometimes takes the rear for the front.
            turn = (reference[best, 6] - frame.boxes.yaw[i] + np.pi / 2) % np.pi - np.pi / 2
            assert abs(turn) < 0.15
            compared += 1
    assert compared >= 10
