"""The first and the last thing that a process of a cell does."""

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import traceback
from multiprocessing import connection
from pathlib import Path

from kd3d_core.errors import Kd3dError


def main(folder: str, log: str) -> None:
    """Do the task in `folder`, say everything into the file `log`, and end the process.

    The process ends with 0 when there is a result, 1 after a crash or an interruption, 2 on a
    fault that the user can mend.

    Args:
        folder: Of the task.
        log: Where output goes; appended to, because a training may take several sessions.
    """
    # Ctrl-C reaches a terminal's whole process group: here only the arena passes it on, once.
    with contextlib.suppress(PermissionError):  # it leads a session already
        os.setpgid(0, 0)
    # A shell makes what it starts in the background deaf to it, and Python would stay so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _end_with_parent()
    sys.exit(run_logged(folder, log))


def run_logged(folder: str, log: str) -> int:
    """Do the task in `folder` with all output in the file `log`; the status to end with."""
    _write_to(log)
    try:
        from kd3d_core.arena.task import read_task

        task = read_task(Path(folder))
        if task.teacher is None and task.train.get("devices", 1) > 1:
            # Lightning starts one process a device by running the command of this one again.
            return _run_command([sys.executable, "-m", "kd3d_core.arena", folder])
        from kd3d_core.arena.work import work

        work(task.folder)
    except Kd3dError as error:
        print(f"error: {error}", flush=True)
        return 2
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 1
    except SystemExit:  # what Lightning makes of an interruption, when it has saved
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _run_command(command: list[str]) -> int:
    """The exit status of a command, which is told of an interruption and then waited for."""
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        return process.wait() or 1


def _write_to(log: str) -> None:
    """Send all output of this process and of those that it starts to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    for stream in (sys.stdout, sys.stderr):
        # Test runners put in streams that are no files.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)


def _end_with_parent() -> None:
    """Stop as by Ctrl-C when the arena is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch(sentinel: int) -> None:
        connection.wait([sentinel])
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()
