"""The codec as PyTorch operations of fixed shapes: what runs where the kernels of kd3d do not.

The same results as `kd3d_core.codec` but for three things: sums over points are rounded in another
order, pillars come in the order of their cells (so that other ones are dropped when there are too
many), and equal peaks in an order of torch's choice.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from kd3d_core.codec.bev_image import CELL_TABLE
from kd3d_core.codec.bev_image import SLICE_TABLE
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.heads import task_of_class
from kd3d_core.models.config import ModelConfig


class TorchCodec:
    """Points to a network's inputs, and its maps to boxes, on any device."""

    def __init__(
        self, config: ModelConfig, threshold: np.ndarray, limit: int, device: str
    ) -> None:
        """Take what stays the same.

        Args:
            config: A network on pillars or a BEV image, with a centre head.
            threshold: (K,) logits that a peak has to reach.
            limit: Peaks that come back.
            device: Where.
        """
        self.config, self.device = config, device
        self.tables = [torch.from_numpy(t).to(device) for t in (SLICE_TABLE, CELL_TABLE)]
        self.threshold = torch.from_numpy(threshold).float().to(device)
        task = task_of_class(len(config.classes), config.head.layout.tasks)
        self.task = torch.tensor(task, device=device)
        self.low = torch.tensor([config.grid.x[0], config.grid.y[0]], device=device)
        self.limit = limit

    def encode(self, points: Tensor) -> tuple[Tensor, ...]:
        """The network's inputs from (N, 4) float32 points; rows of NaN are no points."""
        taken, grid = self.config.input, self.config.grid
        cell, inside = locate(points, grid)
        if isinstance(taken, PillarInput):
            return pillars(points, cell, grid, taken)
        assert isinstance(taken, BevImageInput)
        return (self._image(points, cell, inside, grid, taken),)

    def decode(self, maps: tuple[Tensor, ...]) -> Tensor:
        """The best peaks of maps (1, C, H, W) in the order of `HEAD_NAMES`.

        Returns:
            (limit, 11) float32: class, centre, size, yaw, velocity, score; rows that hold no peak
            have score -1.
        """
        heat, offset, height, size, turn, velocity = (each[0].float() for each in maps)
        rows, columns = heat.shape[1:]
        highest = functional.max_pool2d(heat[None], 3, 1, 1)[0]
        peak = (heat >= self.threshold[:, None, None]) & (heat == highest)
        logits, index = torch.where(peak, heat, -torch.inf).flatten().topk(self.limit)
        label, cell = index // (rows * columns), index % (rows * columns)
        task = self.task[label]

        def read(values: Tensor, width: int) -> Tensor:
            place = task[:, None] * width + torch.arange(width, device=values.device)
            return values.flatten(1)[place, cell[:, None]]

        step = self.config.grid.cell * self.config.output_stride
        corner = torch.stack([cell % columns, cell // columns], 1)
        center = self.low + (corner + read(offset, 2)) * step
        turn = read(turn, 4)
        axis = torch.atan2(turn[:, 2], turn[:, 3]) / 2
        back = axis.sin() * turn[:, 0] + axis.cos() * turn[:, 1] < 0
        yaw = torch.where(back, axis + torch.pi, axis)
        score = torch.where(logits > -torch.inf, logits.sigmoid(), -1.0)
        return torch.cat(
            [
                label[:, None].float(),
                center,
                read(height, 1),
                read(size, 3).clamp(-5, 5).exp(),
                yaw[:, None],
                read(velocity, 2),
                score[:, None],
            ],
            dim=1,
        )

    def _image(
        self, points: Tensor, cell: Tensor, inside: Tensor, grid: BevGrid, config: BevImageInput
    ) -> Tensor:
        """(1, slices + 4, rows, columns) as `bev_image.make_bev_image` draws it."""
        cells, slices = grid.shape[0] * grid.shape[1], config.slices
        span = grid.z[1] - grid.z[0]
        height = ((points[:, 2].double() - grid.z[0]) * (1.0 / span)).float()
        height = torch.where(inside, height, 0.0)
        level = (height.double() * slices).long().clamp(max=slices - 1)
        one = torch.ones_like(height)
        hits = one.new_zeros(slices * (cells + 1)).index_add_(0, level * (cells + 1) + cell, one)
        hits = hits.view(slices, cells + 1)[:, :cells]
        total = hits.sum(dim=0)
        nothing = one.new_zeros(cells + 1)
        high = nothing.scatter_reduce(0, cell, height, "amax")[:cells]
        low = (nothing + 2).scatter_reduce(0, cell, height, "amin")[:cells]
        shine = torch.where(inside, points[:, 3], 0.0)
        mean = nothing.index_add(0, cell, shine)[:cells] / total.clamp(min=1)
        slice_table, cell_table = self.tables
        image = torch.stack(
            [
                *slice_table[hits.long().clamp(max=len(slice_table) - 1)],
                high,
                torch.where(total > 0, low, 0.0),
                mean,
                cell_table[total.long().clamp(max=len(cell_table) - 1)],
            ]
        )
        return image.view(1, -1, *grid.shape)


def locate(points: Tensor, grid: BevGrid) -> tuple[Tensor, Tensor]:
    """The cell of each of (N, 4) points, one more than the last where it is outside, and (N,)."""
    rows, columns = grid.shape
    column = torch.floor((points[:, 0].double() - grid.x[0]) / grid.cell)
    row = torch.floor((points[:, 1].double() - grid.y[0]) / grid.cell)
    z = points[:, 2].double()
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    inside &= (z >= grid.z[0]) & (z < grid.z[1])
    cell = torch.where(inside, row * columns + column, float(rows * columns))
    return cell.long(), inside


def pillars(
    points: Tensor, cell: Tensor, grid: BevGrid, config: PillarInput
) -> tuple[Tensor, Tensor]:
    """Group and decorate points: `pillars.make_pillars` in shapes that do not depend on them.

    Args:
        points: (N, 4).
        cell: (N,) from `locate`.
        grid: The cells.
        config: The limits.

    Returns:
        (max_pillars, max_points, 9) float32 and (max_pillars,) int64; pillars beyond the occupied
        cells repeat the first.
    """
    cells, columns = grid.shape[0] * grid.shape[1], grid.shape[1]
    most, limit = config.max_points, config.max_pillars
    cell, order = torch.sort(cell, stable=True)
    number = torch.arange(len(cell), device=cell.device)
    starts = torch.ones_like(cell, dtype=torch.bool)
    starts[1:] = cell[1:] != cell[:-1]
    run = starts.long().cumsum(0) - 1
    first = torch.full_like(cell, len(cell)).scatter_reduce(0, run, number, "amin")
    count = torch.zeros_like(cell).index_add(0, run, torch.ones_like(cell))
    rank, full = number - first[run], count[run]
    crowded = full > most
    kept = ~crowded | ((rank * most) % full < most)
    place = torch.where(crowded, rank * most // full, rank)
    kept &= (run < limit) & (cell < cells)
    target = torch.where(kept, run * most + place, limit * most)
    buffer = points.new_zeros(limit * most + 1, 4).index_copy(0, target, points[order])
    own = buffer[:-1].view(limit, most, 4)
    # Of each run its cell; those beyond the last, and the run of what is outside, have none.
    where = torch.full((len(cell) + limit,), cells, dtype=cell.dtype, device=cell.device)
    where = where.scatter(0, run, cell)[:limit]
    filled = torch.nn.functional.pad(count, (0, limit))[:limit].clamp(max=most)
    exists = where < cells
    source = torch.where(exists, torch.arange(limit, device=cell.device), 0)
    own, where, filled = own[source], where[source], filled[source]
    where = torch.where(where < cells, where, 0)
    real = torch.arange(most, device=cell.device) < filled[:, None]
    xyz = torch.where(real[..., None], own[..., :3], 0.0).double()
    mean = xyz.sum(dim=1) / filled.clamp(min=1)[:, None]
    own = torch.where(real[..., None], own, own[:, :1])
    middle = torch.stack(
        [
            grid.x[0] + (where % columns + 0.5) * grid.cell,
            grid.y[0] + (where // columns + 0.5) * grid.cell,
        ],
        dim=1,
    )
    around = (own[..., :3].double() - mean[:, None]).float()
    beside = (own[..., :2].double() - middle[:, None].double()).float()
    return torch.cat([own, around, beside], dim=-1), where
