"""Counters and latencies of a node, thread-safe and free of ROS."""

import threading
import time
from collections import Counter
from collections import deque
from dataclasses import dataclass
from dataclasses import field

import numpy as np

#: The stages of a detection that are timed, in order; the last is from the header's stamp on.
STAGES = ("preprocess", "inference", "postprocess", "pipeline_latency")
#: What the time before the detector's own work is spent on: from the header's stamp to the
#: arrival at the node, and from there to the start of the work.
WAITS = ("arrival", "waiting")


@dataclass(frozen=True)
class Snapshot:
    """What happened over all and in the last period.

    Attributes:
        total: Event -> count since the start.
        recent: Event -> count since the snapshot before.
        period: Length of that period [s].
        latency: Stage -> (p50, p99) over the last frames [ms].
        last: Name -> value of the latest frame (points, frame_id, ...).
        error: The latest fault's message, or empty; only when it happened in the period.
    """

    total: Counter[str] = field(default_factory=Counter)
    recent: Counter[str] = field(default_factory=Counter)
    period: float = 1.0
    latency: dict[str, tuple[float, float]] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)
    error: str = ""

    def rate(self, event: str) -> float:
        """Events a second in the last period."""
        return self.recent[event] / max(self.period, 1e-6)


class Statistics:
    """Written by the node's threads, read once a second by its diagnostics."""

    def __init__(self, window: int = 200) -> None:
        """Start at zero.

        Args:
            window: How many of the latest frames the percentiles are taken over.
        """
        self._lock = threading.Lock()
        self._window = window
        self._total: Counter[str] = Counter()
        self._before: Counter[str] = Counter()
        self._time = time.monotonic()
        self._latency: dict[str, deque[float]] = {}
        self._last: dict[str, str] = {}
        self._error = ""

    def count(self, event: str, by: int = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._total[event] += by

    def set_count(self, event: str, value: int) -> None:
        """Give a counter the value that something else counts."""
        with self._lock:
            self._total[event] = value

    def latency(self, stage: str, milliseconds: float) -> None:
        """Note how long a stage took."""
        with self._lock:
            window = self._latency.setdefault(stage, deque(maxlen=self._window))
            window.append(milliseconds)

    def forget_latencies(self) -> None:
        """Start the percentiles anew; after a jump of the clock the old ones mean nothing."""
        with self._lock:
            self._latency.clear()

    def note(self, **values: object) -> None:
        """Remember facts about the latest frame."""
        with self._lock:
            self._last.update({name: str(value) for name, value in values.items()})

    def fault(self, message: str) -> None:
        """Count a fault and keep its message for the next snapshot."""
        with self._lock:
            self._total["faults"] += 1
            self._error = message

    def snapshot(self) -> Snapshot:
        """The numbers now; the next snapshot's period starts here."""
        with self._lock:
            now = time.monotonic()
            shot = Snapshot(
                total=self._total.copy(),
                recent=self._total - self._before,
                period=now - self._time,
                latency={name: percentiles(list(w)) for name, w in self._latency.items()},
                last=dict(self._last),
                error=self._error,
            )
            self._before, self._time, self._error = self._total.copy(), now, ""
            return shot


def percentiles(values: list[float]) -> tuple[float, float]:
    """(p50, p99) of some numbers; NaN of none."""
    if not values:
        return float("nan"), float("nan")
    low, high = np.percentile(np.asarray(values, np.float64), [50, 99])
    return float(low), float(high)
