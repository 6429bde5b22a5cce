"""Fills a `TransformTree` from /tf and /tf_static."""

from typing import Any

from builtin_interfaces.msg import Time
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.transform_tree import TransformTree

#: A link whose own stamps go back by more than this [s] means that time was set back.
_BACK = 1.0
_DEPTH = 100


def seconds(stamp: Time) -> float:
    """A stamp as seconds since the epoch, as `TransformTree` takes it."""
    return (int(stamp.sec) * 10**9 + int(stamp.nanosec)) * 1e-9


class TransformListener:
    """Subscribes to /tf and /tf_static as long as it lives.

    When time goes back (a bag starts again, the simulation is reset) the dynamic transforms are
    forgotten: those of the time before would answer for the time after.

    Attributes:
        received: Transforms taken from /tf and /tf_static.
        resets: How often time went back.
        fault: Why the latest unusable transform was refused, or empty.
    """

    def __init__(self, node: Node, tree: TransformTree) -> None:
        """Subscribe.

        Args:
            node: That owns the subscriptions; the transforms arrive in its executor.
            tree: To fill.

        Raises:
            Kd3dError: tf2_msgs is not installed.
        """
        try:
            from tf2_msgs.msg import TFMessage
        except ModuleNotFoundError as error:
            raise Kd3dError(
                "tf2_msgs is not installed, without which no transforms can be heard: "
                "apt install ros-$ROS_DISTRO-tf2-msgs, or, in a pip environment, "
                "python scripts/build_ros_messages.py. A detector of single sweeps in their own "
                "frame needs none."
            ) from error
        self.received = 0
        self.resets = 0
        self.fault = ""
        self._node = node
        self._tree = tree
        self._newest: dict[str, float] = {}
        static = QoSProfile(depth=_DEPTH, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", self._heard, QoSProfile(depth=_DEPTH)),
            node.create_subscription(TFMessage, "/tf_static", self._heard_static, static),
        ]
        # Without a clock to jump (a bag played without /clock) the stamps themselves tell.
        self._jump = node.get_clock().create_jump_callback(
            JumpThreshold(
                min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
            ),
            post_callback=lambda _jump: self._time_went_back(),
        )

    def age(self, now: float) -> float | None:
        """How far the newest dynamic transform's stamp is behind [s]; None when there is none.

        Args:
            now: Time of the node's clock [s].
        """
        newest = self._tree.newest
        return None if newest is None else now - newest

    def destroy(self) -> None:
        """Unsubscribe; what the tree holds stays."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
        self._jump.unregister()

    def _heard(self, message: Any) -> None:
        """Take the transforms of /tf."""
        for transform in message.transforms:
            stamp = seconds(transform.header.stamp)
            child = transform.child_frame_id
            if stamp < self._newest.get(child, stamp) - _BACK:
                self._time_went_back()
            self._newest[child] = max(stamp, self._newest.get(child, stamp))
            self._take(transform, stamp)

    def _heard_static(self, message: Any) -> None:
        """Take the transforms of /tf_static."""
        for transform in message.transforms:
            self._take(transform, None)

    def _take(self, transform: Any, stamp: float | None) -> None:
        """Put one transform into the tree; a broken one must not stop the others."""
        move, turn = transform.transform.translation, transform.transform.rotation
        try:
            self._tree.set_parts(
                transform.header.frame_id,
                transform.child_frame_id,
                (move.x, move.y, move.z),
                (turn.x, turn.y, turn.z, turn.w),
                stamp,
            )
        except ValueError as error:
            self.fault = str(error)
            self._node.get_logger().error(f"tf: {error}", throttle_duration_sec=10.0)
            return
        self.received += 1

    def _time_went_back(self) -> None:
        """Forget the dynamic transforms."""
        self.resets += 1
        self._newest.clear()
        self._tree.clear(static=False)
