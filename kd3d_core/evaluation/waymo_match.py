"""Waymo's matching at every score cutoff at once, and the area under its curve."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

#: Overlaps are compared in steps of a millionth, as the official matcher does.
_STEPS = np.float32(1e6)
#: Room below one such step for the choice among equals.
_ROOM = float(2**24)


@dataclass(frozen=True, eq=False)
class Matches:
    """Who is matched with whom, and at which cutoffs: K rows.

    Attributes:
        pred: (K,) int64.
        truth: (K,) int64.
        first: (K,) int64, the first cutoff at which the pair is matched.
        last: (K,) int64, one after the last.
    """

    pred: NDArray[np.int64]
    truth: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


def match_all(
    overlap: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    heading: NDArray[np.float64],
    alive: NDArray[np.integer[Any]],
) -> Matches:
    """The assignment of the largest total overlap, among the detections of every cutoff.

    A pair that nobody competes for is matched for as long as its detection is above the cutoff;
    only groups of boxes that compete are solved, once for each set of detections that is left.

    Args:
        overlap: (N, M) intersection over union of detections and ground truths.
        allowed: (N, M) pairs that overlap enough.
        heading: (N, M) accuracy in [0, 1], which decides among assignments of equal overlap.
        alive: (N,) detection i is above the cutoffs 0 to alive[i] - 1.
    """
    pred, truth = np.nonzero(allowed)
    until: NDArray[np.int64] = np.asarray(alive, np.int64)
    alone = (np.bincount(pred, minlength=len(overlap))[pred] == 1) & (
        np.bincount(truth, minlength=overlap.shape[1])[truth] == 1
    )
    rows = [
        (p, t, first, last)
        for group in _groups(pred[~alone], truth[~alone], overlap.shape)
        for p, t, first, last in _solve(group, overlap, allowed, heading, until)
    ]
    table = np.array(rows, np.int64).reshape(-1, 4)
    simple = pred[alone]
    return Matches(
        np.r_[simple, table[:, 0]],
        np.r_[truth[alone], table[:, 1]],
        np.r_[np.zeros(len(simple), np.int64), table[:, 2]],
        np.r_[until[simple], table[:, 3]],
    )


def _groups(
    pred: NDArray[np.int64], truth: NDArray[np.int64], shape: tuple[int, ...]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Detections and ground truths that compete with one another, by the pairs between them."""
    if not len(pred):
        return
    size = shape[0] + shape[1]
    edges = coo_array((np.ones(len(pred)), (pred, truth + shape[0])), shape=(size, size))
    _, group = connected_components(edges, directed=False)
    of_pair = group[pred]
    for number in np.unique(of_pair):
        chosen = of_pair == number
        yield np.unique(pred[chosen]), np.unique(truth[chosen])


def _solve(
    group: tuple[NDArray[np.int64], NDArray[np.int64]],
    overlap: NDArray[np.float32],
    allowed: NDArray[np.bool_],
    heading: NDArray[np.float64],
    alive: NDArray[np.int64],
) -> Iterator[tuple[int, int, int, int]]:
    """Rows of `Matches` of one group."""
    preds, truths = group
    block = np.ix_(preds, truths)
    steps = np.floor(overlap[block].astype(np.float32) * _STEPS + np.float32(0.5))
    tie = np.floor(1024 * (1 + heading[block]))
    weight = np.where(allowed[block], steps.astype(np.float64) * _ROOM + tie, 0.0)
    first = 0
    for last in np.unique(alive[preds]):
        if last == first:
            continue
        left = np.flatnonzero(alive[preds] > first)
        for i, j in zip(*linear_sum_assignment(weight[left], maximize=True), strict=True):
            if weight[left[i], j] > 0:
                yield int(preds[left[i]]), int(truths[j]), first, int(last)
        first = int(last)


def area_under_curve(
    precision: NDArray[np.float64], recall: NDArray[np.float64], step: float
) -> float:
    """Average precision of points of a precision-recall curve.

    Precision is made non-rising with recall. The points are joined by straight lines, but where
    two are further apart than `step`, precision stays that of the higher recall until the lower
    one is within a step. Below the lowest recall that was reached, precision is constant.

    Args:
        precision: (C,) in [0, 1].
        recall: (C,) in [0, 1], in any order.
        step: Largest recall over which a line is drawn.
    """
    level, where = np.unique(np.append(recall, 0.0))[::-1], 0.0
    best = 0.0
    points: list[tuple[float, float]] = []
    for here in level.tolist():
        if points:
            where = points[-1][0]
            while where - here > step + 1e-6:
                where -= step
                points.append((where, best))
        best = max(best, float(precision[recall == here].max(initial=0.0)))
        points.append((here, best))
    if len(points) > 1:
        # The point at recall 0 is made up: it takes the precision of the one above it.
        points[-1] = (points[-1][0], points[-2][1])
    area = 0.0
    for (right, high), (left, low) in pairwise(points):
        area += (right - left) * (high + low) / 2
    return area
