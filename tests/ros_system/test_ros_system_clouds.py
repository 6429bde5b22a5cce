"""Clouds that a driver sends on a bad day: another layout, no points, ten times the points."""

from typing import Any

import numpy as np
import pytest

#: What a sensor sends after its driver was restarted with other settings.
LAYOUTS: dict[str, dict[str, Any]] = {
    "32 bytes a point, little endian": {
        "fields": [("x", "f4", 0), ("y", "f4", 4), ("z", "f4", 8), ("intensity", "f4", 16)],
        "point_step": 32,
    },
    "19 bytes a point, little endian": {
        "fields": [("intensity", "u1", 0), ("z", "f4", 1), ("y", "f4", 5), ("x", "f4", 9)],
        "point_step": 19,
    },
    "organised, 26 bytes a point, big endian": {
        "fields": [("ring", "u2", 0), ("x", "f8", 2), ("y", "f8", 10), ("z", "f8", 18)],
        "point_step": 26,
        "rows": 8,
        "row_padding": 12,
        "big_endian": True,
    },
}


def place(answer: Any) -> tuple[float, float]:
    """Where the only box is [m]."""
    (found,) = answer.detections
    return found.bbox.center.position.x, found.bbox.center.position.y


def test_sensor_may_come_back_with_another_layout(detector: Any, clouds: Any) -> None:
    points, plain = clouds.scene(), clouds.wire(clouds.scene())
    assert place(detector.detect(plain)) == pytest.approx(clouds.PLACE, abs=0.01)
    before = detector.settle()
    for words, layout in LAYOUTS.items():
        cloud = clouds.wire(points, **layout)
        detector.sensor.unplug()
        detector.sensor.plug_in()
        detector.wait_for_answer(cloud)
        assert place(detector.detect(cloud)) == pytest.approx(clouds.PLACE, abs=0.01), words
    detector.until_values("input", layout=words)
    detector.detect(plain)
    counted = detector.settle() - before
    assert counted["layout changes"] == len(LAYOUTS) + 1
    assert counted["malformed"] == counted["failed"] == 0
    assert "the clouds' layout is now 32 bytes a point" in detector.process.words()


def test_empty_clouds_are_answered_and_pointed_out(detector: Any, clouds: Any) -> None:
    nothing = np.zeros((0, 4), np.float32)
    unseen = np.full((500, 4), np.nan, np.float32)
    before = detector.settle()
    for empty in (clouds.wire(nothing), clouds.bare(), clouds.wire(unseen)):
        answer = detector.detect(empty)
        assert len(answer.detections) == 0
        assert answer.header.frame_id == "lidar"
    with detector.sensor.spin(empty):
        detector.says("sensor", "WARN", "the clouds are empty")
    with detector.sensor.spin(clouds.wire(clouds.scene(2000))):
        detector.until_values("sensor", points="2000")
    answer = detector.wait_for_answer(clouds.wire(clouds.scene()))
    assert place(answer) == pytest.approx(clouds.PLACE, abs=0.01)
    counted = detector.settle() - before
    assert counted["malformed"] == counted["failed"] == counted["layout changes"] == 0


def test_ten_times_the_points_are_worked_on_or_counted(
    bench: Any, detector: Any, clouds: Any
) -> None:
    huge, plain = clouds.wire(clouds.scene(10 * clouds.FULL)), clouds.wire(clouds.scene())
    sensor = detector.sensor
    for _ in range(10):  # the node knows the period, and sees every gap from here on
        detector.wait_for_answer(plain)
    before, first, answered = detector.settle(), len(sensor.stamps), len(detector.answers)
    assert place(detector.wait_for_answer(huge)) == pytest.approx(clouds.PLACE, abs=0.01)
    with sensor.spin(huge) as running:
        bench.until(lambda: running.published >= 10, "ten huge clouds")
        detector.until_values("sensor", points=str(10 * clouds.FULL))
    assert "thin them out" in detector.values("sensor")["complaint: points"]
    detector.wait_for_answer(plain)
    published = sensor.stamps[first:]
    counted = detector.accounted(before, len(published))
    assert counted["received"] == counted["processed"] + counted["dropped"], counted
    assert set(detector.stamps(answered)) <= set(published)
