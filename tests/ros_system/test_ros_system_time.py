"""Clocks and transforms that come late, never, or begin again: a detection still comes."""

import time
from typing import Any


def test_simulated_time_rules_and_may_go_back(bench: Any, world: Any) -> None:
    detector = world.detector

    def latency() -> float:
        return float(detector.values("detector").get("pipeline_latency p50 [ms]", "nan"))

    if world.now != 10**12:
        world.reset(0)
    detector.says("detector", "WARN", "use_sim_time is set, but nobody publishes /clock")
    world.reset()
    for _ in range(10):
        world.step(seconds=0.2)
    # Stamps of 1970 are 54 years away from wall time, and less than a second from this clock.
    bench.until(lambda: -50 < latency() < 1000, "the latency in simulated time")
    detector.says("detector", "OK")
    before = detector.settle()
    # A bag that is played in a loop: the same stamps come again.
    for _ in range(2):
        world.reset()
        answers = [world.step(seconds=0.2) for _ in range(10)]
        assert all(len(answer.detections) == 1 for answer in answers)
    counted = detector.accounted(before, 20)
    assert counted["processed"] == 20
    assert counted["time went back"] >= 2
    assert "the clock went back by" in detector.process.words()
    detector.says("detector", "OK")
    # Time stands still: the diagnostics do not.
    heard = detector.heard
    bench.until(lambda: detector.heard > heard + 1, "diagnostics while time stands still")


def test_loop_without_a_clock_is_noticed_by_the_stamps(detector: Any, clouds: Any) -> None:
    cloud, sensor = clouds.wire(clouds.scene(2000)), detector.sensor
    detector.wait_for_answer(cloud)
    before = detector.settle()
    sensor.next_stamp = time.time_ns() - 99_950 * 10**9
    answers = [detector.detect(cloud) for _ in range(5)]
    assert all(len(answer.detections) == 1 for answer in answers)
    with sensor.spin(cloud):
        detector.says("detector", "WARN", "stamps are 999", "away", "set use_sim_time")
    assert (detector.settle() - before)["time went back"] == 1
    assert "the stamps of the clouds went back by" in detector.process.words()
    sensor.unplug()
    sensor.plug_in()
    detector.wait_for_answer(cloud)


def test_transforms_may_be_missing_late_or_forgotten(bench: Any, world: Any) -> None:
    detector = world.detector

    def faults() -> int:
        return int(detector.values("tf")["clouds with a missing transform"])

    detector.transition("deactivate")
    detector.transition("activate")
    world.reset(world.now + 10**11)
    world.begin()
    detector.settle()
    # None at all: one sweep, in the frame of the cloud.
    before = faults()
    answers = [world.step() for _ in range(5)]
    assert [answer.header.frame_id for answer in answers] == ["lidar"] * 5
    assert [len(answer.detections) for answer in answers] == [1] * 5
    detector.says(
        "tf", "WARN", "there is no frame 'odom' in tf", "boxes stay in the frame 'lidar'"
    )
    detector.until_values("detector", sweeps="1")
    bench.until(lambda: faults() == before + 5, "the count of clouds without transforms")

    with world.mounted():
        # They arrive: two sweeps are one object, because the motion between them is known.
        world.until_right(tf="before")
        detector.says("tf", "OK")
        detector.until_values("detector", sweeps="2")

        # They stop: the newest one has to do.
        detector.set(tf_timeout=0.0)
        answers = [world.step() for _ in range(6)]
        assert {answer.header.frame_id for answer in answers} == {"odom"}
        detector.says("tf", "WARN", "the newest known transform is used instead")
        detector.until_values("detector", sweeps="1")

        # They come after their cloud, half a second from the one before: worth waiting for.
        detector.set(tf_timeout=2.0)
        world.until_right(tf="after", seconds=0.5)
        detector.says("tf", "OK")
        detector.until_values("detector", sweeps="2")

        # Time begins again: where the robot was then means nothing now.
        world.reset(world.now - 2 * 10**9)
        answer = world.step()
        assert answer.header.frame_id == "lidar"
        detector.says("tf", "WARN", "there is no frame 'odom' in tf")
        world.until_right(tf="before")
        detector.says("tf", "OK")
