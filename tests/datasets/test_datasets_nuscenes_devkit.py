"""What our writer writes and our reader reads, as the real nuscenes-devkit sees it."""

import numpy as np
import pytest
from nuscenes_drives import random_drive
from nuscenes_oracle import devkit

from kd3d_core.datasets.nuscenes import NuScenesDataset
from kd3d_core.datasets.nuscenes_frames import quarter_turn
from kd3d_core.datasets.nuscenes_writer import write_nuscenes


@pytest.fixture
def both(tmp_path):
    """The same data opened by the devkit and by us; every third frame is a key frame."""
    nuscenes = devkit()
    drives = [random_drive(seed, frames=13, interval=0.2) for seed in (1, 2)]
    write_nuscenes(drives, tmp_path, keyframe_every=3)
    return nuscenes.NuScenes("v1.0-sim", str(tmp_path), verbose=False), NuScenesDataset(tmp_path)


def test_the_devkit_opens_it_and_finds_the_same_boxes(both):
    tables, dataset = both
    assert len(tables.sample) == len(dataset) == 10
    assert len(tables.sample_data) == 26
    turn = quarter_turn(3)[:2, :2]  # the file's frame has x to the right
    for i, token in enumerate(dataset.tokens):
        record = tables.get("sample", token)
        _, boxes, _ = tables.get_sample_data(record["data"]["LIDAR_TOP"])
        ours = dataset[i].boxes
        assert [box.token for box in boxes] == list(dataset.labels(i).tokens)
        for k, box in enumerate(boxes):
            np.testing.assert_allclose(turn @ box.center[:2], ours.center[k, :2], atol=1e-5)
            assert box.center[2] == pytest.approx(ours.center[k, 2], abs=1e-5)
            np.testing.assert_allclose(box.wlh, ours.size[k, [1, 0, 2]], atol=1e-6)
            front = turn @ box.orientation.rotation_matrix[:2, 0]
            away = np.arctan2(front[1], front[0]) - ours.yaw[k]
            assert np.abs(np.angle(np.exp(1j * away))) < 1e-6


def test_velocities_are_the_devkits(both):
    tables, dataset = both
    unknown = 0
    for i in range(len(dataset)):
        labels = dataset.labels(i)
        theirs = np.array([tables.box_velocity(token)[:2] for token in labels.tokens])
        np.testing.assert_allclose(labels.velocity, theirs, rtol=1e-12)
        unknown += int(np.isnan(theirs).any(axis=1).sum())
        # Turned into our sensor frame as a horizontal vector.
        frame = dataset[i]
        level = np.c_[theirs, np.zeros(len(theirs))] @ frame.pose[:3, :3]
        np.testing.assert_allclose(frame.boxes.velocity, level[:, :2], atol=1e-5)
    assert 0 < unknown < 20


def test_merged_sweeps_are_the_devkits(both):
    from nuscenes.utils.data_classes import LidarPointCloud

    tables, dataset = both
    for i in (2, 9):
        record = tables.get("sample", dataset.tokens[i])
        points, times = LidarPointCloud.from_file_multisweep(
            tables, record, "LIDAR_TOP", "LIDAR_TOP", nsweeps=10, min_distance=1.0
        )
        ours = dataset[i].cloud
        # The devkit leaves out what is near of the key frame too.
        near = (np.abs(ours.xyz[:, :2]) < 1.0).all(axis=1) & (ours.time == 0)
        ours = ours[~near]
        theirs = quarter_turn(3)[:2, :2] @ points.points[:2]
        assert len(ours) == theirs.shape[1] > 1000
        np.testing.assert_allclose(ours.xyz[:, :2], theirs.T, atol=1e-3)
        np.testing.assert_allclose(ours.xyz[:, 2], points.points[2], atol=1e-3)
        np.testing.assert_allclose(ours.points[:, 3] * 255, points.points[3], atol=1e-3)
        np.testing.assert_allclose(-ours.time, times[0], atol=1e-6)


def test_the_official_lists_come_from_the_devkit(tmp_path):
    devkit()
    import json

    folder = write_nuscenes([random_drive(1, frames=1)], tmp_path, splits={})
    scenes = json.loads((folder / "scene.json").read_text())
    (folder / "scene.json").write_text(json.dumps([{**scenes[0], "name": "scene-0003"}]))
    assert len(NuScenesDataset(tmp_path, split="val")) == 1
