"""Waymo's metric against one that tries every assignment."""

import json

import numpy as np
import pytest
from rich.console import Console
from waymo_oracle import scores

from kd3d_core.evaluation.waymo import WaymoAccumulator
from kd3d_core.evaluation.waymo import waymo_table
from kd3d_core.evaluation.waymo_match import area_under_curve
from kd3d_core.geometry.boxes import Boxes3D

CLASSES = ("car", "pedestrian", "cyclist", "truck", "tree")
TYPES = ("vehicle", "pedestrian", "cyclist", "vehicle", None)
LEAST = {"vehicle": 0.7, "pedestrian": 0.5, "cyclist": 0.5}


def random_frame(generator):
    """Crowded truths around the edges of the ranges; detections doubled, turned and tied."""
    count = int(generator.integers(0, 6))
    angle = generator.uniform(-np.pi, np.pi, count)
    away = generator.choice([12.0, 29.8, 30.2, 49.9, 70.0], count)
    truth = Boxes3D.make(
        np.c_[away * np.cos(angle), away * np.sin(angle), np.zeros(count)],
        generator.uniform([3.5, 1.5, 1.4], [5, 2, 2], (count, 3)),
        generator.uniform(-np.pi, np.pi, count),
        generator.integers(0, len(CLASSES), count),
        classes=CLASSES,
    )
    of = generator.integers(0, max(count, 1), int(generator.integers(0, 9)))[: 3 * count]
    sigma = generator.choice([0.0, 0.02, 0.15, 0.5], (len(of), 1))
    turn = generator.choice([0, 0, np.pi, 0.1], len(of))
    false = int(generator.integers(0, 3))
    pred = Boxes3D.make(
        np.r_[
            truth.center[of] + sigma * generator.normal(size=(len(of), 3)),
            generator.uniform(-40, 40, (false, 3)),
        ],
        np.r_[truth.size[of], np.full((false, 3), 2.0)],
        np.r_[truth.yaw[of] + turn, np.zeros(false)],
        np.r_[truth.label[of], generator.integers(0, len(CLASSES), false)],
        score=generator.uniform(0, 1, len(of) + false).round(int(generator.integers(1, 4))),
        classes=CLASSES,
    )
    points = generator.choice([0, 3, 5, 6, 200], count)
    return (
        pred,
        truth,
        points,
        generator.choice([0, 0, 1, 2], count),
        generator.uniform(size=len(pred)) < 0.1,
    )


def plain(pred, truth, points, difficulty, zone):
    """The same frame as dictionaries."""

    def box(boxes, i):
        row = [*boxes.center[i], *boxes.size[i], boxes.yaw[i]]
        return {"box": [float(v) for v in row], "type": TYPES[boxes.label[i]]}

    return (
        [
            box(pred, i) | {"score": float(pred.score[i]), "zone": bool(zone[i])}
            for i in range(len(pred))
        ],
        [
            box(truth, i) | {"points": int(points[i]), "difficulty": int(difficulty[i])}
            for i in range(len(truth))
        ],
    )


@pytest.mark.parametrize("seed", range(5))
def test_random_frames_score_as_the_oracle_says(seed):
    generator = np.random.default_rng(seed)
    accumulator, frames = WaymoAccumulator(), []
    for _ in range(10):
        frame = random_frame(generator)
        accumulator.add(*frame)
        frames.append(plain(*frame))
    result = accumulator.result()
    above = 0
    for kind, by_range in result.scores.items():
        for ring, by_level in by_range.items():
            for level, score in by_level.items():
                ap, aph = scores(frames, kind, LEAST[kind], ring, level)
                where = (kind, ring, level)
                if ap is None:
                    assert score.ap is None, where
                    assert score.aph is None, where
                else:
                    assert score.ap == pytest.approx(ap, abs=1e-9), where
                    assert score.aph == pytest.approx(aph, abs=1e-9), where
                    above += ap > 0
    assert above > 4


def box(x, y=0.0, yaw=0.0, score=0.9, label=0):
    """A car-sized box."""
    return Boxes3D.make([[x, y, 0]], [[4, 2, 1.5]], [yaw], [label], score=[score], classes=CLASSES)


def test_heading_costs_only_aph():
    accumulator = WaymoAccumulator()
    accumulator.add(box(10, yaw=np.pi), box(10), np.array([50]))
    score = accumulator.result().scores["vehicle"]["all"][1]
    assert score.ap == pytest.approx(1.0)
    assert score.aph == pytest.approx(0.0, abs=1e-6)


def test_hard_ground_truth_is_forgiven_at_level_1_and_missed_at_level_2():
    accumulator = WaymoAccumulator()
    truth = Boxes3D.concatenate([box(10), box(20)])
    accumulator.add(box(10), truth, np.array([50, 5]))
    levels = accumulator.result().scores["vehicle"]["all"]
    assert (levels[1].truths, levels[2].truths) == (1, 2)
    assert levels[1].ap == pytest.approx(1.0)
    assert levels[2].ap == pytest.approx(0.5)


def test_without_points_nothing_is_asked_and_zones_forgive():
    accumulator = WaymoAccumulator()
    accumulator.add(box(10), box(10), np.array([0]))
    assert accumulator.result().mean_ap() is None
    accumulator.add(box(10), box(10), np.array([9]))
    assert accumulator.result().mean_ap() == pytest.approx(0.5)
    accumulator = WaymoAccumulator()
    preds = Boxes3D.concatenate([box(10), box(20, score=0.99)])
    accumulator.add(preds, box(10), np.array([9]), in_no_label_zone=np.array([False, True]))
    assert accumulator.result().mean_ap() == pytest.approx(1.0)


def test_the_largest_total_overlap_wins_over_the_best_score():
    """A greedy matcher would give the first box to the nearer truth and miss the other."""
    accumulator = WaymoAccumulator()
    truth = Boxes3D.concatenate([box(10, label=1), box(11.0, label=1)])
    pred = Boxes3D.concatenate([box(10.4, score=0.9, label=1), box(11.6, score=0.8, label=1)])
    accumulator.add(pred, truth, np.array([50, 50]))
    assert accumulator.result().scores["pedestrian"]["all"][1].recall[0] == 1.0


def test_area_under_hand_made_curves():
    # One point at recall 1: constant below it.
    assert area_under_curve(np.array([0.5]), np.array([1.0]), 0.05) == pytest.approx(0.5)
    assert area_under_curve(np.zeros(0), np.zeros(0), 0.05) == 0
    # From 1.0 down to 0.5: 0.2 held until 0.55, a line to 0.8 at 0.5, constant below.
    expected = 0.45 * 0.2 + 0.05 * 0.5 + 0.5 * 0.8
    value = area_under_curve(np.array([0.2, 0.8]), np.array([1.0, 0.5]), 0.05)
    assert value == pytest.approx(expected, abs=1e-6)


def test_results_are_plain_data_and_a_table():
    accumulator = WaymoAccumulator()
    empty = Boxes3D.empty(CLASSES)
    accumulator.add(empty, empty, np.zeros(0, int))
    json.dumps(accumulator.result().to_dict(), allow_nan=False)
    accumulator.add(box(40), box(40), np.array([9]))
    console = Console(record=True, width=120)
    console.print(waymo_table(accumulator.result()))
    assert "100.00 / 100.00" in console.export_text()
