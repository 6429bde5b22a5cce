"""The latest-frame-wins worker and the prefetcher: what is worked on, what is dropped."""

import threading
import time
from collections.abc import Iterator

import pytest

from kd3d_ros.common.worker import LatestWorker
from kd3d_ros.sources.prefetch import Prefetcher


class Gate:
    """A worker function that waits to be let through."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.errors: list[Exception] = []
        self.entered, self.leave = threading.Semaphore(0), threading.Semaphore(0)
        self.worker = LatestWorker(self.process, lambda item, error: self.errors.append(error))

    def process(self, item: int) -> None:
        self.entered.release()
        assert self.leave.acquire(timeout=5)
        if item < 0:
            raise ValueError(item)
        self.done.append(item)

    def submit(self, item: int) -> bool:
        return self.worker.submit(item)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    gate.worker.start()
    yield gate
    for _ in range(10):
        gate.leave.release()
    assert gate.worker.stop()


def wait(condition: object) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_the_newest_waiting_item_wins_and_drops_are_counted(gate: Gate) -> None:
    gate.submit(0)
    gate.entered.acquire(timeout=5)
    assert [gate.submit(i) for i in (1, 2, 3)] == [True, False, False]
    gate.leave.release()
    gate.entered.acquire(timeout=5)
    gate.leave.release()
    wait(lambda: gate.done == [0, 3])
    wait(lambda: gate.worker.counts.processed == 2)
    counts = gate.worker.counts
    assert (counts.submitted, counts.dropped, counts.failed) == (4, 2, 0)


def test_a_failing_item_is_reported_and_the_next_one_is_worked_on(gate: Gate) -> None:
    for item in (-1, 5):
        gate.submit(item)
        gate.entered.acquire(timeout=5)
        gate.leave.release()
    wait(lambda: gate.done == [5])
    assert [str(error) for error in gate.errors] == ["-1"]
    wait(lambda: gate.worker.counts.failed == 1)


def test_what_waits_at_the_stop_counts_as_dropped(gate: Gate) -> None:
    gate.submit(0)
    gate.entered.acquire(timeout=5)
    gate.submit(1)
    gate.leave.release()
    assert gate.worker.stop()
    assert gate.done == [0]
    assert not gate.submit(2)
    counts = gate.worker.counts
    assert counts.submitted == counts.processed + counts.dropped == 3


def test_it_starts_again_after_a_stop(gate: Gate) -> None:
    gate.worker.stop()
    gate.worker.start()
    gate.submit(7)
    gate.entered.acquire(timeout=5)
    gate.leave.release()
    wait(lambda: gate.done == [7])


def test_prefetcher_keeps_order_runs_ahead_only_so_far_and_ends() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for i in range(6):
            drawn.append(i)
            yield i

    prefetcher = Prefetcher(items(), ahead=2)
    wait(lambda: prefetcher.ready)
    time.sleep(0.05)
    assert len(drawn) <= 4
    taken = []
    while not prefetcher.exhausted:
        item = prefetcher.take()
        if item is not None:
            taken.append(item)
    assert taken == list(range(6))
    prefetcher.close()


def test_prefetcher_forwards_a_fault_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    prefetcher = Prefetcher(items(), ahead=3)
    wait(lambda: prefetcher.ready)
    assert prefetcher.take() == 1
    with pytest.raises(OSError, match="gone"):
        prefetcher.take()
    prefetcher.close()


def test_prefetcher_closes_while_the_queue_is_full() -> None:
    prefetcher = Prefetcher(iter(range(100)), ahead=1)
    wait(lambda: prefetcher.ready)
    prefetcher.close(timeout=3)
    assert not prefetcher._thread.is_alive()
