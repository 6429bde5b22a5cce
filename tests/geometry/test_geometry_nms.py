"""Suppression keeps what a plain double loop keeps."""

import numpy as np
import pytest

from kd3d_core.geometry.iou import bev_iou
from kd3d_core.geometry.nms import circle_nms
from kd3d_core.geometry.nms import rotated_nms


def _greedy(score, conflict):
    kept = []
    for index in np.argsort(-score, kind="stable"):
        if not any(conflict[k, index] for k in kept):
            kept.append(index)
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5])
def test_rotated_nms_is_the_greedy_choice(threshold):
    rng = np.random.default_rng(1)
    boxes = np.column_stack(
        [rng.uniform(-8, 8, (60, 2)), rng.uniform(1, 5, (60, 2)), rng.uniform(-3, 3, 60)]
    ).astype(np.float32)
    score = rng.uniform(size=60).astype(np.float32)
    kept = rotated_nms(boxes, score, threshold)
    assert kept.tolist() == _greedy(score, bev_iou(boxes, boxes) > threshold)
    assert 1 < len(kept) < 60
    assert (np.diff(score[kept]) <= 0).all()


def test_circle_nms_is_the_greedy_choice():
    rng = np.random.default_rng(2)
    xy = rng.uniform(-5, 5, (50, 2)).astype(np.float32)
    score = rng.uniform(size=50).astype(np.float32)
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    assert circle_nms(xy, score, 1.5).tolist() == _greedy(score, distance < 1.5)


def test_equal_scores_go_by_index_and_nothing_gives_nothing():
    box = np.tile(np.array([[0, 0, 4, 2, 0.5]], np.float32), (3, 1))
    assert rotated_nms(box, np.ones(3, np.float32), 0.5).tolist() == [0]
    assert len(rotated_nms(box[:0], np.ones(0, np.float32), 0.5)) == 0
    assert len(circle_nms(box[:0, :2], np.ones(0, np.float32), 0.5)) == 0


def test_scores_of_another_length_are_refused():
    with pytest.raises(ValueError, match="score"):
        circle_nms(np.zeros((3, 2), np.float32), np.zeros(2, np.float32), 1.0)


def test_classes_do_not_compete_and_the_count_is_bounded():
    rng = np.random.default_rng(3)
    boxes = np.column_stack(
        [rng.uniform(-6, 6, (80, 2)), rng.uniform(1, 5, (80, 2)), rng.uniform(-3, 3, 80)]
    ).astype(np.float32)
    score = rng.uniform(size=80).astype(np.float32)
    label = rng.integers(0, 3, 80)
    limit = np.array([0.1, 0.3, 0.6])[label]
    kept = rotated_nms(boxes, score, limit, label=label)
    rivals = (bev_iou(boxes, boxes) > limit[None]) & (label[:, None] == label[None])
    assert kept.tolist() == _greedy(score, rivals)
    few = rotated_nms(boxes, score, limit, label=label, most=5)
    assert few.tolist() == kept[:5].tolist()
    near = np.linalg.norm(boxes[:, None, :2] - boxes[None, :, :2], axis=-1) < 2.0
    kept = circle_nms(boxes[:, :2], score, 2.0, label=label, most=9)
    assert kept.tolist() == _greedy(score, near & (label[:, None] == label[None]))[:9]
