"""A thread that works on the latest item only."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic
from typing import TypeVar

ItemT = TypeVar("ItemT")


@dataclass(frozen=True)
class WorkerCounts:
    """What became of the items.

    Attributes:
        submitted: Handed over; equals processed + dropped + failed + at most two under way.
        processed: Worked on to the end.
        dropped: Replaced by a newer item, or still waiting at the stop.
        failed: Raised while being worked on.
    """

    submitted: int = 0
    processed: int = 0
    dropped: int = 0
    failed: int = 0


class LatestWorker(Generic[ItemT]):
    """Latest frame wins: while one item is worked on, a newer one replaces the one that waits.

    A detector that is slower than its LiDAR must drop clouds; dropping the oldest keeps the
    latency at two frames at most instead of letting a queue grow.
    """

    def __init__(
        self,
        process: Callable[[ItemT], None],
        on_error: Callable[[ItemT, Exception], None],
        name: str = "worker",
    ) -> None:
        """Prepare, but do not start.

        Args:
            process: Called in the thread with each item that is not dropped.
            on_error: Called in the thread when `process` raised; the thread goes on after it.
            name: Of the thread.
        """
        self._process = process
        self._on_error = on_error
        self._name = name
        self._condition = threading.Condition()
        self._waiting: ItemT | None = None
        self._running = False
        self._thread: threading.Thread | None = None
        self._submitted = self._processed = self._dropped = self._failed = 0

    def start(self) -> None:
        """Start the thread; does nothing when it runs."""
        with self._condition:
            if self._running:
                return
            self._running = True
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> bool:
        """Drop what waits, let the current item finish and end the thread.

        Args:
            timeout: How long to wait for the current item [s].

        Returns:
            False when the thread was still busy at the timeout.
        """
        with self._condition:
            self._running = False
            self._drop_waiting()
            self._condition.notify_all()
        thread, self._thread = self._thread, None
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        return not thread.is_alive()

    def submit(self, item: ItemT) -> bool:
        """Hand over an item.

        Returns:
            False when it or an older one was dropped for it: the worker does not keep up, or
            does not run.
        """
        with self._condition:
            self._submitted += 1
            kept = self._running and self._waiting is None
            self._drop_waiting()
            if self._running:
                self._waiting = item
                self._condition.notify()
            else:
                self._dropped += 1
            return kept

    @property
    def counts(self) -> WorkerCounts:
        """A consistent snapshot of the counters, over all starts and stops."""
        with self._condition:
            return WorkerCounts(self._submitted, self._processed, self._dropped, self._failed)

    def _drop_waiting(self) -> None:
        """Count and forget the waiting item; the caller holds the lock."""
        if self._waiting is not None:
            self._dropped += 1
            self._waiting = None

    def _run(self) -> None:
        """The thread: take, work, count."""
        while True:
            with self._condition:
                while self._running and self._waiting is None:
                    self._condition.wait()
                if not self._running:
                    return
                item, self._waiting = self._waiting, None
            assert item is not None
            try:
                self._process(item)
            except Exception as error:
                with self._condition:
                    self._failed += 1
                self._on_error(item, error)
            else:
                with self._condition:
                    self._processed += 1
