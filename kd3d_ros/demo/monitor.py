"""A node that hears everything the demo publishes, records it and keeps count."""

import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from kd3d_core.datasets.detection3d import from_message
from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_ros.common.statistics import STAGES
from kd3d_ros.demo.recorder import Recorder

DETECTOR = "/kd3d_detector"
POINTS = "/points"
TRUTH = "/truth/detections"
DETECTIONS = f"{DETECTOR}/output/detections"

#: Sweeps that wait for their detections; older ones were dropped by the detector.
_WAITING = 30


@dataclass(frozen=True)
class HeardFrame:
    """One sweep with everything that was said about it.

    Attributes:
        stamp: Of the sweep [ns].
        cloud: The points.
        found: The detections.
        truth: The ground truth, or None when the source has none.
    """

    stamp: int
    cloud: PointCloud
    found: Boxes3D
    truth: Boxes3D | None


class Monitor(Node):
    """Subscribes to the demo's topics; thread-safe to read."""

    def __init__(self, recorder: Recorder, classes: tuple[str, ...], *, has_truth: bool) -> None:
        """Subscribe.

        Args:
            recorder: Every message of the main topics goes into it.
            classes: For the labels of the boxes.
            has_truth: Whether the source publishes ground truth.
        """
        super().__init__("kd3d_demo")
        self._lock = threading.Lock()
        self._recorder: Recorder | None = recorder
        self._classes = classes
        self._needed = {POINTS, DETECTIONS} | ({TRUTH} if has_truth else set())
        self._parts: dict[int, dict[str, bytes]] = {}
        self._complete: tuple[int, dict[str, bytes]] | None = None
        self._statuses: dict[str, DiagnosticStatus] = {}
        self._reports: Counter[str] = Counter()
        self.counts = dict.fromkeys((POINTS, TRUTH, DETECTIONS), 0)
        self.latency: dict[str, list[float]] = {stage: [] for stage in STAGES}
        self.age: list[float] = []
        for topic, kind in (
            (POINTS, PointCloud2),
            (DETECTIONS, Detection3DArray),
            (f"{DETECTOR}/output/markers", MarkerArray),
            (TRUTH, Detection3DArray),
            ("/truth/markers", MarkerArray),
            ("/tf", TFMessage),
        ):
            self._record(topic, kind, recorder)
        for stage in STAGES:
            self.create_subscription(
                Float32, f"{DETECTOR}/debug/{stage}_ms", self._timed(stage), 50
            )
        self.create_subscription(DiagnosticArray, "/diagnostics", self._diagnosed, 50)

    def _record(self, topic: str, kind: type, recorder: Recorder) -> None:
        """Subscribe to a topic's bytes: nothing is unpacked that is not needed."""
        package, name = kind.__module__.split(".")[0], kind.__name__
        recorder.add_topic(topic, f"{package}/msg/{name}")
        qos = QoSProfile(depth=50)

        def heard(data: Any) -> None:  # bytes, whatever rclpy's annotation says of raw=True
            self._heard(topic, data)

        self.create_subscription(kind, topic, heard, qos, raw=True)

    def _heard(self, topic: str, data: bytes) -> None:
        """Record a message; collect what belongs to one stamp."""
        now = time.time_ns()
        with self._lock:
            if self._recorder is not None:
                self._recorder.write(topic, now, data)
            if topic not in self.counts:
                return
            self.counts[topic] += 1
            # CDR: four bytes say the byte order, then the header's stamp comes first.
            seconds, nanoseconds = struct.unpack_from("<iI" if data[1] else ">iI", data, 4)
            stamp = seconds * 10**9 + nanoseconds
            if topic == DETECTIONS:
                self.age.append((now - stamp) / 1e6)
            parts = self._parts.setdefault(stamp, {})
            parts[topic] = data
            if self._needed <= parts.keys():
                self._complete = stamp, self._parts.pop(stamp)
            while len(self._parts) > _WAITING:
                self._parts.pop(min(self._parts))

    def _timed(self, stage: str) -> Callable[[Float32], None]:
        """A callback that keeps the times of a stage [ms]."""

        def keep(message: Float32) -> None:
            with self._lock:
                self.latency[stage].append(message.data)

        return keep

    def _diagnosed(self, message: DiagnosticArray) -> None:
        """Keep the latest status of each part."""
        with self._lock:
            self._statuses.update({status.name: status for status in message.status})
            for node in {status.name.split(":")[0] for status in message.status}:
                self._reports[node] += 1

    def status(self, name: str) -> tuple[str, dict[str, str]]:
        """The latest diagnostics of `node: part`: message and values; empty when none came."""
        with self._lock:
            status: Any = self._statuses.get(name)
            if status is None:
                return "", {}
            return status.message, {item.key: item.value for item in status.values}

    def reports(self, node: str) -> int:
        """How many diagnostics of a node were heard."""
        with self._lock:
            return self._reports[node.lstrip("/")]

    def latest_frame(self) -> HeardFrame | None:
        """The latest complete frame, unless it was asked for before."""
        with self._lock:
            complete, self._complete = self._complete, None
        return None if complete is None else self._unpack(*complete)

    def close_recording(self) -> None:
        """Write nothing more into the recorder."""
        with self._lock:
            self._recorder = None

    def _unpack(self, stamp: int, parts: dict[str, bytes]) -> HeardFrame:
        """Messages to the core's types."""
        found = deserialize_message(parts[DETECTIONS], Detection3DArray)
        truth = None
        if TRUTH in parts:
            message = deserialize_message(parts[TRUTH], Detection3DArray)
            truth = from_message(message, self._classes)
        return HeardFrame(
            stamp,
            decode_pointcloud2(deserialize_message(parts[POINTS], PointCloud2)),
            from_message(found, self._classes),
            truth,
        )
