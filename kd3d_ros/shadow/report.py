"""What the shadow node says: its diagnostics and the text of `~/agreement`. Free of rclpy."""

import json
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

from kd3d_core.evaluation.agreement import Cell
from kd3d_ros.common.diagnostics import ERROR
from kd3d_ros.common.diagnostics import WARN
from kd3d_ros.common.diagnostics import Status
from kd3d_ros.common.statistics import Snapshot
from kd3d_ros.shadow.comparison import Verdict
from kd3d_ros.shadow.matching import MatchCounts
from kd3d_ros.shadow.mining import MiningCounts

#: A wrong stamp this close to a cloud's was most likely rewritten on the way [ns].
_CLOSE = 200_000_000


@dataclass(frozen=True)
class Facts:
    """Everything that is reported once a second.

    Attributes:
        shot: Counters and latencies.
        state: Name of the lifecycle state.
        match: What became of clouds and answers.
        busy: Share of the last period that was spent comparing.
        verdict: How things stand, or None before the node is configured.
        mining: What was kept, or None when nothing is.
    """

    shot: Snapshot
    state: str
    match: MatchCounts
    busy: float
    verdict: Verdict | None
    mining: MiningCounts | None

    @property
    def looked_at(self) -> float:
        """Share of all clouds that were compared."""
        return self.shot.total["compared"] / max(self.match.clouds, 1)


def shadow_statuses(facts: Facts) -> list[Status]:
    """Judge the facts: input, teacher, agreement and mining, each with its remedy."""
    statuses = [_input_status(facts), _teacher_status(facts)]
    if facts.verdict is not None:
        statuses.append(_agreement_status(facts.verdict))
    if facts.mining is not None:
        statuses.append(_mining_status(facts.mining))
    return statuses


def agreement_text(facts: Facts, student: dict[str, str], teacher: dict[str, str]) -> str:
    """The JSON of `~/agreement`.

    Args:
        facts: With a verdict.
        student: What is known about the student.
        teacher: What is known about the teacher.
    """
    assert facts.verdict is not None
    content: dict[str, Any] = {
        "student": student,
        "teacher": teacher,
        "clouds": facts.match.clouds,
        "compared": facts.shot.total["compared"],
        "looked_at": round(facts.looked_at, 4),
        "agreement": facts.verdict.agreement.to_dict(),
        "alarms": [asdict(alarm) for alarm in facts.verdict.alarms],
    }
    if facts.mining is not None:
        content["mined"] = {
            "frames": facts.mining.kept,
            "bag": str(facts.mining.saved) if facts.mining.saved else None,
        }
    return json.dumps(content, allow_nan=False)


def _input_status(facts: Facts) -> Status:
    """Clouds and answers: rates, and why they do not come together."""
    status = Status("input")
    shot, match = facts.shot, facts.match
    status.values = {
        "clouds [Hz]": f"{shot.rate('clouds'):.1f}",
        "detections [Hz]": f"{shot.rate('answers'):.1f}",
        "matched": str(match.matched),
        "clouds not answered by the student": str(match.unanswered),
        "detections without a cloud": str(match.unmatched),
        "lost in transport": str(shot.total["lost"]),
    }
    if "strangers" in shot.last:
        status.values["unknown classes"] = shot.last["strangers"]
    if facts.state != "active":
        status.message = f"the node is {facts.state}"
        return status
    recent = shot.recent
    if not recent["clouds"]:
        status.raise_to(WARN, "no clouds arrive: remap ~/input/points and check its QoS")
    elif not recent["answers"]:
        status.raise_to(
            WARN,
            "no detections of the student arrive: remap ~/input/detections to its output, check "
            "that it is active and the QoS",
        )
    elif recent["unmatched"] and not recent["matched"]:
        status.raise_to(WARN, _mismatch(match))
    if recent["with_strangers"]:
        status.raise_to(
            WARN,
            f"the student finds classes that the teacher does not have: {shot.last['strangers']}; "
            "say what they are with class_remap, as in truck=vehicle, or leave them out: animal=",
        )
    return status


def _mismatch(match: MatchCounts) -> str:
    """Why no answer has a cloud, and what to do."""
    cause = "the student works on other clouds: remap ~/input/points to the topic it gets"
    if match.offset_ns is None:
        return f"no detections carry the stamp of a cloud; {cause}"
    offset = match.offset_ns * 1e-9
    if abs(match.offset_ns) < _CLOSE:
        cause = (
            "a node in between stamps anew: the student must keep the stamp of the cloud; or "
            "the clouds leave `buffer` before their answers come: raise it"
        )
    return f"no detections carry the stamp of a cloud, the nearest is {offset:+.3f} s off; {cause}"


def _teacher_status(facts: Facts) -> Status:
    """The teacher: pace, latency, faults."""
    status = Status("teacher")
    shot = facts.shot
    status.values = {
        "state": facts.state,
        "compared": str(shot.total["compared"]),
        "compared [Hz]": f"{shot.rate('compared'):.1f}",
        "clouds looked at [%]": f"{100 * facts.looked_at:.1f}",
        "time spent comparing [%]": f"{100 * facts.busy:.0f}",
        "replaced by newer clouds": str(shot.total["dropped"]),
        "faults": str(shot.total["faults"]),
        **{name: shot.last[name] for name in ("model", "backend", "nice") if name in shot.last},
    }
    if "teacher" in shot.latency:
        p50, p99 = shot.latency["teacher"]
        status.values["teacher p50 [ms]"] = f"{p50:.1f}"
        status.values["teacher p99 [ms]"] = f"{p99:.1f}"
    if shot.recent["faults"]:
        status.raise_to(ERROR, shot.error)
    elif facts.state != "active":
        status.message = f"the node is {facts.state}"
    return status


def _agreement_status(verdict: Verdict) -> Status:
    """The figures over the window by class and ring, and the alarms."""
    status = Status("agreement")
    agreement = verdict.agreement
    status.values = {"frames": str(agreement.frames), "all": _words(agreement.total)}
    for name in agreement.classes:
        status.values[name] = _words(agreement.by_class[name])
        for ring, cell in agreement.by_ring[name].items():
            status.values[f"{name} {ring} m"] = _words(cell)
    if agreement.calibration_error is not None:
        status.values["calibration error"] = f"{agreement.calibration_error:.3f}"
    if verdict.alarms:
        status.raise_to(WARN, "; ".join(alarm.message for alarm in verdict.alarms[:3]))
        status.values["alarms"] = str(len(verdict.alarms))
    elif not agreement.frames:
        status.message = "nothing compared yet"
    else:
        status.message = _words(agreement.total)
    return status


def _mining_status(mining: MiningCounts) -> Status:
    """What was kept and where it is."""
    status = Status("mining")
    status.values = {
        "kept": str(mining.kept),
        "offered": str(mining.offered),
        "memory [MB]": f"{mining.bytes / 1e6:.1f}",
        "bag": str(mining.saved) if mining.saved else "none yet",
        "unsaved": "yes" if mining.unsaved else "no",
    }
    if mining.error:
        status.raise_to(WARN, f"{mining.error}; set mine_folder to a folder with room")
    return status


def _words(cell: Cell) -> str:
    """A cell in one line."""
    if cell.recall is None and cell.precision is None:
        return "no objects"
    parts = [
        f"{name} {value:.2f}{unit}"
        for name, value, unit in (
            ("recall", cell.recall, ""),
            ("precision", cell.precision, ""),
            ("centre error", cell.centre_error, " m"),
        )
        if value is not None
    ]
    return f"{', '.join(parts)} ({cell.pairs} pairs, {cell.missed} missed, {cell.extra} extra)"
