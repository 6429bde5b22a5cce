"""Pillars hold the points, in the documented order and decoration."""

import numpy as np
import pytest

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.inputs import encode

GRID = BevGrid(x=(-4, 4), y=(-2, 6), z=(-1, 1), cell=0.5)


def _cloud(count, seed=0, spread=8.0):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-spread, spread, (count, 4)).astype(np.float32)
    points[:, 2] /= 4
    points[:, 3] = rng.uniform(size=count)
    return points


def test_pillars_equal_a_plain_grouping():
    points = _cloud(600)
    config = PillarInput(max_points=20)
    result = encode(points, GRID, config)
    groups = {}
    for point in points:
        column, row = int((point[0] + 4) // 0.5), int((point[1] + 2) // 0.5)
        if 0 <= column < 16 and 0 <= row < 16 and -1 <= point[2] < 1:
            groups.setdefault(row * 16 + column, []).append(point)
    pillars, cells = result.arrays["pillars"], result.arrays["cells"]
    assert cells.tolist() == list(groups)  # in the order of their first points
    assert cells.dtype == np.int64
    assert result.points_in_range == sum(map(len, groups.values()))
    assert result.dropped_cells == 0
    for pillar, cell in zip(pillars, cells, strict=True):
        members = np.array(groups[cell])
        count = len(members)
        center = np.array([-4 + (cell % 16 + 0.5) * 0.5, -2 + (cell // 16 + 0.5) * 0.5])
        np.testing.assert_allclose(pillar[:count, :4], members)
        mean = members[:, :3].mean(axis=0)
        np.testing.assert_allclose(pillar[:count, 4:7], members[:, :3] - mean, atol=1e-5)
        np.testing.assert_allclose(pillar[:count, 7:], members[:, :2] - center, atol=1e-5)
        np.testing.assert_array_equal(pillar[count:], np.broadcast_to(pillar[0], (20 - count, 9)))


def test_a_full_cell_keeps_points_from_its_whole_scan():
    points = np.zeros((100, 4), np.float32)
    points[:, 3] = np.arange(100) / 100
    pillars = encode(points, GRID, PillarInput(max_points=10)).arrays["pillars"]
    np.testing.assert_allclose(pillars[0, :, 3], np.arange(10) / 10, atol=0.011)
    assert len(np.unique(pillars[0, :, 3])) == 10


def test_cells_beyond_the_limit_are_dropped_and_counted():
    points = _cloud(2000)
    everything = encode(points, GRID, PillarInput(max_pillars=1000))
    some = encode(points, GRID, PillarInput(max_pillars=7))
    total = len(everything.arrays["cells"])
    assert some.dropped_cells == total - 7
    np.testing.assert_array_equal(some.arrays["pillars"], everything.arrays["pillars"][:7])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, 9.0])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_wild_coordinate_is_outside(axis, value):
    points = np.zeros((2, 4), np.float32)
    points[0, axis] = value
    result = encode(points, GRID, PillarInput())
    assert result.points_in_range == 1


def test_both_ends_of_the_grid():
    below = np.nextafter(np.float32(4), np.float32(0))
    points = np.array([[-4, -2, -1, 0], [below, -2, 0, 0], [4, 0, 0, 0], [0, 6, 0, 0]], np.float32)
    result = encode(points, GRID, PillarInput())
    assert result.arrays["cells"].tolist() == [0, 15]


@pytest.mark.parametrize("points", [np.zeros((0, 4)), np.full((3, 4), 99.0)])
def test_nothing_in_range_gives_one_pillar_of_zeros(points):
    result = encode(points.astype(np.float32), GRID, PillarInput())
    assert result.points_in_range == 0
    assert result.arrays["pillars"].shape == (1, 16, 9)
    assert not result.arrays["pillars"].any()
    assert result.arrays["cells"].tolist() == [0]


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="shape"):
        encode(np.zeros((5, 3), np.float32), GRID, PillarInput())
