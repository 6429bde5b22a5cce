"""What the nodes of this package say about themselves once a second on /diagnostics."""

from dataclasses import dataclass
from dataclasses import field

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_msgs.msg import KeyValue

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@dataclass
class Status:
    """One line of diagnostics with its numbers.

    Attributes:
        name: Of the part of the node that is meant.
        level: OK, WARN or ERROR.
        message: One sentence with the remedy.
        values: Name -> value.
    """

    name: str
    level: bytes = OK
    message: str = "ok"
    values: dict[str, str] = field(default_factory=dict)

    def raise_to(self, level: bytes, message: str) -> None:
        """Replace level and message by worse ones; what is as bad stays."""
        if level > self.level:
            self.level, self.message = level, message


def to_message(statuses: list[Status], node: str, hardware: str, stamp: Time) -> DiagnosticArray:
    """Statuses as the message for /diagnostics.

    Args:
        statuses: What to say.
        node: Full name of the node; becomes part of each status's name.
        hardware: The hardware_id: what the numbers belong to.
        stamp: Now, by the node's clock.
    """
    array = DiagnosticArray()
    array.header.stamp = stamp
    for status in statuses:
        array.status.append(
            DiagnosticStatus(
                level=status.level,
                name=f"{node.lstrip('/')}: {status.name}",
                message=status.message,
                hardware_id=hardware,
                values=[KeyValue(key=key, value=value) for key, value in status.values.items()],
            )
        )
    return array
