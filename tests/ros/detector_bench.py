"""A detector node with everything around it that a robot has, for the tests of the node."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kd3d_core.pointcloud import PointCloud

NAME = "/kd3d_detector"
STAMP_SECONDS = 1_700_000_000


def cluster(x: float, y: float, count: int = 60) -> PointCloud:
    """A cloud with one object in the 0.5 m cell around (x, y), and thin ground."""
    generator = np.random.default_rng(0)
    spot = generator.uniform((x - 0.2, y - 0.2, -1.5), (x + 0.2, y + 0.2, 0.0), (count, 3))
    ground = generator.uniform((-15, -15, -1.7), (15, 15, -1.6), (300, 3))
    return PointCloud.from_arrays(np.concatenate([spot, ground]), np.full(count + 300, 0.5))


def message(cloud: PointCloud, frame_id: str = "front_lidar", offset: int = 0) -> Any:
    """The cloud as a message with a stamp of its own."""
    from builtin_interfaces.msg import Time
    from std_msgs.msg import Header

    from kd3d_ros.common.conversions import to_point_cloud2

    stamp = Time(sec=STAMP_SECONDS + offset, nanosec=123_456_789)
    return to_point_cloud2(cloud, Header(frame_id=frame_id, stamp=stamp))


class Bench:
    """A detector node with everything around it that a robot has."""

    def __init__(self, graph: Any, known: Any, **values: Any) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.parameter import Parameter
        from sensor_msgs.msg import PointCloud2
        from std_msgs.msg import Float32
        from vision_msgs.msg import Detection3DArray
        from visualization_msgs.msg import MarkerArray

        from kd3d_ros.detector.node import DetectorNode

        self.graph, self.known = graph, known
        values.setdefault("engine_cache", str(known.path.parent / "engines"))
        values = {"model": str(known.path), "threads": 1, **values}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = graph.add(DetectorNode(context=graph.context, parameter_overrides=overrides))
        self.peer = graph.node("peer")
        self.clouds = self.peer.create_publisher(PointCloud2, f"{NAME}/input/points", 5)
        self.received: dict[str, list[Any]] = {"detections": [], "markers": [], "latency": []}
        self.diagnostics: list[Any] = []
        self.listen("markers", MarkerArray, "output/markers")
        self.listen("detections", Detection3DArray, "output/detections")
        self.listen("latency", Float32, "debug/inference_ms")
        self.peer.create_subscription(DiagnosticArray, "/diagnostics", self.diagnostics.append, 10)

    def listen(self, key: str, kind: type, topic: str) -> None:
        self.peer.create_subscription(kind, f"{NAME}/{topic}", self.received[key].append, 10)

    def listen_labels(self, heard: list[Any]) -> None:
        """Collect what `~/label_info` says, and wait for the first."""
        from rclpy.qos import DurabilityPolicy
        from rclpy.qos import QoSProfile
        from vision_msgs.msg import LabelInfo

        qos = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.peer.create_subscription(LabelInfo, f"{NAME}/label_info", heard.append, qos)
        self.graph.until(lambda: heard)

    def connected(self) -> bool:
        """Whether clouds and detections would arrive."""
        found = self.peer.count_publishers(f"{NAME}/output/detections")
        return found > 0 and self.clouds.get_subscription_count() > 0 and self.node_is_heard()

    def node_is_heard(self) -> bool:
        pipeline = self.node._pipeline
        return pipeline is not None and pipeline.outputs.listeners[0] > 0

    def start(self) -> "Bench":
        self.node.start()
        self.graph.until(self.connected)
        return self

    def status(self, part: str) -> Any:
        """The latest diagnostics of a part, asked for right now."""
        return self.statuses()[f"{NAME[1:]}: {part}"]

    def statuses(self) -> dict[str, Any]:
        """The latest diagnostics of all parts, asked for right now."""
        self.diagnostics.clear()
        self.node.publish_diagnostics()
        self.graph.until(lambda: self.diagnostics)
        return {status.name: status for status in self.diagnostics[-1].status}

    def detect(self, cloud_message: Any) -> Any:
        """Publish one cloud and wait for its detections."""
        before = len(self.received["detections"])
        self.clouds.publish(cloud_message)
        self.graph.until(lambda: len(self.received["detections"]) > before)
        return self.received["detections"][-1]

    def send(self, cloud_message: Any, fate: str) -> None:
        """Publish one cloud and wait until it ends in a counter."""
        before = self.count(fate)
        self.clouds.publish(cloud_message)
        self.graph.until(lambda: self.count(fate) > before)

    def count(self, event: str) -> int:
        """A counter of the node."""
        return int(self.node.stats._total[event])

    def call(self, kind: type, service: str, request: Any = None) -> Any:
        """Call a service of the node and wait for the answer."""
        client = self.peer.create_client(kind, f"{NAME}/{service}")
        self.graph.until(client.service_is_ready)
        future = client.call_async(request or kind.Request())
        self.graph.until(future.done, timeout=20.0)
        self.peer.destroy_client(client)
        return future.result()

    def set(self, **values: Any) -> list[str]:
        """Set parameters; the reasons of those that were refused."""
        from rclpy.parameter import Parameter

        results = self.node.set_parameters(
            [Parameter(name, value=value) for name, value in values.items()]
        )
        return [result.reason for result in results if not result.successful]

    def accounted(self) -> bool:
        """Whether every received cloud is in exactly one counter."""
        fates = ("processed", "dropped", "skipped", "malformed", "failed")
        return self.count("received") == sum(self.count(fate) for fate in fates)


def renamed_bundle(known: Any, path: Path, *classes: str) -> Path:
    """The known network under other class names, as another model."""
    from kd3d_core.runtime.bundle import read_bundle
    from kd3d_core.runtime.bundle import write_bundle

    bundle = read_bundle(known.path)
    write_bundle(
        path,
        bundle.manifest.model_copy(update={"classes": classes, "name": path.stem}),
        bundle.onnx,
    )
    return path


def eventually(done: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait, without spinning, until something is true."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)
