"""Which boxes count, which match, and how well, by the nuScenes detection protocol.

Source: Caesar et al., nuScenes (CVPR 2020), section 3.1, and the published protocol of the
detection task for what the paper leaves open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from kd3d_core.evaluation.nuscenes_boxes import LevelBoxes


def falling(score: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """Order of (N,) scores from high to low; of equal ones the later comes first.

    That is the official order: ascending by (score, position), reversed.
    """
    return np.argsort(score, kind="stable")[::-1]


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample as it came.

    Attributes:
        pred: N detections.
        truth: M ground-truth boxes.
        points: (M,) int64 points in each of them.
        ego: (2,) float64 the vehicle [m].
        racks: Bicycle racks, or None.
    """

    pred: LevelBoxes
    truth: LevelBoxes
    points: NDArray[np.integer[Any]]
    ego: NDArray[np.float64]
    racks: LevelBoxes | None


@dataclass(frozen=True, eq=False)
class Batch:
    """The boxes of several samples that count.

    Attributes:
        pred: N detections, sample after sample.
        truth: M ground-truth boxes, sample after sample.
        pred_ends: (S,) int64, where each sample's detections end.
        truth_ends: (S,) int64, where each sample's ground truth ends.
    """

    pred: LevelBoxes
    truth: LevelBoxes
    pred_ends: NDArray[np.int64]
    truth_ends: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        reach: NDArray[np.float64],
        in_racks: NDArray[np.bool_],
    ) -> "Batch":
        """Join samples, and leave out what does not count.

        Args:
            samples: S of them.
            reach: (C,) range of each class [m]: boxes as far or farther do not count.
            in_racks: (C,) bool: classes whose boxes inside a rack do not count.
        """
        ego = np.array([sample.ego for sample in samples])
        sides = []
        for boxes in ([s.pred for s in samples], [s.truth for s in samples]):
            joined = LevelBoxes.concatenate(boxes)
            owner = np.repeat(np.arange(len(samples)), [len(part) for part in boxes])
            delta = joined.center[:, :2] - ego[owner]
            counts = np.sqrt((delta * delta).sum(axis=1)) < reach[joined.label]
            for i, sample in enumerate(samples):
                if sample.racks is not None and len(sample.racks):
                    own = np.flatnonzero((owner == i) & in_racks[joined.label])
                    counts[own] &= ~joined[own].inside(sample.racks)
            sides.append((joined, owner, counts))
        (pred, pred_owner, pred_counts), (truth, truth_owner, truth_counts) = sides
        truth_counts &= np.concatenate([sample.points for sample in samples]) != 0
        count = len(samples)
        return cls(
            pred=pred[pred_counts],
            truth=truth[truth_counts],
            pred_ends=np.cumsum(np.bincount(pred_owner[pred_counts], minlength=count)),
            truth_ends=np.cumsum(np.bincount(truth_owner[truth_counts], minlength=count)),
        )


def match_batch(batch: Batch, thresholds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Match detections, best score first, each to the nearest free truth of its class and sample.

    A detection whose nearest free truth is as far as the threshold, or farther, matches nothing.
    Of equally near ones the first is taken.

    Args:
        batch: N detections and M ground-truth boxes.
        thresholds: (T,) largest distances [m]; each gives a matching of its own.

    Returns:
        (T, N) int64 row of the truth, -1 where there is none.
    """
    pred, truth = batch.pred, batch.truth
    return _match(
        np.ascontiguousarray(pred.center[:, :2]),
        pred.label,
        batch.pred_ends,
        np.ascontiguousarray(truth.center[:, :2]),
        truth.label,
        batch.truth_ends,
        np.ascontiguousarray(falling(pred.score)),
        thresholds,
    )


@numba.njit(cache=True)
def _match(pred, pred_label, pred_ends, truth, truth_label, truth_ends, order, thresholds):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """The loop of `match_batch`, compiled.

    `order` runs over all samples: of one sample's detections it keeps the order, and those of
    other samples do not matter.
    """
    owner = np.searchsorted(pred_ends, np.arange(len(pred)), side="right")
    result = np.full((len(thresholds), len(pred)), -1, np.int64)
    for t in range(len(thresholds)):
        free = np.ones(len(truth), np.bool_)
        for i in order:
            sample = owner[i]
            start = truth_ends[sample - 1] if sample else 0
            best, nearest = -1, np.inf
            for j in range(start, truth_ends[sample]):
                if free[j] and truth_label[j] == pred_label[i]:
                    dx, dy = pred[i, 0] - truth[j, 0], pred[i, 1] - truth[j, 1]
                    distance = np.sqrt(dx * dx + dy * dy)
                    if distance < nearest:
                        best, nearest = j, distance
            if nearest < thresholds[t]:
                free[best] = False
                result[t, i] = best
    return result


def pair_errors(
    pred: LevelBoxes, truth: LevelBoxes, half_turn: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Errors of N matched pairs.

    Args:
        pred: N detections.
        truth: The truth of each.
        half_turn: (N,) bool: the heading counts up to half a turn.

    Returns:
        (N, 5) float64 in the order of `ERRORS`; NaN where the truth has no velocity or attribute
        or the detection no velocity.
    """
    result = np.empty((len(pred), 5))
    delta = pred.center[:, :2] - truth.center[:, :2]
    result[:, 0] = np.sqrt((delta * delta).sum(axis=1))
    # Overlap of the two boxes put upon each other.
    common = np.minimum(pred.size, truth.size).prod(axis=1)
    result[:, 1] = 1 - common / (truth.size.prod(axis=1) + pred.size.prod(axis=1) - common)
    period = np.where(half_turn, np.pi, 2 * np.pi)
    result[:, 2] = np.abs((truth.yaw - pred.yaw + period / 2) % period - period / 2)
    delta = pred.velocity - truth.velocity
    result[:, 3] = np.sqrt((delta * delta).sum(axis=1))
    result[:, 4] = np.where(truth.attribute == "", np.nan, truth.attribute != pred.attribute)
    return result
