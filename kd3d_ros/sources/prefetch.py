"""A thread that prepares items ahead of a clock that takes them."""

import queue
import threading
from collections.abc import Iterator
from typing import Generic
from typing import TypeVar

ItemT = TypeVar("ItemT")


class Prefetcher(Generic[ItemT]):
    """Draws from an iterator in a thread, at most so many items ahead."""

    def __init__(self, items: Iterator[ItemT], ahead: int) -> None:
        """Start drawing.

        Args:
            items: Used by the thread alone from now on.
            ahead: How many items may wait.
        """
        self._items = items
        self._ahead = ahead
        self._queue: queue.Queue[ItemT] = queue.Queue(ahead)
        self._stop = threading.Event()
        self._done = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Items that are ready."""
        return self._queue.qsize()

    @property
    def ready(self) -> bool:
        """Whether as many items wait as may, or as there are."""
        return self._done.is_set() or self.waiting >= self._ahead

    @property
    def exhausted(self) -> bool:
        """Whether everything has been taken."""
        return self._done.is_set() and self._queue.empty()

    def take(self) -> ItemT | None:
        """The next item, or None when none is ready yet.

        Raises:
            Exception: Whatever the iterator raised, after the items before it were taken.
        """
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            if self._done.is_set() and self._error is not None:
                error, self._error = self._error, None
                raise error from None
            return None

    def close(self, timeout: float = 10.0) -> None:
        """Stop drawing and join the thread."""
        self._stop.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        """The thread."""
        try:
            for item in self._items:
                while not self._stop.is_set():
                    try:
                        self._queue.put(item, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if self._stop.is_set():
                    return
        except Exception as error:
            self._error = error
        finally:
            self._done.set()
