"""Int8 keeps what a layer gives, what a network gives, and what the shipped detector finds."""

import dataclasses

import numpy as np
import onnx
import preset_graphs
import pytest
from onnx import helper
from onnx import numpy_helper

from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.deployment.precision import network_inputs
from kd3d_core.deployment.quantise import quantise
from kd3d_core.deployment.quantise_cells import Cells
from kd3d_core.deployment.quantise_cells import tensors
from kd3d_core.deployment.quantise_fit import fit
from kd3d_core.deployment.quantise_graph import Graph
from kd3d_core.deployment.quantise_guard import LEAST_AGREEMENT
from kd3d_core.deployment.quantise_guard import agreement
from kd3d_core.deployment.quantise_guard import guarded
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.default import bundle_path
from kd3d_core.simulation.lidar import Lidar
from kd3d_core.simulation.sensors import SENSORS
from kd3d_core.simulation.street import make_scene

pytest.importorskip("onnxruntime", reason="calibration runs graphs with ONNX Runtime")


def layer(rows=24, columns=90, cells=3000):
    """Weights, bias, and correlated inputs with a mean, most of them zero: as after a ReLU."""
    generator = np.random.default_rng(0)
    mixed = generator.normal(size=(cells, 8)) @ generator.normal(size=(8, columns))
    read = np.maximum(mixed + 0.3 * generator.normal(size=mixed.shape), 0).astype(np.float32)
    weights = generator.normal(size=(rows, columns)).astype(np.float32)
    return weights, generator.normal(size=rows).astype(np.float32), read


def test_a_fit_beats_rounding_to_the_nearest():
    weights, bias, read = layer()
    wanted = read @ weights.T + bias
    found = fit(weights, bias, read, wanted, 63)
    assert abs(found.values).max() <= 63
    assert (found.values == found.values.round()).all()
    step = abs(weights).max(1, keepdims=True) / 63
    nearest = read @ (np.round(weights / step) * step).T + bias
    error = np.sqrt(((nearest - wanted) ** 2).mean()) / wanted.std()
    assert found.error < 0.5 * error


def test_a_fit_makes_up_for_what_the_layer_reads():
    """Inputs that came out too small and shifted by the layers before."""
    weights, bias, read = layer()
    wanted = read @ weights.T + bias
    off = np.maximum(0.9 * read - 0.05, 0)
    found = fit(weights, bias, off, wanted, 127)
    given = off @ (found.values * found.scale[:, None]).T + found.bias
    assert abs((given - wanted).mean(0)).max() < 0.01 * wanted.std()  # no shift of any channel
    untouched = np.sqrt(((off @ weights.T + bias - wanted) ** 2).mean()) / wanted.std()
    assert found.error < 0.5 * untouched


def test_rows_of_a_channel_share_scale_and_bias():
    weights, bias, read = layer(rows=16)
    bias = np.repeat(bias[::4], 4)
    found = fit(weights, bias, read, read @ weights.T + bias, 63, repeats=4)
    for shared in (found.scale, found.bias):
        assert (shared.reshape(4, 4) == shared[::4, None]).all()
    assert found.error < 0.03


def test_a_layer_that_reads_zeros_gives_its_bias():
    weights, bias, read = layer()
    found = fit(weights, bias, 0 * read, np.tile(bias, (len(read), 1)), 63)
    assert found.bias == pytest.approx(bias, abs=1e-5)


@pytest.mark.parametrize("name", ["tiny", "quarter"])
def test_cells_say_what_a_convolution_does(name):
    """Strides, borders and transposed convolutions: the matrix gives the graph's own results."""
    bundle = preset_graphs.bundle(name)
    graph = Graph(bundle.onnx)
    inputs = list(network_inputs(bundle.manifest, preset_graphs.clouds(1)))
    names = [n for node in graph.convolutions for n in (node.input[0], node.output[0])]
    (found,) = tensors(graph.model(), list(dict.fromkeys(names)), inputs)
    assert {node.op_type for node in graph.convolutions} == {"Conv", "ConvTranspose"}
    for node in graph.convolutions:
        cells = Cells(node, graph.weights(node))
        chosen = cells.choose(found[node.input[0]], 10**6, np.random.default_rng(0))
        size = found[node.output[0]][0].size
        assert len(np.unique(chosen, axis=0)) == size // cells.repeats  # all there are
        matrix = cells.matrix(graph.weights(node))
        result = cells.read(found[node.input[0]], chosen) @ matrix.T
        result += np.repeat(graph.bias(node), cells.repeats)
        wanted = cells.written(found[node.output[0]], chosen)
        assert abs(result - wanted).max() < 1e-4 * abs(wanted).max()
        assert (cells.weights(matrix) == graph.weights(node)).all()


@pytest.mark.parametrize("name", ["tiny", "quarter"])
def test_rescaling_changes_nothing(name):
    bundle = preset_graphs.bundle(name)
    graph = Graph(bundle.onnx)
    inputs = list(network_inputs(bundle.manifest, preset_graphs.clouds(1)))
    names = list(bundle.manifest.outputs)
    (wanted,) = tensors(graph.model(), names, inputs)
    chosen = graph.rescalable()
    relus = sum(node.op_type == "Relu" for node in graph.model().graph.node)
    # All but that of the pillar encoder, which follows no convolution.
    assert len(chosen) == relus - preset_graphs.is_pillars(bundle)
    generator = np.random.default_rng(0)
    widths = {name: len(graph.bias(graph.maker[graph.maker[name].input[0]])) for name in chosen}
    graph.rescale({n: generator.uniform(0.2, 5, width) for n, width in widths.items()})
    (found,) = tensors(graph.model(), [*names, *chosen], inputs)
    for output in names:
        assert abs(found[output] - wanted[output]).max() < 1e-3 * wanted[output].std()


def small_graph():
    """A Conv, whose signed result a Conv reads joined with that of another Conv and ReLU."""
    generator = np.random.default_rng(0)

    def conv(name, source, inputs):
        weights = generator.normal(size=(4, inputs, 3, 3)).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"{name}_w"))
        return helper.make_node("Conv", [source, f"{name}_w"], [name], name, pads=[1, 1, 1, 1])

    constants = []
    nodes = [
        conv("one", "image", 2),
        helper.make_node("Relu", ["one"], ["positive"]),
        conv("two", "positive", 4),
        helper.make_node("Relu", ["two"], ["other"]),
        helper.make_node("Concat", ["one", "other"], ["both"], axis=1),
        conv("three", "both", 8),
    ]
    sizes = {"image": 2, "three": 4}
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, width, 12, 12])
        for name, width in sizes.items()
    ]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], constants)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)])


def test_signed_tensors_and_joined_ones():
    """What is joined is rounded alike, signed where one part is; a missing bias appears."""
    model = small_graph().SerializeToString()
    inputs = [{"image": np.random.default_rng(i).normal(size=(1, 2, 12, 12))} for i in range(4)]
    inputs = [{"image": each["image"].astype(np.float32)} for each in inputs]
    found = quantise(model, inputs)
    assert set(found.layers) == {"two", "three"}
    assert not found.spans["positive"].signed
    assert found.spans["one"].signed
    assert found.spans["one"] == found.spans["other"] == found.spans["both"]
    # "one" is also read as it is, "positive" only by a convolution: but it follows what two read.
    assert found.graph.rescalable() == ["other"]
    written = onnx.load_from_string(found.serialised())
    (wanted,) = tensors(small_graph(), ["three"], inputs[:1])
    (result,) = tensors(written, ["three"], inputs[:1])
    error = result["three"] - wanted["three"]
    assert np.sqrt((error**2).mean()) < 0.05 * wanted["three"].std()
    assert found.serialised(["two", "three"]).count(b"QuantizeLinear") == 0


def test_a_graph_without_convolutions_behind_the_first_is_refused():
    model = small_graph()
    del model.graph.node[1:], model.graph.output[0]
    model.graph.output.append(
        helper.make_tensor_value_info("one", onnx.TensorProto.FLOAT, [1, 4, 12, 12])
    )
    with pytest.raises(Kd3dError, match="no convolutions"):
        quantise(model.SerializeToString(), [{"image": np.zeros((1, 2, 12, 12), np.float32)}])


@pytest.fixture(scope="module")
def shipped():
    """The shipped bundle, it in int8 by three simulated sweeps, and three more."""
    clouds = [Lidar(make_scene(s), SENSORS["hdl64e"], s).scan(0.0).cloud for s in range(1, 7)]
    bundle = read_bundle(bundle_path())
    inputs = list(network_inputs(bundle.manifest, clouds[:3]))
    return bundle, quantise(bundle.onnx, inputs), clouds[3:]


def test_the_shipped_detector_finds_the_same_in_int8(shipped):
    bundle, found, clouds = shipped
    result = agreement(bundle, found.serialised(), clouds)
    assert result.kept > 50
    assert result.share >= LEAST_AGREEMENT


def test_empty_cells_of_the_shipped_detector_score_no_higher(shipped):
    bundle, found, clouds = shipped
    (inputs,) = network_inputs(bundle.manifest, clouds[:1])
    logits = HEAD_NAMES[0]
    models = (onnx.load_from_string(bundle.onnx), onnx.load_from_string(found.serialised()))
    before, after = (
        1 / (1 + np.exp(-next(iter(tensors(model, [logits], [inputs])))[logits]))
        for model in models
    )
    empty = before < 0.1
    assert empty.mean() > 0.9
    assert abs((after - before)[empty].mean()) < 3e-4
    assert after[empty].max() < 0.2
    assert np.sqrt(((after - before)[~empty] ** 2).mean()) < 0.03


def spoilt(found, names):
    """Some layers with weights of zero, and errors to match."""
    layers = {
        name: dataclasses.replace(each, weights=0 * each.weights, error=1.0)
        if name in names
        else each
        for name, each in found.layers.items()
    }
    return dataclasses.replace(found, layers=layers)


def test_a_layer_that_does_harm_stays_in_float32(shipped, caplog):
    bundle, found, clouds = shipped
    bad = list(found.layers)[3]
    graph = guarded(bundle, spoilt(found, [bad]), clouds)
    assert graph == found.serialised([bad])
    assert bad in caplog.text
    assert agreement(bundle, graph, clouds).share >= LEAST_AGREEMENT


def test_int8_that_finds_other_boxes_is_refused(shipped):
    bundle, found, clouds = shipped
    with pytest.raises(Kd3dError, match="another detector"):
        guarded(bundle, spoilt(found, found.layers), clouds)
