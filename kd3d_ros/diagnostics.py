"""What a detector node says about itself once a second, and what it advises."""

from dataclasses import dataclass
from dataclasses import field

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_msgs.msg import KeyValue

from kd3d_ros.statistics import STAGES
from kd3d_ros.statistics import Snapshot

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

#: A cloud with fewer points in the model's range than this has most likely the wrong axes.
FEW_POINTS = 200


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


def detector_statuses(
    shot: Snapshot, *, state: str, idle_reason: str, needs_intensity: bool
) -> list[Status]:
    """Judge a snapshot of the detector node.

    Args:
        shot: Its numbers.
        state: Name of the lifecycle state.
        idle_reason: Why clouds are not worked on at the moment, or empty.
        needs_intensity: Whether the model was trained with intensity.

    Returns:
        Two statuses: what comes in, and what the detector makes of it.
    """
    return [
        _input_status(shot, state, needs_intensity),
        _detector_status(shot, state, idle_reason),
    ]


def _input_status(shot: Snapshot, state: str, needs_intensity: bool) -> Status:
    """Clouds: rate, losses, layout."""
    status = Status("input")
    total, recent = shot.total, shot.recent
    status.values = {
        "rate [Hz]": f"{shot.rate('received'):.1f}",
        "received": str(total["received"]),
        "lost in transport": str(total["lost"]),
        "malformed": str(total["malformed"]),
        **{name: shot.last[name] for name in _INPUT_FACTS if name in shot.last},
    }
    if state != "active":
        status.message = f"the node is {state}"
        return status
    if recent["malformed"]:
        status.raise_to(ERROR, shot.error or "malformed clouds")
    elif not recent["received"]:
        status.raise_to(WARN, "no clouds arrive: check the topic's name and its QoS reliability")
    if recent["lost"]:
        status.raise_to(
            WARN,
            f"{recent['lost']} clouds lost in transport: load the Fast DDS profile "
            "(config/fastdds/large_clouds.xml) on both ends",
        )
    if recent["received"] and needs_intensity and shot.last.get("has_intensity") == "False":
        status.raise_to(WARN, "the clouds have no intensity, but the model was trained with it")
    if recent["processed"] and int(shot.last.get("points_in_range", FEW_POINTS)) < FEW_POINTS:
        status.raise_to(
            WARN,
            "almost no points are in the model's range: check the sensor's height and that x "
            "points forward and z up",
        )
    return status


def _detector_status(shot: Snapshot, state: str, idle_reason: str) -> Status:
    """The detector: rate, drops, latencies."""
    status = Status("detector")
    total, recent = shot.total, shot.recent
    status.values = {
        "state": state,
        "rate [Hz]": f"{shot.rate('processed'):.1f}",
        "processed": str(total["processed"]),
        "dropped": str(total["dropped"]),
        "skipped": str(total["skipped"]),
        "faults": str(total["faults"]),
        **{name: shot.last[name] for name in _DETECTOR_FACTS if name in shot.last},
    }
    for stage in STAGES:
        if stage in shot.latency:
            p50, p99 = shot.latency[stage]
            status.values[f"{stage} p50 [ms]"] = f"{p50:.1f}"
            status.values[f"{stage} p99 [ms]"] = f"{p99:.1f}"
    if state != "active":
        status.message = f"the node is {state}"
        return status
    if recent["faults"] and not recent["malformed"]:
        status.raise_to(ERROR, shot.error)
    if recent["dropped"] * 10 > recent["received"]:
        status.raise_to(
            WARN,
            f"{recent['dropped']} of {recent['received']} clouds dropped: the detector is slower "
            "than the sensor; use a smaller model, another backend or more threads",
        )
    latency = shot.latency.get("pipeline_latency", (0.0, 0.0))[0]
    if recent["processed"] and not -50 < latency < 10_000:
        status.raise_to(
            WARN,
            f"the clouds' stamps are {latency / 1000:.1f} s away from this node's clock: set "
            "use_sim_time for a bag, or synchronise the sensor's clock",
        )
    if idle_reason:
        status.message = idle_reason if status.level == OK else status.message
    return status


_INPUT_FACTS = ("frame_id", "points", "points_in_range", "has_intensity", "dropped_points")
_DETECTOR_FACTS = ("model", "backend", "detections", "dropped_cells")


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
