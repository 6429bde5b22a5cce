"""Matching and average precision against values worked out by hand and by brute force."""

import json

import numpy as np
import pytest

from kd3d_core.evaluation.ap import ApAccumulator
from kd3d_core.evaluation.ap import average_precision
from kd3d_core.evaluation.ap import evaluate
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.evaluation.matching import match
from kd3d_core.evaluation.report import result_table
from kd3d_core.geometry.boxes import Boxes3D

CLASSES = ("car", "pedestrian")


def cars(xs, scores=None, label=0, classes=CLASSES):
    """Cars of 4 m x 2 m along x, at the given x."""
    n = len(xs)
    center = np.column_stack([xs, np.zeros(n), np.zeros(n)])
    return Boxes3D.make(
        center, np.tile((4.0, 2.0, 1.5), (n, 1)), np.zeros(n), np.full(n, label), score=scores,
        classes=classes,
    )  # fmt: skip


def ap_of(pred, truth, points=None, **options):
    return evaluate([(pred, truth, points)], EvalConfig(**options)).ap("car")


def test_perfect_and_empty():
    truth = cars([5.0, 15.0, 30.0])
    assert ap_of(truth, truth) == 1.0
    assert ap_of(cars([]), truth) == 0.0
    assert ap_of(truth, cars([])) is None


def test_known_curve():
    # By falling score: hit, miss, hit; three cars.
    # Precisions 1, 1/2, 2/3 at recalls 1/3, 1/3, 2/3.
    truth = cars([5.0, 15.0, 30.0])
    pred = cars([5.0, 40.0, 15.0], [0.9, 0.8, 0.7])
    result = evaluate([(pred, truth, None)], EvalConfig(score_threshold=0.75))
    entry = result.metrics["all"]["car"]
    assert entry.ap == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert (entry.precision, entry.recall) == (0.5, pytest.approx(1 / 3))
    assert entry.best_f1 == pytest.approx(2 / 3)
    assert entry.best_threshold == pytest.approx(0.7)


def test_the_lowest_of_equally_good_thresholds_is_told():
    # F1 over 60 cars: 50 found of 50 detections at 0.9 (0.909), 51 of 53 at 0.4 (0.903), 51 of 58
    # at 0.2 (0.864).
    truth = cars([3.0 * place for place in range(60)])
    found = [3.0 * place for place in range(51)]
    scores = [0.9] * 50 + [0.4] * 3 + [0.2] * 5
    pred = cars(found + [-5.0 * number for number in range(1, 8)], scores)
    entry = evaluate([(pred, truth, None)], EvalConfig(max_range=500)).metrics["all"]["car"]
    assert entry.best_threshold == pytest.approx(0.9)
    assert entry.recall_threshold == pytest.approx(0.4)


def test_second_detection_of_one_object_is_wrong():
    truth = cars([5.0])
    pred = cars([5.0, 5.1], [0.9, 0.8])
    entry = evaluate([(pred, truth, None)], EvalConfig()).metrics["all"]["car"]
    assert entry.ap == 1.0  # the curve is full before the double comes
    assert entry.precision == 0.5
    assert ap_of(cars([5.1, 5.0], [0.9, 0.8]), truth) == 1.0


def test_few_points_and_far_objects_are_neither_found_nor_missed():
    truth = cars([5.0, 15.0, 60.0])
    points = np.array([100, 2, 100])
    alone = evaluate([(cars([5.0]), truth, points)], EvalConfig())
    assert alone.metrics["all"]["car"].truths == 1
    assert alone.ap("car") == 1.0
    both = evaluate([(cars([15.0, 60.0, 5.0], [0.9, 0.8, 0.7]), truth, points)], EvalConfig())
    assert both.ap("car") == 1.0
    # A detection beyond the range is not wrong, but one inside it on nothing is.
    assert ap_of(cars([70.0, 5.0], [0.9, 0.8]), truth, points) == 1.0
    assert ap_of(cars([40.0, 5.0], [0.9, 0.8]), truth, points) == 0.5


def test_rings_count_each_object_once():
    truth = cars([5.0, 25.0, 45.0])
    result = evaluate([(cars([5.0, 45.0]), truth, None)], EvalConfig())
    assert [result.ap("car", ring) for ring in result.metrics] == [
        pytest.approx(2 / 3), 1.0, 0.0, 1.0,
    ]  # fmt: skip


def test_rings_end_where_the_range_ends():
    assert list(EvalConfig(max_range=25).all_rings().values()) == [(0, 25), (0, 20), (20, 25)]


def test_iou_threshold_and_centre_distance():
    # Shifted by s along 4 m: IoU = (4 - s) / (4 + s), 0.5 at 4/3.
    truth = cars([10.0])
    assert ap_of(cars([11.3]), truth) == 1.0
    assert ap_of(cars([11.4]), truth) == 0.0
    assert ap_of(cars([11.4]), truth, criterion="center_distance") == 1.0
    assert ap_of(cars([12.1]), truth, criterion="center_distance") == 0.0


def test_classes_do_not_mix_and_may_be_ordered_differently():
    truth = cars([10.0])
    assert ap_of(cars([10.0], label=1), truth) == 0.0
    assert ap_of(cars([10.0], label=1, classes=("pedestrian", "car")), truth) == 1.0


def test_order_of_frames_and_of_detections_is_of_no_account():
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(20):
        truth = cars(np.arange(5) * 9.0)
        pred = cars(rng.uniform(0, 45, 12), rng.integers(1, 5, 12) / 5)
        frames.append((pred, truth, None))
    shuffled = []
    for i in rng.permutation(20):
        order = np.argsort(rng.random(12))
        shuffled.append((frames[i][0][order], frames[i][1], None))
    first, second = evaluate(frames), evaluate(shuffled)
    # Ties within a frame may be matched in another order, ties over frames must not matter.
    straight = evaluate(frames[::-1])
    assert straight.to_dict() == first.to_dict()
    assert second.ap("car") == pytest.approx(first.ap("car"), abs=0.05)


def test_ap_equals_brute_force_area():
    rng = np.random.default_rng(1)
    for _ in range(20):
        right = rng.random(30) < 0.5
        precision = np.cumsum(right) / np.arange(1, 31)
        recall = np.cumsum(right) / max(right.sum(), 1) * 0.8
        area = 0.0
        for r in np.arange(0, 0.8, 0.0005) + 0.00025:
            area += 0.0005 * precision[recall >= r].max() if (recall >= r).any() else 0.0
        assert average_precision(recall, precision) == pytest.approx(area, abs=2e-3)


def test_match_takes_the_best_free_box():
    alike = np.array([[0.6, 0.9], [0.7, 0.8], [0.2, 0.95]], np.float32)
    outcome, index = match(alike, 0.5, np.ones(2, bool), np.ones(3, bool))
    assert outcome.tolist() == [1, 1, 0]
    assert index.tolist() == [1, 0, -1]


def test_result_is_plain_data_and_prints():
    accumulator = ApAccumulator(CLASSES)
    accumulator.add(cars([5.0]), cars([5.0]), np.array([10]))
    result = accumulator.result()
    data = json.loads(json.dumps(result.to_dict()))
    assert data["metrics"]["all"]["car"]["ap"] == 1.0
    assert data["metrics"]["all"]["pedestrian"]["ap"] is None
    assert data["mean_ap"]["all"] == 1.0
    assert result_table(result).row_count == 3
