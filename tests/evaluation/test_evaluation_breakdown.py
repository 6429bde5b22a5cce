import json

import numpy as np
import pytest

from kd3d_core.evaluation.ap import ApAccumulator
from kd3d_core.evaluation.breakdown import BreakdownAccumulator
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.inspection.evaluation_page import write_evaluation_page

CLASSES = ("car", "pedestrian", "bus")
CONFIG = EvalConfig(criterion="center_distance", center_distance=1.0, min_points=5)


def boxes(rows):
    """Boxes from rows of label, x, y, score."""
    table = np.array(rows, float).reshape(-1, 4)
    return Boxes3D.make(
        np.column_stack([table[:, 1:3], np.zeros(len(table))]),
        np.tile([4, 2, 1.5], (len(table), 1)),
        np.zeros(len(table)),
        table[:, 0].astype(int),
        score=table[:, 3],
        classes=CLASSES,
    )


def shares(entries):
    return {entry.bin: (entry.truths, entry.recall, entry.precision) for entry in entries}


def test_shares_by_distance_points_and_occlusion():
    accumulator = BreakdownAccumulator(CLASSES, CONFIG)
    truth = boxes([(0, 5, 0, 1), (0, 6, 4, 1), (0, 25, 0, 1), (0, 30.5, 0, 1), (1, 3, 3, 1)])
    pred = boxes(
        [(0, 5.1, 0, 0.9), (0, 25.5, 0, 0.8), (0, 30.4, 0, 0.1), (0, 8, -5, 0.5), (0, 6, 4.1, 0.6)]
    )
    # The second car has too few points: it is not missed, and its detection is not wrong.
    accumulator.add(pred, truth, np.array([100, 3, 7, 12, 60]), np.array([0, 0, 1, 2, 0]))
    result = accumulator.result()
    car = result.classes["car"]
    assert (car.truths, car.detections) == (3, 4)
    by_range = shares(car.by_range)
    assert by_range["0-10 m"] == (1, 1.0, 0.5)
    assert by_range["20-30 m"] == (1, 1.0, 1.0)
    assert by_range["30-40 m"] == (1, 0.0, None)  # found, but below the score threshold
    assert by_range["40-50 m"] == (0, None, None)
    assert shares(car.by_points)["5-10"] == (1, 1.0, None)
    assert shares(car.by_points)["10-20"] == (1, 0.0, None)
    assert shares(car.by_occlusion)["partly hidden"] == (1, 1.0, None)
    assert result.classes["pedestrian"].curve.ap == 0.0
    assert result.classes["bus"].curve is None
    assert result.classes["all"].truths == 4


def test_average_precision_is_that_of_the_metrics():
    rng = np.random.default_rng(0)
    accumulator, other = BreakdownAccumulator(CLASSES, CONFIG), ApAccumulator(CLASSES, CONFIG)
    for _ in range(40):
        count = int(rng.integers(0, 12))
        truth = boxes(
            np.c_[rng.integers(0, 2, count), rng.uniform(-60, 60, (count, 2)), [1] * count]
        )
        pred = boxes(
            np.c_[
                np.r_[truth.label, rng.integers(0, 2, 4)],
                np.r_[truth.center[:, :2], rng.uniform(-60, 60, (4, 2))]
                + rng.normal(0, 0.6, (count + 4, 2)),
                rng.integers(1, 20, count + 4) / 20,
            ]
        )
        points = rng.integers(0, 40, count)
        accumulator.add(pred, truth, points)
        other.add(pred, truth, points)
    result, expected = accumulator.result(), other.result()
    for name in ("car", "pedestrian"):
        assert result.classes[name].curve.ap == pytest.approx(expected.ap(name), abs=1e-12)
        assert result.classes[name].truths == expected.metrics["all"][name].truths
        assert result.classes[name].by_occlusion == ()
        curve = result.classes[name].curve
        assert np.all(np.diff(curve.score) < 0)
        assert np.all(np.diff(curve.recall) >= 0)
    json.dumps(result.to_dict())


def test_page_is_whole_and_safe(tmp_path):
    accumulator, other = BreakdownAccumulator(CLASSES, CONFIG), ApAccumulator(CLASSES, CONFIG)
    truth = boxes([(0, 5 + i, 0, 1) for i in range(0, 30, 3)])
    for target in (accumulator, other):
        target.add(truth[:6], truth, np.full(len(truth), 50))
    title = "<b>model & data"
    path = write_evaluation_page(
        tmp_path / "page.html", accumulator.result(), other.result(), title
    )
    text = path.read_text()
    assert "<b>model" not in text
    assert "&lt;b&gt;model &amp; data" in text
    assert "60.0 %" in text
    assert "<script" not in text
    assert "Found by occlusion" not in text
    empty = BreakdownAccumulator(CLASSES, CONFIG).result()
    nothing = ApAccumulator(CLASSES, CONFIG).result()
    text = write_evaluation_page(tmp_path / "none.html", empty, nothing, "x").read_text()
    assert "no ground truth that counts" in text
