"""The publishers of the detector node."""

from collections.abc import Mapping
from collections.abc import Sequence

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from std_msgs.msg import Float32
from std_msgs.msg import Header
from std_msgs.msg import String
from vision_msgs.msg import Detection3DArray
from vision_msgs.msg import LabelInfo
from visualization_msgs.msg import MarkerArray

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_ros.common import conversions
from kd3d_ros.common.statistics import STAGES


class Outputs:
    """Publishers of detections, markers, stage times, labels and the latency budget.

    `~/output/detections`, `~/output/markers` and `~/debug/{stage}_ms` speak while the node is
    active; `~/label_info` and `~/budget` are latched and always do.
    """

    def __init__(self, node: LifecycleNode) -> None:
        """Make the publishers.

        Args:
            node: That owns them.
        """
        self._node = node
        self._detections = node.create_lifecycle_publisher(
            Detection3DArray, "~/output/detections", 10
        )
        self._markers = node.create_lifecycle_publisher(MarkerArray, "~/output/markers", 10)
        self._debug = {
            stage: node.create_lifecycle_publisher(Float32, f"~/debug/{stage}_ms", 10)
            for stage in STAGES
        }
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._label_info = node.create_publisher(LabelInfo, "~/label_info", latched)
        self._labels: tuple[tuple[str, ...], float] | None = None
        self._budget = node.create_publisher(String, "~/budget", latched)

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to a result."""
        publishers = (self._detections, self._markers, *self._debug.values())
        return any(publisher.get_subscription_count() for publisher in publishers)

    @property
    def listeners(self) -> tuple[int, int]:
        """How many subscribe to detections and to markers."""
        publishers = (self._detections, self._markers)
        first, second = (publisher.get_subscription_count() for publisher in publishers)
        return first, second

    def detections(self, boxes: Boxes3D, header: Header) -> None:
        """Publish the boxes of a cloud."""
        self._detections.publish(conversions.to_detections(boxes, header))

    def markers(self, boxes: Boxes3D, header: Header, lifetime: float) -> None:
        """Publish them for RViz, if somebody looks."""
        if self._markers.get_subscription_count():
            self._markers.publish(conversions.to_markers(boxes, header, lifetime))

    def times(self, stages: Mapping[str, float]) -> None:
        """Publish how long the stages took [ms], each if somebody listens."""
        for stage, milliseconds in stages.items():
            if self._debug[stage].get_subscription_count():
                self._debug[stage].publish(Float32(data=float(milliseconds)))

    def labels(self, classes: Sequence[str], threshold: float) -> None:
        """Publish classes and least score, when they differ from what was published before."""
        labels = (tuple(classes), threshold)
        if labels != self._labels:
            self._labels = labels
            header = Header(stamp=self._node.get_clock().now().to_msg())
            self._label_info.publish(conversions.to_label_info(classes, threshold, header))

    def budget(self, text: str) -> None:
        """Publish how much is detected at the moment, as JSON."""
        self._budget.publish(String(data=text))

    def destroy(self) -> None:
        """Take the publishers back."""
        for publisher in (self._detections, self._markers, *self._debug.values()):
            self._node.destroy_lifecycle_publisher(publisher)
        self._node.destroy_publisher(self._label_info)
        self._node.destroy_publisher(self._budget)
