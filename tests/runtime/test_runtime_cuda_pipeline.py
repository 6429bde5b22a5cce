"""Points to boxes by the GPU's pipeline, its kernels compiled for the CPU, its network run by ORT.

What is left for a GPU to prove is CUDA's and TensorRT's own calls.
"""

import cuda_host
import handmade_bundle
import numpy as np
import pytest
from onnx import TensorProto
from onnx import helper
from onnx import numpy_helper

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.heads import head_channels
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.backends.cuda_pipeline import PointPipeline
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.detector import Detector

pytest.importorskip("onnxruntime", reason="needs onnxruntime, which runs the network here")

from kd3d_core.runtime.backends.onnxruntime import OnnxRuntimeBackend


class HostNetwork:
    """A `DeviceNetwork` on a `HostGpu`."""

    def __init__(self, gpu, bundle):
        about = bundle.manifest
        self._backend = OnnxRuntimeBackend(bundle.onnx, 1, "f32")
        self._arrays = {}
        self.addresses = {}
        self.wide_cells = True
        for name, shape in (about.inputs | about.outputs).items():
            full = tuple(about.largest if n is None else n for n in shape)
            dtype = np.dtype(np.int64 if name == "cells" else np.float32)
            self.addresses[name] = gpu.allocate(int(np.prod(full)) * dtype.itemsize)
            self._arrays[name] = gpu.view(self.addresses[name], full, dtype)
        self._inputs, self._outputs = list(about.inputs), list(about.outputs)

    def enqueue(self):
        maps = self._backend.run({name: self._arrays[name] for name in self._inputs})
        for name, values in zip(self._outputs, maps, strict=True):
            self._arrays[name][:] = values


def handmade():
    return Bundle(handmade_bundle.manifest(), handmade_bundle.graph())


def pillars():
    """A network on pillars with drawn weights: the highest of their features, one convolution."""
    rows, columns = handmade_bundle.GRID.shape
    widths = head_channels(6)
    generator = np.random.default_rng(0)
    weight = 0.1 * generator.normal(size=(sum(widths.values()), 9, 2, 2))
    constants = {
        "canvas": np.zeros((rows * columns, 9), np.float32),
        "last": np.array([1], np.int64),
        "form": np.array([1, rows, columns, 9], np.int64),
        "weight": weight.astype(np.float32),
        "split": np.array(list(widths.values()), np.int64),
    }
    nodes = [
        helper.make_node("ReduceMax", ["pillars", "last"], ["features"], keepdims=0),
        helper.make_node("Unsqueeze", ["cells", "last"], ["places"]),
        helper.make_node("ScatterND", ["canvas", "places", "features"], ["filled"]),
        helper.make_node("Reshape", ["filled", "form"], ["square"]),
        helper.make_node("Transpose", ["square"], ["map"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["map", "weight"], ["maps"], strides=[2, 2]),
        helper.make_node("Split", ["maps", "split"], list(widths), axis=1),
    ]
    kinds = {"pillars": TensorProto.FLOAT, "cells": TensorProto.INT64}
    manifest = handmade_bundle.manifest(input=PillarInput(max_pillars=1500))
    inputs = [
        helper.make_tensor_value_info(name, kinds[name], shape)
        for name, shape in manifest.inputs.items()
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in manifest.outputs.items()
    ]
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "pillars", inputs, outputs, held),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    return Bundle(manifest, model.SerializeToString())


BUNDLES = {"image": handmade, "pillars": pillars}


def both(name, **options):
    """The pipeline, and the same bundle on the CPU."""
    bundle = BUNDLES[name]()
    gpu = cuda_host.HostGpu()
    pipeline = PointPipeline(gpu, HostNetwork(gpu, bundle), bundle.manifest, **options)
    detector = Detector(bundle, OnnxRuntimeBackend(bundle.onnx, 1, "f32"))
    return gpu, pipeline, detector


def clouds():
    generator = np.random.default_rng(2)
    spread = [
        generator.uniform((-6, -6, -3, 0), (6, 6, 2, 1), (count, 4)) for count in (900, 40, 2500)
    ]
    clump = [handmade_bundle.clump(x, y).points for x, y in ((4.3, -2.2), (-1.0, 3.0))]
    return [np.concatenate([each, *clump]).astype(np.float32) for each in spread]


def assert_same(found, wanted):
    assert found.points_in_range == wanted.points_in_range
    assert found.dropped_cells == wanted.dropped_cells
    assert len(found.boxes) == len(wanted.boxes)
    np.testing.assert_array_equal(found.boxes.label, wanted.boxes.label)
    np.testing.assert_allclose(found.boxes.score, wanted.boxes.score, atol=1e-5)
    np.testing.assert_allclose(found.boxes.center, wanted.boxes.center, atol=1e-4)
    np.testing.assert_allclose(found.boxes.size, wanted.boxes.size, rtol=1e-4)
    np.testing.assert_allclose(np.cos(found.boxes.yaw), np.cos(wanted.boxes.yaw), atol=1e-4)


@pytest.mark.parametrize("name", BUNDLES)
def test_boxes_are_those_of_the_detector_on_the_cpu(name):
    gpu, pipeline, detector = both(name, capacity=64, limit=8)  # both have to grow
    config = detector.decode_config
    boxes = 0
    for points in clouds():
        wanted = detector(PointCloud(points))
        found = pipeline(points, config)
        assert_same(found, wanted)
        boxes += len(wanted.boxes)
    assert boxes >= 6
    first = pipeline(clouds()[0], config)
    assert_same(first, detector(PointCloud(clouds()[0])))
    # From the second pass over the same memory on, the graph is replayed.
    assert (gpu.recorded, gpu.replayed) == (2, 2)


def test_other_settings_need_no_other_graph():
    gpu, pipeline, detector = both("image")
    points = clouds()[0]
    for threshold in (0.3, 0.01, 0.9):
        config = DecodeConfig(score_threshold=threshold, pre_nms=50, max_boxes=7)
        wanted = detector.with_decode(**config.model_dump())(PointCloud(points))
        assert_same(pipeline(points, config), wanted)
    assert gpu.recorded == 1


def test_two_clouds_are_under_way_and_answer_in_their_order():
    _, pipeline, detector = both("pillars")
    first, second, third = clouds()
    config = detector.decode_config
    pipeline.submit(first, config)
    pipeline.submit(second, config)
    with pytest.raises(ValueError, match="collect the first"):
        pipeline.submit(third, config)
    assert_same(pipeline.collect(), detector(PointCloud(first)))
    pipeline.submit(third, config)
    assert_same(pipeline.collect(), detector(PointCloud(second)))
    assert_same(pipeline.collect(), detector(PointCloud(third)))
    pipeline.submit(first, config)
    pipeline.abandon()
    with pytest.raises(ValueError, match="submit one"):
        pipeline.collect()


def test_growing_leaves_the_cloud_under_way_alone():
    _, pipeline, detector = both("image", capacity=2048)
    small, large = clouds()[1], clouds()[2]
    config = detector.decode_config
    pipeline.submit(small, config)
    pipeline.submit(large, config)
    assert_same(pipeline.collect(), detector(PointCloud(small)))
    assert_same(pipeline.collect(), detector(PointCloud(large)))


@pytest.mark.parametrize("points", [np.zeros((0, 4)), np.full((5, 4), 500.0)])
def test_nothing_to_see_gives_no_boxes(points):
    _, pipeline, detector = both("image")
    found = pipeline(points.astype(np.float32), detector.decode_config)
    assert len(found.boxes) == 0
    assert found.points_in_range == 0


def test_a_cloud_larger_than_a_part_arrives_whole():
    _, pipeline, detector = both("image")
    generator = np.random.default_rng(5)
    points = generator.uniform((-6, -6, -3, 0), (6, 6, 2, 1), (70000, 4)).astype(np.float32)
    assert_same(pipeline(points, detector.decode_config), detector(PointCloud(points)))


class GpuBackend(OnnxRuntimeBackend):
    """A `PointBackend` on a `HostGpu`."""

    def __init__(self, bundle):
        super().__init__(bundle.onnx, 1, "f32")
        self._bundle = bundle
        self.gpu = cuda_host.HostGpu()

    def point_pipeline(self, manifest):
        return PointPipeline(self.gpu, HostNetwork(self.gpu, self._bundle), manifest)


@pytest.mark.parametrize("ground", [None, 1.9])
def test_a_detector_sends_points_to_a_backend_that_takes_them(ground):
    plain = handmade()
    bundle = Bundle(plain.manifest.model_copy(update={"ground_height_m": ground}), plain.onnx)
    floor = np.random.default_rng(3).uniform((-9, -9, -1.2, 0), (9, 9, -1.19, 1), (4000, 4))
    points = np.concatenate([floor.astype(np.float32), clouds()[0]])
    on_gpu = Detector(bundle, GpuBackend(bundle))
    on_cpu = Detector(bundle, OnnxRuntimeBackend(bundle.onnx, 1, "f32"))
    found, wanted = on_gpu(PointCloud(points)), on_cpu(PointCloud(points))
    assert on_gpu.backend.gpu.memory
    assert_same(found, wanted)
    assert len(found.boxes) > 0
    assert (found.levelling is None) == (ground is None)
    assert found.preprocess_ms > 0
    assert found.inference_ms > 0
    # Maps for comparisons still come by the backend's other way.
    for one, other in zip(
        on_gpu.raw_maps(PointCloud(points)).as_tuple(),
        on_cpu.raw_maps(PointCloud(points)).as_tuple(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_the_memory_goes_back():
    gpu, pipeline, _ = both("image")
    pipeline.close()
    assert gpu.closed
