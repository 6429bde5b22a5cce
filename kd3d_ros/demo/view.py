"""What the demo shows while it runs and in the end."""

import math
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_ros.common.statistics import percentiles
from kd3d_ros.demo.monitor import DETECTIONS
from kd3d_ros.demo.monitor import POINTS
from kd3d_ros.demo.monitor import Monitor
from kd3d_ros.demo.score import Score

#: Times shown are over the latest this many frames.
_RECENT = 50


class View:
    """A live table on a terminal, one line a second elsewhere."""

    def __init__(self, console: Console, seconds: float) -> None:
        """Show nothing yet.

        Args:
            console: Where to.
            seconds: How long the demo runs.
        """
        self._console = console
        self._seconds = seconds
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._said = 0.0
        self._rate = _Rate()

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(
        self, elapsed: float, monitor: Monitor, score: Score, latest: Boxes3D | None, status: str
    ) -> None:
        """Show the state of things.

        Args:
            elapsed: Since the first detection [s].
            monitor: What was heard.
            score: What was found.
            latest: The latest detections, or None.
            status: What the source is about.
        """
        count = monitor.counts[DETECTIONS]
        self._rate.update(count)
        if self._console.is_terminal:
            self._live.update(self._table(elapsed, monitor, score, latest, status))
            return
        now = time.monotonic()
        if now - self._said < 1.0:
            return
        self._said = now
        if not count:
            self._console.print(f"waiting: {status}", highlight=False)
            return
        times = monitor.latency["pipeline_latency"][-_RECENT:]
        matched = f"  matched {score.latest[0]}/{score.latest[1]}" if score.frames else ""
        self._console.print(
            f"{elapsed:5.1f} s  {self._rate.value:4.1f} Hz  latency p50 "
            f"{percentiles(times)[0]:.0f} ms  {_by_class(latest)}{matched}",
            highlight=False,
        )

    def _table(
        self, elapsed: float, monitor: Monitor, score: Score, latest: Boxes3D | None, status: str
    ) -> Table:
        """The live view."""
        table = Table(title=f"kd3d on ROS 2   {elapsed:.0f} of {self._seconds:.0f} s")
        table.add_column("what", style="bold")
        table.add_column("now", min_width=44)
        if not monitor.counts[DETECTIONS]:
            table.add_row("waiting", status)
            return table
        table.add_row("detections", f"{self._rate.value:.1f} Hz")
        for stage, times in monitor.latency.items():
            p50, p99 = percentiles(times[-_RECENT:])
            name = stage.replace("_", " ")
            table.add_row(name, f"p50 {p50:6.1f} ms   p99 {p99:6.1f} ms")
        table.add_row(
            "clouds / detections", f"{monitor.counts[POINTS]} / {monitor.counts[DETECTIONS]}"
        )
        table.add_row("objects", _by_class(latest))
        if score.frames:
            table.add_row("truth matched", f"{score.latest[0]} of {score.latest[1]}")
            table.add_row("recall so far", _percent(score.recall()))
            table.add_row("precision so far", _percent(score.precision()))
        return table


class _Rate:
    """Events a second over the last two seconds."""

    def __init__(self) -> None:
        self._history: list[tuple[float, int]] = []
        self.value = 0.0

    def update(self, count: int) -> None:
        """Take the count of now."""
        now = time.monotonic()
        self._history = [(t, c) for t, c in self._history if now - t < 2.0] + [(now, count)]
        first_time, first_count = self._history[0]
        if now - first_time > 0.2:
            self.value = (count - first_count) / (now - first_time)


def summary(console: Console, facts: dict[str, float | int | None], score: Score) -> None:
    """Print the result: counts and times, then precision and recall by class.

    Args:
        console: Where to.
        facts: Name -> value, as in `summary.json`.
        score: What was found.
    """
    table = Table(title="summary", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in facts.items():
        if value is not None:
            text = f"{value:.2f}" if isinstance(value, float) else str(value)
            table.add_row(name.replace("_", " "), text)
    console.print(table)
    if not score.frames:
        return
    classes = Table(title=f"against the truth of {score.frames} frames")
    for column in ("class", "objects", "recall", "precision"):
        classes.add_column(column, justify="left" if column == "class" else "right")
    for name in sorted(name for name in score.truths if score.truths[name] or score.wrong[name]):
        classes.add_row(
            name,
            str(score.truths[name]),
            _percent(score.recall(name)),
            _percent(score.precision(name)),
        )
    total = (str(score.truths.total()), _percent(score.recall()), _percent(score.precision()))
    classes.add_section()
    classes.add_row("all", *total)
    console.print(classes)


def nan_free(values: Sequence[float]) -> tuple[float | None, float | None]:
    """(p50, p99), None of no values at all."""
    p50, p99 = percentiles(list(values))
    return (None, None) if math.isnan(p50) else (p50, p99)


def _by_class(boxes: Boxes3D | None) -> str:
    """Such as `car 7, pedestrian 2`."""
    names = boxes.names if boxes is not None else []
    return ", ".join(f"{name} {names.count(name)}" for name in sorted(set(names))) or "none"


def _percent(share: float | None) -> str:
    """A share for people."""
    return "-" if share is None else f"{100 * share:.0f} %"
