"""int8 without training: ranges made equal, then weights fitted layer by layer.

1. Channels are rescaled, which changes nothing in float32, so that each fills the range of its
   tensor: one step for the tensor is then one for every channel.
2. In the order of execution each convolution's integer weights and its bias are fitted to its
   results in float32, while it reads what the layers before it give in int8 (`quantise_fit`).

What is not a convolution, and a convolution that reads the graph's input, stays in float32.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray

from kd3d_core.deployment.quantise_cells import Cells
from kd3d_core.deployment.quantise_cells import tensors
from kd3d_core.deployment.quantise_fit import fit
from kd3d_core.deployment.quantise_graph import Graph
from kd3d_core.deployment.quantise_write import Layer
from kd3d_core.deployment.quantise_write import Span
from kd3d_core.deployment.quantise_write import with_layers
from kd3d_core.errors import Kd3dError

#: What the integers are for. CPUs without VNNI add pairs of uint8 * int8 in int16, which holds
#: them if weights have 7 bits; TensorRT takes symmetric int8 alone.
Int8Target = Literal["cpu", "tensorrt"]
INT8_TARGETS: tuple[Int8Target, ...] = ("cpu", "tensorrt")

#: Cells of each map, drawn from every cloud, that a layer is fitted on.
_CELLS = 500
#: A channel whose extreme is below this part of its tensor's is not blown up to it.
_LEAST_CHANNEL = 1e-6


@dataclass(frozen=True, eq=False)
class Int8:
    """A graph's convolutions in int8.

    Attributes:
        graph: In float32, channels rescaled.
        spans: How tensors are rounded.
        layers: By the names of the convolutions.
        target: What will run it.
    """

    graph: Graph
    spans: dict[str, Span]
    layers: dict[str, Layer]
    target: Int8Target

    def serialised(self, float32: Sequence[str] = ()) -> bytes:
        """The model's bytes, the same every time.

        Args:
            float32: Convolutions that stay in float32 after all.
        """
        layers = {name: layer for name, layer in self.layers.items() if name not in float32}
        model, _ = with_layers(self.graph, layers, self.spans)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def quantise(
    serialised: bytes, inputs: Sequence[Mapping[str, NDArray[Any]]], target: Int8Target = "cpu"
) -> Int8:
    """Fit the convolutions of a graph.

    Args:
        serialised: A model in float32.
        inputs: What it is fed, cloud by cloud.
        target: What will run it.

    Raises:
        Kd3dError: There is no input to calibrate on, or no convolution that int8 can compute.
    """
    if not inputs:
        raise Kd3dError("int8 needs clouds with points in the grid to be calibrated on.")
    graph = Graph(serialised)
    if not graph.convolutions:
        raise Kd3dError(
            "int8: the graph has no convolutions but those that read its input; use fp16 or fp32."
        )
    spans = _equalise(graph, inputs, target)
    cells, wanted = _results(graph, inputs)
    layers: dict[str, Layer] = {}
    for node in graph.convolutions:
        reader = Cells(node, graph.weights(node))
        read = _read(graph, layers, spans, node, reader, inputs, cells[node.name])
        rounded = fit(
            reader.matrix(graph.weights(node)),
            np.repeat(graph.bias(node), reader.repeats),
            read,
            wanted.pop(node.name),
            63 if target == "cpu" else 127,
            reader.repeats,
        )
        layers[node.name] = Layer(
            reader.weights(rounded.values).astype(np.int8),
            rounded.scale[:: reader.repeats].astype(np.float32),
            rounded.bias[:: reader.repeats].astype(np.float32),
            rounded.error,
        )
    return Int8(graph, spans, layers, target)


def _equalise(
    graph: Graph, inputs: Sequence[Mapping[str, NDArray[Any]]], target: Int8Target
) -> dict[str, Span]:
    """Rescale channels to the extremes seen; how tensors are rounded then.

    Extremes, not percentiles: most cells of a map are empty, objects are what is rare.
    """
    read = {node.name: graph.sources(node.input[0]) for node in graph.convolutions}
    names = list(dict.fromkeys(name for each in read.values() for name in each))
    low = dict.fromkeys(names, np.array(0.0))
    high = dict.fromkeys(names, np.array(0.0))
    for found in tensors(graph.model(), names, inputs):
        for name, array in found.items():
            low[name] = np.minimum(low[name], array.min((1, 2)))
            high[name] = np.maximum(high[name], array.max((1, 2)))
    chosen = [name for name in graph.rescalable() if name in high and high[name].max() > 0]
    # What is joined is rounded alike, so that tensors which cannot be rescaled set the range.
    extreme = {name: float(max(-low[name].min(), high[name].max())) for name in names}
    extreme |= dict.fromkeys(chosen, 0.0)
    below = {name: float(target == "tensorrt" or low[name].min() < 0) for name in names}
    for each in (extreme, below):
        _share(each, list(read.values()))
    extreme = {name: most or 1.0 for name, most in extreme.items()}
    factors = {}
    for name in chosen:
        most = high[name].astype(np.float64)
        alive = most > _LEAST_CHANNEL * most.max()
        factors[name] = np.where(alive, most, most.max()) / extreme[name]
    graph.rescale(factors)
    spans: dict[str, Span] = {}
    for node in graph.convolutions:
        first = read[node.name][0]
        signed = bool(below[first])
        step = extreme[first] / (127 if signed else 255)
        spans |= dict.fromkeys(graph.path(node.input[0]), Span(step, signed))
    return spans


def _share(figures: dict[str, float], groups: Sequence[Sequence[str]]) -> None:
    """Give tensors that are read together the largest figure among them."""
    changed = True
    while changed:
        changed = False
        for names in groups:
            most = max(figures[name] for name in names)
            changed = changed or any(figures[name] < most for name in names)
            figures.update(dict.fromkeys(names, most))


def _results(
    graph: Graph, inputs: Sequence[Mapping[str, NDArray[Any]]]
) -> tuple[dict[str, list[NDArray[Any]]], dict[str, NDArray[np.float32]]]:
    """Cells of each convolution, cloud by cloud, and its results there in float32."""
    generator = np.random.default_rng(0)
    readers = {node.name: Cells(node, graph.weights(node)) for node in graph.convolutions}
    cells: dict[str, list[NDArray[Any]]] = {name: [] for name in readers}
    wanted: dict[str, list[NDArray[np.float32]]] = {name: [] for name in readers}
    ends = [name for node in graph.convolutions for name in (node.input[0], node.output[0])]
    for found in tensors(graph.model(), list(dict.fromkeys(ends)), inputs):
        for node in graph.convolutions:
            reader = readers[node.name]
            chosen = reader.choose(found[node.input[0]], _CELLS, generator)
            cells[node.name].append(chosen)
            wanted[node.name].append(reader.written(found[node.output[0]], chosen))
    return cells, {name: np.concatenate(parts) for name, parts in wanted.items()}


def _read(
    graph: Graph,
    layers: Mapping[str, Layer],
    spans: Mapping[str, Span],
    node: onnx.NodeProto,
    reader: Cells,
    inputs: Sequence[Mapping[str, NDArray[Any]]],
    cells: Sequence[NDArray[Any]],
) -> NDArray[np.float32]:
    """(P, K) what a convolution reads where those before it are in int8."""
    # Its own input is rounded as well.
    weights = graph.weights(node)
    ones = np.ones(weights.shape[node.op_type == "ConvTranspose"], np.float32)
    itself = Layer(np.zeros(weights.shape, np.int8), ones, ones, 0.0)
    model, renamed = with_layers(graph, {**layers, node.name: itself}, spans)
    name = renamed[node.input[0]]
    maps = tensors(model, [name], inputs)
    return np.concatenate(
        [reader.read(found[name], chosen) for found, chosen in zip(maps, cells, strict=True)]
    )
