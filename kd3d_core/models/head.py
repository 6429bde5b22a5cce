"""The heads: CenterPoint's (CVPR 2021), sec. 4, and the anchor head of SECOND (Sensors 2018)."""

import math

import torch
from torch import Tensor
from torch import nn

from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.codec.heads import AnchorMaps
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.heads import anchor_channels
from kd3d_core.codec.heads import head_channels
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.layers import conv_norm_relu

#: log(0.1 / 0.9): the heatmap of a fresh network says 0.1 everywhere (CenterNet, 2019, sec. 4).
HEATMAP_BIAS = -2.19


#: SECOND's anchors are nearly all background: a fresh network says 0.01 (RetinaNet, ICCV 2017,
#: sec. 4.1).
SCORE_BIAS = -math.log(99)


class TaskOutputs(nn.ModuleList):
    """The output layers of one map, one for each task, side by side.

    Args:
        width: Channels of each task's branch.
        channels: Channels that each task writes.
        kernel: Edge of the convolutions.
    """

    def __init__(self, width: int, channels: list[int], kernel: int) -> None:
        super().__init__(
            nn.Conv2d(width, count, kernel, padding=kernel // 2) for count in channels
        )

    def forward(self, features: Tensor) -> Tensor:
        """Turn (B, T * width, H, W) into (B, sum of channels, H, W), task after task."""
        parts = torch.chunk(features, len(self), dim=1)
        return torch.cat([layer(part) for layer, part in zip(self, parts, strict=True)], dim=1)


class CenterHead(nn.Module):
    """A shared 3x3 convolution, then for each map a 3x3 convolution and the output layer.

    The first convolutions of all branches read the same map, so they are one wide convolution
    whose output is split: the same function and the same weights as separate ones, with fewer and
    larger calls. With several tasks each map has a branch for each of them.

    Args:
        inputs: Channels of the neck's output.
        num_classes: Channels of the heatmap.
        config: The widths and the tasks.
    """

    def __init__(self, inputs: int, num_classes: int, config: HeadConfig) -> None:
        super().__init__()
        sizes = [len(task) for task in config.tasks] or [num_classes]
        width = config.branch_channels
        names = len(HEAD_NAMES)
        self.shared = conv_norm_relu(inputs, config.shared_channels)
        self.branches = conv_norm_relu(config.shared_channels, width * names * len(sizes))
        kernel = config.output_kernel
        self.outputs = nn.ModuleDict()
        for name, count in head_channels(num_classes).items():
            channels = sizes if name == "heatmap" else [count] * len(sizes)
            layers = TaskOutputs(width, channels, kernel)
            for layer in layers:
                assert isinstance(layer, nn.Conv2d)
                assert layer.bias is not None
                nn.init.constant_(layer.bias, HEATMAP_BIAS if name == "heatmap" else 0.0)
            self.outputs[name] = layers if len(sizes) > 1 else layers[0]

    def forward(self, neck: Tensor) -> HeadMaps[Tensor]:
        """Turn the neck's output (B, inputs, H, W) into maps (B, C, H, W), as `HeadMaps` says."""
        features = self.branches(self.shared(neck))
        parts = torch.chunk(features, len(HEAD_NAMES), dim=1)
        maps = {
            name: self.outputs[name](part) for name, part in zip(HEAD_NAMES, parts, strict=True)
        }
        return HeadMaps(**maps)


def last_layers(head: CenterHead) -> list[nn.Conv2d]:
    """The last convolutions, in the order of the maps and, within each, of the tasks.

    Each reads its own part of the channels that the branches write, in the same order.
    """
    found = (head.outputs[name].modules() for name in HEAD_NAMES)
    return [layer for layers in found for layer in layers if isinstance(layer, nn.Conv2d)]


class AnchorHead(nn.Module):
    """A 1x1 convolution on the neck's output for each map: SECOND, sec. 3.1.

    Args:
        inputs: Channels of the neck's output.
        num_classes: Number of classes, each with an anchor at two yaws.
    """

    def __init__(self, inputs: int, num_classes: int) -> None:
        super().__init__()
        channels = anchor_channels(num_classes)
        self.outputs = nn.ModuleDict(
            {name: nn.Conv2d(inputs, count, 1) for name, count in channels.items()}
        )
        for name, layer in self.outputs.items():
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            # Small weights, so that no residual of a fresh network is far from its anchor.
            nn.init.normal_(layer.weight, std=0.01 if name == "score" else 0.001)
            nn.init.constant_(layer.bias, SCORE_BIAS if name == "score" else 0.0)

    def forward(self, neck: Tensor) -> AnchorMaps[Tensor]:
        """Turn the neck's output (B, inputs, H, W) into `AnchorMaps` of (B, C, H, W)."""
        return AnchorMaps(**{name: layer(neck) for name, layer in self.outputs.items()})
