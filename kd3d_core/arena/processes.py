"""Tasks in processes of this machine: one process a task, so many at a time."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Generator
from collections.abc import Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from kd3d_core.arena.child import main
from kd3d_core.arena.task import Finished
from kd3d_core.arena.task import Task
from kd3d_core.arena.task import explain

#: Seconds that trainings get to write their checkpoints when they are asked to stop.
_GRACE = 60.0


def in_processes(tasks: Sequence[Task], jobs: int) -> Generator[Finished, None, None]:
    """Run every task in a process of its own, `jobs` at a time, and tell as they end.

    The processes are forked from a server that has imported torch and Lightning but computed
    nothing: a task begins after milliseconds instead of seconds, and shares no thread and no lock.
    When the generator is closed or interrupted, the processes are asked to stop, and write their
    checkpoints first.
    """
    context = _context()
    waiting = deque(tasks)
    running: dict[Any, Task] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.popleft()
                process = context.Process(target=main, args=(str(task.folder), str(task.log)))
                process.start()
                running[process] = task
            connection.wait([process.sentinel for process in running])
            for process in [each for each in running if not each.is_alive()]:
                process.join()
                task = running.pop(process)
                yield Finished(task, explain(task, process.exitcode))
    finally:
        _stop(list(running))


def _context() -> Any:
    """How processes are started: forked from a server where the system can, else from nothing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "kd3d_core.arena.child", "kd3d_core.arena.work"])
    return context


def _stop(processes: Sequence[BaseProcess]) -> None:
    """Ask processes to end as Ctrl-C would, and insist when they do not."""
    for process in processes:
        if process.is_alive() and process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGINT)
    deadline = time.monotonic() + _GRACE
    try:
        for process in processes:
            process.join(max(deadline - time.monotonic(), 0))
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()
