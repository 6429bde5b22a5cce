"""What happens to one cloud in the detector node, from message to messages."""

from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray
from vision_msgs.msg import LabelInfo
from visualization_msgs.msg import MarkerArray

from kd3d_core.codec.decode import per_class
from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.detector import Detection
from kd3d_core.runtime.detector import Detector
from kd3d_ros import conversions
from kd3d_ros.detector_settings import DetectorSettings
from kd3d_ros.statistics import STAGES
from kd3d_ros.statistics import Statistics


class Pipeline:
    """A loaded detector and the publishers of its results.

    Publishes `~/output/detections`, `~/output/markers`, `~/debug/{stage}_ms` for each of `STAGES`
    and, once and latched, `~/label_info`.
    """

    def __init__(self, node: LifecycleNode, detector: Detector, stats: Statistics) -> None:
        """Make the publishers; they speak once the node is active.

        Args:
            node: That owns them.
            detector: Loaded and warm.
            stats: Where counts and latencies go.
        """
        self.detector = detector
        self._stats = stats
        self._clock = node.get_clock()
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
        self._threshold = 0.0
        self._active = detector
        self._publish_label_info()
        stats.note(model=detector.source, backend=detector.backend.name)

    @property
    def wanted(self) -> bool:
        """Whether anybody subscribes to a result."""
        publishers = (self._detections, self._markers, *self._debug.values())
        return any(publisher.get_subscription_count() for publisher in publishers)

    def process(self, message: PointCloud2, settings: DetectorSettings) -> None:
        """Detect in one cloud and publish.

        Raises:
            Kd3dError: The cloud is malformed or in a frame that the settings refuse.
        """
        header = message.header
        if settings.frame_id and header.frame_id != settings.frame_id:
            raise Kd3dError(
                f"a cloud is in the frame '{header.frame_id}', but the parameter frame_id is "
                f"'{settings.frame_id}': remap ~/input/points or change the parameter"
            )
        self._follow_threshold(settings.score_threshold)
        cloud = decode_pointcloud2(message, settings.intensity_scale or None)
        detection = self._active(cloud)
        self._detections.publish(conversions.to_detections(detection.boxes, header))
        latency = 1e-6 * (self._clock.now().nanoseconds - conversions.nanoseconds(header.stamp))
        if settings.publish_markers and self._markers.get_subscription_count():
            self._markers.publish(
                conversions.to_markers(detection.boxes, header, settings.marker_lifetime)
            )
        self._account(detection, latency)
        self._stats.note(
            frame_id=header.frame_id,
            points=len(cloud),
            dropped_points=cloud.dropped,
            has_intensity=cloud.has_intensity,
        )

    def destroy(self, node: LifecycleNode) -> None:
        """Take the publishers back."""
        for publisher in (self._detections, self._markers, *self._debug.values()):
            node.destroy_lifecycle_publisher(publisher)
        node.destroy_publisher(self._label_info)

    def _follow_threshold(self, threshold: float) -> None:
        """Take over a changed parameter; 0 means the model's own thresholds."""
        if threshold == self._threshold:
            return
        self._threshold = threshold
        self._active = (
            self.detector.with_decode(score_threshold=threshold) if threshold else self.detector
        )
        self._publish_label_info()

    def _publish_label_info(self) -> None:
        """Classes and threshold, for whoever subscribes later as well."""
        classes = self.detector.manifest.classes
        thresholds = per_class(
            self._active.decode_config.score_threshold, classes, "score_threshold"
        )
        header = Header(stamp=self._clock.now().to_msg())
        self._label_info.publish(
            conversions.to_label_info(classes, float(thresholds.min()), header)
        )

    def _account(self, detection: Detection, latency_ms: float) -> None:
        """Count, time and publish the times."""
        stages: dict[str, Any] = {
            "preprocess": detection.preprocess_ms,
            "inference": detection.inference_ms,
            "postprocess": detection.postprocess_ms,
            "pipeline_latency": latency_ms,
        }
        for stage, milliseconds in stages.items():
            self._stats.latency(stage, milliseconds)
            if self._debug[stage].get_subscription_count():
                self._debug[stage].publish(Float32(data=float(milliseconds)))
        self._stats.count("processed")
        self._stats.note(
            points_in_range=detection.points_in_range,
            dropped_cells=detection.dropped_cells,
            detections=len(detection.boxes),
        )
