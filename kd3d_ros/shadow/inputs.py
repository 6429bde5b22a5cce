"""The two topics that the shadow node listens to, brought together by their stamps."""

from collections.abc import Callable
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.event_handler import UnsupportedEventTypeError
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3DArray

from kd3d_core.errors import Kd3dError
from kd3d_ros.common.statistics import Statistics
from kd3d_ros.shadow.matching import Match
from kd3d_ros.shadow.matching import MatchCounts
from kd3d_ros.shadow.matching import Matcher


class ShadowInputs:
    """Subscribes `~/input/points` and `~/input/detections` and hands over what belongs together.

    Messages stay serialized: most clouds are never looked at.
    """

    def __init__(
        self,
        node: Node,
        buffer: int,
        stats: Statistics,
        on_match: Callable[[Match], None],
        complain: Callable[[str], None],
    ) -> None:
        """Prepare; `subscribe` starts it.

        Args:
            node: That owns the subscriptions.
            buffer: How many clouds may wait for their answer.
            stats: Where losses are counted.
            on_match: Called in the executor with each cloud that was answered.
            complain: Called in the executor with what is wrong with a message.
        """
        self._node = node
        self._stats = stats
        self._on_match = on_match
        self._complain = complain
        self._matcher = Matcher(buffer)
        self._subscriptions: list[Any] = []

    @property
    def counts(self) -> MatchCounts:
        """What came and what became of it."""
        return self._matcher.counts

    def subscribe(self, reliability: str) -> None:
        """Listen; `reliability` is "best_effort" or "reliable"."""
        policy = ReliabilityPolicy[reliability.upper()]
        clouds, answers = (QoSProfile(depth=depth, reliability=policy) for depth in (5, 10))
        matcher, topic = self._matcher, "~/input/"
        self._subscriptions = [
            self._subscription(PointCloud2, f"{topic}points", matcher.add_cloud, clouds),
            self._subscription(
                Detection3DArray, f"{topic}detections", matcher.add_answer, answers
            ),
        ]

    def unsubscribe(self) -> None:
        """Listen no more and let go of what waits."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._matcher.clear()

    def _subscription(
        self, kind: type, topic: str, add: Callable[[bytes], Match | None], qos: QoSProfile
    ) -> Any:
        """A subscription of serialized messages, which also counts what the transport lost."""

        def received(serialized: bytes) -> None:
            try:
                match = add(serialized)
            except Kd3dError as error:
                self._complain(f"{topic}: {error}")
                return
            if match is not None:
                self._on_match(match)

        events = SubscriptionEventCallbacks(
            message_lost=lambda info: self._stats.count("lost", info.total_count_change),
            incompatible_qos=lambda info: self._node.get_logger().error(
                f"a publisher of {topic} has an incompatible QoS and is not heard: set the "
                "parameter reliability to best_effort"
            ),
        )
        make = self._node.create_subscription
        try:
            return make(kind, topic, received, qos, raw=True, event_callbacks=events)
        except UnsupportedEventTypeError:  # not every middleware can count losses
            return make(kind, topic, received, qos, raw=True)
