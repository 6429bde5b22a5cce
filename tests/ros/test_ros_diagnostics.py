"""What the detector node advises, given its numbers: each trouble is named with its remedy."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_ros.common import diagnostics
from kd3d_ros.common.interfaces import field_difference
from kd3d_ros.common.stamps import StampWatch
from kd3d_ros.common.statistics import Snapshot
from kd3d_ros.common.statistics import Statistics
from kd3d_ros.common.statistics import percentiles
from kd3d_ros.detector.box_watch import BoxWatch
from kd3d_ros.detector.checks import detector_statuses
from kd3d_ros.detector.facts import DetectorFacts
from kd3d_ros.detector.facts import TfFacts
from kd3d_ros.detector.health import Complaint

BUSY = {"received": 10, "processed": 10}
FINE = {"frame_id": "lidar", "detections": "3", "found": "3"}
LATE = {"pipeline_latency": (800.0, 900.0), "preprocess": (5.0, 5.0), "postprocess": (1.0, 1.0)}


def statuses(
    recent: dict[str, int], facts: dict[str, Any] | None = None, **shot: Any
) -> dict[str, diagnostics.Status]:
    shot = {"last": FINE, **shot}
    snapshot = Snapshot(total=Counter(recent), recent=Counter(recent), **shot)
    made = detector_statuses(snapshot, DetectorFacts(**(facts or {})))
    return {status.name: status for status in made}


def test_all_is_well_when_all_is_well() -> None:
    made = statuses(BUSY, {"tf": TfFacts(age=0.02, received=100)})
    assert {status.level for status in made.values()} == {diagnostics.OK}
    assert {status.message for status in made.values()} == {"ok"}
    assert made["input"].values["rate [Hz]"] == "10.0"
    assert list(made) == ["input", "sensor", "model", "detector", "output", "tf"]


@pytest.mark.parametrize(
    ("recent", "facts", "shot", "part", "words"),
    [
        ({}, {}, {}, "input", "QoS"),
        ({}, {"publishers": 0, "topic": "/points"}, {}, "input", "nobody publishes /points"),
        ({}, {"refused_qos": "set reliability"}, {}, "input", "set reliability"),
        ({**BUSY, "lost": 3}, {}, {}, "input", "Fast DDS profile"),
        ({**BUSY, "missing": 3}, {}, {}, "input", "Fast DDS profile"),
        ({**BUSY, "layout_changes": 9}, {"publishers": 2}, {}, "input", "a topic and a detector"),
        (BUSY, {}, {"last": {**FINE, "frame_id": ""}}, "input", "no frame_id"),
        ({"received": 10, "dropped": 4}, {}, {}, "detector", "slower than the sensor"),
        (BUSY, {}, {"latency": {"pipeline_latency": (5e6, 5e6)}}, "detector", "use_sim_time"),
        (BUSY, {}, {"latency": {"pipeline_latency": (-500.0, 0)}}, "detector", "use_sim_time"),
        (BUSY, {"clock_stopped": True}, {}, "detector", "/clock"),
        (
            BUSY,
            {},
            {"latency": {**LATE, "inference": (20.0, 30.0), "arrival": (760.0, 800.0)}},
            "detector",
            "driver's stamps",
        ),
        (
            BUSY,
            {},
            {"latency": {**LATE, "inference": (700.0, 700.0), "arrival": (60.0, 80.0)}},
            "detector",
            "smaller model",
        ),
        (BUSY, {"listeners": (1, 1), "publish_markers": False}, {}, "output", "publish_markers"),
        (
            BUSY,
            {"listeners": (1, 1), "marker_lifetime": 0.05, "period": 0.1},
            {},
            "output",
            "marker_lifetime",
        ),
        (BUSY, {"box_complaint": "boxes are turned"}, {}, "output", "turned"),
        (BUSY, {"model": {"name": "m"}, "trained_sweeps": 10}, {}, "model", "sweeps to 10"),
        (BUSY, {"model_problem": "no such file"}, {}, "model", "old model still runs"),
        (BUSY, {"tf": TfFacts()}, {}, "tf", "nobody publishes /tf"),
        (BUSY, {"tf": TfFacts(age=7.0, received=3)}, {}, "tf", "odometry stopped"),
        (BUSY, {"tf": TfFacts(0.1, 3, ("no odom",))}, {}, "tf", "no odom"),
    ],
)
def test_each_trouble_is_named_with_its_remedy(
    recent: dict[str, int], facts: dict[str, Any], shot: dict[str, Any], part: str, words: str
) -> None:
    made = statuses(recent, facts, **shot)
    assert made[part].level == diagnostics.WARN
    assert words in made[part].message
    others = {status.level for name, status in made.items() if name != part}
    assert others <= {diagnostics.OK}


def test_complaints_about_the_sensor_are_shown_worst_first() -> None:
    found = [Complaint("sensor height", "1.1 m lower", severe=True), Complaint("range", "few")]
    status = statuses(BUSY, {"complaints": found, "sensor": {"points": "5"}})["sensor"]
    assert status.level == diagnostics.ERROR
    assert status.message == "1.1 m lower"
    assert status.values["complaint: range"] == "few"
    assert status.values["points"] == "5"


def test_faults_outrank_warnings_and_point_to_their_part() -> None:
    made = statuses({"received": 10, "malformed": 10, "lost": 1}, error="truncated")
    assert (made["input"].level, made["input"].message) == (diagnostics.ERROR, "truncated")
    assert made["detector"].level == diagnostics.OK
    made = statuses({"received": 10, "failed": 10}, error="out of memory")
    assert made["detector"].message == "out of memory"
    made = statuses({}, {"state": "unconfigured", "problem": "no such bundle"})
    assert (made["model"].level, made["model"].message) == (diagnostics.ERROR, "no such bundle")
    assert made["input"].message == "the node is unconfigured"


def test_silence_is_explained_but_is_no_fault() -> None:
    silent = {"quiet_for": 30.0}
    status = statuses(BUSY, silent, last={**FINE, "detections": "0"})["output"]
    assert status.level == diagnostics.OK
    assert "leave all boxes out" in status.message
    status = statuses(BUSY, silent, last={**FINE, "found": "0"})["output"]
    assert "lower score_threshold" in status.message


def test_snapshots_tell_recent_from_total() -> None:
    stats = Statistics()
    stats.count("received", 3)
    stats.fault("oops")
    first = stats.snapshot()
    stats.count("received", 2)
    second = stats.snapshot()
    assert (first.recent["received"], first.total["received"], first.error) == (3, 3, "oops")
    assert (second.recent["received"], second.total["received"], second.error) == (2, 5, "")


def test_percentiles_are_over_the_latest_window_only_and_can_be_forgotten() -> None:
    stats = Statistics(window=10)
    for value in [1000.0] * 50 + [1.0] * 10:
        stats.latency("inference", value)
    assert stats.snapshot().latency["inference"] == (1.0, 1.0)
    assert percentiles([1.0, 3.0])[0] == 2.0
    stats.forget_latencies()
    assert stats.snapshot().latency == {}


def test_stamps_tell_gaps_pauses_and_jumps() -> None:
    watch, stamp = StampWatch(), 10**18
    for _ in range(10):
        stamp += 10**8
        assert watch.observe(stamp) == (0, 0.0)
    assert watch.period == pytest.approx(0.1)
    assert watch.observe(stamp + 4 * 10**8) == (3, 0.0)
    assert watch.observe(stamp + 3 * 10**8) == (0, 0.0)  # out of order
    assert watch.observe(stamp + 60 * 10**9) == (0, 0.0)  # the driver had been stopped
    missing, back = watch.observe(stamp - 5 * 10**9)
    assert (missing, back) == (0, pytest.approx(65.0))
    assert watch.period is None


def moving(yaw: float, motion: float, size: tuple[float, float, float]) -> Boxes3D:
    """60 boxes with a heading that move in a direction [rad] at 10 m/s."""
    velocity = 10 * np.array([np.cos(motion), np.sin(motion)])
    return Boxes3D.make(
        np.zeros((60, 3)), [size] * 60, [yaw] * 60, [0] * 60, velocity=[velocity] * 60
    )


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        (moving(0.3, 0.3, (4.5, 1.9, 1.6)), ""),
        (moving(0.3, 0.3 + np.pi, (4.5, 1.9, 1.6)), "180 degrees"),
        (moving(0.3, 0.3 - np.pi / 2, (4.5, 1.9, 1.6)), "90 degrees"),
        (moving(0.3, 0.3, (1.9, 4.5, 1.6)), "wider than long"),
        (moving(0.3, 2.0, (0.6, 0.7, 1.7)), ""),  # people turn as they like
    ],
)
def test_boxes_of_another_convention_are_noticed(boxes: Boxes3D, words: str) -> None:
    watch = BoxWatch()
    watch.add(boxes, has_velocity=True)
    assert (words in watch.complaint()) if words else watch.complaint() == ""


def test_another_vision_msgs_is_told_apart() -> None:
    from vision_msgs import msg

    assert field_difference(msg) == ""
    names = ("Detection3D", "ObjectHypothesisWithPose", "ObjectHypothesis", "BoundingBox3D")
    old = SimpleNamespace(**{name: getattr(msg, name) for name in names})
    assert field_difference(old) == "it has no LabelInfo"
    numbers = {"id": "int64", "score": "double"}
    old.ObjectHypothesis = SimpleNamespace(get_fields_and_field_types=lambda: numbers)
    assert field_difference(old) == "ObjectHypothesis.class_id is missing, not string"
