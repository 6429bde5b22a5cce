"""Means over seeds, and how far they can be trusted."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

from scipy import stats


@dataclass(frozen=True)
class Interval:
    """The mean of a few values with its 95 % confidence interval.

    Attributes:
        n: How many values.
        mean: Their mean.
        low: Where the interval begins; None for a single value, which tells nothing of others.
        high: Where it ends.
    """

    n: int
    mean: float
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Student's t interval of the mean: mean +- t(n - 1) s / sqrt(n).

    Args:
        values: Independent results, such as of several seeds; None comes of none.
        confidence: Share of such intervals that hold the true mean, if the values are normal.
    """
    n = len(values)
    if not n:
        return None
    mean = statistics.fmean(values)
    if n == 1:
        return Interval(1, mean, None, None)
    spread = statistics.stdev(values) / math.sqrt(n)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * spread
    return Interval(n, mean, mean - half, mean + half)


def gap_closed(method: float, baseline: float, teacher: float) -> float | None:
    """Share of the distance from the student alone to its teacher that a method covers.

    None where the teacher is not better than the student alone: there is no gap to close.
    """
    gap = teacher - baseline
    return (method - baseline) / gap if gap > 0 else None
