"""What goes into the object database, and what comes along when it is pasted."""

import multiprocessing
import time
from dataclasses import replace

import numpy as np
from simulated_frames import short_drive

from kd3d_core.datasets.caching import locked
from kd3d_core.datasets.sampling import ObjectDatabase
from kd3d_core.datasets.sampling import ObjectSampler
from kd3d_core.datasets.sampling import SamplingConfig
from kd3d_core.datasets.sampling import build_database
from kd3d_core.datasets.sweeps import MergedSweeps
from kd3d_core.geometry.boxes import DEFAULT_CLASSES


class Drive:
    """The simulated drive, and how often its points were read."""

    classes = DEFAULT_CLASSES

    def __init__(self):
        self.read = 0

    def boxes(self, index):
        return short_drive()[index].boxes

    def drive(self, index):
        return "only"

    def __len__(self):
        return len(short_drive())

    def __getitem__(self, index):
        self.read += 1
        return short_drive()[index]


def test_least_points_may_differ_by_class():
    cars = SamplingConfig(per_class={"car": 1}, min_points=1)
    lengths = np.diff(build_database(Drive(), cars, [0]).start)
    least = int(np.median(lengths)) + 1
    some = SamplingConfig(per_class={"car": 1, "pedestrian": 1}, min_points={"car": least})
    database = build_database(Drive(), some, [0])
    car = database.boxes.label == DEFAULT_CLASSES.index("car")
    assert sorted(np.diff(database.start)[car]) == sorted(lengths[lengths >= least])
    assert 0 < car.sum() < len(lengths)
    assert np.diff(database.start)[~car].min() < least  # others are taken from one point on


def test_frames_without_a_wanted_object_are_not_read():
    drive = Drive()
    present = set(np.concatenate([drive.boxes(i).label for i in range(3)]).tolist())
    absent = next(n for i, n in enumerate(DEFAULT_CLASSES) if i not in present)
    assert len(build_database(drive, SamplingConfig(per_class={absent: 5}), range(3))) == 0
    assert drive.read == 0


def test_times_are_pasted_with_their_points(tmp_path):
    merged = MergedSweeps(Drive(), 3)
    config = SamplingConfig(per_class={"car": 99}, min_points=5, probability=1.0)
    database = build_database(merged, config, [2])
    database.save(tmp_path / "objects.npz")
    database = ObjectDatabase.load(tmp_path / "objects.npz")
    assert database.time.shape == (len(database.points),)
    assert database.time.min() < -0.15
    # Onto an empty road: every object finds its place.
    frame = merged[2]
    bare = replace(frame, boxes=frame.boxes[:0], num_points=frame.num_points[:0])
    pasted = ObjectSampler(database, config)(bare, np.random.default_rng(0))
    assert len(pasted.boxes) == len(database)
    assert pasted.cloud.time.shape == (len(pasted.cloud),)
    seen = {
        tuple(p): t for p, t in zip(frame.cloud.points.tolist(), frame.cloud.time, strict=True)
    }
    tail = pasted.cloud.points[-len(database.points) :].tolist()
    times = pasted.cloud.time[-len(database.points) :]
    assert all(seen[tuple(p)] == t for p, t in zip(tail, times, strict=True))
    timeless = replace(bare, cloud=replace(bare.cloud, time=None))
    assert ObjectSampler(database, config)(timeless, np.random.default_rng(0)).cloud.time is None


def _hold(path, held):
    with locked(path):
        held.set()
        time.sleep(0.3)
        path.write_text("made")


def test_two_processes_do_not_make_the_same_file(tmp_path):
    context = multiprocessing.get_context("fork")
    path, held = tmp_path / "made.txt", context.Event()
    other = context.Process(target=_hold, args=(path, held))
    other.start()
    assert held.wait(30)
    with locked(path):
        assert path.read_text() == "made"
    other.join()
