"""A detector that is killed comes back while the sensor never stops."""

from typing import Any


def test_killed_detector_comes_back_while_the_sensor_goes_on(
    bench: Any, detector: Any, clouds: Any
) -> None:
    sensor = detector.sensor
    with sensor.spin(clouds.wire(clouds.scene())) as running:
        seen = len(detector.answers)
        bench.until(lambda: len(detector.answers) > seen + 5, "answers of the detector")
        detector.process.kill()
        gone, sent = len(detector.answers), running.published
        # Nobody who died without a word may hold up the sensor.
        bench.until(lambda: running.published > sent + 10, "the sensor to go on")
        first, spoken = len(sensor.stamps), detector.heard
        detector.process.start()
        bench.until(lambda: detector.heard > spoken, "diagnostics of the new process")
        bench.until(lambda: detector.stamps(-10)[0] > sensor.stamps[first], "new answers")
    counted = detector.settle()
    stamps = detector.stamps(gone)
    assert stamps == sorted(set(stamps))
    assert set(stamps[-10:]) <= set(sensor.stamps[first:])
    # The new process counts what it heard itself, not what was published before its time.
    heard = counted["received"] + counted["missing between stamps"]
    assert 10 <= heard <= len(sensor.stamps) - first
    assert counted["failed"] == counted["malformed"] == counted["time went back"] == 0
    detector.says("model", "OK")
