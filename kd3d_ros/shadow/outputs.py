"""The topics on which the shadow node publishes its results."""

import math
import re

from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from std_msgs.msg import Float32
from std_msgs.msg import Header
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from kd3d_core.evaluation.agreement import Agreement
from kd3d_core.evaluation.agreement import Cell
from kd3d_ros.common import conversions
from kd3d_ros.shadow.comparison import Compared

#: The figures that have a topic for plotting.
FIGURES = ("recall", "precision", "centre_error")


class ShadowOutputs:
    """Publishes `~/agreement` (latched), `~/{figure}`, `~/{figure}/{class}` and `~/markers`.

    A figure is NaN while there is nothing to take it from. They speak while the node is active.
    """

    def __init__(self, node: LifecycleNode, classes: tuple[str, ...]) -> None:
        """Make the publishers.

        Args:
            node: That owns them.
            classes: That are compared.
        """
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._agreement = node.create_lifecycle_publisher(String, "~/agreement", latched)
        self._markers = node.create_lifecycle_publisher(MarkerArray, "~/markers", 10)
        self._figures = {
            (figure, name): node.create_lifecycle_publisher(
                Float32, f"~/{figure}/{_token(name)}" if name else f"~/{figure}", 10
            )
            for figure in FIGURES
            for name in ("", *classes)
        }

    def publish_markers(self, compared: Compared, stamp: Time, lifetime: float) -> None:
        """Show one comparison, if anybody looks."""
        if self._markers.get_subscription_count():
            header = Header(frame_id=compared.frame_id, stamp=stamp)
            self._markers.publish(
                conversions.to_agreement_markers(compared.frame, header, lifetime)
            )

    def publish_agreement(self, text: str, agreement: Agreement) -> None:
        """Tell how things stand.

        Args:
            text: JSON.
            agreement: What the figures are taken from.
        """
        self._agreement.publish(String(data=text))
        for (figure, name), publisher in self._figures.items():
            if publisher.get_subscription_count():
                cell: Cell = agreement.by_class[name] if name else agreement.total
                value: float | None = getattr(cell, figure)
                publisher.publish(Float32(data=math.nan if value is None else value))

    def destroy(self, node: LifecycleNode) -> None:
        """Take the publishers back."""
        for publisher in (self._agreement, self._markers, *self._figures.values()):
            node.destroy_lifecycle_publisher(publisher)


def _token(name: str) -> str:
    """A class name as a part of a topic: letters, digits and underscores, no digit first."""
    token = re.sub(r"\W+", "_", name, flags=re.ASCII)
    return f"_{token}" if token[:1].isdigit() else token
