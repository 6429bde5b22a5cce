"""Targets, and the way back to boxes."""

import math

import numpy as np
import pytest

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import decode
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.targets import gaussian_radius
from kd3d_core.codec.targets import make_targets
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D

GRID = BevGrid(x=(-20, 28), y=(-16, 16), z=(-3, 2), cell=0.5)
STRIDE = 2


def _scattered_boxes(seed, count=12):
    """Boxes that do not overlap: one for each tile of 8 m."""
    rng = np.random.default_rng(seed)
    tiles = np.stack(np.meshgrid(np.arange(6), np.arange(4)), -1).reshape(-1, 2)
    tiles = rng.permutation(tiles)[:count]
    center = np.column_stack(
        [(-20, -16) + tiles * 8.0 + rng.uniform(3, 5, (count, 2)), rng.uniform(-2, 1, count)]
    )
    return Boxes3D.make(
        center,
        rng.uniform(0.3, 4.5, (count, 3)),
        rng.uniform(-math.pi, math.pi, count),
        rng.integers(0, len(DEFAULT_CLASSES), count),
        velocity=rng.uniform(-20, 20, (count, 2)),
    )


def perfect_maps(targets):
    """The maps of a head that learned `targets` by heart."""
    rows, columns = targets.heatmap.shape[1:]
    maps = {}
    for name in ("offset", "height", "size", "rotation", "velocity"):
        values = getattr(targets, name)
        canvas = np.zeros((values.shape[1], rows * columns), np.float32)
        canvas[:, targets.cell] = values.T
        maps[name] = canvas.reshape(-1, rows, columns)
    heat = np.clip(targets.heatmap, 1e-6, 1 - 1e-6)
    return HeadMaps(heatmap=np.log(heat / (1 - heat)), **maps)


@pytest.mark.parametrize("nms", ["rotated", "circle"])
@pytest.mark.parametrize("seed", range(4))
def test_decoding_perfect_maps_gives_the_boxes_back(seed, nms):
    boxes = _scattered_boxes(seed)
    targets = make_targets(boxes, GRID, STRIDE)
    config = DecodeConfig(score_threshold=0.9, nms=nms)
    found = decode(perfect_maps(targets), GRID, STRIDE, boxes.classes, config)
    assert len(found) == len(boxes)
    order = [np.argmin(np.linalg.norm(found.center - c, axis=1)) for c in boxes.center]
    found = found[np.array(order)]
    np.testing.assert_allclose(found.center, boxes.center, atol=1e-4)
    np.testing.assert_allclose(found.size, boxes.size, rtol=1e-5)
    np.testing.assert_allclose(found.yaw, boxes.yaw, atol=1e-5)
    np.testing.assert_allclose(found.velocity, boxes.velocity, rtol=1e-6)
    np.testing.assert_array_equal(found.label, boxes.label)
    assert found.score.min() > 0.99


def test_a_peak_is_one_at_its_cell_and_falls_off():
    box = Boxes3D.make([[0.2, 3.9, 0]], [[4, 2, 1.5]], [0.3], [1])
    targets = make_targets(box, GRID, STRIDE)
    assert targets.heatmap.shape == (6, 32, 48)
    row, column = 19, 20
    assert targets.cell.tolist() == [row * 48 + column]
    np.testing.assert_allclose(targets.offset, [[0.2, 0.9]], atol=1e-5)
    assert targets.heatmap[1, row, column] == 1
    assert np.count_nonzero(targets.heatmap == 1) == 1
    ring = targets.heatmap[1, row, column - 2 : column + 3]
    sigma = 5 / 6
    np.testing.assert_allclose(ring, np.exp(-(np.arange(-2, 3) ** 2) / (2 * sigma**2)), rtol=1e-5)
    assert not targets.heatmap[0].any()


def test_radius_is_the_largest_that_keeps_the_overlap():
    for length, width, overlap in ((7.0, 3.0, 0.1), (17.0, 4.7, 0.1), (5.0, 5.0, 0.7)):
        r = gaussian_radius(length, width, overlap)
        area = length * width
        shifted = (length - r) * (width - r) / (2 * area - (length - r) * (width - r))
        shrunk = (length - 2 * r) * (width - 2 * r) / area
        grown = area / ((length + 2 * r) * (width + 2 * r))
        assert min(shifted, shrunk, grown) == pytest.approx(overlap, abs=1e-9)


def test_what_is_left_out():
    inside = _scattered_boxes(9, count=5)
    outside = Boxes3D.make([[28.0, 0, 0], [0, -16.01, 0]], np.ones((2, 3)), [0, 0], [0, 0])
    flat = Boxes3D.make([[1, 1, 0]], [[1, 0, 1]], [0], [0])
    boxes = Boxes3D.concatenate([outside, inside, flat])
    assert len(make_targets(boxes, GRID, STRIDE)) == 5
    assert len(make_targets(boxes, GRID, STRIDE, max_objects=3)) == 3
    points = np.array([9, 9, 0, 1, 2, 3, 4, 9])
    few = make_targets(boxes, GRID, STRIDE, num_points=points, min_points=2)
    np.testing.assert_allclose(few.height[:, 0], inside.center[2:, 2])
    empty = make_targets(boxes[:0], GRID, STRIDE)
    assert len(empty) == 0
    assert not empty.heatmap.any()


def _flat_maps(logit, classes=6):
    shape = (32, 48)
    zeros = {
        n: np.zeros((c, *shape), np.float32)
        for n, c in (("offset", 2), ("height", 1), ("size", 3), ("rotation", 4), ("velocity", 2))
    }
    return HeadMaps(heatmap=np.full((classes, *shape), logit, np.float32), **zeros)


def test_thresholds_by_class_and_falling_scores():
    maps = _flat_maps(-10.0)
    for label, (row, column, logit) in enumerate(((4, 4, 0.1), (10, 10, 1.0), (20, 20, 2.0))):
        maps.heatmap[label, row, column] = logit
    every = decode(maps, GRID, STRIDE, DEFAULT_CLASSES, DecodeConfig(score_threshold=0.3))
    assert every.label.tolist() == [2, 1, 0]
    np.testing.assert_allclose(every.score, 1 / (1 + np.exp([-2.0, -1.0, -0.1])), rtol=1e-6)
    named = dict.fromkeys(DEFAULT_CLASSES, 0.3) | {"truck": 0.9}
    some = decode(maps, GRID, STRIDE, DEFAULT_CLASSES, DecodeConfig(score_threshold=named))
    assert some.label.tolist() == [2, 0]
    listed = DecodeConfig(score_threshold=(0.6, 0.3, 0.3, 0.3, 0.3, 0.3))
    assert decode(maps, GRID, STRIDE, DEFAULT_CLASSES, listed).label.tolist() == [2, 1]
    with pytest.raises(Kd3dError, match=r"score_threshold.*lorry"):
        decode(maps, GRID, STRIDE, DEFAULT_CLASSES, DecodeConfig(score_threshold={"lorry": 0.1}))
    with pytest.raises(Kd3dError, match="2 values"):
        decode(maps, GRID, STRIDE, DEFAULT_CLASSES, DecodeConfig(score_threshold=(0.1, 0.2)))


def test_an_untrained_network_gives_finite_boxes_within_the_limits():
    rng = np.random.default_rng(0)
    maps = _flat_maps(0.0)
    for name in ("heatmap", "offset", "height", "size", "rotation", "velocity"):
        values = getattr(maps, name)
        values[:] = rng.normal(0, 1000, values.shape)
    maps.heatmap[:, 3:5] = np.nan
    boxes = decode(maps, GRID, STRIDE, DEFAULT_CLASSES, DecodeConfig(max_boxes=50))
    assert len(boxes) == 50
    for name in ("center", "size", "yaw", "score"):
        assert np.isfinite(getattr(boxes, name)).all()
    assert (np.diff(boxes.score) <= 0).all()


def test_suppression_is_within_a_class():
    maps = _flat_maps(-10.0)
    maps.size[:] = np.log(4.0)
    maps.rotation[[1, 3]] = 1
    maps.heatmap[0, 10, 10] = 2.0
    maps.heatmap[0, 10, 12] = 1.0
    maps.heatmap[1, 10, 11] = 1.5
    boxes = decode(maps, GRID, STRIDE, DEFAULT_CLASSES, DecodeConfig())
    assert boxes.label.tolist() == [0, 1]
