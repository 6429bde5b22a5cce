"""Fixtures of the ROS tests: a ROS graph of their own, and a network whose output is known."""

import os
import time
from collections.abc import Callable
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from kd3d_ros import environment


@dataclass(frozen=True)
class Known:
    """A bundle and what its network says about every object."""

    path: Path
    size: tuple[float, float, float] = (4.0, 1.8, 1.5)
    yaw: float = 0.6
    height: float = -0.5


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """A network that finds a car in every 0.5 m cell with about 16 points or more."""
    onnx = pytest.importorskip("onnx")
    from kd3d_core.codec.grid import BevGrid
    from kd3d_core.codec.grid import BevImageInput
    from kd3d_core.codec.heads import head_channels
    from kd3d_core.codec.rotation import encode_rotation
    from kd3d_core.geometry.boxes import DEFAULT_CLASSES
    from kd3d_core.runtime.bundle import write_bundle
    from kd3d_core.runtime.manifest import Manifest

    known = Known(tmp_path_factory.mktemp("bundle") / "known.kd3d")
    manifest = Manifest(
        name="known",
        grid=BevGrid(x=(-16.0, 16.0), y=(-16.0, 16.0), cell=0.5),
        input=BevImageInput(slices=1),
        output_stride=1,
    )
    biases = {
        "heatmap": [-10.0] * len(DEFAULT_CLASSES),
        "offset": [0.5, 0.5],
        "height": [known.height],
        "size": np.log(known.size).tolist(),
        "rotation": encode_rotation(np.array(known.yaw)).tolist(),
        "velocity": [0.0, 0.0],
    }
    constants, nodes, outputs = [], [], []
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    for name, channels in head_channels(len(DEFAULT_CLASSES)).items():
        weight = np.zeros((channels, 5, 1, 1), np.float32)
        if name == "heatmap":
            weight[0, 4] = 20.0  # the channel of log density
        bias = np.array(biases[name], np.float32)
        constants += [
            onnx.numpy_helper.from_array(weight, f"{name}_w"),
            onnx.numpy_helper.from_array(bias, f"{name}_b"),
        ]
        nodes.append(helper.make_node("Conv", ["image", f"{name}_w", f"{name}_b"], [name]))
        outputs.append(helper.make_tensor_value_info(name, kind, [1, channels, 64, 64]))
    image = helper.make_tensor_value_info("image", kind, [1, 5, 64, 64])
    graph = helper.make_graph(nodes, "known", [image], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    write_bundle(known.path, manifest, model.SerializeToString())
    return known


@pytest.fixture(scope="session")
def ros_environment() -> dict[str, str]:
    """Variables of a private ROS graph for subprocesses; skips where ROS is not installed."""
    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    environment.prepare()
    pytest.importorskip("vision_msgs", reason="run python scripts/build_ros_messages.py first")
    domain = environment.free_domain(os.getpid())
    local = environment.local_environment(domain)
    os.environ.update(local)
    return {**os.environ, **local}


class Graph:
    """Nodes in this process that are spun by the test itself."""

    def __init__(self, context: object) -> None:
        from rclpy.executors import SingleThreadedExecutor

        self.context = context
        self._executor = SingleThreadedExecutor(context=context)
        self._nodes: list[object] = []

    def add(self, node: object) -> object:
        """Spin this node with the others, and destroy it in the end."""
        self._executor.add_node(node)
        self._nodes.append(node)
        return node

    def node(self, name: str) -> object:
        """A plain node of the test."""
        from rclpy.node import Node

        return self.add(Node(name, context=self.context))

    def until(self, done: Callable[[], object], timeout: float = 8.0) -> None:
        """Spin until `done` is true; fail when it never is."""
        end = time.monotonic() + timeout
        while not done():
            assert time.monotonic() < end, "timeout: the awaited message or state never came"
            self._executor.spin_once(timeout_sec=0.05)

    def spin(self, seconds: float) -> None:
        """Spin for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        """Destroy all nodes."""
        for node in reversed(self._nodes):
            node.destroy_node()
        self._executor.shutdown()


@pytest.fixture
def graph(ros_environment: dict[str, str]) -> Iterator[Graph]:
    """A ROS graph of this test alone: its own context, domain and nodes."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=environment.free_domain(time.time_ns() % 101))
    graph = Graph(context)
    yield graph
    graph.close()
    context.try_shutdown()
