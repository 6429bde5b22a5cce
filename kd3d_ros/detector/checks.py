"""What the detector node's numbers mean, and what it advises."""

from kd3d_ros.common.diagnostics import ERROR
from kd3d_ros.common.diagnostics import WARN
from kd3d_ros.common.diagnostics import Status
from kd3d_ros.common.statistics import STAGES
from kd3d_ros.common.statistics import WAITS
from kd3d_ros.common.statistics import Snapshot
from kd3d_ros.detector.budget_check import budget_status
from kd3d_ros.detector.facts import DetectorFacts
from kd3d_ros.detector.facts import TfFacts

#: Latencies outside this range [ms] are two clocks that differ, not work that takes so long.
_PLAUSIBLE = (-50.0, 10_000.0)
#: Results older than this [ms] are worth a word.
_OLD = 500.0
#: After so long without a box [s] the node names what may be the cause.
_QUIET = 20.0
#: Transforms older than this [s] are of a source that has stopped.
_TF_OLD = 2.0


def detector_statuses(shot: Snapshot, facts: DetectorFacts) -> list[Status]:
    """Judge a detector node.

    Args:
        shot: Its numbers.
        facts: Its state.

    Returns:
        What comes in, the sensor as the model sees it, the model, the detector, what goes out,
        and, where they are used, the transforms and the latency budget.
    """
    statuses = [
        _input(shot, facts),
        _sensor(facts),
        _model(facts),
        _detector(shot, facts),
        _output(shot, facts),
    ]
    if facts.tf is not None:
        statuses.append(_tf(shot, facts, facts.tf))
    if facts.budget is not None:
        statuses.append(budget_status(shot, facts.budget, active=facts.state == "active"))
    for status in statuses:
        if facts.state != "active" and not status.message:
            status.message = f"the node is {facts.state}"
        status.message = status.message or "ok"
    return statuses


def _input(shot: Snapshot, facts: DetectorFacts) -> Status:
    """Clouds: rate, losses, layout."""
    total, recent, last = shot.total, shot.recent, shot.last
    names = {"frame_id": "frame", "layout": "layout"}
    values = {
        "rate [Hz]": f"{shot.rate('received'):.1f}",
        "received": str(total["received"]),
        "lost in transport": str(total["lost"]),
        "missing between stamps": str(total["missing"]),
        "malformed": str(total["malformed"]),
        "publishers": str(facts.publishers),
        "layout changes": str(total["layout_changes"]),
        "time went back": str(total["time_went_back"]),
        **{shown: last[name] for name, shown in names.items() if name in last},
    }
    status = Status("input", message="", values=values)
    if facts.state != "active":
        return status
    if recent["malformed"]:
        status.raise_to(ERROR, shot.error or "malformed clouds")
    elif not recent["received"]:
        silent = (
            "no clouds arrive, though somebody publishes them: check the sensor and the QoS "
            "reliability"
            if facts.publishers
            else f"nobody publishes {facts.topic}: remap ~/input/points to the topic of the clouds"
        )
        status.raise_to(WARN, facts.refused_qos or silent)
    if recent["lost"] or recent["missing"] * 10 > recent["received"]:
        count = max(recent["lost"], recent["missing"])
        status.raise_to(
            WARN,
            f"{count} clouds lost in transport: load the Fast DDS profile "
            "(config/fastdds/large_clouds.xml) on both ends, or set reliability to reliable",
        )
    if recent["layout_changes"] > 1 and facts.publishers > 1:
        status.raise_to(
            WARN,
            f"{facts.publishers} publishers send clouds of different layouts to {facts.topic}: "
            "give each sensor a topic and a detector of its own",
        )
    if facts.refused_qos:
        status.raise_to(WARN, facts.refused_qos)
    if recent["processed"] and not last.get("frame_id"):
        status.raise_to(
            WARN, "the clouds have no frame_id, so nothing can be shown: set it at the driver"
        )
    return status


def _sensor(facts: DetectorFacts) -> Status:
    """The clouds as the model sees them: height, axes, intensity, range."""
    status = Status("sensor", message="", values=dict(facts.sensor))
    for complaint in facts.complaints if facts.state == "active" else ():
        status.values[f"complaint: {complaint.key}"] = complaint.message
        status.raise_to(ERROR if complaint.severe else WARN, complaint.message)
    return status


def _model(facts: DetectorFacts) -> Status:
    """The model in use."""
    status = Status("model", message="; ".join(facts.model_notes), values=dict(facts.model))
    if facts.problem:
        status.raise_to(ERROR, facts.problem)
    if facts.model_problem:
        status.raise_to(WARN, f"the old model still runs: {facts.model_problem}")
    if facts.model and facts.trained_sweeps > facts.wanted_sweeps:
        status.raise_to(
            WARN,
            f"the model was trained on {facts.trained_sweeps} merged sweeps, but gets "
            f"{facts.wanted_sweeps}: set the parameter sweeps to {facts.trained_sweeps}",
        )
    return status


def _detector(shot: Snapshot, facts: DetectorFacts) -> Status:
    """The work: rate, drops, latencies."""
    total, recent = shot.total, shot.recent
    values = {"state": facts.state, "rate [Hz]": f"{shot.rate('processed'):.1f}"}
    values |= {name: str(total[name]) for name in (*_FATES, "faults")}
    if "sweeps" in shot.last:
        values["sweeps"] = shot.last["sweeps"]
    for stage in (*STAGES, *WAITS):
        if stage in shot.latency:
            p50, p99 = shot.latency[stage]
            values |= {f"{stage} p50 [ms]": f"{p50:.1f}", f"{stage} p99 [ms]": f"{p99:.1f}"}
    status = Status("detector", message="", values=values)
    if facts.state != "active":
        return status
    if recent["failed"]:
        status.raise_to(ERROR, shot.error)
    if recent["dropped"] * 10 > recent["received"]:
        budget = "" if facts.budget else ", or set latency_budget_ms"
        status.raise_to(
            WARN,
            f"{recent['dropped']} of {recent['received']} clouds dropped: the detector is slower "
            f"than the sensor; use a smaller model, another backend or more threads{budget}",
        )
    if facts.clock_stopped:
        status.raise_to(
            WARN, "use_sim_time is set, but nobody publishes /clock: play the bag with --clock"
        )
    elif recent["processed"] and (age := _age_complaint(shot)):
        status.raise_to(WARN, age)
    status.message = status.message or facts.idle_reason
    return status


def _age_complaint(shot: Snapshot) -> str:
    """What is to be said about the time from the header's stamp to the result, or nothing."""
    low, high = _PLAUSIBLE
    p50 = {name: shot.latency.get(name, (0.0, 0.0))[0] for name in (*STAGES, *WAITS)}
    latency = p50["pipeline_latency"]
    if not low < latency < high:
        return (
            f"the clouds' stamps are {latency / 1000:.1f} s away from this node's clock: set "
            "use_sim_time for a bag, or synchronise the sensor's clock"
        )
    if latency < _OLD:
        return ""
    work = p50["preprocess"] + p50["inference"] + p50["postprocess"]
    if p50["arrival"] > max(work, p50["waiting"]):
        cause = (
            f"{p50['arrival']:.0f} ms of it had passed when the clouds arrived: look at the "
            "driver's stamps and the transport"
        )
    else:
        cause = "the work takes so long: use a smaller model, another backend or more threads"
    return f"results are {latency:.0f} ms old; {cause}"


def _output(shot: Snapshot, facts: DetectorFacts) -> Status:
    """What is published, and whether it can be seen."""
    boxes, markers = facts.listeners
    values = {
        "subscribers of detections": str(boxes),
        "subscribers of markers": str(markers),
        "nothing detected for [s]": f"{facts.quiet_for:.0f}",
    }
    if "detections" in shot.last:
        values["boxes"] = shot.last["detections"]
        values["boxes before the node's filters"] = shot.last["found"]
    status = Status("output", message="", values=values)
    if facts.state != "active":
        return status
    if facts.box_complaint:
        status.raise_to(WARN, facts.box_complaint)
    if markers and not facts.publish_markers:
        status.raise_to(WARN, "RViz waits for markers, but publish_markers is false: set it")
    elif markers and facts.period and 0 < facts.marker_lifetime < facts.period:
        status.raise_to(
            WARN,
            f"boxes blink in RViz: marker_lifetime is {facts.marker_lifetime:g} s, but clouds "
            f"come every {facts.period:.2f} s; raise it",
        )
    if not status.message and shot.recent["processed"] and facts.quiet_for > _QUIET:
        filtered = shot.last.get("found", "0") != "0"
        status.message = f"nothing for {facts.quiet_for:.0f} s; if there is something to see: " + (
            "score_threshold(s), class_remap or roi leave all boxes out"
            if filtered
            else "lower score_threshold, look at the status of the sensor, and compare it with "
            "the data that the model was trained on"
        )
    return status


def _tf(shot: Snapshot, facts: DetectorFacts, tf: TfFacts) -> Status:
    """Transforms: age, and what they could not do."""
    status = Status("tf", message="")
    status.values = {
        "age [s]": "nothing that moves" if tf.age is None else f"{tf.age:.2f}",
        "received": str(tf.received),
        "clouds with a missing transform": str(shot.total["without_tf"]),
    }
    if facts.state != "active":
        return status
    if tf.reasons and shot.recent["processed"]:
        status.raise_to(WARN, "; ".join(tf.reasons))
    if not tf.received:
        status.raise_to(WARN, "nobody publishes /tf or /tf_static: start the odometry")
    elif tf.age is not None and tf.age > _TF_OLD:
        status.raise_to(WARN, f"the newest transform is {tf.age:.1f} s old: has odometry stopped?")
    return status


#: Every cloud that was received ends as one of these.
_FATES = ("processed", "dropped", "skipped", "malformed", "failed")
