"""Crops: the same network on less range finds the same things there."""

import handmade_bundle
import numpy as np
import pytest

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.heads import head_channels
from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.errors import Kd3dError
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.bundle import write_bundle
from kd3d_core.runtime.cropping import Crops
from kd3d_core.runtime.cropping import crop_bundle
from kd3d_core.runtime.cropping import crop_grid
from kd3d_core.runtime.cropping import difference
from kd3d_core.runtime.cropping import load_crops
from kd3d_core.runtime.default import bundle_path
from kd3d_core.runtime.detector import Detector
from kd3d_core.runtime.manifest import Manifest
from kd3d_core.runtime.onnx_shapes import resize_maps

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
BACKENDS = ["openvino", "onnxruntime"]


def load(bundle: Bundle, backend: str = "auto") -> tuple[Detector, Crops]:
    """A detector and its crops."""

    def compile_graph(graph: bytes):
        return make_backend(backend, graph, threads=1, largest=bundle.manifest.largest)

    full = Detector(bundle, compile_graph(bundle.onnx))
    return full, load_crops(full, bundle, compile_graph)


@pytest.fixture(scope="module")
def shipped():
    """The package's own network with its crops."""
    return load(read_bundle(bundle_path()))


def test_the_shipped_network_can_be_cropped(shipped):
    full, crops = shipped
    assert crops.notes == ()
    shares = [np.prod(d.manifest.grid.shape) for d in crops.detectors]
    shares = np.array(shares) / np.prod(full.manifest.grid.shape)
    assert len(shares) == 2
    assert 0.5 < shares[0] < 0.75
    assert 0.25 < shares[1] < 0.45
    assert all(difference(full, crop) < 0.02 for crop in crops.detectors)


def test_boxes_of_a_crop_are_those_of_the_whole(shipped, shared_data):
    """On real sweeps, 8 m and more from the rim; there the network misses what lies beyond."""
    full, crops = shipped
    paths = sorted((shared_data / "kitti_odometry_00").glob("*.bin"))
    if not paths:
        pytest.skip("no sweeps in shared/data/kitti_odometry_00")
    compared = 0
    for path in paths[::3]:
        cloud = read_cloud(path)
        whole, *parts = (
            each.with_decode(score_threshold=0.2)(cloud).boxes for each in (full, *crops.detectors)
        )
        for part, crop in zip(parts, crops.detectors, strict=True):
            for one, other in ((whole, part), (part, whole)):
                inside = np.abs(one.center[:, :2]).max(axis=1) < crop.manifest.grid.x[1] - 8.0
                # Those above the threshold by far: 0.201 here may be 0.199 there.
                for box in np.flatnonzero(inside & (one.score > 0.3)):
                    same = other[other.label == one.label[box]]
                    apart = np.linalg.norm(same.center - one.center[box], axis=1)
                    assert apart.min() < 0.15
                    assert same.score[apart.argmin()] == pytest.approx(one.score[box], abs=0.05)
                    compared += 1
    assert compared > 20


@pytest.mark.parametrize(
    "grid",
    [
        BevGrid(),
        BevGrid(x=(0.0, 69.12), y=(-39.68, 39.68), cell=0.16),
        BevGrid(x=(-20.0, 60.0), y=(-40.0, 40.0), cell=0.2),
        BevGrid(x=(5.12, 56.32), y=(-25.6, 25.6), cell=0.32),
    ],
)
def test_cells_of_a_crop_are_cells_of_the_whole(grid):
    for scale in (0.8, 0.6):
        part = crop_grid(grid, scale)
        assert part.z == grid.z
        assert part.cell == grid.cell
        for (low, high), (first, last), cells in zip(
            (grid.x, grid.y), (part.x, part.y), part.shape[::-1], strict=True
        ):
            assert low <= first < last <= high
            assert cells % 16 == 0
            assert (first - low) / grid.cell == pytest.approx(
                round((first - low) / grid.cell), abs=1e-6
            )
            # What is cut is what is far: an edge near the sensor stays.
            assert abs(last) == pytest.approx(scale * abs(high), abs=8.5 * grid.cell)


def test_a_small_grid_is_not_cut():
    grid = BevGrid(x=(-2.56, 2.56), y=(-2.56, 2.56), cell=0.32)
    assert crop_grid(grid, 0.8) == grid
    bundle = Bundle(handmade_bundle.manifest(), handmade_bundle.graph())
    full, crops = load(bundle)
    # 64 cells: 80 % of them would be cut between the network's strides, 60 % are 32.
    assert [crop.manifest.grid.shape for crop in crops.detectors] == [(32, 32)]
    cloud = PointCloud(
        np.concatenate([handmade_bundle.clump(x, 1.0).points for x in (-8, -4.3, 0.1, 3.3, 8)])
    )
    near = full(cloud).boxes
    near = near[np.abs(near.center).max(axis=1) < 5.12]
    found = crops.detectors[0](cloud).boxes
    assert len(found) == len(near) == 3
    np.testing.assert_allclose(found.center, near.center, atol=1e-5)


def test_a_cropped_bundle_is_a_bundle(tmp_path):
    bundle = Bundle(handmade_bundle.manifest(metrics={"AP/car": 0.5}), handmade_bundle.graph())
    part = crop_bundle(bundle, crop_grid(bundle.manifest.grid, 0.6))
    model = onnx.load_from_string(part.onnx)
    onnx.checker.check_model(model)
    assert part.manifest.metrics == {}
    write_bundle(tmp_path / "part.kd3d", part.manifest, part.onnx)
    assert Detector.load(tmp_path / "part.kd3d").manifest == part.manifest
    # Everything but the shapes of inputs and outputs is as it was.
    before = onnx.load_from_string(bundle.onnx)
    for graph in (model.graph, before.graph):
        del graph.input[:], graph.output[:]
    assert model == before


def pillar_bundle() -> Bundle:
    """A network on pillars, without weights to speak of: highest points, scattered, blurred."""
    grid = BevGrid(x=(-15.36, 15.36), y=(-15.36, 15.36), cell=0.32)
    manifest = Manifest(
        name="scattered",
        grid=grid,
        input=PillarInput(max_pillars=4000, max_points=4),
        output_stride=2,
        decode=DecodeConfig(score_threshold=0.3),
    )
    rows, columns = grid.shape
    widths = head_channels(6)
    total = sum(widths.values())
    generator = np.random.default_rng(0)
    constants = {
        "points_axis": np.array([1], np.int64),
        "last_axis": np.array([-1], np.int64),
        "flat": np.array([rows * columns, 9], np.int64),
        "map": np.array([1, rows, columns, 9], np.int64),
        "w": generator.normal(0, 0.1, (total, 9, 4, 4)).astype(np.float32),
        "split": np.array(list(widths.values()), np.int64),
    }
    nodes = [
        helper.make_node("ReduceMax", ["pillars", "points_axis"], ["features"], keepdims=0),
        helper.make_node("ConstantOfShape", ["flat"], ["zeros"]),
        helper.make_node("Unsqueeze", ["cells", "last_axis"], ["places"]),
        helper.make_node("ScatterND", ["zeros", "places", "features"], ["scattered"]),
        helper.make_node("Reshape", ["scattered", "map"], ["last"]),
        helper.make_node("Transpose", ["last"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "w"], ["maps"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Split", ["maps", "split"], list(widths), axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "scattered",
        [
            helper.make_tensor_value_info("pillars", FLOAT, ("count", 4, 9)),
            helper.make_tensor_value_info("cells", INT64, ("count",)),
        ],
        [
            helper.make_tensor_value_info(name, FLOAT, (1, width, rows // 2, columns // 2))
            for name, width in widths.items()
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return Bundle(manifest, model.SerializeToString())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_on_pillars_can_be_cropped(backend):
    pytest.importorskip(backend)
    full, crops = load(pillar_bundle(), backend)
    assert crops.notes == ()
    assert [crop.manifest.grid.shape for crop in crops.detectors] == [(64, 64)]
    assert difference(full, crops.detectors[0]) < 1e-5


def looking_everywhere() -> Bundle:
    """The handmade network with the mean of its whole maps added to them."""
    model = onnx.load_from_string(handmade_bundle.graph())
    model.graph.node[0].output[0] = "local"
    model.graph.node.insert(1, helper.make_node("GlobalMaxPool", ["local"], ["most"]))
    model.graph.node.insert(2, helper.make_node("GlobalAveragePool", ["local"], ["mean"]))
    model.graph.node.insert(3, helper.make_node("Sum", ["local", "mean", "most"], ["maps"]))
    onnx.checker.check_model(model)
    return Bundle(handmade_bundle.manifest(), model.SerializeToString())


def with_wired_shape() -> Bundle:
    """The handmade network with a layer that works for its own size alone."""
    model = onnx.load_from_string(handmade_bundle.graph())
    model.graph.node[0].output[0] = "local"
    bias = np.zeros((1, 1, 32, 32), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(bias, "map_of_zeros"))
    model.graph.node.insert(1, helper.make_node("Add", ["local", "map_of_zeros"], ["maps"]))
    return Bundle(handmade_bundle.manifest(), model.SerializeToString())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (looking_everywhere, "looks at more than the neighbourhood"),
        (with_wired_shape, "cannot be cropped to 5 m"),
    ],
)
def test_a_network_that_cannot_be_cropped_is_left_alone(backend, make, words):
    pytest.importorskip(backend)
    _, crops = load(make(), backend)
    assert crops.detectors == ()
    (note,) = crops.notes
    assert words in note


def test_shapes_that_cannot_be_scaled_are_refused():
    graph = handmade_bundle.graph()
    for broken in (graph[:-7], b"PK\x03\x04 no protocol buffer"):
        with pytest.raises(Kd3dError, match="cannot be made 32 x 32"):
            resize_maps(broken, (64, 64), (32, 32))
    with pytest.raises(Kd3dError, match="32 cells cannot be scaled"):
        resize_maps(graph, (64, 64), (33, 33))


def test_constants_that_are_no_map_shapes_stay():
    """A table that holds 64 twice is replaced only where it is a short shape of integers."""
    table = np.full(40, 64, np.int64)
    shape = np.array([1, 64, 64, 3], np.int64)
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])],
            "constants",
            [helper.make_tensor_value_info("x", FLOAT, (1, 2, 64, 64))],
            [helper.make_tensor_value_info("y", FLOAT, (1, 2, 64, 64))],
            [
                numpy_helper.from_array(table, "table"),
                numpy_helper.from_array(shape, "shape"),
                numpy_helper.from_array(np.array([64.0, 64.0], np.float64), "numbers"),
                helper.make_tensor("packed", INT64, [2], [64 * 64, -1]),
            ],
        )
    )
    resized = onnx.load_from_string(resize_maps(model.SerializeToString(), (64, 64), (32, 48)))
    found = {item.name: numpy_helper.to_array(item) for item in resized.graph.initializer}
    np.testing.assert_array_equal(found["table"], table)
    np.testing.assert_array_equal(found["shape"], [1, 32, 48, 3])
    np.testing.assert_array_equal(found["numbers"], [64.0, 64.0])
    np.testing.assert_array_equal(found["packed"], [32 * 48, -1])
    dims = [d.dim_value for d in resized.graph.output[0].type.tensor_type.shape.dim]
    assert dims == [1, 2, 32, 48]
