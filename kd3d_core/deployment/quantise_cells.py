"""What a convolution reads and writes at some cells, as matrices; and a graph's inner tensors."""

import math
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from kd3d_core.deployment.quantise_graph import attribute

Floats = NDArray[np.float32]


class Cells:
    """Some cells of a convolution's map: its inputs there and its results, as matrices.

    With K values read for each of P cells and R values written, the convolution is a product with
    a (R, K) matrix of `matrix`. A `ConvTranspose` writes a block of cells: R = O * rows * columns.
    """

    def __init__(self, node: onnx.NodeProto, weights: NDArray[Any]) -> None:
        self._transposed = node.op_type == "ConvTranspose"
        self._shape = weights.shape
        self._kernel: tuple[int, int] = (weights.shape[2], weights.shape[3])
        self._strides = (1, 1) if self._transposed else attribute(node, "strides", (1, 1))
        self._pads = attribute(node, "pads", (0, 0, 0, 0))

    @property
    def repeats(self) -> int:
        """Rows of the matrix that share a channel's scale and bias."""
        return math.prod(self._kernel) if self._transposed else 1

    def matrix(self, weights: NDArray[Any]) -> NDArray[Any]:
        """(R, K) from the weights of the graph."""
        if self._transposed:
            return weights.reshape(len(weights), -1).T
        return weights.reshape(len(weights), -1)

    def weights(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """The weights of the graph from (R, K)."""
        ordered = matrix.T if self._transposed else matrix
        return np.ascontiguousarray(ordered).reshape(self._shape)

    def choose(self, given: Floats, count: int, generator: np.random.Generator) -> NDArray[Any]:
        """(P, 2) rows and columns: four fifths where there is something, the rest anywhere else.

        Most of a map is empty and has one value there, its median; one such cell says it all.

        Args:
            given: (C, H, W) input of the convolution.
            count: At most so many cells.
            generator: Draws them.
        """
        rows, columns = (
            (size - kernel + stride + before + after) // stride
            for size, kernel, stride, before, after in zip(
                given.shape[1:],
                (1, 1) if self._transposed else self._kernel,
                self._strides,
                self._pads[:2],
                self._pads[2:],
                strict=True,
            )
        )
        away = np.abs(given - np.median(given, axis=(1, 2), keepdims=True)).max(0)
        seen = (away > 1e-3 * away.max())[:: self._strides[0], :: self._strides[1]]
        seen = np.pad(seen, ((0, max(0, rows - len(seen))), (0, max(0, columns - seen.shape[1]))))
        seen = seen[:rows, :columns]
        busy, empty = np.argwhere(seen), np.argwhere(~seen)
        calm = min(len(empty), max(count // 5, count - len(busy)))
        busy = generator.permutation(busy)[: count - calm]
        return np.concatenate([busy, generator.permutation(empty)[:calm]])

    def read(self, given: Floats, cells: NDArray[Any]) -> Floats:
        """(P, K) what the convolution reads of its input (C, H, W) for cells."""
        if self._transposed:
            return given[:, cells[:, 0], cells[:, 1]].T
        top, left, bottom, right = self._pads
        padded = np.pad(given, ((0, 0), (top, bottom), (left, right)))
        rows, columns = (cells * self._strides).T
        found = np.empty((len(cells), len(given), *self._kernel), np.float32)
        for i, j in np.ndindex(self._kernel):
            found[:, :, i, j] = padded[:, rows + i, columns + j].T
        return found.reshape(len(cells), -1)

    def written(self, result: Floats, cells: NDArray[Any]) -> Floats:
        """(P, R) what the convolution wrote into its result (O, H, W) for cells."""
        if not self._transposed:
            return result[:, cells[:, 0], cells[:, 1]].T
        rows, columns = (cells * self._kernel).T
        found = np.empty((len(cells), len(result), *self._kernel), np.float32)
        for i, j in np.ndindex(self._kernel):
            found[:, :, i, j] = result[:, rows + i, columns + j].T
        return found.reshape(len(cells), -1)


def tensors(
    model: onnx.ModelProto, names: Sequence[str], inputs: Iterable[Mapping[str, NDArray[Any]]]
) -> Iterator[dict[str, Floats]]:
    """Tensors of a model without the batch axis, for one input after the other.

    Q/DQ nodes are computed as they stand, in float32: fused integer kernels saturate on some CPUs.

    Args:
        model: With or without Q/DQ nodes.
        names: Of float32 tensors in it.
        inputs: By name, what the graph is fed.
    """
    import onnxruntime as ort

    asked = _only(model, names)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(
        asked.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    taken = {each.name for each in session.get_inputs()}
    for arrays in inputs:
        fed = {name: array for name, array in arrays.items() if name in taken}
        found = session.run(list(names), fed)
        yield {name: array[0] for name, array in zip(names, found, strict=True)}


def _only(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The part of a model that tensors depend on, with them as its outputs."""
    maker = {name: node for node in model.graph.node for name in node.output}
    left, kept = list(names), set()
    while left:
        node = maker.get(left.pop())
        if node is not None and node.output[0] not in kept:
            kept.add(node.output[0])
            left += node.input
    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(node for node in model.graph.node if node.output[0] in kept)
    part.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names
    )
    return part
