"""How the shadow stays out of the detector's way: every n-th cloud, a duty cycle, low priority."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path


class Pace:
    """A governor: work, then rest for as long as keeps the share of time spent working in budget.

    Time is what the wall clock says, not what the processor spent: on a busy machine a piece of
    work takes longer, so the rest after it grows, and the shadow backs off by itself.
    """

    def __init__(
        self,
        every: int,
        budget: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Start well rested.

        Args:
            every: Look at every n-th item only; 1 is all.
            budget: Share of the time that may be spent working, in (0, 1].
            clock: Seconds, monotonic.
            sleep: Waits for some seconds; None can be cut short by `wake`.
        """
        self.every = every
        self.budget = budget
        self._clock = clock
        self._awake = threading.Event()
        self._sleep = self._awake.wait if sleep is None else sleep
        self._count = 0
        self._worked = 0.0
        self._reported = (clock(), 0.0)

    def due(self) -> bool:
        """Count an item; whether it is the n-th."""
        self._count += 1
        return (self._count - 1) % self.every == 0

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        """Measure the block and rest after it, also when it raises."""
        start = self._clock()
        try:
            yield
        finally:
            spent = self._clock() - start
            self._worked += spent
            rest = spent * (1.0 / self.budget - 1.0)
            if rest > 0:
                self._sleep(rest)

    def busy_share(self) -> float:
        """Share of the time since the call before that was spent working."""
        now, worked = self._clock(), self._worked
        (then, before), self._reported = self._reported, (now, worked)
        return (worked - before) / max(now - then, 1e-6)

    def start(self) -> None:
        """Rest from now on when the budget asks for it."""
        self._awake.clear()

    def wake(self) -> None:
        """End the present rest and have no more of them, so that a stop need not wait."""
        self._awake.set()


def lower_priority(nice: int) -> None:
    """Raise the niceness of every thread of this process to `nice` at least.

    Linux has a niceness for each thread; threads that start later inherit that of the one that
    starts them, but the middleware's are already there when a node knows its parameters.

    Args:
        nice: 0 leaves everything as it is; 19 gets the processor when nobody else wants it.
    """
    if nice <= 0:
        return
    tasks = Path("/proc/self/task")
    threads = [int(task.name) for task in tasks.iterdir()] if tasks.is_dir() else [0]
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):  # a thread may end while we look
            if os.getpriority(os.PRIO_PROCESS, thread) < nice:
                os.setpriority(os.PRIO_PROCESS, thread, nice)
    # Where Linux groups processes by session (sched(7), autogroup), niceness counts within the
    # group only; a process with a session of its own has a group to lower.
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")
