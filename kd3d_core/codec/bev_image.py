"""Points to an image of hand-made statistics, compiled by numba on first use.

The channels of the image, all in [0, 1] and 0 where a cell is empty (S = slices):

| channel | meaning |
|---|---|
| 0 .. S-1 | log(1 + n) / log(1 + 8), at most 1, of the n points in a height slice, lowest first |
| S | height of the highest point: 0 at grid.z[0], 1 at grid.z[1] |
| S + 1 | height of the lowest point, in the same scale |
| S + 2 | mean intensity |
| S + 3 | log(1 + n) / log(1 + 64), at most 1, of all n points of the cell |

PIXOR (CVPR 2018), sec. 3.1, takes occupied slices and intensity; MV3D (CVPR 2017), sec. 3.1, takes
heights, intensity and the logarithmic density of the last channel.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.pillars import locate

#: Channels after the slices: highest, lowest, intensity, density.
EXTRA_CHANNELS = 4

_SLICE_FULL = 8
_CELL_FULL = 64


def _saturation(full: int) -> NDArray[np.float32]:
    """(full + 1,) float32: log(1 + n) / log(1 + full) for n = 0 .. full."""
    return (np.log1p(np.arange(full + 1)) / math.log1p(full)).astype(np.float32)


_SLICE_TABLE = _saturation(_SLICE_FULL)
_CELL_TABLE = _saturation(_CELL_FULL)


@njit(cache=True, nogil=True)
def _accumulate(
    points: NDArray[np.float32],
    cells: NDArray[np.int32],
    bottom: float,
    top: float,
    image: NDArray[np.float32],
) -> None:
    """Add the points to a zero image (S + 4, cells): counts, height bounds, sums.

    Args:
        points: (N, 4); cells: (N,) or -1 outside the grid.
        cells: Cell of each point.
        bottom: Height of the lowest slice's floor [m].
        top: Height of the highest slice's ceiling [m].
        image: Output; counts are NEGATIVE, so that `_normalise` knows what it has still to do.
    """
    slices = image.shape[0] - 4
    scale = 1.0 / (top - bottom)
    for i in range(len(points)):
        cell = cells[i]
        if cell < 0:
            continue
        height = np.float32((points[i, 2] - bottom) * scale)
        level = min(int(height * slices), slices - 1)
        image[level, cell] -= np.float32(1)
        if image[slices + 3, cell] == 0:
            image[slices, cell] = height
            image[slices + 1, cell] = height
        else:
            image[slices, cell] = max(image[slices, cell], height)
            image[slices + 1, cell] = min(image[slices + 1, cell], height)
        image[slices + 2, cell] += points[i, 3]
        image[slices + 3, cell] -= np.float32(1)


@njit(cache=True, nogil=True)
def _normalise(
    cells: NDArray[np.int32],
    image: NDArray[np.float32],
    slice_table: NDArray[np.float32],
    cell_table: NDArray[np.float32],
) -> None:
    """Turn the sums of `_accumulate` into channels, in place.

    It visits the points again rather than all cells, of which more than nine in ten are empty.
    """
    slices = image.shape[0] - 4
    for cell in cells:
        if cell < 0 or image[slices + 3, cell] >= 0:  # outside, or this cell is done
            continue
        count = -image[slices + 3, cell]
        image[slices + 2, cell] /= count
        image[slices + 3, cell] = cell_table[min(int(count), len(cell_table) - 1)]
        for level in range(slices):
            hits = int(-image[level, cell])
            image[level, cell] = slice_table[min(hits, len(slice_table) - 1)]


def make_bev_image(
    points: NDArray[np.float32], grid: BevGrid, config: BevImageInput
) -> tuple[NDArray[np.float32], int]:
    """Draw the statistics of each cell.

    Args:
        points: (N, 4) float32: x, y, z [m], intensity [0, 1].
        grid: The cells.
        config: The number of slices.

    Returns:
        (slices + 4, rows, columns) float32 in [0, 1], channels as in the table of this module, and
        the number of points inside the grid. An empty cloud gives an image of zeros.
    """
    rows, columns = grid.shape
    low = (grid.x[0], grid.y[0], grid.z[0])
    cells = np.empty(len(points), np.int32)
    inside = locate(points, low, grid.z[1], grid.cell, (rows, columns), cells)
    image = np.zeros((config.slices + EXTRA_CHANNELS, rows * columns), np.float32)
    _accumulate(points, cells, grid.z[0], grid.z[1], image)
    _normalise(cells, image, _SLICE_TABLE, _CELL_TABLE)
    return image.reshape(-1, rows, columns), inside
