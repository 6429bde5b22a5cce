"""The same graph in other arithmetic: fp16, or int8 with explicit quantisation.

Strongly typed builders (TensorRT 10 and later, TensorRT-RTX) take the arithmetic from the graph's
own types, so a graph is made for each. Inputs and outputs stay float32: whatever runs the graph is
fed and decoded alike.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from kd3d_core.deployment.float16 import to_fp16
from kd3d_core.deployment.quantise import Int8Target
from kd3d_core.deployment.quantise import quantise
from kd3d_core.deployment.quantise_guard import guarded
from kd3d_core.errors import Kd3dError
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import sha256
from kd3d_core.runtime.detector import Detector
from kd3d_core.runtime.manifest import Manifest
from kd3d_core.runtime.manifest import Signature

GraphPrecision = Literal["fp32", "fp16", "int8"]
GRAPH_PRECISIONS: tuple[GraphPrecision, ...] = ("fp32", "fp16", "int8")

#: Every so many-th cloud is kept apart from calibration, to compare int8 on.
_APART = 4


def to_precision(
    bundle: Bundle,
    precision: GraphPrecision,
    clouds: Iterable[PointCloud] = (),
    target: Int8Target = "cpu",
) -> Bundle:
    """The bundle with its graph in another arithmetic.

    Int8 is fitted to clouds (`quantise`), and compared with fp32 on every fourth of them, which is
    kept apart for that: convolutions that do harm stay in float32 (`quantise_guard`).

    Args:
        bundle: With a graph in fp32.
        precision: "fp32" gives the bundle back as it is.
        clouds: For int8: real or simulated, as the robot will see them, with objects in them;
            labels are not needed. Some 20 of different places are enough.
        target: For int8, what will run it: "cpu" (OpenVINO, ONNX Runtime) or "tensorrt".

    Returns:
        A bundle whose name ends in the precision, whose `onnx_sha256` is that of the new graph.

    Raises:
        Kd3dError: The graph is not fp32, int8 has no cloud with points in the grid, or it finds
            other boxes.
    """
    if precision == "fp32":
        return bundle
    found = graph_precision(bundle.onnx)
    if found != "fp32":
        raise Kd3dError(
            f"the graph of {bundle.manifest.name} is {found} already; take the bundle that "
            "`kd3d_core export` wrote."
        )
    graph = to_fp16(bundle.onnx) if precision == "fp16" else _int8(bundle, list(clouds), target)
    changes = {"name": f"{bundle.manifest.name}-{precision}", "onnx_sha256": sha256(graph)}
    return Bundle(bundle.manifest.model_copy(update=changes), graph)


def network_inputs(
    manifest: Manifest, clouds: Iterable[PointCloud]
) -> Iterator[dict[str, NDArray[Any]]]:
    """What the graph is fed for each cloud that has points in the grid, levelled and all."""
    recorder = _Recorder(manifest)
    detector = Detector(Bundle(manifest, b""), recorder)
    for cloud in clouds:
        recorder.taken = None
        detector(cloud)
        if recorder.taken is not None:
            yield recorder.taken


def graph_precision(graph: bytes) -> GraphPrecision:
    """The arithmetic of a serialised graph, told by its operators and weights."""
    parsed = onnx.load_from_string(graph).graph
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in parsed.node):
        return "int8"
    kinds = {tensor.data_type for tensor in parsed.initializer}
    return "fp16" if onnx.TensorProto.FLOAT16 in kinds else "fp32"


def lower_opset(graph: bytes) -> bytes:
    """The model in opset 17, the newest that TensorRT 8.6 parses.

    Of the operators in kd3d's graphs two changed with opset 18: the axes of reductions, an input
    since, were an attribute, and a split into equal parts did not name their number.

    Raises:
        Kd3dError: The model cannot be said in opset 17.
    """
    model = onnx.load_from_string(graph)
    if all(each.version <= 17 for each in model.opset_import if not each.domain):
        return graph
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum" and node.input[1:]:
            axes = numpy_helper.to_array(constants[node.input.pop()])
            node.attribute.append(onnx.helper.make_attribute("axes", axes.tolist()))
        elif node.op_type == "Split":
            kept = [each for each in node.attribute if each.name != "num_outputs"]
            del node.attribute[:]
            node.attribute.extend(kept)
    for each in model.opset_import:
        if not each.domain:
            each.version = 17
    model.ir_version = min(model.ir_version, 8)
    try:
        return _checked(model)
    except onnx.checker.ValidationError as error:
        raise Kd3dError(f"the graph cannot be written in ONNX opset 17: {error}") from error


class _Recorder:
    """Takes down what a detector feeds its network; see `Backend`."""

    name = "recorder"
    precision = "f32"
    channels_last = False
    reason = ""

    def __init__(self, manifest: Manifest) -> None:
        self.inputs: Signature = manifest.inputs
        self.outputs: Signature = manifest.outputs
        self.taken: dict[str, NDArray[Any]] | None = None

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Keep a copy of the arrays and find nothing."""
        self.taken = {name: array.copy() for name, array in arrays.items()}
        shapes = self.outputs.values()
        return tuple(np.full([n or 1 for n in shape], -9.0, np.float32) for shape in shapes)


def _int8(bundle: Bundle, clouds: Sequence[PointCloud], target: Int8Target) -> bytes:
    """The bundle's graph in int8, compared with fp32."""
    apart = [cloud for i, cloud in enumerate(clouds) if i % _APART == _APART - 1]
    rest = [cloud for i, cloud in enumerate(clouds) if i % _APART != _APART - 1]
    found = quantise(bundle.onnx, list(network_inputs(bundle.manifest, rest)), target)
    # A few clouds are too few to keep any apart.
    return guarded(bundle, found, apart or rest)


def _checked(model: onnx.ModelProto) -> bytes:
    """The valid model's bytes, the same every time."""
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
