"""A node as a process of its own: started, watched, measured and never orphaned."""

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Looked up before any fork: between fork and exec nothing may wait for a lock.
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class NodeProcess:
    """One node, which may be ended and started again; everything it says goes to one log.

    Attributes:
        name: Of the node.
        log: File with all that it wrote, over all starts.
        expected: Whether it should be running.
    """

    def __init__(
        self, name: str, arguments: Sequence[str], environment: dict[str, str], folder: Path
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.expected = False
        self._arguments = arguments
        self._environment = environment
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Run it; the kernel ends it when the test process is killed outright."""
        assert not self.running, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", *self._arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self.expected = True

    def kill(self) -> None:
        """End it as the kernel does when memory runs out: without a word."""
        assert self._child is not None
        self.expected = False
        self._child.kill()
        self._child.wait(30)

    def stop(self, patience: float = 20.0) -> int | None:
        """Ask it to end, then insist; the exit status."""
        self.expected = False
        if self._child is None:
            return None
        for sign in (signal.SIGINT, signal.SIGKILL):
            if self._child.poll() is None:
                self._child.send_signal(sign)
            try:
                return self._child.wait(patience)
            except subprocess.TimeoutExpired:
                continue
        return self._child.returncode

    def words(self) -> str:
        """Its whole log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def report(self) -> str:
        """What became of it and the end of its log, for the message of a failure."""
        code = None if self._child is None else self._child.poll()
        state = "runs" if self.running else f"ended with exit status {code}"
        return f"{self.name} {state}; the end of its log:\n{self.words()[-4000:]}"

    def threads(self) -> int:
        """How many threads it has now."""
        return self._status("Threads")

    def resident(self) -> float:
        """Its resident memory without what it shares with other processes [MB].

        The middleware's segments are shared memory, which counts as resident page by page as the
        clouds come to lie in them.
        """
        return (self._status("RssAnon") + self._status("RssFile")) / 1024

    def descriptors(self) -> int:
        """How many files and sockets it has open now."""
        return len(os.listdir(f"/proc/{self._pid}/fd"))

    @property
    def _pid(self) -> int:
        assert self.running, self.report()
        assert self._child is not None
        return self._child.pid

    def _status(self, key: str) -> int:
        found = re.search(
            rf"^{key}:\s+(\d+)", Path(f"/proc/{self._pid}/status").read_text(), re.MULTILINE
        )
        assert found is not None, f"/proc/{self._pid}/status has no {key}"
        return int(found.group(1))


def _die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends (prctl(2))."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)
