import numpy as np
import pytest
from argoverse2_official import CLASSES
from argoverse2_official import METRICS
from argoverse2_official import official
from argoverse2_official import random_cases

from kd3d_core.evaluation.argoverse2 import Argoverse2Accumulator
from kd3d_core.evaluation.argoverse2 import Argoverse2Config
from kd3d_core.geometry.boxes import Boxes3D


def ours(cases):
    accumulator = Argoverse2Accumulator(CLASSES)
    for case in cases:
        accumulator.add(case.pred, case.truth, case.num_points)
    return accumulator.result()


def boxes(rows, classes=CLASSES):
    """Boxes from rows of label, x, y, z, score."""
    table = np.array(rows, float).reshape(-1, 5)
    return Boxes3D.make(
        table[:, 1:4],
        np.tile([4, 2, 1.5], (len(table), 1)),
        np.zeros(len(table)),
        table[:, 0].astype(int),
        score=table[:, 4],
        classes=classes,
    )


def test_equals_the_published_evaluation_on_a_thousand_frames():
    pytest.importorskip("av2", reason="av2 (the published evaluation) is not installed")
    cases = list(random_cases(1000))
    table = official(cases)
    result = ours(cases)
    entries = {**result.classes, "AVERAGE_METRICS": result.mean}
    assert set(entries) == set(table.index)
    for name, entry in entries.items():
        for metric in METRICS:
            got = getattr(entry, metric.lower())
            assert got == pytest.approx(table.loc[name, metric], abs=1e-9), (name, metric)
    assert 0.1 < result.classes["REGULAR_VEHICLE"].ap < 0.9


def test_a_class_never_seen_takes_the_worst_values():
    result = ours([])
    entry = result.classes["BUS"]
    assert (entry.truths, entry.ap, entry.cds) == (0, 0.0, 0.0)
    assert (entry.ate, entry.ase, entry.aoe) == (2.0, 1.0, np.pi)
    assert result.mean.cds == 0.0


def test_a_detection_has_no_second_choice():
    # Both are nearest to the first box, which keeps the one of the higher score; the second truth
    # is within 4 m of the other detection, and stays missed.
    truth = boxes([(0, 10, 0, 0, 1), (0, 13, 0, 0, 1)])
    pred = boxes([(0, 10.2, 0, 0, 0.9), (0, 11.0, 0, 0, 0.8)])
    accumulator = Argoverse2Accumulator(CLASSES)
    accumulator.add(pred, truth)
    entry = accumulator.result().classes["REGULAR_VEHICLE"]
    assert entry.ap_at == pytest.approx([50.5 / 101] * 4)
    assert entry.ate == pytest.approx(0.2, abs=1e-6)


def test_height_counts_in_the_distance():
    accumulator = Argoverse2Accumulator(CLASSES)
    accumulator.add(boxes([(0, 10, 0, 3, 0.9)]), boxes([(0, 10, 0, 0, 1)]))
    assert accumulator.result().classes["REGULAR_VEHICLE"].ap_at == pytest.approx([0, 0, 0, 1])


def test_detections_beyond_the_limit_do_not_count():
    crowd = [(0, 100 + i / 10, 0, 0, 0.9) for i in range(3)]
    accumulator = Argoverse2Accumulator(CLASSES, Argoverse2Config(max_detections=3))
    accumulator.add(boxes([*crowd, (0, 10, 0, 0, 0.5)]), boxes([(0, 10, 0, 0, 1)]))
    assert accumulator.result().classes["REGULAR_VEHICLE"].ap == 0.0


def test_region_leaves_boxes_out():
    accumulator = Argoverse2Accumulator(CLASSES)
    pred = boxes([(0, -10, 0, 0, 0.9), (0, 10, 0, 0, 0.5)])
    truth = boxes([(0, 10, 0, 0, 1), (0, -30, 0, 0, 1)])
    accumulator.add(pred, truth, region=lambda some: some.center[:, 0] > 0)
    entry = accumulator.result().classes["REGULAR_VEHICLE"]
    assert entry.truths == 1
    assert entry.ap == pytest.approx(1.0)


def test_class_names_may_be_ordered_differently():
    accumulator = Argoverse2Accumulator(CLASSES)
    pred = boxes([(1, 10, 0, 0, 0.9), (0, 5, 0, 0, 0.9)], ("TREE", "BUS"))
    accumulator.add(pred, boxes([(2, 10, 0, 0, 1)]))
    result = accumulator.result()
    assert result.classes["BUS"].ap == pytest.approx(1.0)
    assert result.to_dict()["classes"]["BUS"]["truths"] == 1


def test_settings_must_fit():
    with pytest.raises(ValueError, match="error_threshold 3 is not in thresholds"):
        Argoverse2Config(error_threshold=3.0)
