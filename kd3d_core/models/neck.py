"""The neck: all scales at the finest one, concatenated (PointPillars, CVPR 2019, sec. 2.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch import nn

from kd3d_core.models.config import BlockConfig
from kd3d_core.models.layers import upsample_norm_relu


class Neck(nn.Module):
    """Upsample each map of the backbone to the first one's grid and concatenate.

    Args:
        blocks: The backbone's stages.
        channels: Width of each upsampled map.
    """

    def __init__(self, blocks: Sequence[BlockConfig], channels: int) -> None:
        super().__init__()
        levels = []
        factor = 1
        for i, block in enumerate(blocks):
            factor *= block.stride if i else 1
            levels.append(upsample_norm_relu(block.channels, channels, factor))
        self.levels = nn.ModuleList(levels)
        self.channels = channels * len(blocks)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Join the backbone's maps into (B, self.channels, H, W), H and W those of the first."""
        return torch.cat(
            [level(item) for level, item in zip(self.levels, maps, strict=True)], dim=1
        )
