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

#: Channels after the slices: highest, lowest, intensity, density.
EXTRA_CHANNELS = 4

_SLICE_FULL = 8
_CELL_FULL = 64


def _saturation(full: int) -> NDArray[np.float32]:
    """(full + 1,) float32: log(1 + n) / log(1 + full) for n = 0 .. full."""
    return (np.log1p(np.arange(full + 1)) / math.log1p(full)).astype(np.float32)


#: The channels of counts: of a slice, and of a whole cell.
SLICE_TABLE = _saturation(_SLICE_FULL)
CELL_TABLE = _saturation(_CELL_FULL)


@njit(cache=True, nogil=True)
def _accumulate(
    points: NDArray[np.float32],
    low: tuple[float, float, float],
    top: float,
    cell: float,
    shape: tuple[int, int],
    image: NDArray[np.float32],
    touched: NDArray[np.int32],
) -> tuple[int, int]:
    """Add the points to a zero image: counts, height bounds, sums.

    Args:
        points: (N, 4) x, y, z [m], intensity.
        low: Low corner of the grid x, y, z [m].
        top: Upper end of the height range [m], exclusive.
        cell: Edge of a cell [m].
        shape: Rows, columns.
        image: (cells, S + 4); output.
        touched: (cells,) output: the cells that hold points, in the order of their first.

    Returns:
        How many cells were touched, and how many points are inside.
    """
    slices = image.shape[1] - 4
    scale = 1.0 / (top - low[2])
    cells = inside = 0
    for i in range(len(points)):
        # As `pillars.locate`, which says why the integer coordinates are the ones to check.
        column = np.floor((points[i, 0] - low[0]) / cell)
        row = np.floor((points[i, 1] - low[1]) / cell)
        z = points[i, 2]
        if not (0 <= column < shape[1] and 0 <= row < shape[0] and low[2] <= z < top):
            continue
        inside += 1
        place = int(row) * shape[1] + int(column)
        height = np.float32((z - low[2]) * scale)
        image[place, min(int(height * slices), slices - 1)] += np.float32(1)
        if image[place, slices + 3] == 0:
            touched[cells] = place
            cells += 1
            image[place, slices] = height
            image[place, slices + 1] = height
        else:
            image[place, slices] = max(image[place, slices], height)
            image[place, slices + 1] = min(image[place, slices + 1], height)
        image[place, slices + 2] += points[i, 3]
        image[place, slices + 3] += np.float32(1)
    return cells, inside


@njit(cache=True, nogil=True)
def _normalise(
    touched: NDArray[np.int32],
    image: NDArray[np.float32],
    slice_table: NDArray[np.float32],
    cell_table: NDArray[np.float32],
) -> None:
    """Turn the sums of `_accumulate` into channels, in place, in the cells that hold points."""
    slices = image.shape[1] - 4
    for place in touched:
        count = image[place, slices + 3]
        image[place, slices + 2] /= count
        image[place, slices + 3] = cell_table[min(int(count), len(cell_table) - 1)]
        for level in range(slices):
            hits = int(image[place, level])
            image[place, level] = slice_table[min(hits, len(slice_table) - 1)]


@njit(cache=True, nogil=True)
def _clear(touched: NDArray[np.int32], image: NDArray[np.float32]) -> None:
    """Set the cells that hold points back to zero; nine in ten hold none."""
    for place in touched:
        for channel in range(image.shape[1]):
            image[place, channel] = 0


class BevCanvas:
    """An image that is drawn again and again in the same memory. Not for several threads."""

    def __init__(self, grid: BevGrid, config: BevImageInput, *, channels_last: bool) -> None:
        """Take the memory.

        Args:
            grid: The cells.
            config: The number of slices.
            channels_last: Keep the channels of a cell together in memory, which convolutions on
                CPUs prefer, and drawing too; else the rows of a channel.
        """
        rows, columns = grid.shape
        channels = config.slices + EXTRA_CHANNELS
        self._grid = grid
        cells = rows * columns
        # The kernels see (cells, channels), the caller (channels, rows, columns), both as views.
        if channels_last:
            self._cells = np.zeros((cells, channels), np.float32)
            self._image = self._cells.reshape(rows, columns, channels).transpose(2, 0, 1)
        else:
            self._image = np.zeros((channels, rows, columns), np.float32)
            self._cells = self._image.reshape(channels, cells).T
        self._touched = np.empty(cells, np.int32)
        self._count = 0

    def draw(
        self, points: NDArray[np.float32], lift: float = 0.0
    ) -> tuple[NDArray[np.float32], int]:
        """Draw a cloud in place of the one before; see `make_bev_image`.

        Args:
            points: (N, 4) float32: x, y, z [m], intensity [0, 1].
            lift: How far the points are raised [m]. The grid is lowered in their place, which
                costs nothing.

        Returns:
            The image, which the next call overwrites, and the number of points inside the grid.
        """
        grid = self._grid
        low = (grid.x[0], grid.y[0], grid.z[0] - lift)
        _clear(self._touched[: self._count], self._cells)
        count, inside = _accumulate(
            points, low, grid.z[1] - lift, grid.cell, grid.shape, self._cells, self._touched
        )
        _normalise(self._touched[:count], self._cells, SLICE_TABLE, CELL_TABLE)
        self._count = count
        return self._image, inside


def make_bev_image(
    points: NDArray[np.float32], grid: BevGrid, config: BevImageInput
) -> tuple[NDArray[np.float32], int]:
    """Draw the statistics of each cell.

    Args:
        points: (N, 4) float32: x, y, z [m], intensity [0, 1].
        grid: The cells.
        config: The number of slices.

    Returns:
        (slices + 4, rows, columns) float32 in [0, 1], C-contiguous, channels as in the table of
        this module, and the number of points inside the grid. An empty cloud gives an image of
        zeros.
    """
    return BevCanvas(grid, config, channels_last=False).draw(points)
