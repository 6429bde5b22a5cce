"""`latency_budget_ms` on the live node: range and clouds are given up, said so, and come back."""

import json
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from detector_bench import NAME
from detector_bench import Bench
from detector_bench import cluster
from detector_bench import message

from kd3d_core.codec.grid import BevGrid
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.budget import Standing
from kd3d_core.runtime.cropping import crop_grid
from kd3d_core.runtime.steps import make_steps

#: Within the 8 m that are left of the known network's 16 m when it is cropped, and beyond.
NEAR, FAR = (1.25, 1.25), (12.25, 1.25)


def near_and_far() -> PointCloud:
    """A cloud with an object at both places."""
    return PointCloud(np.concatenate([cluster(*NEAR).points, cluster(*FAR).points]))


def places(found: Any) -> list[float]:
    """x of each detection, to the cell."""
    return sorted(round(d.bbox.center.position.x, 2) for d in found.detections)


def listen_budget(bench: Bench) -> list[dict[str, Any]]:
    """What `~/budget` says, from the latched message on."""
    from rclpy.qos import DurabilityPolicy
    from rclpy.qos import QoSProfile
    from std_msgs.msg import String

    heard: list[dict[str, Any]] = []
    qos = QoSProfile(depth=5, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    bench.peer.create_subscription(
        String, f"{NAME}/budget", lambda text: heard.append(json.loads(text.data)), qos
    )
    bench.graph.until(lambda: heard)
    return heard


def press(bench: Bench, heard: list[dict[str, Any]]) -> None:
    """Detect until something was given up: half a millisecond is never enough."""
    for offset in range(20):
        if heard[-1]["step"]:
            return
        bench.detect(message(near_and_far(), offset=offset))
    bench.graph.until(lambda: heard[-1]["step"])


def test_less_range_is_looked_at_while_time_is_short(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, latency_budget_ms=0.5).start()
    heard = listen_budget(bench)
    assert heard[-1]["name"] == "everything"
    assert heard[-1]["x"] == [-16.0, 16.0]
    assert places(bench.detect(message(near_and_far()))) == [1.25, 12.25]
    press(bench, heard)
    assert heard[-1]["name"] == "up to 8 m"
    assert (heard[-1]["x"], heard[-1]["y"]) == ([-8.0, 8.0], [-8.0, 8.0])
    assert "0 ms that it may take" in heard[-1]["why"]
    found = bench.detect(message(near_and_far(), offset=30))
    assert places(found) == [1.25]
    np.testing.assert_allclose(found.detections[0].bbox.size.x, known.size[0], rtol=1e-3)

    for offset in range(31, 36):
        bench.detect(message(near_and_far(), offset=offset))
    status = bench.status("budget")
    values = {item.key: item.value for item in status.values}
    assert status.level == b"\x01"
    assert "results are later than latency_budget_ms (0.5)" in status.message
    assert values["step"] == "1 of 4: up to 8 m"
    assert float(values["pipeline_latency p99 [ms]"]) > 0
    # The cloud lies in the whole range still, and nobody is to blame the sensor for the crop.
    assert bench.status("sensor").level == b"\x00"

    assert bench.set(latency_budget_ms=0.0) == []
    bench.graph.until(lambda: heard[-1]["step"] == 0)
    assert places(bench.detect(message(near_and_far(), offset=40))) == [1.25, 12.25]
    assert f"{NAME[1:]}: budget" not in bench.statuses()


def test_a_budget_that_is_set_later_makes_its_crops_beside_the_work(
    graph: Any, known: Any
) -> None:
    bench = Bench(graph, known, skip_when_unsubscribed=False).start()
    heard = listen_budget(bench)
    assert heard[-1]["last_step"] == 3  # only clouds can be skipped
    assert bench.set(latency_budget_ms=0.5) == []
    sent = 0

    def cropped() -> bool:
        nonlocal sent
        bench.detect(message(near_and_far(), offset=sent))
        sent += 1
        return heard[-1]["last_step"] == 4

    graph.until(cropped, timeout=60.0)
    press(bench, heard)
    assert heard[-1]["name"] == "up to 8 m"
    assert bench.count("processed") >= sent
    assert bench.count("failed") == 0


def test_every_second_cloud_is_skipped_on_purpose(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, latency_budget_ms=5000.0).start()
    heard = listen_budget(bench)
    budget = bench.node.pipeline.budget
    for _ in range(11):  # every 20 ms, or a little less often on a busy machine
        budget.admit()
        time.sleep(0.02)
    for _ in range(4):  # twice down: to the smallest range, then to every other cloud
        budget.drop()
        budget.observe(None, 0.0, 30.0)
    graph.until(lambda: heard[-1]["every"] == 2)
    assert "clouds were dropped" in heard[-1]["why"]

    cloud = near_and_far()
    for offset in range(6):
        before = bench.count("received")
        bench.clouds.publish(message(cloud, offset=offset))
        graph.until(lambda n=before: bench.count("received") > n and bench.accounted())
    counted = bench.node.stats.snapshot().total
    assert counted["processed"] == counted["skipped"] == counted["skipped_for_budget"] == 3
    values = {item.key: item.value for item in bench.status("budget").values}
    assert values["skipped for the budget"] == "3"
    assert values["step"] == "2 of 4: up to 8 m, every 2nd cloud"


@pytest.mark.parametrize("value", [-1.0, 20_000.0])
def test_a_budget_out_of_range_is_refused(graph: Any, known: Any, value: float) -> None:
    from kd3d_core.errors import Kd3dError

    with pytest.raises(Kd3dError, match="latency_budget_ms"):
        Bench(graph, known, latency_budget_ms=value)


def test_fewer_sweeps_are_merged_and_all_are_kept() -> None:
    from kd3d_ros.detector.sweeps import SweepBuffer

    buffer = SweepBuffer(4)
    for number in range(4):
        cloud = PointCloud.from_arrays(np.full((1, 3), float(number)), np.zeros(1))
        buffer.add(cloud, 10**18 + number * 10**8, "lidar")

    def lookup(_target: str, _source: str, _stamp: float) -> Any:
        return pose_matrix((0.0, 0.0, 0.0))

    for most, expected in ((1, [3]), (2, [3, 2]), (9, [3, 2, 1, 0]), (None, [3, 2, 1, 0])):
        merged = buffer.merged(lookup, most)
        assert merged.sweeps == len(expected)
        assert merged.reason == ""
        assert merged.cloud.points[:, 0].tolist() == expected
    assert len(buffer) == 4


def standing(index: int, **changes: Any) -> Standing:
    """A budget of 60 ms that stands so."""
    grid = BevGrid()
    steps = make_steps(1, [grid, crop_grid(grid, 0.6)])
    values: dict[str, Any] = {
        "limit_ms": 60.0,
        "steps": steps,
        "index": index,
        "why": "a cloud took 70 ms, of 58 ms that it may take" if index else "",
        "since": 4.0,
        "seconds": (10.0, 4.0, 0.0, 0.0, 0.0),
        "changes": index,
        "exhausted": False,
        **changes,
    }
    return Standing(**values)


@pytest.mark.parametrize(
    ("index", "exhausted", "active", "level", "words"),
    [
        (0, False, True, "OK", ""),
        (1, False, True, "WARN", "detecting only up to 31 m, to keep 60 ms: a cloud took 70 ms"),
        (1, True, True, "WARN", "results are later than latency_budget_ms (60)"),
        (1, True, False, "OK", ""),
    ],
)
def test_diagnostics_say_what_is_given_up_and_why(
    index: int, exhausted: bool, active: bool, level: str, words: str
) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    from kd3d_ros.common import diagnostics
    from kd3d_ros.common.statistics import Snapshot
    from kd3d_ros.detector.budget_check import budget_status

    shot = Snapshot(
        total=Counter(skipped_for_budget=7), latency={"pipeline_latency": (41.0, 58.5)}
    )
    status = budget_status(shot, standing(index, exhausted=exhausted), active=active)
    assert status.level == getattr(diagnostics, level)
    assert words in status.message
    assert status.values["step"] == ("1 of 4: up to 31 m" if index else "0 of 4: everything")
    assert status.values["seconds of step 0, everything"] == "10"
    assert status.values["seconds of step 1, up to 31 m"] == "4"
    assert status.values["pipeline_latency p99 [ms]"] == "58.5"
    assert status.values["skipped for the budget"] == "7"
