"""The cloud subscription of a node: what arrives, what got lost, and when time goes back."""

from collections.abc import Callable
from typing import Any

from rclpy.clock import JumpThreshold
from rclpy.clock import TimeJump
from rclpy.duration import Duration
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.event_handler import UnsupportedEventTypeError
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSPolicyKind
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from rclpy.time import Time
from sensor_msgs.msg import PointCloud2

from kd3d_core.datasets.pointcloud2 import DATATYPES
from kd3d_ros.common.stamps import BACK
from kd3d_ros.common.stamps import StampWatch
from kd3d_ros.common.statistics import Statistics
from kd3d_ros.detector.settings import DetectorSettings

TOPIC = "~/input/points"


class CloudInput:
    """Subscribes as long as it lives; everything happens in the executor's thread.

    Attributes:
        refused_qos: What to do about publishers that cannot be heard, or empty.
    """

    def __init__(
        self,
        node: Node,
        settings: DetectorSettings,
        stats: Statistics,
        received: Callable[[PointCloud2], None],
        time_went_back: Callable[[str], None],
    ) -> None:
        """Subscribe.

        Args:
            node: That owns the subscription.
            settings: Their QoS counts.
            stats: Counts `received`, `lost` (said by the middleware) and `missing` (said by the
                stamps).
            received: Called with each cloud.
            time_went_back: Called with a reason before the first cloud of the new time.
        """
        self.refused_qos = ""
        self._node = node
        self._stats = stats
        self._hand_over = received
        self._time_went_back = time_went_back
        self._stamps = StampWatch()
        self._subscription = self._subscribe(settings)
        self._jump = node.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None,
                min_backward=Duration(nanoseconds=-round(BACK * 1e9)),
                on_clock_change=True,
            ),
            post_callback=self._jumped,
        )

    @property
    def period(self) -> float | None:
        """The usual time between clouds [s], or None."""
        return self._stamps.period

    @property
    def topic(self) -> str:
        """The name of the topic after remapping."""
        return str(self._subscription.topic_name)

    @property
    def publishers(self) -> int:
        """How many publish it."""
        return int(self._node.count_publishers(self.topic))

    def destroy(self) -> None:
        """Unsubscribe."""
        self._jump.unregister()
        self._node.destroy_subscription(self._subscription)

    def _subscribe(self, settings: DetectorSettings) -> Any:
        """The subscription, with the events that the middleware can tell of."""
        qos = QoSProfile(
            depth=settings.queue_depth,
            reliability=ReliabilityPolicy[settings.reliability.upper()],
            durability=DurabilityPolicy[settings.durability.upper()],
        )
        events = SubscriptionEventCallbacks(
            message_lost=self._lost, incompatible_qos=self._refused
        )
        make = self._node.create_subscription
        try:
            return make(PointCloud2, TOPIC, self._received, qos, event_callbacks=events)
        except UnsupportedEventTypeError:  # not every middleware can count losses
            return make(PointCloud2, TOPIC, self._received, qos)

    def _lost(self, info: Any) -> None:
        """The transport dropped clouds before they arrived."""
        self._stats.count("lost", info.total_count_change)

    def _refused(self, info: Any) -> None:
        """A publisher of the topic offers less than the subscription asks for."""
        name, value = "reliability", "best_effort"
        if info.last_policy_kind == QoSPolicyKind.DURABILITY:
            name, value = "durability", "volatile"
        self.refused_qos = (
            f"a publisher of {TOPIC} has an incompatible QoS and is not heard: set the parameter "
            f"{name} to {value}"
        )
        self._node.get_logger().error(self.refused_qos)

    def _received(self, message: PointCloud2) -> None:
        """Count a cloud, look at its stamp and hand it over."""
        self._stats.count("received")
        missing, back = self._stamps.observe(Time.from_msg(message.header.stamp).nanoseconds)
        if missing:
            self._stats.count("missing", missing)
        if back:
            self._time_went_back(f"the stamps of the clouds went back by {back:.1f} s")
        self._hand_over(message)

    def _jumped(self, jump: TimeJump) -> None:
        """The node's clock was set back, or changed between wall and simulated time."""
        self._stamps.reset()
        back = -1e-9 * jump.delta.nanoseconds
        self._time_went_back(
            f"the clock went back by {back:.1f} s" if back >= BACK else "the clock was changed"
        )


def describe_layout(message: PointCloud2) -> str:
    """Size and fields of a cloud in words, for diagnostics."""
    fields = " ".join(
        f"{f.name}@{f.offset}:{DATATYPES.get(f.datatype, '?')}" for f in message.fields
    )
    order = "big endian" if message.is_bigendian else "little endian"
    rows = "organised, " if message.height > 1 else ""
    return f"{rows}{message.point_step} bytes a point, {order}: {fields or 'no fields'}"
