"""The same graph in other arithmetic: fp16, or int8 with explicit quantisation.

Strongly typed builders (TensorRT 10 and later, TensorRT-RTX) take the arithmetic from the graph's
own types, so a graph is made for each. Inputs and outputs stay float32: whatever runs the graph is
fed and decoded alike.
"""

import logging
import tempfile
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import Literal

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from kd3d_core.codec.inputs import encode
from kd3d_core.deployment.float16 import to_fp16
from kd3d_core.errors import Kd3dError
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import sha256
from kd3d_core.runtime.manifest import Manifest

GraphPrecision = Literal["fp32", "fp16", "int8"]
GRAPH_PRECISIONS: tuple[GraphPrecision, ...] = ("fp32", "fp16", "int8")

#: What is quantised. All else, such as the pillar encoder, computes in float32.
_QUANTISED = ("Conv", "ConvTranspose")


def to_precision(
    bundle: Bundle, precision: GraphPrecision, clouds: Iterable[PointCloud] = ()
) -> Bundle:
    """The bundle with its graph in another arithmetic.

    Args:
        bundle: With a graph in fp32.
        precision: "fp32" gives the bundle back as it is.
        clouds: What int8 is calibrated on: real or simulated, as the robot will see them.

    Returns:
        A bundle whose name ends in the precision, whose `onnx_sha256` is that of the new graph.

    Raises:
        Kd3dError: The graph is not fp32, or int8 has no cloud with points in the grid.
    """
    if precision == "fp32":
        return bundle
    found = graph_precision(bundle.onnx)
    if found != "fp32":
        raise Kd3dError(
            f"the graph of {bundle.manifest.name} is {found} already; take the bundle that "
            "`kd3d_core export` wrote."
        )
    if precision == "fp16":
        graph = to_fp16(bundle.onnx)
    else:
        graph = to_int8(bundle.onnx, network_inputs(bundle.manifest, clouds))
    changes = {"name": f"{bundle.manifest.name}-{precision}", "onnx_sha256": sha256(graph)}
    return Bundle(bundle.manifest.model_copy(update=changes), graph)


def network_inputs(
    manifest: Manifest, clouds: Iterable[PointCloud]
) -> Iterator[dict[str, NDArray[Any]]]:
    """What the graph is fed for each cloud that has points in the grid."""
    for cloud in clouds:
        fed = encode(cloud.points, manifest.grid, manifest.input, cloud.time)
        if fed.points_in_range:
            yield {name: a[None] if name == "image" else a for name, a in fed.arrays.items()}


def graph_precision(graph: bytes) -> GraphPrecision:
    """The arithmetic of a serialised graph, told by its operators and weights."""
    parsed = onnx.load_from_string(graph).graph
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in parsed.node):
        return "int8"
    kinds = {tensor.data_type for tensor in parsed.initializer}
    return "fp16" if onnx.TensorProto.FLOAT16 in kinds else "fp32"


def to_int8(graph: bytes, inputs: Iterable[Mapping[str, NDArray[Any]]]) -> bytes:
    """Convolutions in int8 by explicit Q/DQ nodes; the first block and the outputs in float32.

    Symmetric int8 for activations and weights, per channel of the weights, and a float32 bias:
    what TensorRT takes. The ranges of activations are the extremes seen: most cells of a map are
    empty, so that a percentile would cut off the objects. The first block stays out because its
    input mixes channels of different ranges: with it int8 loses far more boxes.

    Args:
        graph: A serialised model in float32.
        inputs: What it is fed, cloud by cloud, as `network_inputs` gives.

    Raises:
        Kd3dError: There is no input to calibrate on, or nothing to quantise.
    """
    from onnxruntime.quantization import QuantFormat
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_static

    samples = list(inputs)
    if not samples:
        raise Kd3dError("int8 needs clouds with points in the grid to be calibrated on.")
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(graph))
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises optimisations that the exporter has done
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            quantize_static(
                model,
                path,
                _Samples(samples),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_QUANTISED),
                nodes_to_exclude=[*_first_block(model.graph), *_output_layers(model.graph)],
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                },
            )
            quantised = _checked(onnx.load(str(path)))
    finally:
        logger.setLevel(level)
    if graph_precision(quantised) != "int8":
        raise Kd3dError("int8: the graph has no convolutions but those that give its outputs.")
    return quantised


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


class _Samples:
    """Calibration data as ONNX Runtime reads it: one sample a call, None at the end."""

    def __init__(self, samples: list[Mapping[str, NDArray[Any]]]) -> None:
        self._left = iter(samples)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next sample by input name."""
        sample = next(self._left, None)
        return None if sample is None else dict(sample)


def _first_block(graph: onnx.GraphProto) -> list[str]:
    """Names of the convolutions before the second one that has a stride."""
    found: list[str] = []
    strided = 0
    for node in graph.node:
        if node.op_type == "Conv":
            strided += any(a.name == "strides" and max(a.ints) > 1 for a in node.attribute)
            if strided > 1:
                break
            found.append(node.name)
    return found


def _output_layers(graph: onnx.GraphProto) -> list[str]:
    """Names of the convolutions whose result reaches the outputs without another in between."""
    maker = {name: node for node in graph.node for name in node.output}
    left = [each.name for each in graph.output]
    found = []
    while left:
        node = maker.get(left.pop())
        if node is not None and node.op_type in _QUANTISED:
            found.append(node.name)
        elif node is not None:
            left += node.input
    return found


def _checked(model: onnx.ModelProto) -> bytes:
    """The valid model's bytes, the same every time."""
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
