"""Sparse 3-D convolutions on spconv, and SECOND's middle encoder made of them.

The weights are plain parameters, so a network can be built, counted, saved and loaded where spconv
is not installed; only running it needs the package.
"""

import importlib
import logging
import math
import warnings
from typing import Any
from typing import Literal

import torch
from torch import Tensor
from torch import nn
from torch.func import functional_call

from kd3d_core.errors import Kd3dError
from kd3d_core.models.layers import NORM_EPS
from kd3d_core.models.layers import NORM_MOMENTUM

#: spconv's SparseConvTensor: features (V, C), indices (V, 4) int32, a shape and its rulebooks.
SparseTensor = Any
Triple = tuple[int, int, int]

_INSTALL = (
    "pip install 'kd3d_ros[gpu]', or for a machine without a GPU, on Python up to 3.11, "
    "pip install spconv-cu120==2.3.6"
)


def load_spconv() -> Any:
    """The module `spconv.pytorch`.

    Raises:
        Kd3dError: It is not installed, or it is the CPU-only build, which cannot train and
            whose answers are wrong with more than one thread.
    """
    logging.getLogger("torch.fx._symbolic_trace").addFilter(_no_tracing_advice)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch.cuda.amp, at every start
            module = importlib.import_module("spconv.pytorch")
            cpu_only = importlib.import_module("spconv.cppconstants").CPU_ONLY_BUILD
    except ImportError as error:
        raise Kd3dError(f"a network on voxels needs spconv ({error}): {_INSTALL}.") from error
    if cpu_only:
        raise Kd3dError(
            "the CPU-only build of spconv is installed: it cannot train, and with several threads "
            "its results are wrong. The CUDA build runs on a CPU too, so replace it: "
            f"pip uninstall spconv cumm, then {_INSTALL}."
        )
    return module


def _no_tracing_advice(record: logging.LogRecord) -> bool:
    """False for torch's advice to authors of tracers, which spconv provokes."""
    return "is_fx_tracing" not in record.getMessage()


class SparseConv(nn.Module):
    """A sparse 3-D convolution without bias.

    With `stride` None it is submanifold: its output has the sites of its input (Graham et al.,
    CVPR 2018, sec. 3). Otherwise an output site is active when any input site under its kernel is.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        key: Convolutions with the same key share their rulebook: submanifold ones on one grid.
        kernel: Extent along z, y, x.
        stride: Along z, y, x, or None.
        padding: Along z, y, x; a submanifold convolution takes what keeps the grid.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        key: str,
        kernel: Triple = (3, 3, 3),
        stride: Triple | None = None,
        padding: Triple = (1, 1, 1),
    ) -> None:
        super().__init__()
        self.key, self.kernel, self.stride, self.padding = key, kernel, stride, padding
        # spconv's layout: outputs, z, y, x, inputs.
        self.weight = nn.Parameter(torch.empty(outputs, *kernel, inputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self._layers: dict[str, nn.Module] = {}

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Convolve; gradients reach the weight and the features."""
        layer = self._layer(tensor.features.device.type).train(self.training)
        return functional_call(layer, {"weight": self.weight}, (tensor,))

    def _layer(self, device: str) -> nn.Module:
        """The layer of spconv for a kind of device; it holds no weights of its own."""
        if device not in self._layers:
            spconv = load_spconv()
            # The other algorithms exist on graphics cards only.
            algo = importlib.import_module("spconv.core").ConvAlgo.Native
            options: dict[str, Any] = {"algo": algo} if device == "cpu" else {}
            options |= {"bias": False, "indice_key": self.key, "padding": self.padding}
            outputs, *_, inputs = self.weight.shape
            with torch.device("meta"):
                if self.stride is None:
                    made = spconv.SubMConv3d(inputs, outputs, self.kernel, **options)
                else:
                    made = spconv.SparseConv3d(
                        inputs, outputs, self.kernel, stride=self.stride, **options
                    )
            self._layers[device] = made
        return self._layers[device]


class SparseNorm(nn.BatchNorm1d):
    """Batch norm over active sites; a single one, which has no variance, counts as evaluation."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=NORM_EPS, momentum=NORM_MOMENTUM)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (V, channels)."""
        if self.training and len(features) > 1:
            return super().forward(features)
        return nn.functional.batch_norm(
            features, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class SparseConvNorm(nn.Module):
    """A sparse convolution and its batch norm, then ReLU unless `relu` is False."""

    def __init__(self, conv: SparseConv, relu: bool = True) -> None:
        super().__init__()
        self.conv = conv
        self.norm = SparseNorm(conv.weight.shape[0])
        self.relu = relu

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """Features (V, inputs) to (V', outputs)."""
        tensor = self.conv(tensor)
        features = self.norm(tensor.features)
        return tensor.replace_feature(features.relu() if self.relu else features)


class SparseResidual(nn.Module):
    """Two submanifold convolutions beside the identity (He et al., CVPR 2016, sec. 3.2)."""

    def __init__(self, channels: int, key: str) -> None:
        super().__init__()
        self.first = SparseConvNorm(SparseConv(channels, channels, key))
        self.second = SparseConvNorm(SparseConv(channels, channels, key), relu=False)

    def forward(self, tensor: SparseTensor) -> SparseTensor:
        """(V, channels) to (V, channels) at the same sites."""
        changed = self.second(self.first(tensor))
        return changed.replace_feature((changed.features + tensor.features).relu())


class SparseEncoder(nn.Module):
    """The middle encoder: voxels to a map seen from above, at an eighth of the grid.

    "residual" is CenterPoint's (CVPR 2021; SpMiddleResNetFHD of its code): four stages of two
    residual blocks, 1, 2, 4 and 8 times `width`, 16 in the paper. "plain" is SECOND's (Sensors
    2018, sec. 3.1.2, as OpenPCDet builds it): one, then two submanifold convolutions a stage,
    1, 2, 4 and 4 times `width`, and 8 times at the end.

    Args:
        inputs: Features of a voxel.
        width: Channels of the first stage.
        bins: Voxels on top of each other, at least 24.
        blocks: What the stages are made of.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        bins: int,
        blocks: Literal["residual", "plain"] = "residual",
    ) -> None:
        super().__init__()
        # One empty layer more than there are bins, as in SECOND: 40 bins become 41, 21, 11, 5, 2.
        self.depth = bins + 1
        residual = blocks == "residual"
        widths = [width * factor for factor in (1, 2, 4, 8 if residual else 4)]
        layers: list[nn.Module] = [SparseConvNorm(SparseConv(inputs, width, "stage0"))]
        for stage, channels in enumerate(widths):
            key = f"stage{stage}"
            if stage:
                padding = (0 if stage == 3 else 1, 1, 1)
                down = SparseConv(
                    widths[stage - 1], channels, f"down{stage}", stride=(2, 2, 2), padding=padding
                )
                layers.append(SparseConvNorm(down))
            for _ in range(2 if residual or stage else 1):
                layers.append(
                    SparseResidual(channels, key)
                    if residual
                    else SparseConvNorm(SparseConv(channels, channels, key))
                )
        last = SparseConv(widths[-1], 8 * width, "flat", (3, 1, 1), (2, 1, 1), (0, 0, 0))
        layers.append(SparseConvNorm(last))
        self.layers = nn.Sequential(*layers)
        self.channels = 8 * width * output_layers(bins)

    def forward(
        self, features: Tensor, coordinates: Tensor, size: int, shape: tuple[int, int]
    ) -> Tensor:
        """Encode the voxels of B clouds.

        Args:
            features: (V, inputs) float32.
            coordinates: (V, 4) int32, unique: cloud, bin, row, column.
            size: Number of clouds B.
            shape: (rows, columns) of the grid, multiples of 8.

        Returns:
            (B, self.channels, rows / 8, columns / 8): 8 * width channels for each layer of sites
            that is left, 0 where no site is active.

        Raises:
            Kd3dError: spconv is not installed, or cannot do this.
        """
        spconv = load_spconv()
        grid = [self.depth, *shape]
        return _to_map(self.layers(spconv.SparseConvTensor(features, coordinates, grid, size)))


def _to_map(tensor: SparseTensor) -> Tensor:
    """Sites (V, C) on a grid (D, H, W) to a map (B, C * D, H, W), 0 where there is none.

    spconv's own `dense` indexes in a way that torch has announced to change.
    """
    grid = (tensor.batch_size, *tensor.spatial_shape)
    batch, z, y, x = tensor.indices.long().unbind(1)
    site = ((batch * grid[1] + z) * grid[2] + y) * grid[3] + x
    canvas = tensor.features.new_zeros(math.prod(grid), tensor.features.shape[1])
    canvas = canvas.index_copy(0, site, tensor.features)
    return canvas.view(*grid, -1).permute(0, 4, 1, 2, 3).flatten(1, 2)


def output_layers(bins: int) -> int:
    """Layers of sites along z that `SparseEncoder` leaves of so many bins."""
    depth = bins + 1
    for padding in (1, 1, 0, 0):
        depth = (depth + 2 * padding - 3) // 2 + 1
    return depth
