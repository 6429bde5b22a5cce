"""A data set, a teacher and results that are small enough for tests of the arena."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from kd3d_core.arena.result import CellResult
from kd3d_core.arena.result import Cost
from kd3d_core.arena.result import Machine
from kd3d_core.arena.result import Network
from kd3d_core.arena.result import Scores
from kd3d_core.datasets.simulated import frame_path
from kd3d_core.datasets.simulated import write_frame
from kd3d_core.datasets.simulated import write_index
from kd3d_core.geometry.boxes import DEFAULT_CLASSES

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "training")]
import small_checkpoint  # noqa: E402
from toy_frames import CLASSES  # noqa: E402
from toy_frames import toy_frame  # noqa: E402

LABELS = np.array([DEFAULT_CLASSES.index(name) for name in CLASSES])


def write_data(root: Path, frames: int, first: int) -> Path:
    """A data set as the simulator writes it, with one frame a drive."""
    for drive in range(frames):
        frame = toy_frame(first + drive, reach=9.0)
        size = len(frame.cloud)
        cloud = replace(
            frame.cloud, time=np.zeros(size, np.float32), ring=np.zeros(size, np.int16)
        )
        boxes = replace(frame.boxes, label=LABELS[frame.boxes.label], classes=DEFAULT_CLASSES)
        write_frame(frame_path(root, drive, 0), replace(frame, cloud=cloud, boxes=boxes))
    write_index(root, {"first": first}, frames)
    return root


def write_files(root: Path) -> Path:
    """Frames to learn from and to judge on, and a teacher; returns `root`."""
    write_data(root / "train", 6, 0)
    write_data(root / "val", 4, 100)
    small_checkpoint.write(root / "teacher.ckpt")
    return root


def settings(root: Path, **changes):
    """An arena on the files of `write_files`, as plain data for YAML."""
    student = small_checkpoint.config("image").model_dump(mode="json") | {"name": "small"}
    return {
        "teacher": str(root / "teacher.ckpt"),
        "students": {"small": student},
        "methods": {"none": None, "kl": {"methods": [{"type": "heatmap_kl"}]}},
        "seeds": [0, 1],
        "jobs": 2,
        "out": str(root / "arena"),
        "train": {
            "data": {
                "train": str(root / "train"),
                "val": str(root / "val"),
                "workers": 0,
                "sampling": None,
            },
            "max_steps": 6,
            "batch_size": 2,
            "threads": 1,
            "log_interval": 1,
            "precision": "32-true",
        },
    } | changes


def made_result(student, method, seed, ap, hash_="0", curves=None, step_seconds=0.2):
    """A result that nobody had to train for."""
    return CellResult(
        hash=hash_,
        student=student,
        method=method,
        seed=seed,
        network=Network(name=student, parameters=420_000, macs=1_300_000_000),
        scores=Scores(
            frames=150,
            mean_ap=ap,
            ap={"car": ap + 0.1, "pedestrian": ap - 0.1, "bus": None},
            ap_by_ring={"0-20 m": ap},
            nds=0.8 * ap,
        ),
        cost=Cost(
            steps=300,
            step_seconds=step_seconds,
            train_seconds=300 * step_seconds,
            eval_seconds=10.0,
            peak_memory_mb=600.0,
        ),
        machine=Machine(device="a CPU", kd3d="0", torch="2", python="3"),
        curves=curves or {"heatmap": ((1, 2.0), (2, 1.0)), "loss": ((1, 9.0), (2, 8.0))},
    )
