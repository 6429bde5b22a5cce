import json
import shutil
import time

import numpy as np
import pytest

from kd3d_core.datasets import generate as generating
from kd3d_core.datasets.generate import generate
from kd3d_core.datasets.simulated import INDEX
from kd3d_core.datasets.simulated import SimulatedDataset
from kd3d_core.datasets.simulated import frame_path
from kd3d_core.datasets.simulated import read_frame
from kd3d_core.datasets.simulated import write_frame
from kd3d_core.datasets.simulated import write_index
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud
from kd3d_core.simulation.drives import SimulationConfig
from kd3d_core.simulation.drives import plan_drive

CONFIG = SimulationConfig(drives=2, frames_per_drive=2, sensors=("vlp16",), seed=5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("simulated") / "set"
    assert generate(root, CONFIG, workers=1) == 4
    return root


def contents(root):
    return {
        path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def some_frame(count=1000, boxes=5, seed=0):
    rng = np.random.default_rng(seed)
    return Frame(
        cloud=PointCloud(
            points=rng.random((count, 4), np.float32),
            time=np.linspace(-0.05, 0.05, count, dtype=np.float32),
            ring=rng.integers(0, 128, count).astype(np.int16),
        ),
        source="test",
        stamp=1.25,
        boxes=Boxes3D.make(
            rng.normal(size=(boxes, 3)),
            rng.uniform(1, 5, (boxes, 3)),
            rng.uniform(-3, 3, boxes),
            rng.integers(0, 6, boxes),
            velocity=rng.normal(size=(boxes, 2)),
        ),
        num_points=rng.integers(0, 99, boxes),
        track_id=np.arange(boxes) * 10,
        pose=pose_matrix([1, 2, 3], 0.5, 0.1),
        sensor="os1-128",
        sensor_height=1.8,
    )


@pytest.mark.parametrize(("count", "boxes"), [(1000, 5), (0, 0), (10, 0)])
def test_a_frame_comes_back_as_it_was(tmp_path, count, boxes):
    frame = some_frame(count, boxes)
    write_frame(tmp_path / "a.npz", frame)
    back = read_frame(tmp_path / "a.npz")
    np.testing.assert_array_equal(back.cloud.points, frame.cloud.points)
    np.testing.assert_array_equal(back.cloud.ring, frame.cloud.ring)
    np.testing.assert_allclose(back.cloud.time, frame.cloud.time, atol=2e-5)
    for name in ("center", "size", "yaw", "velocity", "score", "label"):
        np.testing.assert_array_equal(getattr(back.boxes, name), getattr(frame.boxes, name))
    np.testing.assert_array_equal(back.num_points, frame.num_points)
    np.testing.assert_array_equal(back.track_id, frame.track_id)
    np.testing.assert_array_equal(back.pose, frame.pose)
    assert (back.stamp, back.sensor, back.sensor_height) == (1.25, "os1-128", 1.8)


def test_reading_is_quick(tmp_path):
    write_frame(tmp_path / "a.npz", some_frame(120_000, 50))
    took = []
    for _ in range(10):
        start = time.perf_counter()
        read_frame(tmp_path / "a.npz")
        took.append(time.perf_counter() - start)
    assert min(took) < 0.02  # about 2 ms; the machine may be busy


def test_the_reader_gives_drives_in_order_of_time(whole):
    data = SimulatedDataset(whole)
    assert len(data) == 4
    assert data.complete
    assert [data.drive(i) for i in range(4)] == ["drive_00000"] * 2 + ["drive_00001"] * 2
    frames = [data[i] for i in range(4)]
    assert frames[1].stamp - frames[0].stamp == pytest.approx(CONFIG.interval)
    assert all(len(frame.cloud) > 5000 and frame.sensor == "vlp16" for frame in frames)
    assert data.classes == frames[0].boxes.classes
    for frame in frames:
        inside = frame.boxes.contains(frame.cloud.points).sum(axis=1)
        assert frame.num_points.tolist() == inside.tolist()


def test_an_interrupted_run_is_resumed_to_the_same_bytes(whole, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(whole, root)
    expected = contents(root)
    frame_path(root, 0, 1).unlink()
    shutil.rmtree(root / "drive_00001")
    assert not SimulatedDataset(root).complete
    assert generate(root, CONFIG, workers=1) == 3
    assert contents(root) == expected
    assert generate(root, CONFIG, workers=1) == 0


def test_processes_give_the_same_bytes(whole, tmp_path):
    reported = []
    assert generate(tmp_path / "set", CONFIG, workers=2, progress=reported.append) == 4
    assert sum(reported) == 4
    assert contents(tmp_path / "set") == contents(whole)


def test_a_run_stops_between_frames_when_asked(tmp_path, monkeypatch):
    class Pressed:
        def is_set(self):
            return True

    monkeypatch.setattr(generating, "_stop", Pressed())
    generate(tmp_path / "set", CONFIG, workers=1)
    assert len(SimulatedDataset(tmp_path / "set")) == CONFIG.drives


def test_a_set_grows_by_drives_and_by_nothing_else(whole, tmp_path):
    root = tmp_path / "set"
    shutil.copytree(whole, root)
    more = CONFIG.model_copy(update={"drives": 3})
    assert generate(root, more, workers=1) == 2
    assert len(SimulatedDataset(root)) == 6
    with pytest.raises(Kd3dError, match=r"other settings \(seed\)"):
        generate(root, CONFIG.model_copy(update={"seed": 6}), workers=1)


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Kd3dError, match="not empty"):
        generate(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_damaged_frames_are_named(tmp_path):
    path = tmp_path / "drive_00000" / "frame_0000.npz"
    write_frame(path, some_frame())
    whole_file = path.read_bytes()
    for damaged in (
        whole_file[:5000],
        b"",
        b"not an archive" * 100,
        whole_file[: len(whole_file) - 9],
    ):
        path.write_bytes(damaged)
        with pytest.raises(Kd3dError, match=r"frame_0000\.npz is not a whole frame file"):
            read_frame(path)
    flipped = bytearray(whole_file)
    flipped[3000] ^= 0xFF
    path.write_bytes(bytes(flipped))
    with pytest.raises(Kd3dError, match=r"frame_0000\.npz"):
        read_frame(path)
    np.savez(path, points=np.zeros((3, 4), np.float32))
    with pytest.raises(Kd3dError, match=r"frame_0000\.npz"):
        read_frame(path)
    with pytest.raises(Kd3dError, match="no frame file"):
        read_frame(tmp_path / "gone.npz")


def test_folders_that_are_no_data_set_are_refused(tmp_path):
    with pytest.raises(Kd3dError, match="no data set folder"):
        SimulatedDataset(tmp_path / "absent")
    with pytest.raises(Kd3dError, match=INDEX):
        SimulatedDataset(tmp_path)
    (tmp_path / INDEX).write_text("{")
    with pytest.raises(Kd3dError, match="cannot read"):
        SimulatedDataset(tmp_path)
    (tmp_path / INDEX).write_text('{"images": []}')
    with pytest.raises(Kd3dError, match="does not describe"):
        SimulatedDataset(tmp_path)
    write_index(tmp_path, {}, 3)
    with pytest.raises(Kd3dError, match="no frames"):
        SimulatedDataset(tmp_path)
    index = json.loads((tmp_path / INDEX).read_text())
    (tmp_path / INDEX).write_text(json.dumps(index | {"version": 99}))
    with pytest.raises(Kd3dError, match="version 99"):
        SimulatedDataset(tmp_path)


def test_drives_differ_in_street_and_mount_and_take_turns_among_sensors():
    config = SimulationConfig(sensors=("vlp16", "os1-128"), height=2.0, height_jitter=0.3)
    plans = [plan_drive(config, index) for index in range(20)]
    assert [plan.sensor for plan in plans] == ["vlp16", "os1-128"] * 10
    assert len({plan.scene_seed for plan in plans}) == 20
    heights = np.array([plan.mount.height for plan in plans])
    assert np.abs(heights - 2.0).max() <= 0.3
    assert np.ptp(heights) > 0.2
    assert plan_drive(config, 3) == plans[3]
    assert plan_drive(config.model_copy(update={"seed": 1}), 3) != plans[3]


def test_a_drive_lasts_until_its_last_sweep_has_ended():
    config = SimulationConfig(frames_per_drive=50, interval=0.5)
    assert config.lasting_scene.duration >= plan_drive(config, 0).times[-1] + 0.05
    with pytest.raises(ValueError, match="more drives"):
        SimulationConfig(frames_per_drive=10_000)


def test_unknown_sensors_are_refused():
    with pytest.raises(ValueError, match="hdl64e"):
        SimulationConfig(sensors=("hdl65",))
