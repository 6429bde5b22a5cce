"""Points to voxel means: SECOND (Sensors 2018), sec. 3.1, compiled by numba on first use."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.codec.pillars import locate

#: 2**64 over the golden ratio: spreads neighbouring keys (Knuth, TAOCP vol. 3, sec. 6.4).
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def _group(
    points: NDArray[np.float32],
    cells: NDArray[np.int32],
    low: float,
    height: float,
    bins: int,
    num_cells: int,
    max_voxels: int,
    bits: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64], int]:
    """Number the occupied voxels in the order of their first point.

    A table of all voxels would be some hundred megabytes, nearly all of them empty, so the
    occupied ones are found by hashing (open addressing, linear probing).

    Args:
        points: (N, 4) x, y, z [m], intensity.
        cells: (N,) cell of each point seen from above, or -1.
        low: Low end of the height range [m].
        height: Height of a voxel [m].
        bins: Voxels on top of each other.
        num_cells: Rows times columns of the grid.
        max_voxels: Occupied voxels beyond this many get no number.
        bits: Logarithm of the size of the hash table, which is at least twice N.

    Returns:
        (N,) int32 voxel of each point, or -1; (V,) int64 place of each voxel, bin * num_cells +
        cell; how many occupied voxels were dropped.
    """
    size = 1 << bits
    keys = np.full(size, -1, np.int64)
    numbers = np.empty(size, np.int32)
    voxel = np.full(len(points), -1, np.int32)
    places = np.empty(min(max_voxels, len(points)), np.int64)
    count = 0
    dropped = 0
    for i in range(len(points)):
        if cells[i] < 0:
            continue
        # Just below the top, rounding may give one bin too many.
        level = min(int((points[i, 2] - low) / height), bins - 1)
        key = level * np.int64(num_cells) + cells[i]
        at = np.int64((np.uint64(key) * _SPREAD) >> np.uint64(64 - bits))
        while keys[at] != -1 and keys[at] != key:
            at = (at + 1) & (size - 1)
        if keys[at] == -1:
            keys[at] = key
            numbers[at] = -1
            if count < len(places):
                numbers[at] = count
                places[count] = key
                count += 1
            else:
                dropped += 1
        voxel[i] = numbers[at]
    return voxel, places[:count].copy(), dropped


@njit(cache=True, nogil=True)
def _average(
    points: NDArray[np.float32], voxel: NDArray[np.int32], num: int, max_points: int
) -> NDArray[np.float32]:
    """The mean of the points of each voxel.

    Args:
        points: (N, F).
        voxel: (N,) voxel of each point, or -1.
        num: Number of voxels V, each with a point at least.
        max_points: Points of a voxel beyond this many do not count; 0 counts all.

    Returns:
        (V, F) float32.
    """
    features = points.shape[1]
    total = np.zeros((num, features))
    count = np.zeros(num, np.int64)
    for i in range(len(points)):
        v = voxel[i]
        if v < 0 or (max_points and count[v] == max_points):
            continue
        count[v] += 1
        for f in range(features):
            total[v, f] += points[i, f]
    means = np.empty((num, features), np.float32)
    for v in range(num):
        for f in range(features):
            means[v, f] = total[v, f] / count[v]
    return means


def make_voxels(
    points: NDArray[np.float32], grid: BevGrid, config: VoxelInput
) -> tuple[NDArray[np.float32], NDArray[np.int32], int, int]:
    """Average points by voxel, as `VoxelInput` says.

    Voxels come in the order of their first points, so one cloud always gives one answer.

    Args:
        points: (N, 4) float32: x, y, z [m], intensity [0, 1]; (N, 5) with the time [s] where
            `config.time` asks for it.
        grid: The cells and the height range.
        config: The bins and the limits.

    Returns:
        (V, features) float32 means; (V, 3) int32 places bin, row, column; the number of occupied
        voxels that found no place; the number of points inside the grid. A cloud with no point in
        the grid gives one voxel of zeros at place (0, 0, 0): a network needs an active site.
    """
    rows, columns = grid.shape
    low = (grid.x[0], grid.y[0], grid.z[0])
    cells = np.empty(len(points), np.int32)
    inside = locate(points, low, grid.z[1], grid.cell, (rows, columns), cells)
    if inside == 0:
        return np.zeros((1, config.features), np.float32), np.zeros((1, 3), np.int32), 0, 0
    height = (grid.z[1] - grid.z[0]) / config.bins
    bits = (2 * len(points)).bit_length()
    voxel, places, dropped = _group(
        points, cells, low[2], height, config.bins, rows * columns, config.max_voxels, bits
    )
    means = _average(points, voxel, len(places), config.max_points or 0)
    level, cell = np.divmod(places, rows * columns)
    coordinates = np.stack([level, *np.divmod(cell, columns)], axis=1).astype(np.int32)
    return means, coordinates, dropped, inside
