"""`detector_node`: point clouds in, boxes out; a lifecycle node."""

import sys
import traceback
from typing import TYPE_CHECKING
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import SetBool

from kd3d_core.errors import Kd3dError
from kd3d_ros.common import diagnostics
from kd3d_ros.common import parameters
from kd3d_ros.common.interfaces import require_vision_messages
from kd3d_ros.common.statistics import Statistics
from kd3d_ros.common.worker import LatestWorker
from kd3d_ros.detector.checks import detector_statuses
from kd3d_ros.detector.cloud_input import CloudInput
from kd3d_ros.detector.facts import DetectorFacts
from kd3d_ros.detector.facts import gather
from kd3d_ros.detector.model_service import ModelService
from kd3d_ros.detector.model_service import tell_of
from kd3d_ros.detector.model_swap import load_model
from kd3d_ros.detector.settings import DetectorSettings
from kd3d_ros.detector.tf_stage import TfStage

if TYPE_CHECKING:
    from kd3d_ros.detector.pipeline import Job
    from kd3d_ros.detector.pipeline import Pipeline

_LOG_PERIOD = 5.0
_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class DetectorNode(LifecycleNode):
    """Loads a bundle when configured, detects while active.

    Subscribes `~/input/points` and, for several sweeps or another frame, /tf; publishes what
    `Outputs` says and /diagnostics; serves `~/enable` and `~/load_model`. Every cloud that is
    received ends in one of the counters processed, dropped, skipped, malformed and failed.
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
        self._problem = ""
        self._enabled = True
        self._built = False
        self._pipeline: Pipeline | None = None
        self._clouds: CloudInput | None = None
        self._worker: LatestWorker[Job] = LatestWorker(
            lambda job: job.pipeline.process(job),
            self._failed,
            "detector",
            self._dropped,
        )
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._parameters_set)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # By a clock that also runs while simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(1.0, self.publish_diagnostics, clock=steady)
        self._switch = self.create_service(SetBool, "~/enable", self._enable)
        self._models = ModelService(self, lambda: self._settings, lambda: self._pipeline)

    @property
    def pipeline(self) -> "Pipeline | None":
        """The model and its publishers while configured, as other parts of the process need it."""
        return self._pipeline

    @property
    def finished(self) -> bool:
        """Whether the node has done what it was started for: only after `build_only`."""
        return self._built

    def start(self) -> None:
        """Configure and activate, unless the parameters say otherwise.

        Raises:
            Kd3dError: The model could not be loaded.
        """
        build = self._settings.build_only
        if not self._settings.autostart and not build:
            self.get_logger().info("autostart is off: waiting for configure and activate")
            return
        started = self.trigger_configure() == _SUCCESS
        if started and build:
            self._built = True
            self.get_logger().info("build_only: the model is compiled and has run; ending")
        elif not started or self.trigger_activate() != _SUCCESS:
            raise Kd3dError(f"{self.get_name()} did not start; the reason is in the log above")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the bundle and run it once."""
        try:
            require_vision_messages()
            from kd3d_ros.detector.pipeline import Pipeline

            self._settings = parameters.read(self, DetectorSettings)
            self.get_logger().info("loading the model; compiling it may take a while")
            loaded = load_model(self._settings)
            self._pipeline = Pipeline(self, loaded, self._settings, self.stats)
        except Kd3dError as error:
            return self._refuse(str(error))
        except Exception:
            # rclpy turns an exception into a transition without saying which one it was.
            self.get_logger().error(traceback.format_exc())
            raise
        self._problem = self._models.problem = ""
        self._state_name = "inactive"
        tell_of(self, loaded)
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start working."""
        pipeline = self._pipeline
        if pipeline is None or self._settings.build_only:
            return self._refuse("build_only is set: set it to false to detect")
        try:
            if self._settings.uses_tf:
                pipeline.tf = TfStage(self, self._settings)
            self._clouds = CloudInput(
                self, self._settings, self.stats, self._received, self._time_went_back
            )
        except Kd3dError as error:
            self._stop_working()
            return self._refuse(str(error))
        self._worker.start()
        self._problem = ""
        self._state_name = "active"
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, finish the current cloud."""
        self._stop_working()
        self._state_name = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model."""
        result = super().on_cleanup(state)
        self._drop_pipeline()
        return result

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state."""
        self._stop_working()
        self._drop_pipeline()
        self._state_name = "finalized"
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After a transition that raised: back to unconfigured, ready to be configured again."""
        self._problem = "a transition failed; the reason is in the log"
        self._stop_working()
        self._drop_pipeline()
        return _SUCCESS

    def destroy_node(self) -> None:
        """Join the threads before the middleware goes."""
        if hasattr(self, "_worker"):
            self._stop_working()
            self._models.join(abandon=True)
        super().destroy_node()

    def _refuse(self, problem: str) -> TransitionCallbackReturn:
        """Say why a transition is not made."""
        self.get_logger().error(problem)
        self.stats.fault(problem)
        self._problem = problem
        return _FAILURE

    def _stop_working(self) -> None:
        """Unsubscribe and join the worker; harmless when it does not run."""
        if self._clouds is not None:
            self._clouds.destroy()
            self._clouds = None
        if not self._worker.stop():
            self.get_logger().error("the detector did not finish its cloud within 10 s")
        if self._pipeline is not None:
            self._pipeline.stop_tf()

    def _drop_pipeline(self) -> None:
        """Free the model and its publishers."""
        self._models.join()
        if self._pipeline is not None:
            self._pipeline.destroy()
            self._pipeline = None
        self._state_name = "unconfigured"

    def _received(self, message: PointCloud2) -> None:
        """Hand a cloud to the worker, or say why not."""
        pipeline = self._pipeline
        if pipeline is None or self._idle_reason():
            self.stats.count("skipped")
            return
        if not pipeline.budget.admit():
            self.stats.count("skipped")
            self.stats.count("skipped_for_budget")
            return
        self._worker.submit(pipeline.job(message))

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

    def _dropped(self, job: "Job") -> None:
        """Count a cloud that a newer one has replaced."""
        self.stats.count("dropped")
        job.pipeline.budget.drop()

    def _failed(self, _job: "Job", error: Exception) -> None:
        """In the worker's thread: tell of a cloud that could not be worked on, and go on."""
        if isinstance(error, Kd3dError):
            self.stats.count("malformed")
            text = details = str(error)
        else:
            self.stats.count("failed")
            text = f"detection failed: {type(error).__name__}: {error}"
            details = "".join(traceback.format_exception(error))
        self.stats.fault(text)
        self.get_logger().error(details, throttle_duration_sec=_LOG_PERIOD)

    def _time_went_back(self, why: str) -> None:
        """A bag begins again, or the clock was set: what is known of before means nothing now."""
        self.stats.count("time_went_back")
        self.stats.forget_latencies()
        if self._pipeline is not None:
            self._pipeline.epoch += 1
        self.get_logger().info(f"{why}: earlier sweeps and latencies are forgotten")

    def _check_parameters(self, changed: list[Parameter]) -> SetParametersResult:
        """Refuse what does not fit, or what is read at configuration only."""
        pipeline = self._pipeline
        values = {item.name: item.value for item in changed}
        problems = (
            parameters.refusal(DetectorSettings, name, value, locked=pipeline is not None)
            for name, value in values.items()
        )
        problem = next(filter(None, problems), "")
        if pipeline is not None and not problem:
            problem = pipeline.objection(parameters.updated(self._settings, values))
        return SetParametersResult(successful=not problem, reason=problem)

    def _parameters_set(self, _changed: list[Parameter]) -> None:
        """Take over new values from the next cloud on."""
        self._settings = parameters.read(self, DetectorSettings)
        if self._pipeline is not None:
            self._pipeline.use(self._pipeline.loaded, self._settings)
            self._models.complete()

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Switch detection on or off without a lifecycle transition."""
        self._enabled = bool(request.data)
        response.success = True
        response.message = "detection is on" if self._enabled else "detection is off"
        return response

    def publish_diagnostics(self) -> None:
        """Say how it goes; called once a second."""
        facts = DetectorFacts(self._state_name, self._problem, self._idle_reason())
        if self._pipeline is not None:
            problem = self._models.problem
            facts = gather(self, self._settings, self._pipeline, self._clouds, facts, problem)
        self._diagnostics.publish(
            diagnostics.to_message(
                detector_statuses(self.stats.snapshot(), facts),
                self.get_fully_qualified_name(),
                facts.model.get("name", ""),
                self.get_clock().now().to_msg(),
            )
        )


if __name__ == "__main__":
    from kd3d_ros.executables import detector_node

    sys.exit(detector_node())
