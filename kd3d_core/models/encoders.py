"""From the network's input to a map seen from above."""

from typing import Any
from typing import cast

import torch
from torch import Tensor
from torch import nn
from torch.nn import functional

from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.codec.inputs import image_channels
from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.config import SPARSE_STRIDE
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.layers import NORM_EPS
from kd3d_core.models.layers import NORM_MOMENTUM
from kd3d_core.models.layers import conv_norm_relu
from kd3d_core.models.layers import full_precision
from kd3d_core.models.sparse import SparseEncoder

#: Pillars at a time in `max_linear`: the (pillars, max_points, channels) products of so many stay
#: in a CPU's cache. Graphics cards take them all at once.
_CHUNK = 512


class _MaxLinear(torch.autograd.Function):
    """`max_linear` that never holds all products: five times faster on a CPU, both ways."""

    @staticmethod
    def forward(context: Any, points: Tensor, weight: Tensor) -> Tensor:
        """(P, M, F) points and (C, F) weight to (P, C)."""
        transposed = weight.t().contiguous()
        chunk = _chunk(points)
        output = points.new_empty(len(points), len(weight))
        for part, out in zip(points.split(chunk), output.split(chunk), strict=True):
            torch.amax(part @ transposed, dim=1, out=out)
        context.save_for_backward(points, weight, output)
        return output

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[None, Tensor]:
        """(P, C) gradient to that of the weight (C, F): shared evenly by equal points."""
        points, weight, output = context.saved_tensors
        transposed = weight.t().contiguous()
        total = torch.zeros_like(transposed)
        chunk = _chunk(points)
        parts = zip(points.split(chunk), grads[0].split(chunk), output.split(chunk), strict=True)
        for part, grad, highest in parts:
            # The same product as in `forward`, so that the winners compare equal.
            share = (part @ transposed == highest[:, None]).to(part.dtype)
            share *= (grad / share.sum(dim=1))[:, None]
            total += part.reshape(-1, part.shape[-1]).t() @ share.reshape(-1, share.shape[-1])
        return None, total.t()


def _chunk(points: Tensor) -> int:
    """Pillars to take at a time."""
    return _CHUNK if points.device.type == "cpu" else max(len(points), 1)


def max_linear(points: Tensor, weight: Tensor) -> Tensor:
    """The maximum over points of a linear layer; only the weight gets a gradient.

    Args:
        points: (P, M, F) float32.
        weight: (C, F) float32.

    Returns:
        (P, C): max over m of points[p, m] . weight[c].
    """
    if torch.compiler.is_compiling():  # an exported graph wants two operations and no loop
        return functional.linear(points, weight).amax(dim=1)
    return _MaxLinear.apply(points, weight)


class PillarEncoder(nn.Module):
    """Linear, batch norm, ReLU, maximum over points, scatter: PointPillars (CVPR 2019), sec. 2.1.

    Everything here runs in float32, under autocast too: coordinates of up to 50 m would keep only
    a quarter of a metre in bfloat16.

    Args:
        channels: Width of the map.
        shape: (rows, columns) of the grid, for batches that do not say theirs.
        inputs: Features of a point, `PillarInput.features`.
    """

    def __init__(self, channels: int, shape: tuple[int, int], inputs: int = 9) -> None:
        super().__init__()
        self.shape = shape
        self.channels = channels
        self.linear = nn.Linear(inputs, channels, bias=False)
        self.norm = nn.BatchNorm1d(channels, eps=NORM_EPS, momentum=NORM_MOMENTUM)

    def forward(self, batch: NetworkBatch) -> Tensor:
        """Encode the pillars of B clouds into (B, channels, rows, columns)."""
        assert batch.pillars is not None
        assert batch.cells is not None
        features = self.features(batch.pillars)
        return self.scatter(features, batch.cells, batch.size, batch.shape)

    def features(self, pillars: Tensor) -> Tensor:
        """Describe each pillar.

        Batch norm is an affine map of each channel, so it is folded into the linear layer: its
        statistics over all points follow from the mean m and the covariance S of the inputs
        (mean W m, variance diag(W S W^T)), and the (P, max_points, channels) array meets one
        operation instead of three. The result and the gradients are those of the plain order.

        Args:
            pillars: (P, max_points, inputs) float32.

        Returns:
            (P, channels) float32, the maximum over the points of each pillar.
        """
        with full_precision(pillars.device):
            weight = self.linear.weight.float()
            mean, variance = self._statistics(pillars, weight)
            scale = self.norm.weight * torch.rsqrt(variance + self.norm.eps)
            shift = self.norm.bias - mean * scale
            return functional.relu(max_linear(pillars, weight * scale[:, None]) + shift)

    def _statistics(self, pillars: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (channels,) for the batch norm; updates the running ones in training.

        Args:
            pillars: (P, max_points, inputs).
            weight: (channels, inputs).
        """
        running_mean = cast(Tensor, self.norm.running_mean)
        running_var = cast(Tensor, self.norm.running_var)
        if not self.training:
            return running_mean, running_var
        points = pillars.flatten(0, 1)
        center = points.mean(dim=0)
        spread = points - center
        covariance = spread.T @ spread / len(points)
        mean = weight @ center
        variance = ((weight @ covariance) * weight).sum(dim=1)
        with torch.no_grad():
            momentum = cast(float, self.norm.momentum)
            unbiased = variance * (len(points) / max(len(points) - 1, 1))
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(unbiased, momentum)
            cast(Tensor, self.norm.num_batches_tracked).add_(1)
        return mean, variance

    def scatter(
        self, features: Tensor, cells: Tensor, size: int, shape: tuple[int, int] | None = None
    ) -> Tensor:
        """Put each pillar into its cell.

        Args:
            features: (P, channels).
            cells: (P,) int64, unique: cloud * rows * columns + row * columns + column.
            size: Number of clouds B.
            shape: (rows, columns) of the grid; None for the network's own.

        Returns:
            (B, channels, rows, columns), zero where there is no pillar. In memory the channels
            come last, but for training on a CPU.
        """
        rows, columns = shape or self.shape
        canvas = features.new_zeros(size * rows * columns, self.channels)
        canvas = canvas.index_copy(0, cells, features)
        canvas = canvas.view(size, rows, columns, self.channels).permute(0, 3, 1, 2)
        if self.training and canvas.device.type == "cpu":
            # Convolutions follow the layout of their input. With channels last they are a quarter
            # faster forward, but backward so much slower that a training step loses a fifth.
            canvas = canvas.contiguous()
        return canvas


class BevImageEncoder(nn.Module):
    """A 1x1 convolution: each cell's statistics become features, as in a pillar encoder.

    It mixes no cells: a wider kernel at the image's resolution costs more than a whole stage of a
    small backbone.

    Args:
        inputs: Channels of the image.
        channels: Width of the map.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.stem = conv_norm_relu(inputs, channels, kernel=1)

    def forward(self, batch: NetworkBatch) -> Tensor:
        """Encode (B, inputs, rows, columns) images into (B, channels, rows, columns)."""
        assert batch.image is not None
        return self.stem(batch.image)


class VoxelEncoder(nn.Module):
    """Sparse 3-D convolutions, then all layers of sites side by side as channels.

    Everything here runs in float32, under autocast too: coordinates of up to 50 m would keep only
    a quarter of a metre in bfloat16, and spconv knows no autocast but to float16.

    Args:
        middle: What turns voxels into a map.
        shape: (rows, columns) of the grid, for batches that do not say theirs.
    """

    def __init__(self, middle: SparseEncoder, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape = shape
        self.middle = middle
        self.channels = middle.channels

    def forward(self, batch: NetworkBatch) -> Tensor:
        """Encode the voxels of B clouds into (B, channels, rows / 8, columns / 8).

        Raises:
            Kd3dError: spconv is not installed, or cannot do this.
        """
        assert batch.voxels is not None
        assert batch.coordinates is not None
        shape = batch.shape or self.shape
        if batch.voxels.is_meta:  # costs are counted: no site is active, nothing is computed
            rows, columns = (cells // SPARSE_STRIDE for cells in shape)
            return batch.voxels.new_zeros(batch.size, self.channels, rows, columns)
        with full_precision(batch.voxels.device):
            return self.middle(batch.voxels, batch.coordinates, batch.size, shape)


def build_encoder(config: ModelConfig) -> PillarEncoder | BevImageEncoder | VoxelEncoder:
    """The encoder of a network, with fresh weights."""
    width, grid = config.encoder_channels, config.grid
    if isinstance(config.input, PillarInput):
        return PillarEncoder(width, grid.shape, config.input.features)
    if isinstance(config.input, VoxelInput):
        middle = SparseEncoder(
            config.input.features, width, config.input.bins, config.sparse_blocks
        )
        return VoxelEncoder(middle, grid.shape)
    return BevImageEncoder(image_channels(config.input), width)
