"""The 2-D backbone: SECOND (Sensors 2018), sec. 3.1.3, as PointPillars trims it."""

from collections.abc import Sequence

from torch import Tensor
from torch import nn

from kd3d_core.models.config import BlockConfig
from kd3d_core.models.layers import conv_norm_relu


class Backbone(nn.Module):
    """Strided blocks of 3x3 convolutions, each fed by the one before.

    Args:
        inputs: Channels of the encoder's map.
        blocks: The stages, from fine to coarse.
    """

    def __init__(self, inputs: int, blocks: Sequence[BlockConfig]) -> None:
        super().__init__()
        stages = []
        for block in blocks:
            layers = [conv_norm_relu(inputs, block.channels, stride=block.stride)]
            layers += [conv_norm_relu(block.channels, block.channels) for _ in range(block.layers)]
            stages.append(nn.Sequential(*layers))
            inputs = block.channels
        self.stages = nn.ModuleList(stages)

    def forward(self, canvas: Tensor) -> list[Tensor]:
        """Run (B, inputs, rows, columns) through all stages.

        Returns:
            One (B, channels, H, W) map for each block, H and W divided by its stride each time.
        """
        maps = []
        for stage in self.stages:
            canvas = stage(canvas)
            maps.append(canvas)
        return maps
