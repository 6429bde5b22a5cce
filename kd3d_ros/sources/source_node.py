"""What the nodes that publish clouds have in common: prepare ahead, publish when it is due."""

import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import Generic
from typing import TypeVar

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from std_srvs.srv import SetBool

from kd3d_ros.common.diagnostics import WARN
from kd3d_ros.common.diagnostics import Status
from kd3d_ros.common.diagnostics import to_message
from kd3d_ros.sources.prefetch import Prefetcher

ItemT = TypeVar("ItemT")

#: How long the last message is given to reach its readers before the node ends [s].
_LINGER = 1.0
#: How often to look again while waiting for items, subscribers or the end of a pause [s].
_POLL = 0.02
#: An item that is later than this moves all that follow, so that no burst makes up for it [s].
_SLACK = 0.05


class SourceNode(Node, Generic[ItemT]):
    """Publishes prepared items in time, says in /diagnostics how many, serves `~/pause`.

    Subclasses declare their parameters, make their publishers and then call `play`.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        """Make the diagnostics publisher and the service.

        Args:
            name: Of the node.
            node_options: Of rclpy's Node.
        """
        super().__init__(name, **node_options)
        self._items: Prefetcher[ItemT] | None = None
        self._next: ItemT | None = None
        self._ahead = 1
        self._published = self._late = self._late_before = 0
        self._origin: float | None = None  # the monotonic time at which the play began
        self._paused_at: float | None = None
        self._starved = False
        self._ended_at: float | None = None
        # The player may itself be who publishes the time, so it must not wait for it.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._diagnostics_timer = self.create_timer(1.0, self._say, clock=self._steady)
        self._pause_service = self.create_service(SetBool, "~/pause", self._pause)

    def play(
        self,
        items: Iterator[ItemT],
        rate: float,
        ahead: int,
        heard: Callable[[], bool] = lambda: True,
    ) -> None:
        """Start preparing; publishing starts once `ahead` items are ready and `heard` says yes.

        Args:
            items: What to publish; drawn from in a thread.
            rate: Items a second, for nodes that do not overwrite `due`.
            ahead: How many to prepare in advance.
            heard: Whether all those listen who should not miss the first item.
        """
        self._heard = heard
        self._rate = rate
        self._ahead = ahead
        self._items = Prefetcher(items, ahead)
        self._tick_timer = self.create_timer(_POLL, self._tick, clock=self._steady)

    def publish_item(self, item: ItemT, stamp: Time) -> None:
        """Publish one item; `stamp` is now."""
        raise NotImplementedError

    def due(self, item: ItemT) -> float:
        """When to publish the next item, in seconds after the first; here at a fixed rate."""
        return self._published / self._rate

    @property
    def elapsed(self) -> float:
        """Seconds since the first item was due, without pauses and without waiting for items."""
        if self._origin is None:
            return 0.0
        return (self._paused_at or time.monotonic()) - self._origin

    @property
    def finished(self) -> bool:
        """Whether everything has been published and had time to arrive."""
        return self._ended_at is not None and time.monotonic() - self._ended_at > _LINGER

    def destroy_node(self) -> None:
        """Join the thread before the middleware goes."""
        items: Prefetcher[ItemT] | None = getattr(self, "_items", None)
        if items is not None:
            self._say()  # the final count, which should not be lost
            self._diagnostics.wait_for_all_acked(Duration(seconds=1))
            items.close()
        super().destroy_node()

    def _tick(self) -> None:
        """Publish what is due, and come again when the next item is."""
        wait = self._advance()
        self._tick_timer.timer_period_ns = max(1, round(1e9 * wait))
        self._tick_timer.reset()

    def _advance(self) -> float:
        """Publish at most one item; the seconds until there is something to do again."""
        assert self._items is not None
        if self._origin is None:
            if not (self._items.ready and self._heard()):
                return _POLL
            self._origin = time.monotonic()
        if self._paused_at is not None:
            return _POLL
        if self._next is None:
            self._next = self._items.take()
        if self._next is None:
            if self._items.exhausted:
                self._ended_at = self._ended_at or time.monotonic()
            self._starved = True
            return _POLL
        overdue = self.elapsed - self.due(self._next)
        if overdue < 0:
            self._starved = False
            return -overdue
        if overdue > _SLACK:
            self._origin += overdue
            self._late += self._starved
        self._starved = False
        item, self._next = self._next, None
        self.publish_item(item, self.get_clock().now().to_msg())
        self._published += 1
        return 0.0

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Hold the play, or go on where it was held."""
        if request.data and self._paused_at is None:
            self._paused_at = time.monotonic()
        elif not request.data and self._paused_at is not None:
            if self._origin is not None:
                self._origin += time.monotonic() - max(self._paused_at, self._origin)
            self._paused_at = None
        response.success = True
        response.message = "paused" if request.data else "playing"
        return response

    def _say(self) -> None:
        """Publish /diagnostics."""
        waiting = self._items.waiting if self._items is not None else 0
        status = Status("source")
        status.values = {
            "published": str(self._published),
            "late": str(self._late),
            "prepared": f"{waiting}/{self._ahead}",
        }
        if self._paused_at is not None:
            status.message = "paused through ~/pause"
        elif self._origin is None:
            preparing = f"preparing: {waiting} of {self._ahead} clouds"
            full = waiting >= self._ahead
            status.message = "waiting for subscribers" if full else preparing
        elif self._late > self._late_before:
            status.raise_to(WARN, "clouds are not ready in time: lower rate or speed")
        self._late_before = self._late
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(
            to_message([status], self.get_fully_qualified_name(), "source", stamp)
        )


def cloud_qos(reliability: str) -> QoSProfile:
    """Make the QoS of a cloud publisher; "reliable" also serves best-effort subscribers."""
    return QoSProfile(depth=5, reliability=ReliabilityPolicy[reliability.upper()])
