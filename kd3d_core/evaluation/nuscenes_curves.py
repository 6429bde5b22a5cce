"""From sorted outcomes to curves over recall, and from curves to AP and errors.

Source: Caesar et al., nuScenes (CVPR 2020), section 3.1, and the published protocol of the
detection task: 101 recalls, precision interpolated linearly in recall, errors as cumulative means
that are interpolated linearly in confidence.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Recalls 0, 0.01 ... 1 at which every curve is sampled.
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision and confidence over recall; both 0 beyond the recall that was reached.

    Attributes:
        precision: (101,) float64.
        confidence: (101,) float64, the score at which the recall is reached.
    """

    precision: NDArray[np.float64]
    confidence: NDArray[np.float64]


def make_curve(score: NDArray[np.float64], right: NDArray[np.bool_], truths: int) -> Curve:
    """The curve of one class at one distance.

    Args:
        score: (N,) of the detections, falling.
        right: (N,) bool: which are matched.
        truths: Ground-truth boxes to find.
    """
    if not truths or not right.any():
        return Curve(np.zeros(101), np.zeros(101))
    found = np.cumsum(right).astype(np.float64)
    precision = found / np.arange(1, len(right) + 1)
    recall = found / truths
    return Curve(
        np.interp(RECALLS, recall, precision, right=0),
        np.interp(RECALLS, recall, score, right=0),
    )


def average_precision(curve: Curve, min_recall: float, min_precision: float) -> float:
    """Mean precision above both minima, scaled to [0, 1]."""
    # The bin of the least recall itself is left out.
    above = curve.precision[round(100 * min_recall) + 1 :] - min_precision
    return float(np.mean(np.maximum(above, 0.0))) / (1.0 - min_precision)


def mean_error(
    curve: Curve, score: NDArray[np.float64], error: NDArray[np.float64], min_recall: float
) -> float:
    """One error of one class: its cumulative mean, averaged over the recalls above the minimum.

    Args:
        curve: Of the class, at the distance that the matches were made with.
        score: (K,) of the right detections, falling.
        error: (K,) of each; NaN does not count.
        min_recall: Recalls up to this are left out.

    Returns:
        The error; 1 when that recall is not reached, and when no pair has the error at all.
    """
    first = round(100 * min_recall) + 1
    reached = np.flatnonzero(curve.confidence)
    last = int(reached[-1]) if len(reached) else 0
    if last < first:
        return 1.0
    means = _cumulative_mean(error)
    # Both turned round, because np.interp wants rising places.
    sampled = np.interp(curve.confidence[::-1], score[::-1], means[::-1])[::-1]
    return float(np.mean(sampled[first : last + 1]))


def _cumulative_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K,) mean of the values so far, NaN left out: 0 before the first, 1 if there is none."""
    known = ~np.isnan(values)
    if not known.any():
        return np.ones(len(values))
    count = np.cumsum(known)
    return np.asarray(np.nancumsum(values) / np.maximum(count, 1))
