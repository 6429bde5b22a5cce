"""What the nodes that publish clouds have in common: prepare ahead, publish by the clock."""

import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any
from typing import Generic
from typing import TypeVar

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy

from kd3d_ros.diagnostics import WARN
from kd3d_ros.diagnostics import Status
from kd3d_ros.diagnostics import to_message
from kd3d_ros.prefetch import Prefetcher

ItemT = TypeVar("ItemT")

#: How long the last message is given to reach its readers before the node ends [s].
_LINGER = 1.0


class SourceNode(Node, Generic[ItemT]):
    """Publishes prepared items at a fixed rate and says in /diagnostics how many.

    Subclasses declare their parameters, make their publishers and then call `play`.
    """

    def __init__(self, name: str, **node_options: Any) -> None:
        """Make the diagnostics publisher.

        Args:
            name: Of the node.
            node_options: Of rclpy's Node.
        """
        super().__init__(name, **node_options)
        self._items: Prefetcher[ItemT] | None = None
        self._ahead = 1
        self._published = self._late = self._late_before = 0
        self._started = False
        self._ended_at: float | None = None
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._diagnostics_timer = self.create_timer(1.0, self._say)

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
            rate: Items a second.
            ahead: How many to prepare in advance.
            heard: Whether all those listen who should not miss the first item.
        """
        self._heard = heard
        self._ahead = ahead
        self._items = Prefetcher(items, ahead)
        self._publish_timer = self.create_timer(1.0 / rate, self._tick)

    def publish_item(self, item: ItemT, stamp: Time) -> None:
        """Publish one item; `stamp` is now."""
        raise NotImplementedError

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
        """Publish the next item, if it is time."""
        assert self._items is not None
        self._started = self._started or (self._items.ready and self._heard())
        if not self._started:
            return
        item = self._items.take()
        if item is not None:
            self.publish_item(item, self.get_clock().now().to_msg())
            self._published += 1
        elif self._items.exhausted:
            self._ended_at = self._ended_at or time.monotonic()
        else:
            self._late += 1

    def _say(self) -> None:
        """Publish /diagnostics."""
        waiting = self._items.waiting if self._items is not None else 0
        status = Status("source")
        status.values = {
            "published": str(self._published),
            "late": str(self._late),
            "prepared": f"{waiting}/{self._ahead}",
        }
        if not self._started:
            preparing = f"preparing: {waiting} of {self._ahead} clouds"
            full = waiting >= self._ahead
            status.message = "waiting for subscribers" if full else preparing
        elif self._late > self._late_before:
            status.raise_to(WARN, "clouds are not ready in time: lower the parameter rate")
        self._late_before = self._late
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(
            to_message([status], self.get_fully_qualified_name(), "source", stamp)
        )


def cloud_qos(reliability: str) -> QoSProfile:
    """QoS of a cloud publisher; "reliable" also serves best-effort subscribers."""
    return QoSProfile(depth=5, reliability=ReliabilityPolicy[reliability.upper()])
