"""nuScenes metrics: ours against nuscenes-devkit's on the same frames, in one run.

    python benchmarks/nuscenes_metrics.py

Simulated streets and random drives are written in nuScenes' layout, detections as a submission
file. Both evaluate them in turns; the results are held to each other. "metrics" is from boxes in
memory to NDS; "with loading" is from tables and submission on disk, which for both is mostly the
parsing of JSON.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# The frames and the detections are those of the tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from nuscenes_drives import random_drive
from nuscenes_drives import street_drive
from nuscenes_oracle import assert_equal_metrics
from nuscenes_oracle import perturbed

from kd3d_core.datasets.nuscenes import NuScenesDataset
from kd3d_core.datasets.nuscenes_submission import write_submission
from kd3d_core.datasets.nuscenes_writer import write_nuscenes
from kd3d_core.evaluation.nuscenes import NuScenesResult
from kd3d_core.evaluation.nuscenes_boxes import LevelBoxes
from kd3d_core.evaluation.nuscenes_boxes import level_boxes
from kd3d_core.evaluation.nuscenes_submission import NuScenesScorer
from kd3d_core.evaluation.nuscenes_submission import evaluate_submission
from kd3d_core.geometry.boxes import Boxes3D

VERSION = "v1.0-sim"


def main() -> None:
    """Write the data, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streets", type=int, default=4, help="simulated drives of 60 frames")
    parser.add_argument("--random", type=int, default=20, help="random drives of 40 frames")
    parser.add_argument("--rounds", type=int, default=3, help="the best of so many is taken")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = measure(Path(name), options)
    for key, value in figures.items():
        print(f"{key:44} {value:>10.3f}" if isinstance(value, float) else f"{key:44} {value:>10}")
    if options.output:
        options.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measure(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and ratios on data that is written below `root`."""
    drives = [street_drive(seed, frames=60, interval=0.33) for seed in range(options.streets)]
    drives += [
        random_drive(seed, frames=40, objects=24, points=3) for seed in range(options.random)
    ]
    write_nuscenes(drives, root)
    dataset = NuScenesDataset(root, split="all", sweeps=1)
    generator = np.random.default_rng(0)
    frames = [dataset[i] for i in range(len(dataset))]
    predictions = [(i, perturbed(generator, frame.boxes)) for i, frame in enumerate(frames)]
    level = [
        level_boxes(boxes, dataset.classes, None, dataset.pose(i))[0] for i, boxes in predictions
    ]
    path = root / "submission.json"
    write_submission(path, dataset, predictions)

    ours, theirs = evaluate_submission(dataset, path), official(root, path)
    assert_equal_metrics(ours, theirs.evaluate()[0])
    turns: dict[str, Callable[[], Any]] = {
        "devkit, metrics [s]": theirs.evaluate,
        "ours, metrics [s]": lambda: from_boxes(dataset, level),
        "ours, metrics from float32 sensor frame [s]": lambda: from_detector(dataset, predictions),
        "devkit, with loading [s]": lambda: official(root, path).evaluate(),
        "ours, with loading [s]": lambda: evaluate_submission(
            NuScenesDataset(root, split="all", sweeps=1), path
        ),
    }
    seconds = dict.fromkeys(turns, float("inf"))
    for _ in range(options.rounds):
        for name, turn in turns.items():
            # Processor time: what else the machine does is not counted.
            start = time.process_time()
            turn()
            seconds[name] = min(seconds[name], time.process_time() - start)
    first, second, third, fourth, fifth = seconds.values()
    return {
        "CPUs": os.cpu_count() or 0,
        "frames": len(dataset),
        "ground truth that counts": sum(entry.truths for entry in ours.classes.values()),
        "detections": sum(len(boxes) for _, boxes in predictions),
        "mAP": ours.mean_ap,
        "NDS": ours.nds,
        **seconds,
        "ratio, metrics": first / second,
        "ratio, metrics from float32 sensor frame": first / third,
        "ratio, with loading": fourth / fifth,
    }


def official(root: Path, path: Path) -> Any:
    """The devkit's evaluation with everything loaded and filtered."""
    import matplotlib

    matplotlib.use("Agg")
    from nuscenes import NuScenes
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    config = config_factory("detection_cvpr_2019")
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bars
        tables = NuScenes(VERSION, str(root), verbose=False)
        folder = str(root / "official")
        return DetectionEval(tables, config, str(path), "all", folder, verbose=False)


def from_boxes(dataset: NuScenesDataset, predictions: list[LevelBoxes]) -> NuScenesResult:
    """Our metrics from boxes in the world in memory; filtering included, unlike the devkit's."""
    scorer = NuScenesScorer(dataset)
    for i, boxes in enumerate(predictions):
        scorer.add_level(i, boxes)
    return scorer.result()


def from_detector(
    dataset: NuScenesDataset, predictions: list[tuple[int, Boxes3D]]
) -> NuScenesResult:
    """Our metrics from what a detector gives: float32 boxes in the sensor frame."""
    scorer = NuScenesScorer(dataset)
    for i, boxes in predictions:
        scorer.add(i, boxes)
    return scorer.result()


if __name__ == "__main__":
    main()
