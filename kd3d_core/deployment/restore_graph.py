"""What an exported graph says of its network: its model, and its weights with folded norms."""

from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.codec.layout import AnchorLayout
from kd3d_core.errors import Kd3dError
from kd3d_core.models.config import AnchorHeadConfig
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.manifest import Manifest

#: The exporter wraps the network, so this is before each of its names.
_PREFIX = "detector."
_WEIGHT = ".weight"


@dataclass(frozen=True)
class FoldedGraph:
    """A network with its batch norms folded into the layers before them.

    Attributes:
        model: What it is made of.
        layers: Weight and bias, in the shapes of torch, by the name of the layer.
    """

    model: ModelConfig
    layers: dict[str, tuple[Tensor, Tensor]]


def read_graph(bundle: Bundle, source: str) -> FoldedGraph:
    """Read the weights of a graph and work out what model they are of.

    Args:
        bundle: Of `kd3d_core export`.
        source: Its name for messages.

    Raises:
        Kd3dError: Its weights are rounded, or it is of another make.
    """
    graph = onnx.load_from_string(bundle.onnx).graph
    if any("QuantizeLinear" in node.op_type or node.op_type == "Cast" for node in graph.node):
        raise Kd3dError(
            f"{source} is in int8 or fp16: its weights are rounded, and a training cannot go on "
            "from them. Give the bundle in float32 that it was compiled from."
        )
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    layers: dict[str, tuple[Tensor, Tensor]] = {}
    strides: dict[str, int] = {}
    for node in graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        name = node.input[1]
        known = all(each in constants for each in node.input[1:])
        if not (known and name.startswith(_PREFIX) and name.endswith(_WEIGHT)):
            raise _foreign(source)
        weight = torch.from_numpy(constants[name].copy())
        out = weight.shape[0 if node.op_type == "Conv" else 1]
        # The exporter leaves out a bias of zeros.
        bias = constants[node.input[2]] if len(node.input) > 2 else np.zeros(out, np.float32)
        key = name[len(_PREFIX) : -len(_WEIGHT)]
        layers[key] = (weight, torch.from_numpy(bias.copy()))
        strides[key] = next((a.ints[0] for a in node.attribute if a.name == "strides"), 1)
    if isinstance(bundle.manifest.input, PillarInput):
        layers["encoder.linear"] = _pillar_layer(graph, constants, source)
    try:
        model = _model(bundle.manifest, layers, strides)
    except KeyError as error:
        raise _foreign(source) from error
    return FoldedGraph(model, layers)


def _pillar_layer(
    graph: onnx.GraphProto, constants: dict[str, np.ndarray], source: str
) -> tuple[Tensor, Tensor]:
    """The linear layer of a pillar encoder, which the exporter leaves without a name.

    It is the product that reads the pillars; the bias is added after the maximum over points.
    """
    product = next((each for each in graph.node if "pillars" in each.input), None)
    added = next((each for each in graph.node if each.op_type == "Add"), None)
    if product is None or added is None or product.op_type != "MatMul":
        raise _foreign(source)
    found = [
        constants[name] for node in (product, added) for name in node.input if name in constants
    ]
    if [array.ndim for array in found] != [2, 1]:
        raise _foreign(source)
    weight, bias = found
    return torch.from_numpy(weight.T.copy()), torch.from_numpy(bias.copy())


def _model(
    manifest: Manifest, layers: dict[str, tuple[Tensor, Tensor]], strides: dict[str, int]
) -> ModelConfig:
    """The model by the names and shapes of its layers; a KeyError where one is missing."""
    shapes = {name: tuple(weight.shape) for name, (weight, _) in layers.items()}
    depth: dict[int, int] = {}
    for name in shapes:
        if name.startswith("backbone.stages."):
            stage = int(name.split(".")[2])
            depth[stage] = depth.get(stage, 0) + 1
    firsts = {stage: f"backbone.stages.{stage}.0.0" for stage in sorted(depth)}
    encoder = "encoder.linear" if "encoder.linear" in shapes else "encoder.stem.0"
    return ModelConfig(
        name=manifest.name,
        classes=manifest.classes,
        grid=manifest.grid,
        input=manifest.input,
        encoder_channels=shapes[encoder][0],
        blocks=tuple(
            BlockConfig(channels=shapes[first][0], layers=depth[stage] - 1, stride=strides[first])
            for stage, first in firsts.items()
        ),
        neck_channels=shapes["neck.levels.0.0"][0],
        head=_head(manifest, shapes),
    )


def _head(manifest: Manifest, shapes: dict[str, tuple[int, ...]]) -> HeadConfig | AnchorHeadConfig:
    """The head by the shapes of its layers."""
    if isinstance(manifest.head, AnchorLayout):
        return AnchorHeadConfig(anchors=manifest.head.anchors)
    tasks = manifest.head.tasks
    last = "head.outputs.heatmap" + (".0" if len(tasks) > 1 else "")
    return HeadConfig(
        shared_channels=shapes["head.shared.0"][0],
        branch_channels=shapes["head.branches.0"][0] // (len(HEAD_NAMES) * max(len(tasks), 1)),
        output_kernel=3 if shapes[last][2] == 3 else 1,
        tasks=tasks,
    )


def _foreign(source: str) -> Kd3dError:
    """What to say of a graph that another program, or an older exporter, made."""
    return Kd3dError(
        f"{source}: its graph is not as `kd3d_core export` writes them, so no network can be read "
        "from it; give the checkpoint that it was exported from."
    )
