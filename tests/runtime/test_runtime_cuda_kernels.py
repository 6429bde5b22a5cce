"""The GPU's kernels give what the CPU's codec gives, whatever order their threads run in."""

import functools
import math

import cuda_host
import numpy as np
import pytest

from kd3d_core.codec.anchors import Anchor
from kd3d_core.codec.anchors import decode_anchors
from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import decode
from kd3d_core.codec.decode import logit
from kd3d_core.codec.decode import per_class
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.heads import AnchorMaps
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.heads import anchor_channels
from kd3d_core.codec.heads import head_channels
from kd3d_core.codec.heads import task_of_class
from kd3d_core.codec.inputs import encode
from kd3d_core.runtime.backends.cuda_gpu import Address
from kd3d_core.runtime.backends.cuda_stages import COUNTERS
from kd3d_core.runtime.backends.cuda_stages import DROPPED
from kd3d_core.runtime.backends.cuda_stages import FIELDS
from kd3d_core.runtime.backends.cuda_stages import INSIDE
from kd3d_core.runtime.backends.cuda_stages import PEAKS
from kd3d_core.runtime.backends.cuda_stages import PILLARS
from kd3d_core.runtime.backends.cuda_stages import THRESHOLDS
from kd3d_core.runtime.backends.cuda_stages import AnchorStage
from kd3d_core.runtime.backends.cuda_stages import CenterStage
from kd3d_core.runtime.backends.cuda_stages import Feed
from kd3d_core.runtime.backends.cuda_stages import ImageStage
from kd3d_core.runtime.backends.cuda_stages import PillarStage
from kd3d_core.simulation.drives import SimulationConfig
from kd3d_core.simulation.drives import simulate_drive

GRID = BevGrid(x=(-12.8, 12.8), y=(-9.6, 9.6), z=(-3.0, 2.0), cell=0.32)
CLASSES = ("a", "b", "c", "d", "e")
ORDERS = pytest.mark.parametrize("order", [0, 1, 2], ids=["forward", "backward", "scattered"])


def random_cloud(count=6000, seed=0):
    """Points in and around the grid, some of them crowded, on edges, or no numbers at all."""
    generator = np.random.default_rng(seed)
    points = generator.uniform((-15, -12, -3.5, 0), (15, 12, 2.5, 1), (count, 4))
    crowd = count // 3
    points[:crowd, :2] = generator.normal((3, 2), 0.4, (crowd, 2))
    points = generator.permutation(points)
    edges = np.arange(-12.8, 12.9, 0.32)
    points[: len(edges), 0] = edges
    points[: len(edges), 2] = np.linspace(-3, 2, len(edges))
    points[100:103, :3] = np.nan, np.inf, 3e38
    return points.astype(np.float32)


@functools.cache
def simulated_cloud():
    config = SimulationConfig(drives=1, frames_per_drive=1, sensors=("vlp16",), seed=1)
    ((_, frame),) = simulate_drive(config, 0)
    return frame.cloud.points


CLOUDS = {"random": random_cloud, "simulated": simulated_cloud}


def feed_of(gpu, points, time=None, lift=0.0, capacity=1 << 15, config=None, logits=True):
    """A cloud and what is told with it, in the memory of the `gpu`."""
    words = -(-(THRESHOLDS + len(CLASSES)) // 4) * 4
    header = gpu.allocate(4 * words)
    told = gpu.view(header, words, np.float32)
    told[:1].view(np.int32)[0] = len(points)
    told[2:4].view(np.float64)[0] = lift
    if config is not None:
        told[1:2].view(np.int32)[0] = config.pre_nms
        threshold = per_class(config.score_threshold, CLASSES, "score_threshold")
        told[THRESHOLDS : THRESHOLDS + len(CLASSES)] = logit(threshold) if logits else threshold
    rows = points if time is None else np.column_stack([points, time]).astype(np.float32)
    address = gpu.allocate(4 * rows.shape[1] * capacity)
    gpu.view(address, (capacity, rows.shape[1]), np.float32)[:] = np.nan
    gpu.view(address, rows.shape, np.float32)[:] = rows
    return Feed(header, address, rows.shape[1], capacity)


def fresh_counters(gpu):
    return gpu.allocate(4 * COUNTERS)


@ORDERS
@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("lift", [0.0, 0.37])
def test_images_are_those_of_the_cpu(name, order, lift):
    gpu, config = cuda_host.HostGpu(order), BevImageInput(slices=5)
    shape = (config.slices + 4, *GRID.shape)
    stage, image = ImageStage(gpu, GRID, config), gpu.allocate(4 * math.prod(shape))
    for points in (CLOUDS[name](), random_cloud(500, seed=7)):  # the memory is used again
        counters = fresh_counters(gpu)
        gpu.view(image, shape, np.float32)[:] = np.nan
        stage.queue(feed_of(gpu, points, lift=lift), counters, image)
        wanted = encode(points, GRID, config, lift=lift)
        found = gpu.view(image, shape, np.float32)
        assert wanted.points_in_range == gpu.view(counters, COUNTERS, np.uint32)[INSIDE] > 100
        mean = config.slices + 2  # the only channel whose sums may round
        others = [channel for channel in range(shape[0]) if channel != mean]
        np.testing.assert_array_equal(found[others], wanted.arrays["image"][others])
        np.testing.assert_allclose(found[mean], wanted.arrays["image"][mean], rtol=0, atol=1e-6)


@ORDERS
@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize(
    ("max_pillars", "max_points", "timed", "wide", "lift"),
    [(4000, 16, False, True, 0.0), (150, 3, True, False, 0.37), (1, 1, False, True, 0.0)],
)
def test_pillars_are_those_of_the_cpu(name, order, max_pillars, max_points, timed, wide, lift):
    gpu = cuda_host.HostGpu(order)
    config = PillarInput(max_pillars=max_pillars, max_points=max_points, time=timed)
    stage = PillarStage(gpu, GRID, config, 1 << 15)
    shape = (max_pillars, max_points, config.features)
    pillars = gpu.allocate(4 * math.prod(shape))
    cells = gpu.allocate(8 * max_pillars)
    for points in (CLOUDS[name](), random_cloud(500, seed=7)):
        time = np.linspace(-0.5, 0, len(points)).astype(np.float32) if timed else None
        counters = fresh_counters(gpu)
        stage.queue(feed_of(gpu, points, time, lift), counters, pillars, cells, wide=wide)
        wanted = encode(points, GRID, config, time, lift=lift)
        told = gpu.view(counters, COUNTERS, np.uint32)
        count = len(wanted.arrays["cells"])
        assert told[INSIDE] == wanted.points_in_range
        assert told[PILLARS] == count
        assert told[DROPPED] == wanted.dropped_cells
        found = gpu.view(pillars, shape, np.float32)
        places = gpu.view(cells, max_pillars, np.int64 if wide else np.int32)
        np.testing.assert_array_equal(places[:count], wanted.arrays["cells"])
        np.testing.assert_array_equal(found[:count], wanted.arrays["pillars"])
        # The rest repeats the first one: it is written into its cell once more, unchanged.
        assert (places[count:] == places[0]).all()
        np.testing.assert_array_equal(
            found[count:], np.broadcast_to(found[0], found[count:].shape)
        )


@pytest.mark.parametrize("points", [np.zeros((0, 4)), np.full((50, 4), 99.0)])
def test_a_cloud_without_points_in_the_grid_gives_what_the_cpu_gives(points):
    points = points.astype(np.float32)
    gpu, config = cuda_host.HostGpu(), PillarInput(max_pillars=9, max_points=2)
    stage = PillarStage(gpu, GRID, config, 64)
    pillars, cells, counters = gpu.allocate(4 * 9 * 2 * 9), gpu.allocate(72), fresh_counters(gpu)
    gpu.view(pillars, 162, np.float32)[:] = 5
    gpu.view(cells, 9, np.int64)[:] = 5
    stage.queue(feed_of(gpu, points, capacity=64), counters, pillars, cells, wide=True)
    assert not gpu.view(counters, COUNTERS, np.uint32).any()
    assert not gpu.view(pillars, 162, np.float32).any()
    assert not gpu.view(cells, 9, np.int64).any()
    image_config = BevImageInput(slices=2)
    image = gpu.allocate(4 * 6 * GRID.shape[0] * GRID.shape[1])
    picture = gpu.view(image, (6, *GRID.shape), np.float32)
    picture[:] = 5
    feed = feed_of(gpu, points, capacity=64)
    ImageStage(gpu, GRID, image_config).queue(feed, counters, image)
    assert not picture.any()


def test_a_real_sweep_at_full_size_gives_what_the_cpu_gives(shared_data):
    path = sorted((shared_data / "kitti" / "training" / "velodyne").glob("*.bin"))[0]
    points = np.fromfile(path, np.float32).reshape(-1, 4)
    grid, drawn, grouped = BevGrid(), BevImageInput(), PillarInput()
    gpu = cuda_host.HostGpu(order=2)
    feed = feed_of(gpu, points, capacity=1 << 17)
    image = gpu.allocate(4 * (drawn.slices + 4) * math.prod(grid.shape))
    ImageStage(gpu, grid, drawn).queue(feed, fresh_counters(gpu), image)
    wanted = encode(points, grid, drawn).arrays["image"]
    found = gpu.view(image, wanted.shape, np.float32)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    pillars = gpu.allocate(4 * grouped.max_pillars * grouped.max_points * 9)
    cells = gpu.allocate(8 * grouped.max_pillars)
    stage = PillarStage(gpu, grid, grouped, 1 << 17)
    stage.queue(feed, fresh_counters(gpu), pillars, cells, wide=True)
    wanted = encode(points, grid, grouped).arrays
    for place, name in ((pillars, "pillars"), (cells, "cells")):
        found = gpu.view(place, wanted[name].shape, wanted[name].dtype)
        np.testing.assert_array_equal(found, wanted[name])


def maps_on(gpu, arrays):
    places = {}
    for name, array in arrays.items():
        places[name] = gpu.allocate(array.nbytes)
        gpu.view(places[name], array.shape, np.float32)[:] = array
    return places


def answer_of(gpu, counters, boxes, config):
    """Labels and the other numbers of the boxes of a pass."""
    count = min(int(gpu.view(counters, COUNTERS, np.uint32)[PEAKS]), config.pre_nms)
    rows = gpu.view(boxes, (config.pre_nms, FIELDS), np.float32)
    return rows[:count, 0].view(np.int32), rows[:count, 1:]


def assert_boxes(found, wanted):
    labels, rows = found
    assert len(labels) == len(wanted) > 20
    np.testing.assert_array_equal(labels, wanted.label)
    np.testing.assert_allclose(rows[:, :3], wanted.center, rtol=0, atol=1e-5)
    np.testing.assert_allclose(rows[:, 3:6], wanted.size, rtol=1e-6)
    np.testing.assert_allclose(np.cos(rows[:, 6]), np.cos(wanted.yaw), rtol=0, atol=2e-6)
    np.testing.assert_allclose(np.sin(rows[:, 6]), np.sin(wanted.yaw), rtol=0, atol=2e-6)
    np.testing.assert_array_equal(rows[:, 7:9], wanted.velocity)
    np.testing.assert_allclose(rows[:, 9], wanted.score, rtol=0, atol=1e-6)


def all_kept(**changes):
    """Settings under which suppression leaves every box."""
    return DecodeConfig(nms_threshold=1.0, max_boxes=10**6, **changes)


@ORDERS
@pytest.mark.parametrize("tasks", [(), (("a",), ("b", "c"), ("d", "e"))], ids=["one", "three"])
@pytest.mark.parametrize("limit", [40, 10**4])
def test_boxes_are_those_of_the_cpu(order, tasks, limit):
    generator = np.random.default_rng(3)
    rows, columns = (cells // 2 for cells in GRID.shape)
    widths = head_channels(len(CLASSES), max(len(tasks), 1))
    arrays = {
        name: generator.normal(size=(width, rows, columns)).astype(np.float32)
        for name, width in widths.items()
    }
    heat = np.round(arrays["heatmap"], 1)  # many equal neighbours and equal peaks
    heat[0, 0, 0], heat[1, 5, 5], heat[2, 7, 7] = np.inf, np.nan, -0.0
    arrays["heatmap"] = heat
    arrays["size"][:, 3] *= 9  # beyond what is let through
    threshold = (0.5, 0.0, 0.6, 0.9, 1.0)
    config = all_kept(score_threshold=threshold, pre_nms=limit)
    wanted = decode(HeadMaps(**arrays), GRID, 2, CLASSES, config, tasks)
    gpu = cuda_host.HostGpu(order)
    feed = feed_of(gpu, np.zeros((0, 4), np.float32), config=config)
    stage = CenterStage(gpu, GRID, 2, task_of_class(len(CLASSES), tasks))
    counters, boxes = fresh_counters(gpu), gpu.allocate(4 * limit * FIELDS)
    stage.queue(feed.header, counters, maps_on(gpu, arrays), boxes)
    assert_boxes(answer_of(gpu, counters, boxes, config), wanted)


@ORDERS
@pytest.mark.parametrize("limit", [40, 10**5])
def test_anchors_are_those_of_the_cpu(order, limit):
    generator = np.random.default_rng(4)
    rows, columns = (cells // 4 for cells in GRID.shape)
    arrays = {
        name: generator.normal(size=(width, rows, columns)).astype(np.float32)
        for name, width in anchor_channels(len(CLASSES)).items()
    }
    arrays["score"] = np.round(2 * arrays["score"], 1) - 4
    arrays["box"][3:6] *= 9
    anchors = {name: Anchor(size=(5 - i, 2, 1.5), z=-1 + i / 9) for i, name in enumerate(CLASSES)}
    config = all_kept(score_threshold=(0.1, 0.3, 0.05, 0.0, 0.5), pre_nms=limit)
    wanted = decode_anchors(AnchorMaps(**arrays), GRID, 4, CLASSES, config, anchors)
    gpu = cuda_host.HostGpu(order)
    feed = feed_of(gpu, np.zeros((0, 4), np.float32), config=config, logits=False)
    stage = AnchorStage(gpu, GRID, 4, [anchors[name] for name in CLASSES])
    counters, boxes = fresh_counters(gpu), gpu.allocate(4 * limit * FIELDS)
    stage.queue(feed.header, counters, maps_on(gpu, arrays), boxes)
    assert_boxes(answer_of(gpu, counters, boxes, config), wanted)


def test_addresses_are_given_64_bits():
    from kd3d_core.runtime.backends.cuda_gpu import pack

    kept, places = pack((Address(1 << 40), 7, 0.5, np.array([1, 2], np.uint64)))
    assert [each.nbytes for each in kept] == [8, 4, 8, 16]
    assert [int(place) for place in places] == [each.ctypes.data for each in kept]
