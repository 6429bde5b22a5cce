"""`detector_node`: point clouds in, boxes out; a lifecycle node."""

import sys
import traceback
from typing import TYPE_CHECKING
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.event_handler import UnsupportedEventTypeError
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import SetBool

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.detector import Detector
from kd3d_ros import diagnostics
from kd3d_ros import parameters
from kd3d_ros.detector_settings import DetectorSettings
from kd3d_ros.statistics import Statistics
from kd3d_ros.worker import LatestWorker

if TYPE_CHECKING:
    from kd3d_ros.pipeline import Pipeline

_LOG_PERIOD = 5.0


class DetectorNode(LifecycleNode):
    """Loads a bundle when configured, detects while active.

    Subscribes `~/input/points`; publishes what `Pipeline` says, `~/label_info` and /diagnostics;
    serves `~/enable`.
    """

    def __init__(self, **node_options: Any) -> None:
        """Declare parameters; nothing is loaded yet.

        Args:
            node_options: Of rclpy's Node.

        Raises:
            Kd3dError: A parameter is unknown or does not fit.
        """
        super().__init__("kd3d_detector", **node_options)
        try:
            self._settings = parameters.declare(self, DetectorSettings)
        except Kd3dError:
            self.destroy_node()
            raise
        self.stats = Statistics()
        self._state_name = "unconfigured"
        self._enabled = True
        self._pipeline: Pipeline | None = None
        self._subscription: Any = None
        self._worker: LatestWorker[PointCloud2] = LatestWorker(
            self._process, self._failed, "detector"
        )
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._parameters_set)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._diagnostics_timer = self.create_timer(1.0, self.publish_diagnostics)
        self._service = self.create_service(SetBool, "~/enable", self._enable)

    def start(self) -> None:
        """Configure and activate, unless the parameter `autostart` says to wait.

        Raises:
            Kd3dError: The model could not be loaded.
        """
        if not self._settings.autostart:
            self.get_logger().info("autostart is off: waiting for configure and activate")
            return
        success = TransitionCallbackReturn.SUCCESS
        if self.trigger_configure() != success or self.trigger_activate() != success:
            raise Kd3dError(f"{self.get_name()} did not start; the reason is in the log above")

    # --- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the bundle and run it once."""
        try:
            self._settings = parameters.read(self, DetectorSettings)
            detector = Detector.load(
                self._settings.model or None,
                self._settings.backend,
                self._settings.threads or None,
            )
            detector.warm_up()
            self._pipeline = _make_pipeline(self, detector, self.stats)
        except Kd3dError as error:
            self.get_logger().error(str(error))
            self.stats.fault(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception:
            # rclpy turns an exception into a transition without saying which one it was.
            self.get_logger().error(traceback.format_exc())
            raise
        self._state_name = "inactive"
        self.get_logger().info(
            f"loaded {detector.manifest.name} from {detector.source} on {detector.backend.name}: "
            f"{', '.join(detector.manifest.classes)}"
        )
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start working."""
        result = super().on_activate(state)
        self._worker.start()
        self._subscription = self._subscribe()
        self._state_name = "active"
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, finish the current cloud."""
        self._stop_working()
        self._state_name = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model."""
        self._drop_pipeline()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state."""
        self._stop_working()
        self._drop_pipeline()
        self._state_name = "finalized"
        return super().on_shutdown(state)

    def destroy_node(self) -> None:
        """Join the worker before the middleware goes."""
        if hasattr(self, "_worker"):
            self._stop_working()
        super().destroy_node()

    # --- clouds

    def _subscribe(self) -> Any:
        """The cloud subscription, which also counts what the transport lost."""
        qos = QoSProfile(
            depth=self._settings.queue_depth,
            reliability=ReliabilityPolicy[self._settings.reliability.upper()],
        )
        events = SubscriptionEventCallbacks(
            message_lost=self._lost,
            incompatible_qos=lambda info: self.get_logger().error(
                "a publisher of ~/input/points has an incompatible QoS and is not heard: "
                "set the parameter reliability to best_effort"
            ),
        )
        topic = "~/input/points"
        try:
            return self.create_subscription(
                PointCloud2, topic, self._received, qos, event_callbacks=events
            )
        except UnsupportedEventTypeError:  # not every middleware can count losses
            return self.create_subscription(PointCloud2, topic, self._received, qos)

    def _lost(self, info: Any) -> None:
        """The transport dropped clouds before they arrived."""
        self.stats.count("lost", info.total_count_change)

    def _received(self, message: PointCloud2) -> None:
        """Hand a cloud to the worker, or say why not."""
        self.stats.count("received")
        if self._idle_reason():
            self.stats.count("skipped")
            return
        self._worker.submit(message)

    def _idle_reason(self) -> str:
        """Why clouds are not worked on now; empty when they are."""
        if not self._enabled:
            return "disabled through ~/enable"
        if (
            self._settings.skip_when_unsubscribed
            and self._pipeline is not None
            and not self._pipeline.wanted
        ):
            return "nobody subscribes to the results"
        return ""

    def _process(self, message: PointCloud2) -> None:
        """In the worker's thread: detect and publish."""
        pipeline = self._pipeline
        if pipeline is not None:
            pipeline.process(message, self._settings)

    def _failed(self, message: PointCloud2, error: Exception) -> None:
        """In the worker's thread: tell of a cloud that could not be worked on, and go on."""
        if isinstance(error, Kd3dError):
            self.stats.count("malformed")
            text = str(error)
        else:
            text = f"detection failed: {type(error).__name__}: {error}"
        self.stats.fault(text)
        self.get_logger().error(text, throttle_duration_sec=_LOG_PERIOD)

    def _stop_working(self) -> None:
        """Unsubscribe and join the worker; harmless when it does not run."""
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
            self._subscription = None
        if not self._worker.stop():
            self.get_logger().error("the detector did not finish its cloud within 10 s")

    def _drop_pipeline(self) -> None:
        """Free the model and its publishers."""
        if self._pipeline is not None:
            self._pipeline.destroy(self)
            self._pipeline = None
        self._state_name = "unconfigured"

    # --- parameters, services, diagnostics

    def _check_parameters(self, changed: list[Parameter]) -> SetParametersResult:
        """Refuse what does not fit, or what is read at configuration only."""
        locked = self._pipeline is not None
        for item in changed:
            reason = parameters.refusal(DetectorSettings, item.name, item.value, locked=locked)
            if reason:
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _parameters_set(self, _changed: list[Parameter]) -> None:
        """Take over new values from the next cloud on."""
        self._settings = parameters.read(self, DetectorSettings)

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Switch detection on or off without a lifecycle transition."""
        self._enabled = bool(request.data)
        response.success = True
        response.message = "detection is on" if self._enabled else "detection is off"
        return response

    def publish_diagnostics(self) -> None:
        """Say how it goes; called once a second."""
        self.stats.set_count("dropped", self._worker.counts.dropped)
        manifest = self._pipeline.detector.manifest if self._pipeline else None
        statuses = diagnostics.detector_statuses(
            self.stats.snapshot(),
            state=self._state_name,
            idle_reason=self._idle_reason(),
            needs_intensity=manifest is not None and manifest.intensity.used,
        )
        self._diagnostics.publish(
            diagnostics.to_message(
                statuses,
                self.get_fully_qualified_name(),
                manifest.name if manifest else "",
                self.get_clock().now().to_msg(),
            )
        )


def _make_pipeline(node: LifecycleNode, detector: Detector, stats: Statistics) -> "Pipeline":
    """The pipeline of a node, or the reason why there can be none.

    Raises:
        Kd3dError: vision_msgs is not installed.
    """
    try:
        from kd3d_ros.pipeline import Pipeline
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(("vision_msgs", "visualization_msgs")):
            raise
        raise Kd3dError(
            f"{error.name} is not installed: apt install ros-$ROS_DISTRO-"
            f"{error.name.replace('_', '-')}, or, in a pip environment, "
            "python scripts/build_ros_messages.py"
        ) from error
    return Pipeline(node, detector, stats)


if __name__ == "__main__":
    from kd3d_ros.executables import detector_node

    sys.exit(detector_node())
