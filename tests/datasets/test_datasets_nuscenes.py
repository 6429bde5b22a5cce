"""The nuScenes reader and writer: what is written comes back, and faults are told in sentences."""

import json
from dataclasses import replace

import numpy as np
import pytest
from nuscenes_drives import cloud
from nuscenes_drives import random_drive

from kd3d_core.datasets import nuscenes_json
from kd3d_core.datasets.nuscenes import NuScenesDataset
from kd3d_core.datasets.nuscenes import is_nuscenes
from kd3d_core.datasets.nuscenes_classes import NUSCENES_CLASSES
from kd3d_core.datasets.nuscenes_classes import guess_attribute
from kd3d_core.datasets.nuscenes_frames import level_turn
from kd3d_core.datasets.nuscenes_frames import quarter_turn
from kd3d_core.datasets.nuscenes_frames import quarter_turns
from kd3d_core.datasets.nuscenes_submission import write_submission
from kd3d_core.datasets.nuscenes_writer import write_nuscenes
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.nuscenes_submission import NuScenesScorer
from kd3d_core.evaluation.nuscenes_submission import evaluate_submission
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.geometry.transforms import transform_points
from kd3d_core.pointcloud import PointCloud
from kd3d_core.simulation.drives import SimulationConfig
from kd3d_core.simulation.drives import simulate_drive

VERSION = "v1.0-sim"


def assert_same_boxes(read, written):
    """Everything but the velocity, which the layout does not hold."""
    np.testing.assert_array_equal(read.center, written.center)
    np.testing.assert_array_equal(read.size, written.size)
    np.testing.assert_allclose(read.yaw, written.yaw, atol=1e-6)
    assert read.names == written.names


def test_written_drives_read_back_equal(tmp_path):
    drives = [random_drive(seed, frames=4) for seed in (1, 2)]
    folder = write_nuscenes(drives, tmp_path)
    assert folder == tmp_path / VERSION
    assert is_nuscenes(tmp_path)
    assert is_nuscenes(folder)
    dataset = NuScenesDataset(tmp_path, sweeps=1)
    written = [frame for drive in drives for frame in drive]
    assert len(dataset) == len(written)
    assert dataset.classes == NUSCENES_CLASSES
    assert [dataset.drive(i) for i in (0, 4)] == ["scene-0001", "scene-0002"]
    for i, frame in enumerate(written):
        read = dataset[i]
        assert_same_boxes(read.boxes, frame.boxes)
        np.testing.assert_array_equal(read.cloud.xyz, frame.cloud.xyz)
        np.testing.assert_allclose(read.cloud.points[:, 3], frame.cloud.points[:, 3], atol=1e-6)
        np.testing.assert_array_equal(read.cloud.ring, frame.cloud.ring)
        np.testing.assert_array_equal(read.num_points, frame.num_points)
        np.testing.assert_allclose(read.pose, frame.pose, atol=1e-9)
        assert read.stamp == pytest.approx(frame.stamp)
        assert read.sensor_height == pytest.approx(1.8)
    # Constant velocities are found again from the ways, where an object was seen twice.
    for i, frame in enumerate(written):
        read = dataset[i].boxes
        known = np.isfinite(read.velocity[:, 0])
        assert known.mean() > 0.9
        tilt = 1e-3 * 12
        np.testing.assert_allclose(read.velocity[known], frame.boxes.velocity[known], atol=tilt)


def test_tracks_keep_their_numbers_within_a_scene(tmp_path):
    drives = [random_drive(seed, frames=3, points=5) for seed in (1, 2)]
    write_nuscenes(drives, tmp_path)
    dataset = NuScenesDataset(tmp_path, sweeps=1)
    seen = {}
    for i, frame in enumerate(frame for drive in drives for frame in drive):
        for ours, theirs in zip(dataset[i].track_id, frame.track_id, strict=True):
            seen.setdefault((i // 3, theirs), set()).add(int(ours))
    assert all(len(numbers) == 1 for numbers in seen.values())
    assert len({number for numbers in seen.values() for number in numbers}) == len(seen)


def test_sweeps_are_moved_to_where_the_vehicle_is(tmp_path):
    generator = np.random.default_rng(0)
    around = np.array([600.0, 1600.0, 1.0])
    world = around + generator.uniform(-40, 40, (300, 3)) * np.array([1.0, 1.0, 0.02])
    drive = []
    for i in range(12):
        pose = pose_matrix([600 + i, 1600 - 0.5 * i, 1.8], 0.3 * i, 0.01 * i, -0.02)
        inverse = invert_pose(pose)
        xyz = world @ inverse[:3, :3].T + inverse[:3, 3]
        drive.append(
            replace(
                random_drive(1, frames=1)[0],
                cloud=PointCloud.from_arrays(xyz, np.zeros(300)),
                stamp=2.0 + 0.05 * i,
                pose=pose,
            )
        )
    write_nuscenes([drive], tmp_path, keyframe_every=11)
    assert len(list((tmp_path / "samples/LIDAR_TOP").iterdir())) == 2
    assert len(list((tmp_path / "sweeps/LIDAR_TOP").iterdir())) == 10
    frame = NuScenesDataset(tmp_path, sweeps=10, ego_radius=0.0)[1]
    here = frame.cloud.xyz[:300]
    assert len(frame.cloud) == 3000
    for age in range(10):
        part = slice(300 * age, 300 * (age + 1))
        assert np.abs(frame.cloud.xyz[part] - here).max() < 1e-3
        np.testing.assert_allclose(frame.cloud.time[part], -0.05 * age, atol=1e-6)
    # The first sample has nothing before it; three sweeps are three.
    assert len(NuScenesDataset(tmp_path)[0].cloud) == 300
    assert len(NuScenesDataset(tmp_path, sweeps=3, ego_radius=0.0)[1].cloud) == 900


def test_the_vehicles_own_points_do_not_trail_behind(tmp_path):
    own = np.array([[0.5, 0.5, -0.3], [0.5, 3.0, -0.3]])
    drive = [
        replace(frame, cloud=PointCloud.from_arrays(own, np.zeros(2)))
        for frame in random_drive(1, frames=2)
    ]
    write_nuscenes([drive], tmp_path)
    assert len(NuScenesDataset(tmp_path, sweeps=2)[1].cloud) == 3


def test_a_simulated_drive_comes_back_with_its_motion(tmp_path):
    config = SimulationConfig(
        drives=1, frames_per_drive=3, interval=0.4, seed=5, motion_compensated=True
    )
    drive = [frame for _, frame in simulate_drive(config, 0)]
    write_nuscenes([drive], tmp_path)
    dataset = NuScenesDataset(tmp_path, classes=DEFAULT_CLASSES, sweeps=1)
    for i, frame in enumerate(drive):
        read = dataset[i]
        assert_same_boxes(read.boxes, frame.boxes)
        np.testing.assert_array_equal(read.cloud.xyz, frame.cloud.xyz)
        np.testing.assert_array_equal(read.num_points, frame.num_points)
    known = np.isfinite(dataset[1].boxes.velocity).all(axis=1)
    error = np.abs(dataset[1].boxes.velocity - drive[1].boxes.velocity)[known]
    # Boxes are where the beam met them, up to half a turn before or after the stamp.
    assert np.median(error) < 0.05
    assert error.max() < 2.0


def test_headings_and_axes():
    pose = pose_matrix([1, 2, 3], 0.4, 0.2, -0.1)
    vector = level_turn(pose) @ np.array([1.0, 0.0])
    back = invert_pose(pose)[:3, :3] @ np.append(vector, 0.0)
    np.testing.assert_allclose(back[:2], [1.0, 0.0], atol=1e-12)
    for turns in range(4):
        mount = pose_matrix([0, 0, 0], turns * np.pi / 2 + 0.1, 0.02) @ np.eye(4)
        assert quarter_turns(mount) == turns
    moved = transform_points(quarter_turn(3), np.array([[0, 7, 0]], np.float32))
    np.testing.assert_array_equal(moved, [[7, 0, 0]])


def test_labels_of_other_classes_are_kept_apart(tmp_path):
    write_nuscenes([random_drive(1, frames=2)], tmp_path)
    dataset = NuScenesDataset(tmp_path, classes=DEFAULT_CLASSES, sweeps=1)
    labels = dataset.labels(0)
    names = dataset[0].boxes.names
    assert names.count("cyclist") == (labels.categories == "vehicle.bicycle").sum() > 0
    assert "barrier" not in names
    assert (labels.categories[~labels.known] == "movable_object.barrier").any()
    assert len(set(labels.tokens)) == len(labels.tokens)
    moving = labels.attributes == "vehicle.moving"
    assert moving.any()
    assert (np.hypot(*labels.velocity[moving & np.isfinite(labels.velocity[:, 0])].T) > 0.1).all()
    assert guess_attribute("bus", 0.0) == "vehicle.stopped"
    assert guess_attribute("traffic_cone", 3.0) == ""


def test_splits(tmp_path):
    folder = write_nuscenes([random_drive(i, frames=1, points=5) for i in range(5)], tmp_path)
    assert [len(NuScenesDataset(tmp_path, split=name)) for name in ("all", "train", "val")] == [
        5,
        4,
        1,
    ]
    (folder / "splits.json").write_text(json.dumps({"mine": ["scene-0002", "scene-0004"]}))
    mine = NuScenesDataset(tmp_path, split="mine")
    assert [mine.drive(0), mine.drive(1)] == ["scene-0002", "scene-0004"]
    with pytest.raises(Kd3dError, match="no nuScenes split 'yours'"):
        NuScenesDataset(tmp_path, split="yours")
    with pytest.raises(Kd3dError, match="none of the 5 scenes"):
        NuScenesDataset(tmp_path, split="mini_val")
    (folder / "splits.json").write_text("[]")
    with pytest.raises(Kd3dError, match="must map"):
        NuScenesDataset(tmp_path, split="mine")


def test_official_splits_need_the_devkit_or_a_file(tmp_path, monkeypatch):
    write_nuscenes([random_drive(1, frames=1, points=5)], tmp_path, splits={})
    monkeypatch.setitem(__import__("sys").modules, "nuscenes.utils.splits", None)
    with pytest.raises(Kd3dError, match=r"nuscenes-devkit.*splits\.json"):
        NuScenesDataset(tmp_path, split="val")


def test_versions(tmp_path):
    drive = random_drive(1, frames=1, points=5)
    write_nuscenes([drive], tmp_path, version="v1.0-mini")
    write_nuscenes([drive, drive], tmp_path, version="v1.0-trainval")
    assert len(NuScenesDataset(tmp_path, version="v1.0-trainval")) == 2
    assert len(NuScenesDataset(tmp_path / "v1.0-mini")) == 1
    assert NuScenesDataset(tmp_path, split="train").version == "v1.0-trainval"
    with pytest.raises(Kd3dError, match="several versions"):
        NuScenesDataset(tmp_path)
    with pytest.raises(Kd3dError, match=r"no version 'v1\.0-test'"):
        NuScenesDataset(tmp_path, version="v1.0-test")


def test_data_without_annotations_have_no_boxes(tmp_path):
    folder = write_nuscenes([random_drive(1, frames=2)], tmp_path)
    (folder / "sample_annotation.json").write_text("[]")
    dataset = NuScenesDataset(tmp_path)
    assert not dataset.annotated
    assert dataset[0].boxes is None
    with pytest.raises(Kd3dError, match="no annotations"):
        dataset.labels(0)


def test_what_is_missing_or_damaged_is_told(tmp_path):
    with pytest.raises(Kd3dError, match="no folder"):
        NuScenesDataset(tmp_path / "absent")
    assert not is_nuscenes(tmp_path / "absent")
    with pytest.raises(Kd3dError, match="not a nuScenes data set"):
        NuScenesDataset(tmp_path)
    folder = write_nuscenes([random_drive(1, frames=2)], tmp_path)
    with pytest.raises(Kd3dError, match="at least 1"):
        NuScenesDataset(tmp_path, sweeps=0)
    for name in nuscenes_json.TABLES:
        path = folder / f"{name}.json"
        text = path.read_text()
        for content, message in (
            (text[: len(text) // 2], "not a whole JSON table"),
            ("{}", "no array"),
            ('[{"token": "x"}]', "no field"),
            ("[1]", "no object"),
        ):
            path.write_text(content)
            with pytest.raises(Kd3dError, match=message):
                NuScenesDataset(folder)
        path.unlink()
        with pytest.raises(
            Kd3dError, match=rf"{name}\.json is missing|holds the tables|no folder"
        ):
            NuScenesDataset(tmp_path if name != "sample" else folder)
        path.write_text(text)


def test_records_that_refer_to_nothing_are_told(tmp_path):
    folder = write_nuscenes([random_drive(1, frames=2)], tmp_path)
    for name, message in (
        ("ego_pose", "lacks 2 pose"),
        ("calibrated_sensor", "no calibration of LIDAR_TOP"),
        ("sample_data", "no LIDAR_TOP key frame"),
        ("instance", "names"),
        ("category", "names category"),
        ("attribute", "names"),
    ):
        path = folder / f"{name}.json"
        text = path.read_text()
        path.write_text("[]")
        with pytest.raises(Kd3dError, match=message):
            NuScenesDataset(tmp_path)
        path.write_text(text)
    path = folder / "sample_annotation.json"
    records = json.loads(path.read_text())
    path.write_text(json.dumps([{**record, "next": "nowhere"} for record in records]))
    with pytest.raises(Kd3dError, match="'nowhere'"):
        NuScenesDataset(tmp_path)


def test_missing_points_are_told(tmp_path):
    write_nuscenes([random_drive(1, frames=1)], tmp_path)
    dataset = NuScenesDataset(tmp_path)
    path = next((tmp_path / "samples/LIDAR_TOP").iterdir())
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(Kd3dError, match=path.name):
        dataset[0]
    path.unlink()
    with pytest.raises(Kd3dError, match=path.name):
        dataset[0]


def test_tables_are_read_alike_in_pieces_of_any_size(tmp_path, monkeypatch):
    folder = write_nuscenes([random_drive(1, frames=2)], tmp_path)
    fields = ("token", "translation", "next")
    whole = list(nuscenes_json.read_table(folder, "sample_annotation", *fields))
    for piece in (1, 7, 300):
        monkeypatch.setattr(nuscenes_json, "PIECE", piece)
        assert list(nuscenes_json.read_table(folder, "sample_annotation", *fields)) == whole


def test_the_writer_refuses_what_it_cannot_write(tmp_path):
    first, second = random_drive(1, frames=2, points=5)
    for drive, message in (
        ([replace(first, pose=None)], "no pose"),
        ([replace(first, boxes=None)], "no boxes"),
        ([second, first], "not later"),
        ([replace(first, boxes=replace(first.boxes, classes=("tram",) * 10))], "'tram'"),
        ([], "no frames"),
    ):
        with pytest.raises(Kd3dError, match=message):
            write_nuscenes([drive], tmp_path / "out")
        assert not is_nuscenes(tmp_path / "out")


def test_points_are_counted_where_a_frame_does_not_say(tmp_path):
    boxes = Boxes3D.make([[10, 0, 0], [20, 0, 0]], [[4, 2, 2]] * 2, [0.3, 0], [0, 0])
    frame = replace(
        random_drive(1, frames=1)[0],
        boxes=boxes,
        cloud=PointCloud.from_arrays(np.array([[10, 0, 0], [10.5, 0.2, 0.1]]), np.zeros(2)),
        num_points=None,
        track_id=None,
    )
    write_nuscenes([[frame]], tmp_path)
    assert NuScenesDataset(tmp_path)[0].num_points.tolist() == [2, 0]


def test_submissions_hold_every_sample_and_the_best_boxes(tmp_path):
    generator = np.random.default_rng(0)
    frame = random_drive(1, frames=1)[0]
    frames = [replace(frame, cloud=cloud(generator), stamp=1.0 + i) for i in range(2)]
    write_nuscenes([frames], tmp_path)
    dataset = NuScenesDataset(tmp_path, sweeps=1)
    many = dataset[1].boxes[np.zeros(600, int)]
    many = replace(many, score=np.linspace(0, 1, 600))
    path = tmp_path / "submission.json"
    write_submission(path, dataset, [(1, many)])
    results = json.loads(path.read_text())["results"]
    assert [len(results[token]) for token in dataset.tokens] == [0, 500]
    scores = [box["detection_score"] for box in results[dataset.tokens[1]]]
    assert min(scores) == pytest.approx(100 / 599)
    box = results[dataset.tokens[1]][0]
    np.testing.assert_allclose(box["translation"], dataset.labels(1).center[0], atol=1e-5)
    np.testing.assert_allclose(box["size"], dataset.labels(1).size[0][[1, 0, 2]], atol=1e-6)
    with pytest.raises(Kd3dError, match="twice"):
        write_submission(path, dataset, [(1, many), (1, many)])
    with pytest.raises(Kd3dError, match="attributes"):
        write_submission(path, dataset, [(1, many)], [["vehicle.moving"]])
    write_submission(path, dataset, [(i, dataset[i].boxes) for i in range(2)])
    assert evaluate_submission(dataset, path).errors["trans_err"] < 0.9


def test_our_cyclists_are_judged_by_official_bicycles(tmp_path):
    write_nuscenes([random_drive(1, frames=3)], tmp_path)
    ours = NuScenesDataset(tmp_path, classes=DEFAULT_CLASSES, sweeps=1)
    official = NuScenesDataset(tmp_path, sweeps=1)
    scorer = NuScenesScorer(official)
    for i in range(3):
        scorer.add(i, ours[i].boxes)
    bicycles = scorer.result().classes["bicycle"]
    assert bicycles.detections >= bicycles.truths > 0
    assert bicycles.errors["trans_err"] < 1e-5
