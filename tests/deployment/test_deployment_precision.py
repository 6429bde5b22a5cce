"""Graphs in fp16 and int8 say nearly the same as in fp32, and have the types they claim."""

import functools

import numpy as np
import onnx
import preset_graphs
import pytest
from onnx import TensorProto
from onnx import numpy_helper

from kd3d_core.deployment.precision import graph_precision
from kd3d_core.deployment.precision import lower_opset
from kd3d_core.deployment.precision import network_inputs
from kd3d_core.deployment.precision import to_precision
from kd3d_core.deployment.quantise import INT8_TARGETS
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.bundle import check_signature
from kd3d_core.runtime.bundle import sha256

pytest.importorskip("onnxruntime", reason="conversions are ONNX Runtime's")

NAMES = ("tiny", "quarter")
#: Root mean square of the difference of a map, as a part of the map's standard deviation.
TOLERANCE = {"fp16": 0.01, "int8": 0.2}
#: Convolutions that read the graph's input: the 1 x 1 encoder of a BEV image, none of pillars.
READ_THE_INPUT = {"tiny": 1, "quarter": 0}


@functools.cache
def converted(name, precision, target):
    return to_precision(preset_graphs.bundle(name), precision, preset_graphs.clouds(), target)


@pytest.fixture(params=NAMES)
def bundle(request):
    return preset_graphs.bundle(request.param)


@pytest.fixture(params=[(name, precision) for name in NAMES for precision in TOLERANCE])
def variant(request):
    """(bundle in fp32, precision, bundle in that precision)."""
    name, precision = request.param
    return preset_graphs.bundle(name), precision, converted(name, precision, "cpu")


def maps(graph, manifest, cloud):
    return make_backend("onnxruntime", graph).run(next(network_inputs(manifest, [cloud])))


def test_maps_stay_near_those_of_fp32(variant):
    bundle, precision, other = variant
    cloud = preset_graphs.clouds(4)[3]
    wanted = maps(bundle.onnx, bundle.manifest, cloud)
    found = maps(other.onnx, other.manifest, cloud)
    for one, two in zip(wanted, found, strict=True):
        assert one.std() > 1e-6
        assert 0 < np.sqrt(((one - two) ** 2).mean()) < TOLERANCE[precision] * one.std()


def test_the_bundle_tells_what_it_holds(variant):
    bundle, precision, other = variant
    assert graph_precision(bundle.onnx) == "fp32"
    assert graph_precision(other.onnx) == precision
    assert other.manifest.name == f"{bundle.manifest.name}-{precision}"
    assert other.manifest.onnx_sha256 == sha256(other.onnx)
    backend = make_backend("onnxruntime", other.onnx)
    check_signature(other.manifest, backend.inputs, backend.outputs, precision)


def test_inputs_and_outputs_stay_float32(variant):
    graph = onnx.load_from_string(variant[2].onnx).graph
    kinds = {each.name: each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)}
    assert kinds.pop("cells", TensorProto.INT64) == TensorProto.INT64
    assert set(kinds.values()) == {TensorProto.FLOAT}


def test_fp16_keeps_the_pillar_encoder_in_float32():
    bundle = preset_graphs.bundle("quarter")
    graph = onnx.load_from_string(converted("quarter", "fp16", "cpu").onnx).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    weights = {t.name: t for t in onnx.load_from_string(bundle.onnx).graph.initializer}
    (linear,) = (node for node in graph.node if node.op_type == "MatMul")
    assert linear.input[0] == "pillars"  # not by way of float16
    found = next(t for t in graph.initializer if t.name == linear.input[1])
    assert found.raw_data == weights[linear.input[1]].raw_data
    convolutions = [node for node in graph.node if node.op_type.startswith("Conv")]
    assert {kinds[node.input[1]] for node in convolutions} == {TensorProto.FLOAT16}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", INT8_TARGETS)
def test_int8_is_what_the_target_takes(name, target):
    graph = onnx.load_from_string(converted(name, "int8", target).onnx).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    kinds = set()
    quantised = 0
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            zero = numpy_helper.to_array(constants[node.input[2]])
            kinds.add(str(zero.dtype))
            assert not zero.any()  # symmetric, or of what is never negative
        if node.op_type.startswith("Conv") and node.input[1] in makers:
            weight = makers[node.input[1]]
            scale = numpy_helper.to_array(constants[weight.input[1]])
            (axis,) = (a.i for a in weight.attribute if a.name == "axis")
            values = numpy_helper.to_array(constants[weight.input[0]])
            assert axis == (node.op_type == "ConvTranspose")
            assert scale.shape == (values.shape[axis],)  # a scale for every output channel
            assert values.dtype == "int8"
            # Two products of uint8 and 7 bits fit into int16: 2 * 255 * 63 < 2 ** 15.
            largest = 63 if target == "cpu" else 127
            assert 0.9 * largest < abs(values.astype(int)).max() <= largest
            assert all(constants[n].data_type == TensorProto.FLOAT for n in node.input[2:])
            quantised += 1
    convolutions = sum(node.op_type.startswith("Conv") for node in graph.node)
    assert quantised > 10
    assert convolutions - quantised == READ_THE_INPUT[name]
    assert kinds == {"uint8" if target == "cpu" else "int8"}


def test_opset_17_says_the_same(bundle):
    lowered = lower_opset(bundle.onnx)
    model = onnx.load_from_string(lowered)
    assert [each.version for each in model.opset_import if not each.domain] == [17]
    assert lower_opset(lowered) == lowered
    cloud = preset_graphs.clouds()[1]
    wanted = maps(bundle.onnx, bundle.manifest, cloud)
    found = maps(lowered, bundle.manifest, cloud)
    for one, two in zip(wanted, found, strict=True):
        assert abs(one - two).max() < 1e-5


def test_fp32_is_the_bundle_itself(bundle):
    assert to_precision(bundle, "fp32") is bundle


def test_a_converted_graph_is_not_converted_again(variant):
    with pytest.raises(Kd3dError, match="already"):
        to_precision(variant[2], "fp16")


def test_int8_without_points_says_so(bundle):
    with pytest.raises(Kd3dError, match="calibrated"):
        to_precision(bundle, "int8", [])
