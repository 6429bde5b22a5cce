"""What the detector node advises, given its numbers."""

from collections import Counter
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")

from kd3d_ros import diagnostics
from kd3d_ros.statistics import Snapshot
from kd3d_ros.statistics import Statistics
from kd3d_ros.statistics import percentiles

BUSY = {"received": 10, "processed": 10}


def statuses(recent: dict[str, int], **fields: Any) -> dict[str, diagnostics.Status]:
    shot = Snapshot(total=Counter(recent), recent=Counter(recent), **fields)
    made = diagnostics.detector_statuses(
        shot, state="active", idle_reason="", needs_intensity=True
    )
    return {status.name: status for status in made}


def test_all_is_well_when_all_is_well() -> None:
    made = statuses(BUSY, last={"points_in_range": "5000", "has_intensity": "True"})
    assert {status.level for status in made.values()} == {diagnostics.OK}
    assert made["input"].values["rate [Hz]"] == "10.0"


@pytest.mark.parametrize(
    ("recent", "fields", "part", "words"),
    [
        ({}, {}, "input", "QoS"),
        ({**BUSY, "lost": 3}, {}, "input", "Fast DDS profile"),
        (BUSY, {"last": {"has_intensity": "False"}}, "input", "no intensity"),
        (BUSY, {"last": {"points_in_range": "12"}}, "input", "sensor's height"),
        ({"received": 10, "dropped": 4}, {}, "detector", "slower than the sensor"),
        (BUSY, {"latency": {"pipeline_latency": (5e6, 5e6)}}, "detector", "use_sim_time"),
        (BUSY, {"latency": {"pipeline_latency": (-500.0, 0.0)}}, "detector", "use_sim_time"),
    ],
)
def test_each_trouble_is_named_with_its_remedy(
    recent: dict[str, int], fields: dict[str, Any], part: str, words: str
) -> None:
    status = statuses(recent, **fields)[part]
    assert status.level == diagnostics.WARN
    assert words in status.message


def test_faults_outrank_warnings() -> None:
    made = statuses({"received": 10, "malformed": 10, "lost": 1, "faults": 10}, error="truncated")
    assert made["input"].level == diagnostics.ERROR
    assert made["input"].message == "truncated"


def test_snapshots_tell_recent_from_total() -> None:
    stats = Statistics()
    stats.count("received", 3)
    stats.fault("oops")
    first = stats.snapshot()
    stats.count("received", 2)
    second = stats.snapshot()
    assert (first.recent["received"], first.total["received"], first.error) == (3, 3, "oops")
    assert (second.recent["received"], second.total["received"], second.error) == (2, 5, "")


def test_percentiles_are_over_the_latest_window_only() -> None:
    stats = Statistics(window=10)
    for value in [1000.0] * 50 + [1.0] * 10:
        stats.latency("inference", value)
    assert stats.snapshot().latency["inference"] == (1.0, 1.0)
    assert percentiles([1.0, 3.0])[0] == 2.0
