"""Q/DQ nodes: a graph that says which convolutions are computed in int8, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx import numpy_helper

from kd3d_core.deployment.quantise_graph import Graph


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution in int8.

    Attributes:
        weights: int8, shaped as in the graph.
        scale: (O,) float32: one for each output channel.
        bias: (O,) float32.
        error: As `Rounded.error`.
    """

    weights: NDArray[np.int8]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    error: float


@dataclass(frozen=True)
class Span:
    """How a tensor is rounded: value = scale * integer, with the zero point 0.

    Attributes:
        scale: Of one step.
        signed: int8, else uint8.
    """

    scale: float
    signed: bool

    @property
    def zero(self) -> NDArray[Any]:
        """The zero point, whose type is that of the integers."""
        return np.array(0, np.int8 if self.signed else np.uint8)


def with_layers(
    graph: Graph, layers: Mapping[str, Layer], spans: Mapping[str, Span]
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The graph's model with some convolutions in int8.

    Args:
        graph: In float32.
        layers: By the name of the convolution.
        spans: Of all that `Graph.path` gives for what they read.

    Returns:
        The model, and by the names of rounded tensors the names under which they are read.
    """
    model = graph.model()
    rounded = {
        name
        for node in graph.convolutions
        if node.name in layers
        for name in graph.path(node.input[0])
    }
    nodes: list[onnx.NodeProto] = []
    extra: dict[str, NDArray[Any]] = {}
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)
        if node.name in layers:
            nodes.append(_weigh(node, layers[node.name], extra))
        nodes.append(node)
        for name in node.output:
            if name in rounded:
                nodes += _round_trip(name, spans[name], extra)
                renamed[name] = f"{name}_rounded"
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(copies)
    used = {name for node in copies for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    added = [numpy_helper.from_array(np.asarray(array), name) for name, array in extra.items()]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, *added])
    return model, renamed


def _weigh(node: onnx.NodeProto, layer: Layer, extra: dict[str, NDArray[Any]]) -> onnx.NodeProto:
    """Give a convolution its int8 weights; the node that dequantises them."""
    base = node.name
    names = [f"{base}_{part}" for part in ("weights", "scale", "zero")]
    zero = np.zeros(len(layer.scale), np.int8)
    extra.update(zip(names, (layer.weights, layer.scale, zero), strict=True))
    extra[f"{base}_bias"] = layer.bias
    kept = [node.input[0], f"{base}_dequantised", f"{base}_bias"]
    del node.input[:]
    node.input.extend(kept)
    return helper.make_node(
        "DequantizeLinear",
        names,
        [f"{base}_dequantised"],
        f"{base}_dequantise",
        axis=int(node.op_type == "ConvTranspose"),
    )


def _round_trip(
    name: str, span: Span, extra: dict[str, NDArray[Any]]
) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    """Quantise and dequantise a tensor."""
    how = [f"{name}_scale", f"{name}_zero"]
    extra.update(zip(how, (np.array(span.scale, np.float32), span.zero), strict=True))
    return (
        helper.make_node("QuantizeLinear", [name, *how], [f"{name}_integers"], f"{name}_quantise"),
        helper.make_node(
            "DequantizeLinear",
            [f"{name}_integers", *how],
            [f"{name}_rounded"],
            f"{name}_dequantise",
        ),
    )
