"""What int8 needs to know of an ONNX graph: which tensor feeds which convolution, by channel."""

from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx import numpy_helper


class Graph:
    """A float32 model that is taken apart; `constants` may be changed before `model` is asked for.

    Attributes:
        constants: Arrays of the initialisers by name.
        convolutions: Nodes that int8 can compute, in the order of execution: `Conv` without
            groups, and `ConvTranspose` whose results do not overlap, that do not read an input of
            the graph. An image has channels of different meanings, and to round it costs the time
            that int8 would save.
        maker: The node that writes a tensor.
    """

    def __init__(self, serialised: bytes) -> None:
        """Parse a model.

        Args:
            serialised: With constant weights, as `export_onnx` writes it.
        """
        self._model = onnx.shape_inference.infer_shapes(onnx.load_from_string(serialised))
        graph = self._model.graph
        self.constants: dict[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer
        }
        self.maker = {name: node for node in graph.node for name in node.output}
        self._users: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self._users.setdefault(name, []).append(node)
        self._widths = {
            each.name: each.type.tensor_type.shape.dim[1].dim_value
            for each in (*graph.value_info, *graph.input, *graph.output)
            if len(each.type.tensor_type.shape.dim) > 1
        }
        self._outputs = {each.name for each in graph.output}
        self._inputs = {each.name for each in graph.input}
        self.convolutions = [node for node in graph.node if self._computable(node)]

    def model(self) -> onnx.ModelProto:
        """A copy of the model with the constants as they are now."""
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        del model.graph.initializer[:]
        model.graph.initializer.extend(
            numpy_helper.from_array(np.ascontiguousarray(array), name)
            for name, array in self.constants.items()
        )
        return model

    def weights(self, node: onnx.NodeProto) -> NDArray[Any]:
        """The weights of a convolution as they lie in the graph."""
        return self.constants[node.input[1]]

    def bias(self, node: onnx.NodeProto) -> NDArray[Any]:
        """(O,) the bias of a convolution, zeros where it has none."""
        if len(node.input) > 2:
            return self.constants[node.input[2]]
        return np.zeros(self.weights(node).shape[node.op_type == "ConvTranspose"], np.float32)

    def path(self, tensor: str) -> list[str]:
        """The tensor and all that it is joined or split from."""
        node = self.maker.get(tensor)
        if node is None or node.op_type not in ("Concat", "Split"):
            return [tensor]
        joined = node.input if node.op_type == "Concat" else node.input[:1]
        return [tensor, *(name for each in joined for name in self.path(each))]

    def sources(self, tensor: str) -> list[str]:
        """What `path` begins with: tensors that are neither joined nor split from others."""
        joins = ("Concat", "Split")
        found = (name for name in self.path(tensor))
        return [
            name
            for name in dict.fromkeys(found)
            if name not in self.maker or self.maker[name].op_type not in joins
        ]

    def rescale(self, factors: Mapping[str, NDArray[np.float64]]) -> None:
        """Divide channels of tensors by positive factors without changing the graph's outputs.

        The convolution before the ReLU is divided, all those after it are multiplied: a ReLU is
        positively homogeneous. Nagel et al., Data-Free Quantization (ICCV 2019), sec. 4.1.

        Args:
            factors: (C,) for tensors of `rescalable`.
        """
        for tensor, factor in factors.items():
            before = self.maker[self.maker[tensor].input[0]]
            axis = int(before.op_type == "ConvTranspose")
            self._multiply(before.input[1], axis, 1 / factor)
            if len(before.input) > 2:
                self._multiply(before.input[2], 0, 1 / factor)
            for node, places in self._routes(tensor, np.arange(len(factor))) or []:
                spread = np.ones(self.weights(node).shape[node.op_type == "Conv"])
                spread[places[places >= 0]] = factor[places >= 0]
                self._multiply(node.input[1], int(node.op_type == "Conv"), spread)

    def rescalable(self) -> list[str]:
        """Results of a convolution and a ReLU that only convolutions read, joined or split."""
        found = []
        for name, node in self.maker.items():
            before = self.maker.get(node.input[0]) if node.op_type == "Relu" else None
            if before is None or before.op_type not in ("Conv", "ConvTranspose"):
                continue
            alone = len(self._users[node.input[0]]) == 1 and attribute(before, "group", 1) == 1
            places = np.arange(self._widths.get(name, 0))
            if alone and len(places) and self._routes(name, places) is not None:
                found.append(name)
        return found

    def _routes(
        self, tensor: str, places: NDArray[np.int64]
    ) -> list[tuple[onnx.NodeProto, NDArray[np.int64]]] | None:
        """Convolutions that read the channels now at `places` (-1: split away), and where there.

        None where something else reads them too.
        """
        if tensor in self._outputs:
            return None
        found: list[tuple[onnx.NodeProto, NDArray[np.int64]]] = []
        for node in self._users.get(tensor, []):
            steps: Iterable[tuple[str, NDArray[np.int64]]]
            if node.op_type in ("Conv", "ConvTranspose") and attribute(node, "group", 1) == 1:
                found.append((node, places))
                continue
            if node.op_type == "Concat" and attribute(node, "axis", 0) == 1:
                steps = self._joined(node, tensor, places)
            elif node.op_type == "Split" and attribute(node, "axis", 0) == 1:
                steps = self._split(node, places)
            else:
                return None
            for name, moved in steps:
                further = self._routes(name, moved)
                if further is None:
                    return None
                found += further
        return found

    def _joined(
        self, node: onnx.NodeProto, tensor: str, places: NDArray[np.int64]
    ) -> Iterable[tuple[str, NDArray[np.int64]]]:
        """Where channels are after a `Concat`."""
        start = 0
        for name in node.input:
            if name == tensor:
                yield node.output[0], np.where(places >= 0, places + start, -1)
            start += self._widths[name]

    def _split(
        self, node: onnx.NodeProto, places: NDArray[np.int64]
    ) -> Iterable[tuple[str, NDArray[np.int64]]]:
        """Where channels are after a `Split`."""
        start = 0
        for name in node.output:
            width = self._widths[name]
            inside = (places >= start) & (places < start + width)
            yield name, np.where(inside, places - start, -1)
            start += width

    def _multiply(self, name: str, axis: int, factor: NDArray[np.float64]) -> None:
        """Multiply a constant along an axis."""
        array = self.constants[name]
        shape = [-1 if each == axis else 1 for each in range(array.ndim)]
        self.constants[name] = (array * factor.reshape(shape)).astype(np.float32)

    def _computable(self, node: onnx.NodeProto) -> bool:
        """Whether a node is one of `convolutions`."""
        if node.op_type not in ("Conv", "ConvTranspose") or node.input[1] not in self.constants:
            return False
        kernel = self.constants[node.input[1]].shape[2:]
        plain = attribute(node, "group", 1) == 1 and len(kernel) == 2
        if node.op_type == "ConvTranspose":
            extra = (*attribute(node, "pads", ()), *attribute(node, "output_padding", ()))
            plain = plain and tuple(attribute(node, "strides", (1, 1))) == kernel
            plain = plain and not any(extra)
        plain = plain and set(attribute(node, "dilations", (1, 1))) == {1}
        plain = plain and attribute(node, "auto_pad", b"NOTSET") == b"NOTSET"
        return plain and not self._inputs & set(self.path(node.input[0]))


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute, or the default where it has none."""
    found = next((each for each in node.attribute if each.name == name), None)
    return default if found is None else helper.get_attribute_value(found)
