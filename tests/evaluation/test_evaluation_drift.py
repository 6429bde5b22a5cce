"""Alarms are raised by what is bad, not by chance."""

import numpy as np
import pytest
from random_boxes import CLASSES
from random_boxes import car

from kd3d_core.evaluation.agreement import AgreementWindow
from kd3d_core.evaluation.agreement import compare
from kd3d_core.evaluation.drift import DriftConfig
from kd3d_core.evaluation.drift import alarms
from kd3d_core.evaluation.drift import wilson_interval
from kd3d_core.geometry.boxes import Boxes3D

NOTHING = Boxes3D.empty(CLASSES)


def drive(shares, frames, seed=0, offset=0.0):
    """A student that sees the object of each (distance, class) with the given share."""
    generator, window = np.random.default_rng(seed), AgreementWindow(CLASSES)
    for _ in range(frames):
        reference = [car(distance, label=label) for distance, label in shares]
        seen = [
            car(distance + offset, label=label)
            for (distance, label), share in shares.items()
            if generator.random() < share
        ]
        student = Boxes3D.concatenate([NOTHING, *seen])
        window.add(compare(student, Boxes3D.concatenate(reference)))
    return window.result()


def test_low_recall_of_a_ring_is_named():
    agreement = drive({(10.0, 0): 1.0, (25.0, 0): 0.3, (10.0, 1): 1.0}, 200)
    together, alarm = alarms(agreement, DriftConfig(min_recall=0.6))
    assert (together.kind, together.label, together.ring) == ("recall", "all", "20-35")
    assert (alarm.kind, alarm.label, alarm.ring, alarm.limit) == ("recall", "car", "20-35", 0.6)
    value = agreement.by_ring["car"]["20-35"].recall
    assert alarm.value == value
    assert alarm.message == (
        f"recall of car at 20-35 m is {value:.2f} over 200 boxes, below the limit of 0.60"
    )


def test_a_whole_class_is_told_once():
    agreement = drive({(10.0, 1): 0.2, (25.0, 1): 0.2, (10.0, 0): 1.0, (25.0, 0): 1.0}, 200)
    (alarm,) = alarms(agreement, DriftConfig(min_recall=0.5))
    assert (alarm.label, alarm.ring) == ("pedestrian", "all")


def test_noise_around_the_limit_raises_nothing():
    raised = [
        alarms(drive({(10.0, 0): 0.5}, 40, seed), DriftConfig(min_recall=0.5))
        for seed in range(20)
    ]
    assert not any(raised)


def test_few_frames_or_boxes_raise_nothing():
    bad = {(10.0, 0): 0.0}
    assert not alarms(drive(bad, 29))
    assert alarms(drive(bad, 30))
    assert not alarms(drive(bad, 30), DriftConfig(min_boxes=31))
    assert not alarms(AgreementWindow(CLASSES).result())


def test_fall_below_the_baseline():
    usual, now = drive({(10.0, 0): 0.95}, 300), drive({(10.0, 0): 0.65}, 300, 1)
    assert not alarms(now)
    assert not alarms(usual, baseline=usual)
    found = alarms(now, baseline=usual)
    assert {alarm.label for alarm in found} == {"all", "car"}
    limit = usual.total.recall - 0.15
    assert found[0].limit == pytest.approx(limit)
    assert f"below the limit of {limit:.2f} (it was {usual.total.recall:.2f})" in found[0].message
    assert not alarms(now, DriftConfig(max_recall_drop=None), usual)


def test_false_objects_lower_precision():
    window = AgreementWindow(CLASSES)
    for _ in range(60):
        window.add(compare(Boxes3D.concatenate([car(9.0), car(15.0), car(30.0)]), car(9.0)))
    assert "precision" in {alarm.kind for alarm in alarms(window.result())}


def test_errors_of_pairs():
    found = alarms(drive({(10.0, 0): 1.0}, 60, offset=1.0))
    assert [(alarm.kind, alarm.label) for alarm in found] == [
        ("centre error", "all"),
        ("centre error", "car"),
    ]
    assert found[1].message == (
        "mean centre error of car is 1.00 m over 60 pairs, above the limit of 0.75 m"
    )
    assert not alarms(drive({(10.0, 0): 1.0}, 60, offset=1.0), DriftConfig(max_centre_error=None))


def test_wilson_interval():
    assert wilson_interval(0, 0, 2) == (0.0, 1.0)
    low, high = wilson_interval(5, 10, 1.96)
    assert (low, high) == (pytest.approx(0.2366, abs=1e-3), pytest.approx(0.7634, abs=1e-3))
    assert wilson_interval(10, 10, 3)[1] == 1.0
    assert wilson_interval(0, 10, 3)[0] == pytest.approx(0.0, abs=1e-12)
