"""Attention among the channels of the heads at the objects: itKD (2205.15531), sec. 3.3."""

from typing import Literal

import torch
from torch import Tensor
from torch import nn

from kd3d_core.codec.heads import HeadMaps
from kd3d_core.distillation.protocol import Targets
from kd3d_core.distillation.protocol import full
from kd3d_core.distillation.protocol import gather_cells
from kd3d_core.distillation.protocol import masked_mean
from kd3d_core.distillation.protocol import of_task
from kd3d_core.models.layers import full_precision

#: How inter- and intra-head attention join.
Fusion = Literal["mean", "learned", "free"]


class HeadAttention(nn.Module):
    """Channel attention among and within the heads at the objects.

    Args:
        channels: Sum of the channels of all heads.
        fusion: "mean"; "learned" for a convex combination per channel; "free" for any linear map
            of both, which training can shrink to nothing: `shrinkage` tells.
    """

    def __init__(self, channels: int, fusion: Fusion = "mean") -> None:
        super().__init__()
        self.balance = nn.Parameter(torch.zeros(channels)) if fusion == "learned" else None
        self.mix = nn.Linear(2 * channels, channels) if fusion == "free" else None
        norm = 1.0 if self.mix is None else float(self.mix.weight.detach().norm())
        self._start = norm

    def forward(self, heads: list[Tensor], mask: Tensor) -> Tensor:
        """Fused attention features.

        Args:
            heads: For each head (B, M, channels), its values at the objects.
            mask: (B, M) bool, False for padding.

        Returns:
            (B, M, C) over all heads; padding holds what counts for nothing.
        """
        heads = [
            torch.where(mask[..., None], full(head), torch.zeros_like(full(head)))
            for head in heads
        ]
        count = mask.sum(dim=1)
        inter = attend(torch.cat(heads, dim=2), count)
        intra = torch.cat([attend(head, count) for head in heads], dim=2)
        if self.mix is not None:
            return self.mix(torch.cat([inter, intra], dim=2))
        if self.balance is None:
            return (inter + intra) / 2
        share = self.balance.sigmoid()
        return share * inter + (1 - share) * intra

    def loss(self, student: list[Tensor], teacher: list[Tensor], mask: Tensor) -> Tensor:
        """L1 between the two networks' attention features, a mean over objects and channels."""
        with full_precision(mask.device):
            taught = self([head.detach() for head in teacher], mask)
            difference = (self(student, mask) - taught).abs()
        return masked_mean(difference, mask[..., None])

    def shrinkage(self) -> Tensor | None:
        """The norm of the free fusion's weights over that at the start, or None without one."""
        return None if self.mix is None else self.mix.weight.detach().norm() / self._start


def attention_matrix(values: Tensor, count: Tensor) -> Tensor:
    """softmax(X^T X / sqrt(K)): how much each channel attends to each other one.

    Args:
        values: (B, M, C), X with rows of 0 for padding.
        count: (B,) K, the objects of each frame.

    Returns:
        (B, C, C) whose columns sum to 1.
    """
    scale = count.clamp(min=1).to(values.dtype).sqrt()[:, None, None]
    return (values.transpose(1, 2) @ values / scale).softmax(dim=1)


def attend(values: Tensor, count: Tensor) -> Tensor:
    """X A for the (B, M, C) values of the objects: each channel a mixture of those like it."""
    return values @ attention_matrix(values, count)


def at_objects(
    maps: HeadMaps[Tensor], targets: Targets, task_of_class: tuple[int, ...], sigmoid: bool
) -> list[Tensor]:
    """What a head says at the objects.

    Args:
        maps: Output of the head, (B, C, H, W) each.
        targets: The M objects of each frame on the grid of the maps.
        task_of_class: `codec.heads.task_of_class`; empty for a head without tasks. Of the maps of
            several tasks, that of the object's class counts.
        sigmoid: The heatmap as scores, not as logits.

    Returns:
        For each map (B, M, C), float32 at least.
    """
    first, *rest = (full(gather_cells(item, targets.cell)) for item in maps.as_tuple())
    rest = [of_task(item, targets.label, task_of_class) for item in rest]
    return [first.sigmoid() if sigmoid else first, *rest]
