"""What a network costs: parameters and multiply-accumulates, layer by layer."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import nn

from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.codec.inputs import image_channels
from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.models.detector import build_detector
from kd3d_core.models.encoders import PillarEncoder


@dataclass(frozen=True)
class LayerCost:
    """One layer that multiplies.

    Attributes:
        name: Its path in the network.
        kind: The class of the layer.
        output: Shape of its output, without the batch axis.
        parameters: Numbers learned, biases included.
        macs: Multiply-accumulates for one cloud, without the bias and the batch norm, which is
            folded into the weights on export.
        charged: The same as the papers count, see `count`.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    macs: int
    charged: int


@dataclass(frozen=True)
class Complexity:
    """The cost of a network for one cloud.

    Attributes:
        layers: The layers that multiply, in the order in which they run.
        parameters: Numbers learned in the whole network, batch norm included.
        macs: Multiply-accumulates of all layers.
        charged: The same as the papers count, see `count`.
        pillars: The number of pillars that the encoder's cost is for; 0 for other inputs.
    """

    layers: tuple[LayerCost, ...]
    parameters: int
    macs: int
    charged: int
    pillars: int


def count(network: ModelConfig | CenterPointDetector, pillars: int | None = None) -> Complexity:
    """Count what one cloud costs, by running the network on an empty one without computing.

    Only true multiplications count: a transposed convolution whose kernel is as large as its
    stride writes each output once, and is not charged kernel**2 times more as some counters do.
    That of the papers (SparseKD, RDD) does, so `charged` has their convention beside ours.

    Sparse convolutions are left out of both, for they cost what the cloud makes them cost:
    `sparse_cost.sparse_macs` measures that. Their parameters are counted.

    Args:
        network: A network, or its configuration.
        pillars: Pillars to charge the encoder for; the configuration's `max_pillars` when None.
    """
    if isinstance(network, ModelConfig):
        with torch.device("meta"):
            network = build_detector(network)
    else:
        network = copy.deepcopy(network).to("meta")
    config = network.config
    used = 0
    if isinstance(config.input, PillarInput):
        used = config.input.max_pillars if pillars is None else pillars
    layers: list[LayerCost] = []
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, PillarEncoder)):
            module.register_forward_hook(_recorder(name, used, config, layers))
    with torch.no_grad():
        network.eval()(_empty_batch(config).to("meta"))
    return Complexity(
        layers=tuple(layers),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        macs=sum(layer.macs for layer in layers),
        charged=sum(layer.charged for layer in layers),
        pillars=used,
    )


def _recorder(
    name: str, pillars: int, config: ModelConfig, layers: list[LayerCost]
) -> Callable[..., None]:
    """A forward hook that appends the cost of the module `name` to `layers`."""

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Append what this call cost; `inputs` and `output` as torch gives them to hooks."""
        if isinstance(module, nn.ConvTranspose2d):
            # Every input pixel meets every weight once.
            macs = module.weight.numel() * inputs[0][0, 0].numel()
            charged = module.weight.numel() * output[0, 0].numel()
        elif isinstance(module, nn.Conv2d):
            macs = charged = module.weight.numel() * output[0, 0].numel()
        else:
            assert isinstance(module, PillarEncoder)
            assert isinstance(config.input, PillarInput)
            macs = charged = module.linear.weight.numel() * pillars * config.input.max_points
        size = sum(parameter.numel() for parameter in module.parameters())
        shape = tuple(output.shape[1:])
        layers.append(LayerCost(name, type(module).__name__, shape, size, macs, charged))

    return record


def _empty_batch(config: ModelConfig) -> NetworkBatch:
    """The batch that one cloud without points gives."""
    if isinstance(config.input, PillarInput):
        return NetworkBatch(
            1,
            pillars=torch.zeros(1, config.input.max_points, config.input.features),
            cells=torch.zeros(1, dtype=torch.int64),
        )
    if isinstance(config.input, VoxelInput):
        return NetworkBatch(
            1,
            voxels=torch.zeros(1, config.input.features),
            coordinates=torch.zeros(1, 4, dtype=torch.int32),
        )
    return NetworkBatch(1, image=torch.zeros(1, image_channels(config.input), *config.grid.shape))
