"""The processes of the demo: started, watched and ended, never orphaned."""

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

from kd3d_core.errors import Kd3dError

_PR_SET_PDEATHSIG = 1


class Processes:
    """Child processes by name, each with a log file."""

    def __init__(self, log_folder: Path, environment: Mapping[str, str]) -> None:
        """Start nothing yet.

        Args:
            log_folder: Where `<name>.log` is written.
            environment: Of the children.
        """
        self._folder = log_folder
        self._environment = dict(environment)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, module: str, arguments: Sequence[str]) -> None:
        """Run a module with this Python; its output goes to the log."""
        with self.log(name).open("wb") as log:
            self._children[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C must reach the parent alone, which then ends the children in order; and
                # when the parent is killed outright, the kernel ends them.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def log(self, name: str) -> Path:
        """The log file of a child."""
        return self._folder / f"{name}.log"

    def check(self) -> None:
        """Make sure that all children still run.

        Raises:
            Kd3dError: One of them ended by itself; the message has the end of its log.
        """
        for name, child in self._children.items():
            code = child.poll()
            if code is not None:
                lines = self.log(name).read_text(errors="replace").splitlines()[-15:]
                raise Kd3dError(
                    f"the process {name} ended by itself (exit status {code}). The end of "
                    f"{self.log(name)}:\n" + "\n".join(f"  {line}" for line in lines)
                )

    def stop(self, name: str, patience: float = 8.0) -> None:
        """End one child: ask, then insist."""
        child = self._children.pop(name, None)
        if child is None:
            return
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if child.poll() is None:
                child.send_signal(sign)
            try:
                child.wait(patience)
                return
            except subprocess.TimeoutExpired:
                continue

    def stop_all(self) -> None:
        """End all children, the latest first."""
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 8.0
        for name in reversed(list(self._children)):
            self.stop(name, max(0.5, deadline - time.monotonic()))


def _die_with_parent() -> None:
    """Ask the kernel to terminate this process when its parent ends (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
