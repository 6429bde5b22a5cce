"""Which frames are worst, and what is said about them."""

import numpy as np
import pytest
from random_boxes import CLASSES
from random_boxes import boxes
from random_boxes import car

from kd3d_core.evaluation.agreement import compare
from kd3d_core.evaluation.disagreement import DisagreementConfig
from kd3d_core.evaluation.disagreement import judge
from kd3d_core.geometry.boxes import Boxes3D

NOTHING = Boxes3D.empty(CLASSES)


def verdict(student, reference, **settings):
    return judge(compare(student, reference), DisagreementConfig(**settings))


def test_equal_boxes_are_no_disagreement():
    both = boxes(np.random.default_rng(0), 20)
    assert (verdict(both, both).score, verdict(both, both).reasons) == (0.0, ())
    assert verdict(NOTHING, NOTHING).score == 0.0


def test_each_fault_in_words():
    cases = (
        (NOTHING, car(14.0, score=0.91), "missed car at 14 m (teacher 0.91)"),
        (car(8.0, label=1, score=0.55), NOTHING, "extra pedestrian at 8 m (student 0.55)"),
        (
            car(20.0, score=0.7),
            car(20.0, label=2, score=0.8),
            "cyclist at 20 m called car (teacher 0.80, student 0.70)",
        ),
        (car(10.0), car(11.6), "car at 11 m: centres 1.6 m apart"),
        (car(10.0, yaw=np.pi), car(10.0), "car at 10 m: headings 180 deg apart"),
    )
    for student, reference, text in cases:
        found = verdict(student, reference)
        assert found.reasons == (text,)
        assert found.score > 0


def test_weights_by_score_distance_and_class():
    def missed(distance, score, **settings):
        return verdict(NOTHING, car(distance, score=score), **settings).score

    assert missed(20.0, 0.8) == pytest.approx(0.8 * 0.5)
    assert missed(5.0, 0.8) > missed(20.0, 0.8) > missed(40.0, 0.8)
    assert missed(5.0, 0.9) > missed(5.0, 0.4)
    assert missed(20.0, 0.8, class_weights={"car": 3.0}) == pytest.approx(3 * 0.8 * 0.5)
    assert verdict(NOTHING, car(5.0), missed=0.0) == verdict(NOTHING, NOTHING)


def test_a_confusion_counts_once():
    one = verdict(car(20.0, score=0.8), car(20.0, label=2, score=0.8)).score
    assert one == pytest.approx(0.8 * 0.5)


def test_worst_reasons_come_first_and_are_bounded():
    crowd = Boxes3D.concatenate([car(4.0 * k, score=0.9) for k in range(1, 13)])
    found = verdict(NOTHING, crowd)
    assert len(found.reasons) == 8
    assert found.reasons[0] == "missed car at 4 m (teacher 0.90)"
    assert found.score == pytest.approx(sum(0.9 * 20 / (20 + 4 * k) for k in range(1, 13)))
    mixed = crowd[np.random.default_rng(0).permutation(12)]
    assert verdict(NOTHING, mixed) == found
