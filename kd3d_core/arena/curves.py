"""The curves and the clock of a training, read from what it logged for TensorBoard."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd3d_core.arena.result import Curve

#: Points of a curve that are kept.
_POINTS = 60
_PREFIX = "train/"


@dataclass(frozen=True)
class Log:
    """What a training logged.

    Attributes:
        curves: Thinned out (step, value) by name without "train/".
        step_seconds: Median wall time of a step [s].
        train_seconds: Wall time of all steps [s], as if it had not been interrupted.
    """

    curves: dict[str, Curve]
    step_seconds: float
    train_seconds: float


def read_log(folder: Path, steps: int) -> Log:
    """Read the event files below `folder`, one a session of the training.

    Where a resumed session took steps again, its values count.

    Args:
        folder: The output folder of a training.
        steps: How many steps it took in all.
    """
    values: dict[str, dict[int, float]] = {}
    taken: list[tuple[float, int]] = []
    for path in sorted(folder.rglob("events.out.tfevents.*"), key=lambda p: p.stat().st_mtime):
        clock: dict[int, float] = {}
        for step, wall, tag, value in _scalars(path):
            if tag.startswith(_PREFIX):
                values.setdefault(tag.removeprefix(_PREFIX), {})[step] = value
                clock.setdefault(step, wall)
        at = sorted(clock.items())
        taken += [(b[1] - a[1], b[0] - a[0]) for a, b in itertools.pairwise(at)]
    curves = {
        name: thinned(sorted(series.items())) for name, series in values.items() if name != "epoch"
    }
    rates = [seconds / count for seconds, count in taken]
    whole = sum(seconds for seconds, _ in taken) / max(sum(count for _, count in taken), 1)
    return Log(curves, float(np.median(rates)) if rates else 0.0, whole * steps)


def thinned(points: Sequence[tuple[int, float]], most: int = _POINTS) -> Curve:
    """A curve of at most `most` points: the means of neighbours; what is not finite is left out.

    Args:
        points: (step, value) in the order of the steps.
        most: How many points are kept.
    """
    finite = [point for point in points if math.isfinite(point[1])]
    if not finite:
        return ()
    parts = np.array_split(np.asarray(finite, np.float64), min(most, len(finite)))
    means = [part.mean(axis=0) for part in parts]
    return tuple((round(step), float(f"{value:.5g}")) for step, value in means)


def _scalars(path: Path) -> list[tuple[int, float, str, float]]:
    """(step, wall time [s], tag, value) of every scalar in an event file, in its order."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = []
    for event in EventFileLoader(str(path)).Load():
        for entry in event.summary.value:
            value = entry.tensor.float_val[0] if entry.tensor.float_val else entry.simple_value
            found.append((int(event.step), float(event.wall_time), str(entry.tag), float(value)))
    return found
