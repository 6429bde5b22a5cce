"""Rotated overlap against an independent slow reference, and its edge cases."""

import math

import numpy as np
import pytest

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.iou import bev_iou
from kd3d_core.geometry.iou import bev_overlap
from kd3d_core.geometry.iou import iou_3d


def _inside(point, box):
    dx, dy = point[0] - box[0], point[1] - box[1]
    cos, sin = math.cos(box[4]), math.sin(box[4])
    return (
        abs(cos * dx + sin * dy) <= box[2] / 2 + 1e-9
        and abs(cos * dy - sin * dx) <= box[3] / 2 + 1e-9
    )


def _corners(box):
    cos, sin = math.cos(box[4]), math.sin(box[4])
    return [
        (
            box[0] + cos * x * box[2] / 2 - sin * y * box[3] / 2,
            box[1] + sin * x * box[2] / 2 + cos * y * box[3] / 2,
        )
        for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1))
    ]


def _reference_area(a, b):
    """Collect corners inside the other box and edge crossings; area of their convex hull."""
    first, second = _corners(a), _corners(b)
    points = [p for p in first if _inside(p, b)] + [p for p in second if _inside(p, a)]
    for i in range(4):
        for j in range(4):
            p, q = np.array(first[i]), np.array(first[(i + 1) % 4])
            r, s = np.array(second[j]), np.array(second[(j + 1) % 4])
            matrix = np.stack([q - p, r - s], axis=1)
            if abs(np.linalg.det(matrix)) < 1e-12:
                continue
            t, u = np.linalg.solve(matrix, r - p)
            if 0 <= t <= 1 and 0 <= u <= 1:
                points.append(tuple(p + t * (q - p)))
    if len(points) < 3:
        return 0.0
    points = np.array(points)
    middle = points.mean(axis=0)
    points = points[np.argsort(np.arctan2(*(points - middle).T[::-1]))]
    x, y = points.T
    return abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _random_boxes(rng, count, extent=4.0):
    return np.column_stack(
        [
            rng.uniform(-extent, extent, (count, 2)),
            rng.uniform(0.3, 6.0, (count, 2)),
            rng.uniform(-4, 4, count),
        ]
    ).astype(np.float32)


def test_overlap_equals_the_hull_of_corners_and_crossings():
    rng = np.random.default_rng(3)
    a, b = _random_boxes(rng, 20), _random_boxes(rng, 25)
    expected = [[_reference_area(p, q) for q in b.astype(float)] for p in a.astype(float)]
    np.testing.assert_allclose(bev_overlap(a, b), expected, atol=2e-5)
    assert np.count_nonzero(expected) > 100


def test_iou_is_symmetric_bounded_and_one_on_itself():
    boxes = _random_boxes(np.random.default_rng(4), 40)
    iou = bev_iou(boxes, boxes)
    assert iou.dtype == np.float32
    np.testing.assert_allclose(iou, iou.T, atol=1e-6)
    np.testing.assert_allclose(np.diag(iou), 1.0, atol=1e-6)
    assert iou.min() >= 0
    assert iou.max() <= 1


def test_iou_does_not_change_when_the_world_turns_and_moves():
    rng = np.random.default_rng(5)
    boxes = _random_boxes(rng, 15)
    turned = boxes.copy()
    cos, sin = np.cos(1.1), np.sin(1.1)
    turned[:, 0] = cos * boxes[:, 0] - sin * boxes[:, 1] + 30
    turned[:, 1] = sin * boxes[:, 0] + cos * boxes[:, 1] - 20
    turned[:, 4] += 1.1
    np.testing.assert_allclose(bev_iou(turned, turned), bev_iou(boxes, boxes), atol=2e-5)


@pytest.mark.parametrize("yaw", [0.0, 0.3, math.pi / 2, math.pi, -2.5])
def test_equal_and_touching_boxes(yaw):
    box = np.array([[1e3, -2e3, 4, 2, yaw]], np.float32)
    flipped = box + np.array([[0, 0, 0, 0, math.pi]], np.float32)
    assert bev_iou(box, flipped)[0, 0] == pytest.approx(1.0, abs=1e-5)
    aside = np.array([[4 * math.cos(yaw), 4 * math.sin(yaw), 4, 2, yaw]], np.float32)
    origin = np.array([[0, 0, 4, 2, yaw]], np.float32)
    assert bev_iou(origin, aside)[0, 0] < 1e-6


def test_known_values():
    square = np.array([[0, 0, 2, 2, 0]], np.float32)
    diamond = np.array([[0, 0, 2, 2, math.pi / 4]], np.float32)
    octagon = 8 * (math.sqrt(2) - 1)
    assert bev_overlap(square, diamond)[0, 0] == pytest.approx(octagon, abs=1e-6)
    half = np.array([[1, 0, 2, 2, 0]], np.float32)
    assert bev_iou(square, half)[0, 0] == pytest.approx(1 / 3, abs=1e-6)
    inner = np.array([[0.1, 0.1, 1, 1, 1.2]], np.float32)
    assert bev_iou(square, inner)[0, 0] == pytest.approx(1 / 4, abs=1e-6)


def test_degenerate_boxes_give_zero_and_no_warning():
    odd = np.array(
        [[0, 0, 0, 0, 0], [0, 0, 3, 0, 1], [np.nan, 0, 1, 1, 0], [0, 0, 1, 1, np.nan]], np.float32
    )
    with np.errstate(all="raise"):
        iou = bev_iou(odd[:3], odd[:3])
    assert np.array_equal(iou, np.zeros((3, 3)))
    assert bev_iou(np.zeros((0, 5), np.float32), odd).shape == (0, 4)


def test_iou_3d_multiplies_by_the_shared_height():
    a = Boxes3D.make([[0, 0, 0]], [[4, 2, 2]], [0.4], [0])
    b = Boxes3D.make([[0, 0, 1], [0, 0, 2.5]], [[4, 2, 2], [4, 2, 2]], [0.4, 0.4], [0, 0])
    np.testing.assert_allclose(iou_3d(a, b), [[1 / 3, 0]], atol=1e-6)
