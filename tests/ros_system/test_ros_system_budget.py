"""A latency budget on a busy machine: range goes when time is short, and comes back."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from handmade_bundle import clump

#: Beyond the 5 m that are left of the 10 m of the handmade network when it is cropped.
FAR = (8.0, 1.0)


@pytest.fixture
def hog() -> Iterator[None]:
    """Another program that takes all the processor it gets."""
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield
    child.kill()
    child.wait()


@pytest.fixture
def steps(bench: Any, detector: Any) -> Iterator[list[dict[str, Any]]]:
    """What the detector says of its budget; there is none afterwards."""
    from rclpy.qos import DurabilityPolicy
    from rclpy.qos import QoSProfile
    from std_msgs.msg import String

    heard: list[dict[str, Any]] = []
    subscription = bench.node.create_subscription(
        String,
        f"/{detector.name}/budget",
        lambda message: heard.append(json.loads(message.data)),
        QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    )
    bench.until(lambda: heard, "the latched message of the budget")
    yield heard
    detector.set(latency_budget_ms=0.0)
    bench.node.destroy_subscription(subscription)


@pytest.mark.usefixtures("hog")
def test_range_goes_when_time_is_short_and_comes_back(
    bench: Any, detector: Any, clouds: Any, steps: list[dict[str, Any]]
) -> None:
    points = np.concatenate([clouds.scene(2000), clump(*FAR).points])
    cloud = clouds.wire(points)

    def seen() -> int:
        time.sleep(0.1)  # a sensor gives its clouds whether the last one is done or not
        return len(detector.detect(cloud).detections)

    def detect_until(done: Callable[[], bool], what: str) -> None:
        bench.until(lambda: seen() and done(), what)

    before = detector.settle()
    published = len(detector.sensor.stamps)
    assert steps[-1]["name"] == "everything"
    assert seen() == 2
    detector.set(latency_budget_ms=0.5)  # which no detector keeps
    detect_until(lambda: steps[-1]["name"] == "up to 5 m", "the smaller range")
    assert seen() == 1
    detect_until(lambda: "later than" in detector.status("budget").message, "the warning")
    detector.set(latency_budget_ms=10_000.0)  # which this one always keeps
    assert seen() == 1  # not at once: it must have proved to be quick enough
    detect_until(lambda: steps[-1]["name"] == "everything", "the whole range")
    assert "room again" in steps[-1]["why"]
    assert seen() == 2
    counted = detector.accounted(before, len(detector.sensor.stamps) - published)
    assert counted["processed"] == counted["received"] == len(detector.sensor.stamps) - published
