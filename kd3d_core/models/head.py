"""The centre head: CenterPoint (CVPR 2021), sec. 4."""

import torch
from torch import Tensor
from torch import nn

from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.heads import head_channels
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.layers import conv_norm_relu

#: log(0.1 / 0.9): the heatmap of a fresh network says 0.1 everywhere (CenterNet, 2019, sec. 4).
HEATMAP_BIAS = -2.19


class CenterHead(nn.Module):
    """A shared 3x3 convolution, then for each map a 3x3 convolution and the output layer.

    The first convolutions of all branches read the same map, so they are one wide convolution
    whose output is split: the same function and the same weights as separate ones, with fewer and
    larger calls.

    Args:
        inputs: Channels of the neck's output.
        num_classes: Channels of the heatmap.
        config: The widths.
    """

    def __init__(self, inputs: int, num_classes: int, config: HeadConfig) -> None:
        super().__init__()
        channels = head_channels(num_classes)
        width = config.branch_channels
        self.shared = conv_norm_relu(inputs, config.shared_channels)
        self.branches = conv_norm_relu(config.shared_channels, width * len(channels))
        kernel = config.output_kernel
        self.outputs = nn.ModuleDict(
            {
                name: nn.Conv2d(width, count, kernel, padding=kernel // 2)
                for name, count in channels.items()
            }
        )
        for name, layer in self.outputs.items():
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.constant_(layer.bias, HEATMAP_BIAS if name == "heatmap" else 0.0)

    def forward(self, neck: Tensor) -> HeadMaps[Tensor]:
        """Turn the neck's output (B, inputs, H, W) into maps (B, C, H, W), as `HeadMaps` says."""
        features = self.branches(self.shared(neck))
        parts = torch.chunk(features, len(HEAD_NAMES), dim=1)
        maps = {
            name: self.outputs[name](part) for name, part in zip(HEAD_NAMES, parts, strict=True)
        }
        return HeadMaps(**maps)
