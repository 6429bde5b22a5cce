"""The line that a user sees while an engine is built, which may take minutes."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn
from rich.progress import Progress
from rich.progress import SpinnerColumn
from rich.progress import TextColumn
from rich.progress import TimeElapsedColumn


class BuildProgress:
    """A bar on a terminal, one plain line elsewhere.

    The bar moves where the library reports its steps (TensorRT 10 and later, TensorRT-RTX) and
    spins where it does not.
    """

    def __init__(self, text: str, console: Console | None = None) -> None:
        """Prepare the line.

        Args:
            text: What is being done.
            console: Where to; None takes the error stream.
        """
        self._text = text
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task(text, total=None)

    def __enter__(self) -> "BuildProgress":
        """Show the line."""
        if not self._console.is_terminal:
            self._console.print(f"TensorRT: {self._text}", highlight=False)
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take it away."""
        self._progress.stop()

    def begin(self, phase: str, steps: int) -> None:
        """An outermost phase begins."""
        self._progress.update(
            self._task, description=f"{self._text}: {phase}", completed=0, total=steps
        )

    def advance(self, step: int) -> None:
        """A step of it, counted from 0, has ended."""
        self._progress.update(self._task, completed=step + 1)

    def monitor(self, trt: Any) -> Any:
        """An `IProgressMonitor` of the library `trt` that moves the bar."""
        progress = self
        outermost: set[str] = set()

        class Monitor(trt.IProgressMonitor):
            def __init__(self) -> None:
                trt.IProgressMonitor.__init__(self)  # pybind wants its own base called so

            def phase_start(self, phase_name: str, parent_phase: str | None, steps: int) -> None:
                if not parent_phase:
                    outermost.add(phase_name)
                    progress.begin(phase_name, steps)

            def step_complete(self, phase_name: str, step: int) -> bool:
                if phase_name in outermost:
                    progress.advance(step)
                return True

            def phase_finish(self, phase_name: str) -> None:
                outermost.discard(phase_name)

        return Monitor()
