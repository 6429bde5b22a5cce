"""The channels of the BEV image mean what their table says."""

import numpy as np
import pytest

from kd3d_core.codec.bev_image import BevCanvas
from kd3d_core.codec.bev_image import make_bev_image
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.inputs import image_channels

GRID = BevGrid(x=(0, 8), y=(-2, 6), z=(-1, 3), cell=0.5)
CONFIG = BevImageInput(slices=4)


def test_one_cell_by_hand():
    x, y = 3.1, -1.9  # column 6, row 0
    points = np.array(
        [[x, y, -0.9, 0.2], [x, y, -0.1, 0.4], [x, y, 2.6, 0.9], [x, y, -0.5, 0.5]], np.float32
    )
    image, inside = make_bev_image(points, GRID, CONFIG)
    assert inside == 4
    assert image.shape == (8, 16, 16)
    expected = [
        np.log(4) / np.log(9),  # three points in [-1, 0)
        0,
        0,
        np.log(2) / np.log(9),  # one in [2, 3)
        3.6 / 4,
        0.1 / 4,
        0.5,
        np.log(5) / np.log(65),
    ]
    np.testing.assert_allclose(image[:, 0, 6], expected, atol=1e-6)
    image[:, 0, 6] = 0
    assert not image.any()


def test_values_stay_in_the_unit_range_and_saturate():
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 8, (5000, 4)).astype(np.float32)
    points[:, 3] = rng.uniform(size=5000)
    points[:2000, :3] = 1.0  # a very full cell
    image, _ = make_bev_image(points, GRID, CONFIG)
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() <= 1
    full = image[:, 6, 2]
    assert full[2] == 1
    assert full[7] == 1


def test_the_order_of_points_does_not_matter():
    rng = np.random.default_rng(1)
    points = rng.uniform(-2, 8, (3000, 4)).astype(np.float32)
    first, _ = make_bev_image(points, GRID, CONFIG)
    second, _ = make_bev_image(rng.permutation(points), GRID, CONFIG)
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_an_empty_cloud_gives_zeros():
    result = encode(np.zeros((0, 4), np.float32), GRID, CONFIG)
    assert result.points_in_range == 0
    assert result.arrays["image"].shape == (image_channels(CONFIG), *GRID.shape)
    assert not result.arrays["image"].any()


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_canvas_keeps_nothing_of_the_cloud_before(channels_last):
    rng = np.random.default_rng(4)
    canvas = BevCanvas(GRID, CONFIG, channels_last=channels_last)
    for count in (4000, 10, 0, 700):
        points = rng.uniform(-2, 8, (count, 4)).astype(np.float32)
        image, inside = canvas.draw(points)
        fresh, expected = make_bev_image(points, GRID, CONFIG)
        assert inside == expected
        np.testing.assert_array_equal(image, fresh)
        assert image.transpose(1, 2, 0).flags.c_contiguous == channels_last
