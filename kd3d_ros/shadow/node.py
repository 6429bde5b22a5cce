"""`shadow_node`: a teacher watches what a detector publishes; a lifecycle node."""

import os
import sys
import traceback
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from kd3d_core.errors import Kd3dError
from kd3d_ros.common import diagnostics
from kd3d_ros.common import parameters
from kd3d_ros.common.statistics import Statistics
from kd3d_ros.shadow.inputs import ShadowInputs
from kd3d_ros.shadow.matching import MatchCounts
from kd3d_ros.shadow.pace import lower_priority
from kd3d_ros.shadow.pipeline import ShadowPipeline
from kd3d_ros.shadow.report import Facts
from kd3d_ros.shadow.report import agreement_text
from kd3d_ros.shadow.report import shadow_statuses
from kd3d_ros.shadow.settings import ShadowSettings


class ShadowNode(LifecycleNode):
    """Runs another bundle on the clouds that a detector has answered, and compares.

    Subscribes what `ShadowInputs` says; publishes what `ShadowOutputs` says and /diagnostics;
    serves `~/save`. Made for a process of its own, whose priority it lowers.
    """

    def __init__(self, **node_options: Any) -> None:
        """Declare parameters; nothing is loaded yet.

        Args:
            node_options: Of rclpy's Node.

        Raises:
            Kd3dError: A parameter is unknown or does not fit.
        """
        super().__init__("kd3d_shadow", **node_options)
        try:
            self._settings = parameters.declare(self, ShadowSettings)
        except Kd3dError:
            self.destroy_node()
            raise
        lower_priority(self._settings.nice)
        self.stats = Statistics()
        self._state_name = "unconfigured"
        self._pipeline: ShadowPipeline | None = None
        self._inputs: ShadowInputs | None = None
        self._published = 0
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._parameters_set)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = self.create_timer(1.0, self.report)
        self._service = self.create_service(Trigger, "~/save", self._save)

    def start(self) -> None:
        """Configure and activate, unless the parameter `autostart` says to wait.

        Raises:
            Kd3dError: The teacher could not be loaded.
        """
        if not self._settings.autostart:
            self.get_logger().info("autostart is off: waiting for configure and activate")
            return
        success = TransitionCallbackReturn.SUCCESS
        if self.trigger_configure() != success or self.trigger_activate() != success:
            raise Kd3dError(f"{self.get_name()} did not start; the reason is in the log above")

    # --- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the teacher and run it once."""
        try:
            settings = self._settings = parameters.read(self, ShadowSettings)
            pipeline = self._pipeline = ShadowPipeline(self, settings, self.stats)
        except Kd3dError as error:
            self.get_logger().error(str(error))
            self.stats.fault(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception:
            # rclpy turns an exception into a transition without saying which one it was.
            self.get_logger().error(traceback.format_exc())
            raise
        self._inputs = ShadowInputs(
            self, settings.buffer, self.stats, pipeline.submit, pipeline.complain
        )
        self._state_name = "inactive"
        teacher = pipeline.teacher
        self.stats.note(
            model=teacher.source,
            backend=teacher.backend.name,
            nice=os.getpriority(os.PRIO_PROCESS, 0),
        )
        self.get_logger().info(f"the teacher is {teacher.manifest.name} from {teacher.source}")
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start comparing."""
        assert self._pipeline is not None
        assert self._inputs is not None
        result = super().on_activate(state)
        try:
            self._pipeline.start()
        except Kd3dError as error:  # the folder of the bags may have gone in the meantime
            self.get_logger().error(str(error))
            self.stats.fault(str(error))
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
        self._inputs.subscribe(self._settings.reliability)
        self._state_name = "active"
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, finish the current cloud, write what was mined."""
        self._stop_working()
        self._state_name = "inactive"
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the teacher."""
        self._drop_pipeline()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop from any state."""
        self._stop_working()
        self._drop_pipeline()
        self._state_name = "finalized"
        return super().on_shutdown(state)

    def destroy_node(self) -> None:
        """Join the threads before the middleware goes; what was mined is written."""
        if hasattr(self, "_inputs"):
            self._stop_working()
        super().destroy_node()

    def _stop_working(self) -> None:
        """Harmless when nothing works."""
        if self._inputs is not None:
            self._inputs.unsubscribe()
        if self._pipeline is not None:
            self._pipeline.stop()

    def _drop_pipeline(self) -> None:
        """Free the teacher, its window and its publishers."""
        if self._pipeline is not None:
            self._pipeline.destroy()
        self._pipeline = self._inputs = None
        self._state_name = "unconfigured"

    # --- parameters, services, reports

    def _check_parameters(self, changed: list[Parameter]) -> SetParametersResult:
        """Refuse what does not fit, or what is read at configuration only."""
        locked = self._pipeline is not None
        for item in changed:
            reason = parameters.refusal(ShadowSettings, item.name, item.value, locked=locked)
            if reason:
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _parameters_set(self, _changed: list[Parameter]) -> None:
        """Take over new values from the next cloud on."""
        self._settings = parameters.read(self, ShadowSettings)
        if self._pipeline is not None:
            self._pipeline.follow(self._settings)

    def _save(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Write what was mined now; the answer is the path of the bag, or what is in the way."""
        counts = self._pipeline.save() if self._pipeline is not None else None
        if counts is None:
            off = "mine_frames is 0" if not self._settings.mine_frames else "activate the node"
            response.message = f"nothing is mined: {off}"
            return response
        response.success = counts.saved is not None and not counts.error
        response.message = counts.error or str(counts.saved or "no disagreement was found yet")
        return response

    def report(self) -> None:
        """Publish /diagnostics and, after new comparisons, `~/agreement`; once a second."""
        facts = self._facts()
        pipeline = self._pipeline
        self._diagnostics.publish(
            diagnostics.to_message(
                shadow_statuses(facts),
                self.get_fully_qualified_name(),
                pipeline.teacher.manifest.name if pipeline else "",
                self.get_clock().now().to_msg(),
            )
        )
        compared = facts.shot.total["compared"]
        if pipeline is None or facts.verdict is None or compared == self._published:
            return
        self._published = compared
        teacher = pipeline.teacher
        text = agreement_text(
            facts,
            student={"detections": self.resolve_topic_name("~/input/detections")},
            teacher={"name": teacher.manifest.name, "source": teacher.source},
        )
        pipeline.outputs.publish_agreement(text, facts.verdict.agreement)

    def _facts(self) -> Facts:
        """What is to be reported; the snapshot of the statistics starts anew."""
        pipeline = self._pipeline
        match = self._inputs.counts if self._inputs is not None else MatchCounts()
        for name in ("clouds", "answers", "matched", "unmatched"):
            self.stats.set_count(name, getattr(match, name))
        if pipeline is None:
            return Facts(self.stats.snapshot(), self._state_name, match, 0.0, None, None)
        pipeline.frames.tend()
        self.stats.set_count("dropped", pipeline.dropped)
        return Facts(
            shot=self.stats.snapshot(),
            state=self._state_name,
            match=match,
            busy=pipeline.pace.busy_share(),
            verdict=pipeline.verdict(),
            mining=pipeline.mining,
        )


if __name__ == "__main__":
    from kd3d_ros.executables import shadow_node

    sys.exit(shadow_node())
