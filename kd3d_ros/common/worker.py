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
        on_drop: Callable[[ItemT], None] = lambda item: None,
    ) -> None:
        """Prepare, but do not start.

        Args:
            process: Called in the thread with each item that is not dropped.
            on_error: Called in the thread when `process` raised; the thread goes on after it.
            name: Of the thread.
            on_drop: Called with each item that is dropped, in the thread that drops it.
        """
        self._process = process
        self._on_error = on_error
        self._on_drop = on_drop
        self._name = name
        self._condition = threading.Condition()
        self._waiting: ItemT | None = None
        self._running = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._submitted = self._processed = self._dropped = self._failed = 0

    def start(self) -> None:
        """Start the thread; does nothing when it runs."""
        with self._condition:
            if self._running:
                return
            self._running = True
            stop = self._stop = threading.Event()
            self._thread = threading.Thread(
                target=self._run, args=(stop,), name=self._name, daemon=True
            )
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
            # Of this thread alone: one that is still busy at the timeout must not come back to
            # life beside the next one.
            self._stop.set()
            dropped = self._take_waiting()
            self._condition.notify_all()
        self._drop(dropped)
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
            dropped = self._take_waiting() if self._running else item
            if self._running:
                self._waiting = item
                self._condition.notify()
        self._drop(dropped)
        return dropped is None

    @property
    def counts(self) -> WorkerCounts:
        """A consistent snapshot of the counters, over all starts and stops."""
        with self._condition:
            return WorkerCounts(self._submitted, self._processed, self._dropped, self._failed)

    def _take_waiting(self) -> ItemT | None:
        """The waiting item, which waits no more; the caller holds the lock."""
        item, self._waiting = self._waiting, None
        return item

    def _drop(self, item: ItemT | None) -> None:
        """Count and tell of a dropped item; the caller does not hold the lock."""
        if item is not None:
            with self._condition:
                self._dropped += 1
            self._on_drop(item)

    def _run(self, stop: threading.Event) -> None:
        """The thread: take, work, count."""
        while True:
            with self._condition:
                while not stop.is_set() and self._waiting is None:
                    self._condition.wait()
                if stop.is_set():
                    return
                item = self._take_waiting()
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
            del item  # a cloud must not live until the next one comes
