"""Regions round the peaks of a heatmap, and what a map holds in them."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.targets import MIN_OVERLAP
from kd3d_core.codec.targets import MIN_RADIUS
from kd3d_core.distillation.protocol import gather_cells
from kd3d_core.distillation.protocol import of_task

#: Predicted sizes are cut to this many metres: a network that has just begun says anything.
_SIZES = (0.1, 20.0)


@dataclass(frozen=True)
class Regions:
    """Axis-aligned pieces of ground in B frames, in parts of the map: they fit any grid on it.

    Attributes:
        box: (B, N, 4) float: centre x and y, extent in x and y, each as a share of the map's edge.
        mask: (B, N) bool, False where a place in the list is empty.
        label: (B, N) int64 class of the peak.
    """

    box: Tensor
    mask: Tensor
    label: Tensor

    def __add__(self, other: "Regions") -> "Regions":
        """Both lists, one after the other."""
        return Regions(
            *(torch.cat([getattr(one, name) for one in (self, other)], dim=1) for name in _FIELDS)
        )


_FIELDS = ("box", "mask", "label")


@torch.no_grad()
def propose(
    maps: HeadMaps[Tensor],
    cell: float,
    count: int,
    floor: float,
    task_of_class: tuple[int, ...] = (),
) -> Regions:
    """The ground under the Gaussians round the highest peaks of a centre-based head.

    A peak is a cell whose score none of its eight neighbours exceeds in the same class; a cell
    that is one for several classes counts once. Its region is the square that the training target
    of a box of the size predicted there would paint: 2 r + 1 cells a side with the radius r of
    `codec.targets` (CornerNet, ECCV 2018, sec. 3.2), not less than `MIN_RADIUS`.

    Args:
        maps: Output of a head, (B, C, H, W) each.
        cell: Edge of one of its cells [m].
        count: Most peaks of a frame, over all classes.
        floor: Peaks must score above this.
        task_of_class: `codec.heads.task_of_class`; empty for a head without tasks.

    Returns:
        min(count, H * W) regions a frame, the best first, without gradient.
    """
    score = maps.heatmap.float().sigmoid()
    rows, columns = score.shape[-2:]
    peak = functional.max_pool2d(score, 3, stride=1, padding=1) == score
    score, label = (score * peak).flatten(2).max(dim=1)
    best, index = score.topk(min(count, rows * columns), dim=1)
    label = label.gather(1, index)
    size = of_task(gather_cells(maps.size, index).float(), label, task_of_class)
    length, width, _ = (size.exp().clamp(*_SIZES) / cell).unbind(dim=-1)
    edge = 2 * gaussian_reach(length, width) + 1
    x, y = index % columns + 0.5, index // columns + 0.5
    box = torch.stack([x / columns, y / rows, edge / columns, edge / rows], dim=-1)
    return Regions(box, best > floor, label)


def gaussian_reach(length: Tensor, width: Tensor) -> Tensor:
    """`codec.targets`' radius of a peak, for many boxes at once.

    Args:
        length: Any shape, length of the boxes [cells].
        width: Same shape [cells].

    Returns:
        Same shape, whole cells.
    """
    total, area = length + width, length * width
    shift = 4 * area * (1 - MIN_OVERLAP) / (1 + MIN_OVERLAP)
    shifted = (total - (total**2 - shift).clamp(min=0).sqrt()) / 2
    shrink = 4 * total**2 - 16 * (1 - MIN_OVERLAP) * area
    shrunk = (2 * total - shrink.clamp(min=0).sqrt()) / 8
    growth = MIN_OVERLAP * total
    grown = (growth**2 + 4 * MIN_OVERLAP * (1 - MIN_OVERLAP) * area).sqrt() - growth
    grown = grown / (4 * MIN_OVERLAP)
    return torch.minimum(torch.minimum(shifted, shrunk), grown).floor().clamp(min=MIN_RADIUS)


def crop(feature: Tensor, regions: Regions, size: int) -> Tensor:
    """What a map holds in each region: RoIAlign (He et al., ICCV 2017) with one sample a bin.

    Args:
        feature: (B, C, H, W).
        regions: N regions a frame on the ground of the map, P of them all in all no padding.
        size: Samples along each edge, R.

    Returns:
        (P, C, R, R) bilinear samples, frame by frame; the map's rim is continued beyond it.
    """
    frames, count = regions.mask.shape
    step = (torch.arange(size, device=feature.device) + 0.5) / size - 0.5
    box = regions.box.to(feature.dtype)
    # grid_sample counts from -1 to 1, corner to corner.
    x = 2 * (box[..., 0, None] + step * box[..., 2, None]) - 1
    y = 2 * (box[..., 1, None] + step * box[..., 3, None]) - 1
    shape = (frames, count, size, size)
    grid = torch.stack([x[:, :, None, :].expand(shape), y[:, :, :, None].expand(shape)], dim=-1)
    taken = functional.grid_sample(
        feature,
        grid.reshape(frames, count * size, size, 2),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    taken = taken.view(frames, -1, count, size, size).transpose(1, 2)
    return taken[regions.mask]
