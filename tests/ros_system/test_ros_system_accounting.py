"""A minute of a real sensor: every cloud is answered, or counted with what became of it."""

from typing import Any

import pytest

SECONDS = 60


def test_every_cloud_of_a_minute_is_answered_or_counted(
    bench: Any, detector: Any, clouds: Any
) -> None:
    cloud, sensor = clouds.wire(clouds.scene()), detector.sensor
    sensor.unplug()
    sensor.plug_in()
    detector.wait_for_answer(cloud)
    for _ in range(10):  # the node learns the period, and sees every gap from here on
        detector.detect(cloud)
    before = detector.settle()
    first, answered, spoken = len(sensor.stamps), len(detector.answers), detector.heard
    resident = []
    with sensor.spin(cloud) as running:
        for seconds in (10, SECONDS):
            bench.until(lambda n=10 * seconds: running.published >= n, "the clouds", 5 * seconds)
            resident.append(detector.process.resident())
    detector.wait_for_answer(cloud)
    published = sensor.stamps[first:]
    counted = detector.accounted(before, len(published))
    bench.until(
        lambda: len(detector.answers) + detector.answers_lost == answered + counted["processed"],
        "an answer for each processed cloud",
    )

    stamps = detector.stamps(answered)
    assert len(published) > 10 * SECONDS
    assert counted["received"] == counted["processed"] + counted["dropped"], counted
    assert counted["lost in transport"] <= counted["missing between stamps"], counted
    assert stamps == sorted(set(stamps))
    assert set(stamps) <= set(published)
    for answer in detector.answers[answered:]:
        (found,) = answer.detections
        center = found.bbox.center.position
        assert (center.x, center.y) == pytest.approx(clouds.PLACE, abs=0.01)
    assert resident[1] - resident[0] < 64, f"[MB] after 10 s and after 60 s: {resident}"
    assert detector.heard - spoken > SECONDS / 3
