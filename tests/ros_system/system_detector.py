"""A detector under test, as its users see it: topics, services, diagnostics."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger
from system_bench import Bench
from system_clouds import WireCloud
from system_process import NodeProcess
from system_sensor import Sensor
from vision_msgs.msg import Detection3DArray

LEVELS = {"OK": b"\x00", "WARN": b"\x01", "ERROR": b"\x02"}
#: Every received cloud ends as one of these.
FATES = ("processed", "dropped", "skipped", "malformed", "failed")


def nanoseconds(stamp: Any) -> int:
    """A stamp as whole nanoseconds."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


class Detector:
    """One detector process with its sensor, and everything it says.

    Attributes:
        name: Of the node, which lies in the root namespace.
        process: It.
        sensor: Publishes what it subscribes to.
        answers: All detections in the order of arrival.
        answers_lost: Detections that the middleware lost on the way to this test.
    """

    def __init__(self, bench: Bench, name: str, process: NodeProcess) -> None:
        self.name = name
        self.process = process
        self.answers: list[Detection3DArray] = []
        self.answers_lost = 0
        self._bench = bench
        self.sensor = Sensor(bench, f"/{name}/input/points")
        bench.processes[name] = process
        bench.node.create_subscription(
            Detection3DArray,
            f"/{name}/output/detections",
            self.answers.append,
            QoSProfile(depth=1000),
            event_callbacks=SubscriptionEventCallbacks(message_lost=self._lost),
        )

    def wait_for_answer(self, cloud: WireCloud) -> Detection3DArray:
        """Publish until the last cloud that was published has its answer, which is returned.

        For when a cloud may be lost: while both ends look for each other, or the transport is
        full. Afterwards nothing is under way.
        """
        due, patience, stamp = 0.0, 1.0, 0

        def answered() -> Detection3DArray | None:
            nonlocal due, patience, stamp
            if self.sensor.heard and time.monotonic() > due:
                stamp = self.sensor.publish(cloud)
                due, patience = time.monotonic() + patience, 2 * patience
            return self._answer(stamp, before)

        before = len(self.answers)
        return self._bench.until(answered, f"any answer of {self.name}")

    @property
    def heard(self) -> int:
        """How many diagnostics came."""
        return self._bench.heard(self.name)

    def settle(self) -> Counter[str]:
        """The counters once no cloud is under way any more."""

        def quiet() -> Counter[str] | None:
            if self.heard == state[0]:
                return None
            before, now = state[1], self.counters()
            state[:] = self.heard, now
            done = now["received"] == sum(now[fate] for fate in FATES)
            return now if done and before == now else None

        state: list[Any] = [self.heard, None]
        return self._bench.until(quiet, f"{self.name} to finish its clouds")

    def accounted(self, before: Counter[str], published: int) -> Counter[str]:
        """What became of all clouds published since, once that is known of every one.

        Args:
            before: What `settle` gave.
            published: How many clouds since then. The last one must have been answered, because
                a loss can only be told by what comes after it.
        """
        found: list[Counter[str]] = []

        def complete() -> bool:
            found[:] = [self.counters() - before]
            known = found[0]["received"] + found[0]["missing between stamps"]
            ended = sum(found[0][fate] for fate in FATES)
            return known == published and ended == found[0]["received"]

        what = f"{published} clouds of {self.name} to be accounted for"
        try:
            self._bench.until(complete, what, timeout=60.0)
        except AssertionError as error:
            raise AssertionError(f"{error}, but the diagnostics know {found}") from None
        return found[0]

    def detect(self, cloud: WireCloud, then: Callable[[], None] | None = None) -> Detection3DArray:
        """The answer to one cloud, which must come.

        Args:
            cloud: Published with the next stamp.
            then: Called once it is published.
        """
        before = len(self.answers)
        stamp = self.sensor.publish(cloud)
        if then is not None:
            then()
        what = f"the answer of {self.name} to the cloud at {stamp} ns"
        return self._bench.until(lambda: self._answer(stamp, before), what)

    def _answer(self, stamp: int, since: int) -> Detection3DArray | None:
        """The answer to the cloud of a stamp [ns], among those from the `since`-th on."""
        recent = self.answers[since:]
        return next((a for a in recent if nanoseconds(a.header.stamp) == stamp), None)

    def status(self, part: str) -> DiagnosticStatus:
        """Its latest diagnostics of a part, waited for if there are none yet."""
        name = f"{self.name}: {part}"
        return self._bench.until(lambda: self._bench.status(name), f"diagnostics {name}")

    def says(self, part: str, level: str, *words: str) -> DiagnosticStatus:
        """Wait until a line of the diagnostics is of a level and holds all words."""

        def right() -> DiagnosticStatus | None:
            status = self.status(part)
            fits = status.level == LEVELS[level] and all(word in status.message for word in words)
            return status if fits else None

        what = f"diagnostics '{self.name}: {part}' of level {level} with {list(words)}"
        return self._bench.until(right, what)

    def values(self, part: str) -> dict[str, str]:
        """The numbers of a part."""
        return {pair.key: pair.value for pair in self.status(part).values}

    def until_values(self, part: str, **wanted: str) -> None:
        """Wait until some numbers of a part begin with these texts."""

        def right() -> bool:
            values = self.values(part)
            return all(values.get(key, "").startswith(text) for key, text in wanted.items())

        self._bench.until(right, f"diagnostics '{self.name}: {part}' with {wanted}")

    def counters(self) -> Counter[str]:
        """All counters of the detector and its input."""
        values = self.values("input") | self.values("detector")
        return Counter({key: int(text) for key, text in values.items() if text.isdigit()})

    def stamps(self, since: int = 0) -> list[int]:
        """Stamps of the answers from the `since`-th on [ns]."""
        return [nanoseconds(answer.header.stamp) for answer in self.answers[since:]]

    def set(self, **values: Any) -> None:
        """Set parameters, all or none."""
        request = SetParametersAtomically.Request()
        request.parameters = [
            Parameter(name, value=value).to_parameter_msg() for name, value in values.items()
        ]
        service = f"/{self.name}/set_parameters_atomically"
        result = self._bench.call(SetParametersAtomically, service, request).result
        assert result.successful, f"{values}: {result.reason}"

    def begin_to_load(self, model: Path) -> Any:
        """Name another model and call ~/load_model; the future of its answer."""
        self.set(model=str(model))
        return self._bench.ask(Trigger, f"/{self.name}/load_model", Trigger.Request())

    def load(self, model: Path) -> Trigger.Response:
        """`begin_to_load` and its answer."""
        future = self.begin_to_load(model)
        self._bench.until(future.done, f"the answer of {self.name}'s load_model")
        return future.result()

    def transition(self, name: str) -> None:
        """Make a lifecycle transition: configure, activate, deactivate or cleanup."""
        number = getattr(Transition, f"TRANSITION_{name.upper()}")
        request = ChangeState.Request(transition=Transition(id=number))
        done = self._bench.call(ChangeState, f"/{self.name}/change_state", request)
        assert done.success, f"{self.name} refused to {name}"

    def _lost(self, info: Any) -> None:
        self.answers_lost += info.total_count_change
