"""KITTI's metric against the plain oracle: on real frames and on frames full of trouble."""

import json

import numpy as np
import pytest
from evaluation_kitti_frames import CALIBRATION
from evaluation_kitti_frames import random_frame
from kitti_oracle import average_precision
from kitti_oracle import parse
from rich.console import Console

from kd3d_core.datasets.kitti import KittiDataset
from kd3d_core.datasets.kitti_labels import make_labels
from kd3d_core.datasets.kitti_labels import parse_rows
from kd3d_core.datasets.kitti_labels import read_results
from kd3d_core.datasets.kitti_labels import write_results
from kd3d_core.evaluation.kitti_r40 import KittiAccumulator
from kd3d_core.evaluation.kitti_r40 import KittiConfig
from kd3d_core.evaluation.kitti_r40 import kitti_table
from kd3d_core.geometry.boxes import Boxes3D


def compare(result, frames, *, excuse=False):
    """Hold every figure of a result to the oracle's; returns the figures."""
    figures = {}
    for metric, levels in result.curves.items():
        for level, types in levels.items():
            for name, curves in types.items():
                least = result.config.overlap(level)[name]
                for difficulty, curve in curves.items():
                    wanted = average_precision(frames, name, difficulty, metric, least, excuse)
                    where = (metric, level, name, difficulty)
                    if wanted is None:
                        assert curve.ap is None, where
                    else:
                        assert curve.ap == pytest.approx(wanted, abs=1e-9), where
                    figures[where] = curve.ap
    return figures


def reference_boxes(path, classes):
    """Boxes of the reference detector: x y z l w h yaw class score."""
    rows = np.loadtxt(path, ndmin=2)
    names = np.array([classes.index(name) for name in ("car", "pedestrian", "cyclist")])
    return Boxes3D.make(
        rows[:, :3],
        rows[:, 3:6],
        rows[:, 6],
        names[rows[:, 7].astype(int)],
        score=rows[:, 8],
        classes=classes,
    )


def test_the_reference_detector_scores_as_the_oracle_says(shared_data, tmp_path):
    dataset = KittiDataset(shared_data / "kitti")
    folder = shared_data / "kitti" / "reference_pointpillars" / "pred_velo"
    accumulator, frames = KittiAccumulator(), []
    for index, name in enumerate(dataset.names):
        pred = reference_boxes(folder / f"{name}.txt", dataset.classes)
        calibration = dataset.calibration(index)
        accumulator.add(pred, dataset.labels(index), calibration)
        written = tmp_path / f"{name}.txt"
        write_results(written, pred, calibration)
        labels = (dataset.root / "label_2" / f"{name}.txt").read_text().splitlines()
        frames.append(
            ([parse(x) for x in labels], [parse(x) for x in written.read_text().splitlines()])
        )
    figures = compare(accumulator.result(), frames)
    # All 12 moderate cars are found at 0.5 before anything false: 11 of 40 positions.
    assert accumulator.result().curves["bev"]["loose"]["Car"]["moderate"].truths == 12
    assert figures["bev", "loose", "Car", "moderate"] == 11 / 40


def test_every_label_has_a_reference_box_nearby(shared_data):
    dataset = KittiDataset(shared_data / "kitti")
    folder = shared_data / "kitti" / "reference_pointpillars" / "pred_velo"
    seen = 0
    for index, name in enumerate(dataset.names):
        pred = reference_boxes(folder / f"{name}.txt", dataset.classes)
        labels = dataset.labels(index)
        for i, kind in enumerate(labels.types):
            if kind not in ("Car", "Pedestrian", "Cyclist"):
                continue
            same = pred.label == labels.boxes.label[i]
            gap = np.linalg.norm(pred.center[same] - labels.boxes.center[i], axis=1)
            assert gap.min() < 0.65, (name, kind, labels.boxes.center[i])
            seen += 1
    assert seen == 25


@pytest.mark.parametrize("dont_care", ["benchmark", "image"])
@pytest.mark.parametrize("seed", range(6))
def test_random_trouble_scores_as_the_oracle_says(seed, dont_care, tmp_path):
    generator = np.random.default_rng(seed)
    accumulator, frames = KittiAccumulator(KittiConfig(dont_care=dont_care)), []
    for number in range(8 if seed else 30):
        lines, pred = random_frame(generator)
        labels = make_labels(parse_rows(lines, "random"), CALIBRATION)
        accumulator.add(pred, labels, CALIBRATION)
        path = tmp_path / f"{number}.txt"
        write_results(path, pred, CALIBRATION)
        frames.append(
            ([parse(x) for x in lines], [parse(x) for x in path.read_text().splitlines()])
        )
    figures = compare(accumulator.result(), frames, excuse=dont_care == "image")
    assert seed or sum(value > 0 for value in figures.values() if value) > 20


def test_regions_that_nobody_labelled_excuse_only_when_asked():
    generator = np.random.default_rng(1)
    values = {}
    for dont_care in ("benchmark", "image"):
        accumulator = KittiAccumulator(KittiConfig(dont_care=dont_care))
        for _ in range(20):
            lines, pred = random_frame(generator)
            accumulator.add(
                pred, make_labels(parse_rows(lines, "random"), CALIBRATION), CALIBRATION
            )
        generator = np.random.default_rng(1)
        values[dont_care] = accumulator.result().mean_ap("moderate", "bev", "loose")
    assert values["image"] > values["benchmark"]


def test_a_perfect_detector_of_many_frames_gets_everything():
    generator = np.random.default_rng(5)
    accumulator = KittiAccumulator()
    for _ in range(60):
        lines, _ = random_frame(generator)
        labels = make_labels(parse_rows(lines, "random"), CALIBRATION)
        accumulator.add(labels.boxes[labels.known], labels, CALIBRATION)
    result = accumulator.result()
    curve = result.curves["3d"]["strict"]["Car"]["hard"]
    assert curve.truths > 40
    # Vans are found as cars, and small boxes of all types are ignored: neither counts.
    assert curve.ap == 1.0
    assert result.ap("Car", "hard", "bev") == 1.0


def test_nothing_in_gives_no_figures():
    assert KittiAccumulator().result().mean_ap() is None
    accumulator = KittiAccumulator()
    accumulator.add(Boxes3D.empty(), make_labels(parse_rows([], "none"), CALIBRATION), CALIBRATION)
    result = accumulator.result()
    assert result.mean_ap() is None
    json.dumps(result.to_dict(), allow_nan=False)
    console = Console(record=True, width=200)
    console.print(kitti_table(result))
    assert "- / - / -" in console.export_text()


def test_result_files_come_back(tmp_path):
    _, pred = random_frame(np.random.default_rng(3))
    path = tmp_path / "0.txt"
    write_results(path, pred, CALIBRATION)
    back = read_results(path, CALIBRATION)
    seen = np.array([(np.abs(pred.center - c).max(axis=1) < 1e-4).any() for c in back.center])
    assert seen.all()
    assert len(back) > 3
    np.testing.assert_allclose(np.sort(back.score), np.sort(back.score.round(1)), atol=1e-6)
