"""TensorRT's own parser and builder take every preset in every precision; nothing is imitated.

`tensorrt_rtx` builds without a GPU; it cannot load an engine without one, so layers, shapes and
types are those of the network it was built from.
"""

from types import SimpleNamespace

import cuda_host
import handmade_bundle
import onnx
import preset_graphs
import pytest

from kd3d_core.deployment.precision import GRAPH_PRECISIONS
from kd3d_core.deployment.precision import to_precision
from kd3d_core.errors import Kd3dError
from kd3d_core.models.presets import PRESETS
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.backends.trt_build import BuildRequest
from kd3d_core.runtime.backends.trt_build import build_engine
from kd3d_core.runtime.backends.trt_build import obtain_engine
from kd3d_core.runtime.backends.trt_build import parse_graph
from kd3d_core.runtime.backends.trt_context import EngineContext
from kd3d_core.runtime.backends.trt_module import TrtModule
from kd3d_core.runtime.backends.trt_module import load_module
from kd3d_core.runtime.backends.trt_module import network_precision

trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx, which builds without a GPU")

ARCHITECTURE = "sm_89"


@pytest.fixture(scope="module")
def module():
    return load_module("tensorrt-rtx")


def layer_kinds(network):
    return [network.get_layer(i).type for i in range(network.num_layers)]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_in_every_precision(name, module):
    bundle = preset_graphs.bundle(name)
    manifest = bundle.manifest
    nodes = onnx.load_from_string(bundle.onnx).graph.node
    convolutions = sum(node.op_type == "Conv" for node in nodes)
    for precision in GRAPH_PRECISIONS:
        variant = to_precision(bundle, precision, preset_graphs.clouds(1), "tensorrt")
        network = parse_graph(module, variant.onnx).network
        assert network.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        assert network_precision(module, network) == precision
        inputs = [network.get_input(i) for i in range(network.num_inputs)]
        outputs = [network.get_output(i) for i in range(network.num_outputs)]
        for tensors, wanted in ((inputs, manifest.inputs), (outputs, manifest.outputs)):
            shapes = {each.name: tuple(each.shape) for each in tensors}
            assert shapes == {
                name: tuple(-1 if n is None else n for n in shape)
                for name, shape in wanted.items()
            }
            for each in tensors:
                kind = trt.DataType.INT64 if each.name == "cells" else trt.DataType.FLOAT
                assert each.dtype == kind
        kinds = layer_kinds(network)
        assert kinds.count(trt.LayerType.CONVOLUTION) == convolutions
        assert kinds.count(trt.LayerType.DECONVOLUTION) == 2
        assert (trt.LayerType.QUANTIZE in kinds) == (precision == "int8")
        assert (trt.LayerType.SCATTER in kinds) == preset_graphs.is_pillars(bundle)
        engine = build_engine(
            module, BuildRequest(variant.onnx, ARCHITECTURE, largest=manifest.largest)
        )
        assert engine.arithmetic == precision
        assert engine.layers == network.num_layers
        assert len(engine.content) > len(variant.onnx) / 2  # the weights are in it


def test_fp16_engines_are_smaller(module):
    bundle = preset_graphs.bundle("half")
    sizes = [
        len(build_engine(module, BuildRequest(each.onnx, ARCHITECTURE)).content)
        for each in (bundle, to_precision(bundle, "fp16"))
    ]
    assert sizes[1] < 0.8 * sizes[0]


def test_a_kept_engine_is_taken_and_a_bad_one_replaced(module, tmp_path):
    request = BuildRequest(handmade_bundle.graph(), ARCHITECTURE)
    first = obtain_engine(module, request, tmp_path)
    assert not first.cached
    assert first.note == ""
    path = tmp_path / request.key(module).file_name
    again = obtain_engine(module, request, tmp_path)
    assert again.cached
    assert again.content == first.content
    assert (again.arithmetic, again.layers) == ("fp32", first.layers)
    for damaged in (path.read_bytes()[:-5], b"no engine", b""):
        path.write_bytes(damaged)
        rebuilt = obtain_engine(module, request, tmp_path)
        assert not rebuilt.cached
        assert "built again" in rebuilt.note
        assert obtain_engine(module, request, tmp_path).cached
    foreign = BuildRequest(handmade_bundle.graph(), "sm_86")
    (tmp_path / foreign.key(module).file_name).write_bytes(path.read_bytes())
    assert not obtain_engine(module, foreign, tmp_path).cached
    newer = TrtModule(module.name, module.library, "99.0")
    assert not obtain_engine(newer, request, tmp_path).cached
    assert not obtain_engine(module, request, tmp_path, renew=True).cached


def test_rtx_which_measures_no_kernels_keeps_no_timings(module, tmp_path):
    request = BuildRequest(handmade_bundle.graph(), ARCHITECTURE)
    obtain_engine(module, request, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [request.key(module).file_name]


def test_a_folder_that_cannot_be_written_is_only_a_note(module, tmp_path):
    (tmp_path / "file").write_text("")
    request = BuildRequest(handmade_bundle.graph(), ARCHITECTURE)
    engine = obtain_engine(module, request, tmp_path / "file" / "engines")
    assert engine.content
    assert "not kept" in engine.note


def test_an_unknown_architecture_names_the_known(module):
    assert ARCHITECTURE in module.architectures
    with pytest.raises(Kd3dError, match=r"sm_89.*sm_120"):
        build_engine(module, BuildRequest(handmade_bundle.graph(), "sm_61"))


def test_what_is_no_graph_is_refused(module):
    with pytest.raises(Kd3dError, match="cannot read the graph"):
        parse_graph(module, b"no graph at all")


def test_bf16_names_the_way_to_fp16():
    with pytest.raises(Kd3dError, match="kd3d_core compile"):
        make_backend("tensorrt-rtx", handmade_bundle.graph(), precision="bf16")


def test_running_without_a_gpu_says_so(tmp_path):
    cuda = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings")
    if int(cuda.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("this machine has a GPU")
    with pytest.raises(Kd3dError, match="needs an NVIDIA GPU"):
        make_backend("tensorrt-rtx", handmade_bundle.graph(), cache_dir=str(tmp_path))


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
def test_an_absent_module_says_what_to_install(name, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, name.replace("-", "_"), None)
    with pytest.raises(Kd3dError, match="pip install"):
        load_module(name)


# The rules of versions that cannot be installed beside this Python, on the calls they receive.


def flags_of(version, precision):
    """The builder flags that a `tensorrt` of some version is given."""
    flags = SimpleNamespace(FP16="fp16", INT8="int8")
    creation = SimpleNamespace(EXPLICIT_BATCH=0, STRONGLY_TYPED=1)
    library = SimpleNamespace(BuilderFlag=flags, NetworkDefinitionCreationFlag=creation)
    found = []
    module = TrtModule("tensorrt", library, version)
    module.allow_types(SimpleNamespace(set_flag=found.append), precision)
    return module.network_flags(), found


def test_8_6_is_given_flags_and_later_versions_types():
    assert flags_of("8.6.0", "fp32") == (1 << 0, [])
    assert flags_of("8.6.0", "fp16") == (1 << 0, ["fp16"])
    assert flags_of("8.6.0", "int8") == (1 << 0, ["fp16", "int8"])
    for version in ("10.3.0", "11.4.1"):
        for precision in GRAPH_PRECISIONS:
            assert flags_of(version, precision) == (1 << 1, [])


def test_a_release_without_the_flag_is_typed_by_nature():
    library = SimpleNamespace(NetworkDefinitionCreationFlag=SimpleNamespace())
    assert TrtModule("tensorrt", library, "12.0").network_flags() == 0


def test_only_rtx_lists_architectures(module):
    assert module.architectures == ("sm_75", "sm_80", "sm_86", "sm_89", "sm_120", "sm_121")
    assert TrtModule("tensorrt", SimpleNamespace(), "10.3").architectures == ()


def test_rtx_waits_for_the_kernels_of_its_shapes():
    """A CUDA graph would keep the general kernels that it begins with."""
    made = []
    engine = SimpleNamespace(
        create_runtime_config=lambda: SimpleNamespace(
            dynamic_shapes_kernel_specialization_strategy=None
        ),
        create_execution_context=lambda *given: made.append(given) or "context",
    )
    assert load_module("tensorrt-rtx").create_context(engine) == "context"
    ((config,),) = made
    strategies = trt.DynamicShapesKernelSpecializationStrategy
    assert config.dynamic_shapes_kernel_specialization_strategy == strategies.EAGER
    made.clear()
    TrtModule("tensorrt", SimpleNamespace(), "10.3").create_context(engine)
    assert made == [()]


def test_a_context_finds_types_and_free_shapes_and_binds_the_largest():
    """On the calls it makes: an engine needs a GPU."""
    shapes = {"pillars": (-1, 4, 9), "cells": (-1,), "heatmap": (1, 2, 3, 3)}
    told = {}

    def tell(kind):
        return lambda name, value: told.setdefault(kind, {}).__setitem__(name, value)

    context = SimpleNamespace(
        set_tensor_address=tell("address"),
        set_input_shape=tell("shape"),
        execute_async_v3=lambda stream: told.setdefault("streams", []).append(stream) or True,
    )
    engine = SimpleNamespace(
        create_execution_context=lambda: context,
        num_io_tensors=3,
        get_tensor_name=list(shapes).__getitem__,
        get_tensor_shape=shapes.__getitem__,
        get_tensor_mode=lambda name: "out" if name == "heatmap" else "in",
        get_tensor_dtype=lambda name: "i8" if name == "cells" else "f4",
    )
    library = SimpleNamespace(TensorIOMode=SimpleNamespace(INPUT="in", OUTPUT="out"), nptype=str)
    gpu = cuda_host.HostGpu()
    made = EngineContext(TrtModule("tensorrt", library, "10.3"), engine, gpu, 7, 50, [])
    assert made.inputs == {"pillars": (None, 4, 9), "cells": (None,)}
    assert made.outputs == {"heatmap": (1, 2, 3, 3)}
    assert made.wide_cells
    assert told["shape"] == {"pillars": (50, 4, 9), "cells": (50,)}
    assert told["address"] == {name: int(place) for name, place in made.addresses.items()}
    sizes = {name: gpu.memory[int(place)].nbytes for name, place in made.addresses.items()}
    assert sizes == {"pillars": 50 * 36 * 4, "cells": 50 * 8, "heatmap": 72}
    made.bind("heatmap", 4096)
    made.enqueue()
    assert told["address"]["heatmap"] == made.addresses["heatmap"] == 4096
    assert told["streams"] == [7]
    context.execute_async_v3 = lambda stream: False
    with pytest.raises(Kd3dError, match="TensorRT failed"):
        made.enqueue()
