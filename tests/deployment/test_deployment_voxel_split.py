"""A network on voxels in two parts gives what it gives whole."""

import ctypes
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="needs torch")

sys.path.append(str(Path(__file__).resolve().parents[1] / "models"))

import torch
from small_voxels import small_voxel_model

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.layout import decode_outputs
from kd3d_core.deployment.voxel_split import MAP
from kd3d_core.deployment.voxel_split import SplitDetector
from kd3d_core.deployment.voxel_split import export_dense
from kd3d_core.errors import Kd3dError
from kd3d_core.models.batch import collate
from kd3d_core.models.detector import build_detector
from kd3d_core.models.presets import preset
from kd3d_core.pointcloud import PointCloud

pytest.importorskip("onnxruntime", reason="needs onnxruntime, which runs the dense part")

from kd3d_core.runtime.backends.onnxruntime import OnnxRuntimeBackend

DECODE = DecodeConfig(score_threshold=0.05)


class BoundBackend(OnnxRuntimeBackend):
    """ONNX Runtime told where its inputs and outputs lie, as TensorRT is on a GPU."""

    def network_on(self, stream):
        assert stream == 0
        self.places, self.passes = {}, 0
        return self

    def bind(self, name, address):
        self.places[name] = address

    def view(self, name):
        shape = (self.inputs | self.outputs)[name]
        buffer = (ctypes.c_float * int(np.prod(shape))).from_address(self.places[name])
        return np.frombuffer(buffer, np.float32).reshape(shape)

    def enqueue(self):
        self.passes += 1
        maps = self.run({MAP: self.view(MAP)})
        for name, values in zip(self.outputs, maps, strict=True):
            self.view(name)[:] = values


def clouds():
    generator = np.random.default_rng(0)
    for count in (3000, 400):
        points = generator.uniform((-8, -4, -1, 0), (8, 12, 2, 1), (count, 4))
        yield PointCloud(points.astype(np.float32))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    detector = build_detector(small_voxel_model()).eval()
    for layer in detector.head.outputs["heatmap"].parameters():
        torch.nn.init.normal_(layer, std=0.3)
    return detector


@pytest.fixture(scope="module")
def graph(network):
    return export_dense(network)


@pytest.mark.parametrize("kind", [OnnxRuntimeBackend, BoundBackend])
def test_boxes_are_those_of_the_whole_network(network, graph, kind):
    pytest.importorskip("spconv.pytorch", reason="needs spconv (pip install spconv-cu120)")
    config = network.config
    split = SplitDetector(network, kind(graph, 1, "f32"), DECODE)
    boxes = 0
    for cloud in clouds():
        fed = encode(cloud.points, config.grid, config.input)
        with torch.inference_mode():
            maps = network(collate([fed])).outputs.as_tuple()
        wanted = decode_outputs(
            [each[0].numpy() for each in maps],
            config.head.layout,
            config.grid,
            config.output_stride,
            config.classes,
            DECODE,
        )
        found = split(cloud)
        assert len(found) == len(wanted)
        np.testing.assert_array_equal(found.label, wanted.label)
        np.testing.assert_allclose(found.score, wanted.score, atol=1e-5)
        np.testing.assert_allclose(found.center, wanted.center, atol=1e-4)
        boxes += len(wanted)
    assert boxes > 10
    assert len(split(PointCloud(np.full((9, 4), 99, np.float32)))) == 0


def test_the_dense_graph_holds_no_sparse_layer(network, graph):
    model = onnx.load_from_string(graph)
    assert [each.name for each in model.graph.input] == [MAP]
    shape = [each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, network.encoder.channels, 4, 4]
    kinds = {node.op_type for node in model.graph.node}
    assert "ConvTranspose" in kinds
    assert not kinds & {"ScatterND", "BatchNormalization"}


def test_tensorrt_takes_the_dense_graph(graph):
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx, which builds without a GPU")
    from kd3d_core.deployment.float16 import to_fp16
    from kd3d_core.runtime.backends.trt_build import BuildRequest
    from kd3d_core.runtime.backends.trt_build import build_engine
    from kd3d_core.runtime.backends.trt_module import load_module

    module = load_module("tensorrt-rtx")
    for form, arithmetic in ((graph, "fp32"), (to_fp16(graph), "fp16")):
        assert build_engine(module, BuildRequest(form, "sm_89")).arithmetic == arithmetic


def test_a_graph_of_another_network_is_refused(network):
    import handmade_bundle

    backend = OnnxRuntimeBackend(handmade_bundle.graph(), 1, "f32")
    with pytest.raises(Kd3dError, match=r"inputs image.*export_dense"):
        SplitDetector(network, backend)


def test_a_network_without_voxels_is_exported_whole():
    with pytest.raises(Kd3dError, match="kd3d_core export"):
        export_dense(build_detector(preset("tiny")))
