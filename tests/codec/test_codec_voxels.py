"""Voxels are the means of their points, in the documented order and places."""

import numpy as np
import pytest
from pydantic import ValidationError

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.inputs import graph_input
from kd3d_core.codec.inputs import image_channels
from kd3d_core.errors import Kd3dError

GRID = BevGrid(x=(-4, 4), y=(-2, 6), z=(-1, 2), cell=0.5)
CONFIG = VoxelInput(bins=24)


def _cloud(count, seed=0, spread=8.0):
    rng = np.random.default_rng(seed)
    points = rng.uniform(-spread, spread, (count, 4)).astype(np.float32)
    points[:, 2] /= 3
    points[:, 3] = rng.uniform(size=count)
    return points


def _plain_groups(points):
    """Points by (bin, row, column), in the order of the first of each."""
    groups = {}
    for point in points.astype(np.float64):
        place = np.floor((point[[2, 1, 0]] - (-1, -2, -4)) / (3 / 24, 0.5, 0.5)).astype(int)
        if (place >= 0).all() and (place < (24, 16, 16)).all():
            groups.setdefault(tuple(place.tolist()), []).append(point)
    return groups


@pytest.mark.parametrize("seed", range(3))
def test_voxels_equal_a_plain_grouping(seed):
    # Many points in few voxels, and the reverse.
    points = np.concatenate([_cloud(3000, seed), _cloud(2000, seed, 0.8)])
    groups = _plain_groups(points)
    result = encode(points, GRID, CONFIG)
    voxels, places = result.arrays["voxels"], result.arrays["coordinates"]
    assert voxels.dtype == np.float32
    assert places.dtype == np.int32
    assert [tuple(place) for place in places.tolist()] == list(groups)
    means = [np.mean(members, axis=0) for members in groups.values()]
    np.testing.assert_allclose(voxels, means, rtol=1e-6, atol=1e-6)
    assert result.points_in_range == sum(map(len, groups.values()))
    assert (result.dropped_cells, result.shape) == (0, (16, 16))


def test_voxels_beyond_the_limit_are_dropped_and_counted():
    points = _cloud(4000)
    everything = encode(points, GRID, CONFIG)
    some = encode(points, GRID, CONFIG.model_copy(update={"max_voxels": 7}))
    assert some.dropped_cells == len(everything.arrays["voxels"]) - 7
    assert some.points_in_range == everything.points_in_range
    for name, array in some.arrays.items():
        np.testing.assert_array_equal(array, everything.arrays[name][:7])


def test_points_beyond_the_limit_are_left_out_of_the_mean():
    points = np.zeros((10, 4), np.float32)
    points[:, 3] = np.arange(10) / 10
    config = CONFIG.model_copy(update={"max_points": 5})
    assert encode(points, GRID, config).arrays["voxels"][0, 3] == pytest.approx(0.2)
    assert encode(points, GRID, CONFIG).arrays["voxels"][0, 3] == pytest.approx(0.45)


def test_places_are_bin_row_column():
    points = np.array([[3.9, -1.9, -0.95, 1], [-3.9, 5.9, 1.99, 1]], np.float32)
    places = encode(points, GRID, CONFIG).arrays["coordinates"]
    assert places.tolist() == [[0, 0, 15], [23, 15, 0]]


def test_a_point_just_below_the_top_stays_inside():
    grid = BevGrid(x=(-4, 4), y=(-4, 4), z=(-1.7, 2.3), cell=0.5)
    points = np.array([[0, 0, np.nextafter(np.float32(2.3), np.float32(0)), 1]], np.float32)
    result = encode(points, grid, VoxelInput(bins=37))
    assert result.points_in_range == 1
    assert result.arrays["coordinates"][0, 0] == 36


@pytest.mark.parametrize(
    "points",
    [np.zeros((0, 4), np.float32), np.full((3, 4), np.nan, np.float32), _cloud(5) + 1e9],
)
def test_a_cloud_out_of_the_grid_gives_one_voxel_of_zeros(points):
    result = encode(points, GRID, CONFIG)
    assert result.points_in_range == 0
    assert result.arrays["voxels"].tolist() == [[0, 0, 0, 0]]
    assert result.arrays["coordinates"].tolist() == [[0, 0, 0]]


def test_what_voxels_cannot_be():
    with pytest.raises(ValidationError, match="greater than or equal to 24"):
        VoxelInput(bins=23)
    with pytest.raises(ValueError, match="no image channels"):
        image_channels(CONFIG)
    with pytest.raises(Kd3dError, match=r"the model big takes voxels.*no ONNX operator.*distill"):
        graph_input(CONFIG, "big")
