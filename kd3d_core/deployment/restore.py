"""From a bundle back to a checkpoint: a network to go on from, to learn from, to adapt."""

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch import nn

from kd3d_core.codec.decode import per_class
from kd3d_core.codec.inputs import encode
from kd3d_core.deployment.export import installed_backends
from kd3d_core.deployment.parity import ParityResult
from kd3d_core.deployment.parity import compare
from kd3d_core.deployment.parity import require_parity
from kd3d_core.deployment.restore_graph import FoldedGraph
from kd3d_core.deployment.restore_graph import read_graph
from kd3d_core.errors import Kd3dError
from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.batch import collate
from kd3d_core.models.detector import CenterPointDetector
from kd3d_core.models.detector import build_detector
from kd3d_core.models.encoders import PillarEncoder
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.levelling import level_cloud
from kd3d_core.runtime.manifest import Manifest
from kd3d_core.training.checkpoint import Checkpoint
from kd3d_core.training.checkpoint import save_checkpoint

#: Root mean square of the weights before a batch norm in a network that was trained for some ten
#: thousand steps. At the size of fresh ones, a fifth of it, 4,000 steps of the shipped student at
#: its usual rate tripled the filters: it learned anew, and lost 1.3 points of AP (at this, 0.7).
TRAINED_WEIGHT = 0.15

_Layer = nn.Linear | nn.Conv2d | nn.ConvTranspose2d
_Norm = nn.BatchNorm1d | nn.BatchNorm2d


def restore_checkpoint(
    bundle: Bundle, out: Path | str, clouds: Iterable[PointCloud], source: str = "the bundle"
) -> ParityResult:
    """Write the network of a bundle as a checkpoint that says the same.

    A graph has its batch norms folded into the layers before them. They are taken apart again by
    the statistics of `clouds`, so that a training begins where the network stands: see
    `unfold_norms`. The state of the optimiser is gone.

    Args:
        bundle: In float32, of `kd3d_core export`, with pillars or images as input.
        out: The checkpoint to write.
        clouds: Like those that the network was trained on; some ten suffice.
        source: Name of the bundle for messages.

    Returns:
        How far the network that was written is from the graph on the clouds.

    Raises:
        Kd3dError: The graph is rounded, of another make, says something else than the network
            that was read from it, no cloud has a point in the grid, or `out` cannot be written.
    """
    manifest = bundle.manifest
    graph = read_graph(bundle, source)
    network = build_detector(graph.model)
    _fill(network, graph, source)
    clouds = list(clouds)
    levelled = [level_cloud(cloud, manifest) for cloud in clouds]
    fed = [encode(c.points, manifest.grid, manifest.input, c.time) for c in levelled]
    unfold_norms(network, [collate([each]) for each in fed if each.points_in_range])
    backend = make_backend(installed_backends()[0], bundle.onnx, precision="f32")
    parity = compare(network, backend, manifest, clouds)
    require_parity(parity)
    save_checkpoint(out, _described(manifest, graph, network))
    return parity


@torch.no_grad()
def unfold_norms(network: CenterPointDetector, batches: Iterable[NetworkBatch]) -> None:
    """Give batch norms the statistics of what they read, and leave the function as it is.

    On entry every batch norm does nothing but add its bias. In training a batch norm divides by
    the spread of the batch, so such a network would forget all at the first step. Afterwards
    running mean and variance are those of `batches`, weight and bias undo them, and every filter
    has weights of the size `TRAINED_WEIGHT`: behind a batch norm it has no meaning but for how
    fast the filter turns, as each step of Adam moves each weight by about the learning rate.

    Args:
        network: Changed in place; left in evaluation mode.
        batches: At least one.
    """
    pairs = list(_layers_with_norm(network))
    moments = {id(layer): _Moments() for layer, _ in pairs}
    hooks = [
        layer.register_forward_hook(
            lambda module, _, output: moments[id(module)].add(output.transpose(0, 1).flatten(1))
        )
        for layer, _ in pairs
    ]
    network.eval()
    for batch in batches:
        network(batch)
        if isinstance(network.encoder, PillarEncoder):
            # Its linear layer is never called as a module: it and its norm are one operation.
            assert batch.pillars is not None
            network.encoder.linear(batch.pillars.flatten(0, 1))
    for hook in hooks:
        hook.remove()
    for layer, norm in pairs:
        _unfold(layer, norm, *moments[id(layer)].mean_and_variance())


class _Moments:
    """Mean and variance of channels over all that was added, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.total = torch.zeros(1, dtype=torch.float64)
        self.squares = torch.zeros(1, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Take (channels, N) values."""
        values = values.double()
        self.count += values.shape[1]
        self.total = self.total + values.sum(dim=1)
        self.squares = self.squares + (values**2).sum(dim=1)

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """(channels,) float64 each."""
        mean = self.total / self.count
        return mean, (self.squares / self.count - mean**2).clamp(min=0)


def _unfold(layer: _Layer, norm: _Norm, mean: Tensor, variance: Tensor) -> None:
    """Move length and statistics from a layer into its batch norm.

    Args:
        layer: Folded.
        norm: Adds its bias.
        mean: (channels,) of the layer's output.
        variance: Likewise.
    """
    out = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    filters = layer.weight.double().transpose(0, out).flatten(1)
    # A filter of zeros stays one.
    length = (filters.square().mean(dim=1).sqrt() / TRAINED_WEIGHT).clamp(min=1e-12)
    shape = [1] * layer.weight.dim()
    shape[out] = -1
    layer.weight.copy_(layer.weight.double() / length.view(shape))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean / length)
    norm.running_var.copy_(variance / length**2)
    norm.weight.copy_(length * (variance / length**2 + norm.eps).sqrt())
    norm.bias.copy_(norm.bias.double() + mean)


def _layers_with_norm(network: CenterPointDetector) -> list[tuple[_Layer, _Norm]]:
    """Every layer whose batch norm the graph has folded into it, in the order of the modules."""
    found: list[tuple[_Layer, _Norm]] = []
    for module in network.modules():
        for layer, norm in pairwise(module.children()):
            if isinstance(layer, _Layer) and isinstance(norm, _Norm):
                found.append((layer, norm))
    return found


@torch.no_grad()
def _fill(network: CenterPointDetector, graph: FoldedGraph, source: str) -> None:
    """Give the network the folded weights; its batch norms add the biases and do nothing else."""
    norms = dict(_layers_with_norm(network))
    names = {id(module): name for name, module in network.named_modules()}
    layers = [each for each in network.modules() if isinstance(each, _Layer)]
    if set(graph.layers) != {names[id(layer)] for layer in layers}:
        raise Kd3dError(
            f"{source}: its graph has other layers than the model {graph.model.name} that it "
            "seems to be; give the checkpoint that it was exported from."
        )
    for layer in layers:
        weight, bias = graph.layers[names[id(layer)]]
        if layer.weight.shape != weight.shape:
            raise Kd3dError(
                f"{source}: the layer {names[id(layer)]} has the shape {tuple(weight.shape)}, not "
                f"{tuple(layer.weight.shape)}; give the checkpoint that it was exported from."
            )
        layer.weight.copy_(weight)
        norm = norms.get(layer)
        if norm is None:
            assert layer.bias is not None
            layer.bias.copy_(bias)
            continue
        assert norm.running_var is not None
        nn.init.ones_(norm.weight)
        norm.running_var.fill_(1 - norm.eps)
        norm.bias.copy_(bias)


def _described(manifest: Manifest, graph: FoldedGraph, network: CenterPointDetector) -> Checkpoint:
    """The checkpoint, with what the manifest knows of where it came from."""
    thresholds = per_class(
        manifest.decode.score_threshold, manifest.classes, "decode.score_threshold"
    )
    teacher = manifest.teacher
    record = manifest.adaptation
    return Checkpoint(
        model=graph.model,
        weights=network.state_dict(),
        step=manifest.training.steps,
        training={
            "seed": manifest.training.seed,
            "data": {"sweeps": manifest.sweeps, "ground_height": manifest.ground_height_m},
        },
        data={"words": manifest.training.data},
        teacher=None if teacher is None else teacher.model_dump(exclude_none=True),
        intensity_map=manifest.intensity.map,
        score_threshold=dict(zip(manifest.classes, map(float, thresholds), strict=True)),
        adaptation={} if record is None else record.model_dump(mode="json"),
        version=manifest.training.kd3d_version,
    )
