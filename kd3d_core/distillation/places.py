"""Places on the maps of a network: where a layer-wise regression takes its rows from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.detector import CenterPointDetector


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells of a batch of maps of one resolution.

    Attributes:
        frame, row, column: (n,) int64.
    """

    frame: Tensor
    row: Tensor
    column: Tensor

    def of(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to the (n, C) values at the places."""
        return maps[self.frame, :, self.row, self.column]

    def blocks(self, maps: Tensor, factor: int) -> Tensor:
        """The same of a map that is `factor` times finer: (n, C * factor * factor)."""
        if factor == 1:
            return self.of(maps)
        size, channels, rows, columns = maps.shape
        split = maps.view(size, channels, rows // factor, factor, columns // factor, factor)
        return split.permute(0, 2, 4, 1, 3, 5)[self.frame, self.row, self.column].flatten(1)


@dataclass(frozen=True, eq=False)
class Places:
    """Places of a batch at the grid's resolution and at that of each stage."""

    grid: Grid
    stages: Sequence[Grid]

    def at(self, stage: int) -> Grid:
        """Those of a stage; -1 is the grid."""
        return self.grid if stage < 0 else self.stages[stage]


def choose_places(
    teacher: CenterPointDetector, batch: NetworkBatch, count: int, focus: float
) -> Places:
    """Choose places of a batch: some where the teacher sees objects, the rest where points are.

    Args:
        teacher: In evaluation mode.
        batch: Encoded for the teacher.
        count: Places a cloud and resolution.
        focus: Share of them that lie on objects.
    """
    canvas = teacher.encoder(batch)
    occupied = (canvas != 0).any(dim=1, keepdim=True).to(canvas.dtype)
    heat = teacher(batch).maps.heatmap.sigmoid().amax(dim=1, keepdim=True)
    # A peak is a few cells; the features that make it lie under the whole object.
    heat = functional.max_pool2d((heat > 0.1).to(canvas.dtype), 5, stride=1, padding=2)
    generator = torch.Generator().manual_seed(0)
    grids, stride = [], 1
    for stage in (-1, *range(len(teacher.config.blocks))):
        if stage >= 0:
            stride *= teacher.config.blocks[stage].stride
        active = functional.max_pool2d(occupied, stride) if stride > 1 else occupied
        seen = functional.interpolate(heat, active.shape[-2:])
        if stride > teacher.config.output_stride:
            seen = functional.adaptive_max_pool2d(heat, active.shape[-2:])
        grids.append(_draw(active, seen, count, focus, generator))
    return Places(grids[0], grids[1:])


def _draw(
    active: Tensor, seen: Tensor, count: int, focus: float, generator: torch.Generator
) -> Grid:
    """`count` cells for each of (B, 1, H, W) masks, as far as there are so many."""
    columns = active.shape[-1]
    frames, cells = [], []
    for i in range(len(active)):
        objects = seen[i, 0].flatten().nonzero()[:, 0]
        others = active[i, 0].flatten().nonzero()[:, 0]
        some = objects[torch.randperm(len(objects), generator=generator)[: int(count * focus)]]
        rest = others[torch.randperm(len(others), generator=generator)[: count - len(some)]]
        cell = torch.cat([some, rest])
        frames.append(torch.full_like(cell, i))
        cells.append(cell)
    index = torch.cat(cells)
    return Grid(torch.cat(frames), index // columns, index % columns)


def patches(maps: Tensor, grid: Grid, kernel: int, stride: int) -> Tensor:
    """What a convolution sees at its outputs' places.

    Args:
        maps: (B, C, H, W) input of a convolution with padding `kernel // 2`.
        grid: n places of its OUTPUT.
        kernel: Edge of the window.
        stride: Input cells per output cell.

    Returns:
        (n, C * kernel * kernel), in the order of a convolution's weight.
    """
    edge = kernel // 2
    padded = functional.pad(maps, (edge, edge, edge, edge))
    taps = [
        padded[grid.frame, :, grid.row * stride + dy, grid.column * stride + dx]
        for dy in range(kernel)
        for dx in range(kernel)
    ]
    return torch.stack(taps, dim=2).flatten(1)
