"""Points to pillars: PointPillars (CVPR 2019), sec. 2.1, compiled by numba on first use."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import PillarInput

#: Where the time of a point stands among the features; see `PillarInput` for the others.
_TIME = 9


@njit(cache=True, nogil=True)
def locate(
    points: NDArray[np.float32],
    low: tuple[float, float, float],
    top: float,
    cell: float,
    shape: tuple[int, int],
    cells: NDArray[np.int32],
) -> int:
    """Find the cell of every point; for use inside other kernels.

    Args:
        points: (N, 4) x, y, z [m], intensity.
        low: Low corner of the grid x, y, z [m].
        top: Upper end of the height range [m], exclusive.
        cell: Edge of a cell [m].
        shape: Rows, columns.
        cells: (N,) output: row * columns + column, or -1 outside the grid.

    Returns:
        How many points are inside.
    """
    inside = 0
    for i in range(len(points)):
        # Bounds-check the integer coordinate, not the metric one: rounding may push a point that
        # is just below the high edge into the cell beyond it. It stays a float until it is known
        # to be small, because converting a huge one is undefined. NaN fails every comparison.
        column = np.floor((points[i, 0] - low[0]) / cell)
        row = np.floor((points[i, 1] - low[1]) / cell)
        cells[i] = -1
        if 0 <= column < shape[1] and 0 <= row < shape[0] and low[2] <= points[i, 2] < top:
            cells[i] = int(row) * shape[1] + int(column)
            inside += 1
    return inside


@njit(cache=True, nogil=True)
def _assign(
    cells: NDArray[np.int32], num_cells: int, max_pillars: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], int]:
    """Number the occupied cells in the order of their first point.

    Args:
        cells: (N,) cell of each point, or -1.
        num_cells: Rows times columns of the grid.
        max_pillars: Occupied cells beyond this many get no pillar.

    Returns:
        (cells of the grid,) int32 pillar of a cell or -1; the same shape, points in a cell;
        (P,) int64 cell of each pillar; how many occupied cells were dropped.
    """
    slot = np.full(num_cells, -1, np.int32)
    total = np.zeros(num_cells, np.int32)
    occupied = np.empty(min(max_pillars, num_cells), np.int64)
    count = 0
    dropped = 0
    for cell in cells:
        if cell < 0:
            continue
        if total[cell] == 0:
            if count < len(occupied):
                slot[cell] = count
                occupied[count] = cell
                count += 1
            else:
                dropped += 1
        total[cell] += 1
    return slot, total, occupied[:count].copy(), dropped


@njit(cache=True, nogil=True)
def _fill(
    points: NDArray[np.float32],
    cells: NDArray[np.int32],
    slot: NDArray[np.int32],
    total: NDArray[np.int32],
    pillars: NDArray[np.float32],
) -> NDArray[np.int32]:
    """Copy the points into the first four features of their pillars, and times into the tenth.

    A cell with more than M points gives M of them, spread evenly over their order in the cloud:
    the first M would all come from one or two beams of a dense sensor.

    Args:
        points: (N, 4), or (N, 5) with times.
        cells: Cell of each point, or -1.
        slot: Pillar of each cell, or -1.
        total: Points in each cell.
        pillars: (P, M, 9), or (P, M, 10) for points with times; output.

    Returns:
        (P,) int32 number of points in each pillar.
    """
    num, limit, _ = pillars.shape
    filled = np.zeros(num, np.int32)
    seen = np.zeros(num, np.int32)
    for i in range(len(points)):
        if cells[i] < 0:
            continue
        p = slot[cells[i]]
        if p < 0:
            continue
        count = total[cells[i]]
        if count <= limit or (seen[p] * limit) % count < limit:
            m = filled[p]
            for f in range(4):
                pillars[p, m, f] = points[i, f]
            if points.shape[1] > 4:
                pillars[p, m, _TIME] = points[i, 4]
            filled[p] = m + 1
        seen[p] += 1
    return filled


@njit(cache=True, nogil=True)
def _decorate(
    pillars: NDArray[np.float32],
    filled: NDArray[np.int32],
    occupied: NDArray[np.int64],
    low: tuple[float, float, float],
    cell: float,
    columns: int,
) -> None:
    """Add the five offsets to (P, M, features) `pillars` in place, repeat each first point."""
    num, limit, features = pillars.shape
    for p in range(num):
        count = filled[p]
        mean_x = mean_y = mean_z = 0.0
        for m in range(count):
            mean_x += pillars[p, m, 0]
            mean_y += pillars[p, m, 1]
            mean_z += pillars[p, m, 2]
        mean_x /= count
        mean_y /= count
        mean_z /= count
        center_x = low[0] + (occupied[p] % columns + 0.5) * cell
        center_y = low[1] + (occupied[p] // columns + 0.5) * cell
        for m in range(count):
            pillars[p, m, 4] = pillars[p, m, 0] - mean_x
            pillars[p, m, 5] = pillars[p, m, 1] - mean_y
            pillars[p, m, 6] = pillars[p, m, 2] - mean_z
            pillars[p, m, 7] = pillars[p, m, 0] - center_x
            pillars[p, m, 8] = pillars[p, m, 1] - center_y
        for m in range(count, limit):
            for f in range(features):
                pillars[p, m, f] = pillars[p, 0, f]


def make_pillars(
    points: NDArray[np.float32], grid: BevGrid, config: PillarInput
) -> tuple[NDArray[np.float32], NDArray[np.int64], int, int]:
    """Group points by cell and decorate them, as `PillarInput` says.

    Pillars come in the order of their first points, so one cloud always gives one answer.

    Args:
        points: (N, 4) float32: x, y, z [m], intensity [0, 1]; (N, 5) with the time [s] where
            `config.time` asks for it.
        grid: The cells.
        config: The limits.

    Returns:
        (P, max_points, features) float32 pillars; (P,) int64 cells (row * columns + column); the
        number of occupied cells that found no pillar; the number of points inside the grid. A
        cloud with no point in the grid gives one pillar of zeros in cell 0, because inference
        engines refuse empty tensors.
    """
    rows, columns = grid.shape
    low = (grid.x[0], grid.y[0], grid.z[0])
    cells = np.empty(len(points), np.int32)
    inside = locate(points, low, grid.z[1], grid.cell, (rows, columns), cells)
    if inside == 0:
        empty = np.zeros((1, config.max_points, config.features), np.float32)
        return empty, np.zeros(1, np.int64), 0, 0
    slot, total, occupied, dropped = _assign(cells, rows * columns, config.max_pillars)
    pillars = np.empty((len(occupied), config.max_points, config.features), np.float32)
    filled = _fill(points, cells, slot, total, pillars)
    _decorate(pillars, filled, occupied, low, grid.cell, columns)
    return pillars, occupied, dropped, inside
