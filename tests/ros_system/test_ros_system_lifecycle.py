"""Deactivated and activated again and again: nothing is left behind."""

from typing import Any

import numpy as np


def test_restarts_leak_no_memory_no_thread_and_no_file(
    bench: Any, detector: Any, clouds: Any
) -> None:
    cloud, process, sensor = clouds.wire(clouds.scene()), detector.process, detector.sensor

    def cycle(*between: str) -> None:
        detector.transition("deactivate")
        bench.until(lambda: not sensor.heard, "the detector to unsubscribe")
        for name in (*between, "activate"):
            detector.transition(name)
        end = sensor.stamps[-1]
        bench.until(lambda: detector.stamps(-1)[0] > end, "an answer of the activated detector")

    def measure() -> tuple[int, int, float]:
        return process.threads(), process.descriptors(), process.resident()

    detector.wait_for_answer(cloud)
    with sensor.spin(cloud):  # it goes on while nobody subscribes
        for _ in range(4):
            cycle()
        cycle("cleanup", "configure")
    found = [measure()]
    for _ in range(2):
        with sensor.spin(cloud):
            for _ in range(10):
                cycle()
        found.append(measure())
    with sensor.spin(cloud):
        for _ in range(2):
            cycle("cleanup", "configure")

    threads, descriptors, resident = zip(*found, strict=True)
    told = f"(threads, files, memory [MB]) at first, after 10 and after 20 restarts: {found}"
    # A thread that was joined may still be seen for a moment.
    bench.until(lambda: process.threads() <= threads[0], f"no more threads than before; {told}")
    assert process.descriptors() <= descriptors[0] + 2, told
    # Ten clouds are 19 MB. The allocator may take something more once, but a leak goes on.
    assert min(np.diff(resident)) < 8, told
    assert resident[2] - resident[0] < 64, told
    counted = detector.settle()
    assert counted["failed"] == counted["malformed"] == 0
