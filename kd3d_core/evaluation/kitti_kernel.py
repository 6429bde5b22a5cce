"""The loops of KITTI's protocol, compiled: overlaps, the two matching passes, the thresholds.

The protocol is the one of the benchmark's development kit (Geiger et al., CVPR 2012; recall
positions after Simonelli et al., ICCV 2019). Its quirks are kept, because published figures have
them: see `kitti_r40`.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kd3d_core.geometry.iou import overlap_area

#: What a box is to the metric of one class at one difficulty.
COUNTED, IGNORED, FOREIGN = 0, 1, -1


class Pairs(NamedTuple):
    """All frames of one class, joined: G ground truths, D detections, P overlaps.

    Attributes:
        pair_start: (G + 1,) int64, where the overlaps of each ground truth begin.
        pair_pred: (P,) int64, the detection of each overlap, rising within a ground truth.
        overlap: (P,) float64 intersection over union.
        score: (D,) float64.
        excuse: (D,) float64, the largest share of the detection inside a DontCare region.
    """

    pair_start: NDArray[np.int64]
    pair_pred: NDArray[np.int64]
    overlap: NDArray[np.float64]
    score: NDArray[np.float64]
    excuse: NDArray[np.float64]


@njit(cache=True, nogil=True)
def camera_overlaps(
    truth: NDArray[np.float64], pred: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Overlaps of upright boxes in the rectified camera frame.

    Args:
        truth: (G, 7) boxes of `to_camera`.
        pred: (D, 7) the same.

    Returns:
        (G, D) float64 intersection over union seen from above, and (G, D) by volume.
    """
    work = np.empty((2, 12, 2), np.float64)
    above, volume = np.zeros((len(truth), len(pred))), np.zeros((len(truth), len(pred)))
    one, other = np.empty(5), np.empty(5)
    for i in range(len(truth)):
        # From above, x is right and z ahead; rotation_y turns from x towards -z.
        one[0], one[1], one[4] = truth[i, 0], truth[i, 2], -truth[i, 6]
        one[2], one[3] = truth[i, 3], truth[i, 4]
        for j in range(len(pred)):
            other[0], other[1], other[4] = pred[j, 0], pred[j, 2], -pred[j, 6]
            other[2], other[3] = pred[j, 3], pred[j, 4]
            shared = overlap_area(one, other, work)
            if shared <= 0.0:
                continue
            area_a, area_b = one[2] * one[3], other[2] * other[3]
            above[i, j] = shared / (area_a + area_b - shared)
            # y points down and is that of the bottom.
            low = min(truth[i, 1], pred[j, 1])
            high = max(truth[i, 1] - truth[i, 5], pred[j, 1] - pred[j, 5])
            shared *= max(low - high, 0.0)
            volume[i, j] = shared / (area_a * truth[i, 5] + area_b * pred[j, 5] - shared)
    return above, volume


@njit(cache=True, nogil=True)
def found_scores(
    pairs: Pairs,
    truth_kind: NDArray[np.int8],
    pred_kind: NDArray[np.int8],
    least: float,
) -> NDArray[np.float64]:
    """First pass: every ground truth takes the free overlapping detection of the best score.

    Args:
        pairs: All frames.
        truth_kind: (G,) COUNTED or IGNORED.
        pred_kind: (D,) COUNTED, IGNORED or FOREIGN.
        least: An overlap must be larger.

    Returns:
        (K,) float64 scores of the counted detections on counted ground truth.
    """
    taken = np.zeros(len(pred_kind), np.bool_)
    scores = np.empty(len(truth_kind))
    count = 0
    for truth in range(len(truth_kind)):
        best = -1
        for k in range(pairs.pair_start[truth], pairs.pair_start[truth + 1]):
            pred = pairs.pair_pred[k]
            if pred_kind[pred] == FOREIGN or taken[pred] or not pairs.overlap[k] > least:
                continue
            if best < 0 or pairs.score[pred] > pairs.score[best]:
                best = pred
        if best < 0:
            continue
        taken[best] = True
        if truth_kind[truth] == COUNTED and pred_kind[best] == COUNTED:
            scores[count] = pairs.score[best]
            count += 1
    return scores[:count]


@njit(cache=True, nogil=True)
def recall_thresholds(
    scores: NDArray[np.float64], truths: int, positions: int
) -> NDArray[np.float64]:
    """The scores at which recall is nearest to 0, 1 / positions, 2 / positions, ...

    Args:
        scores: (K,) of `found_scores`.
        truths: How many ground truths count.
        positions: Into how many steps recall is divided.

    Returns:
        (T <= positions + 1,) float64, falling.
    """
    ordered = np.sort(scores)[::-1]
    chosen = np.empty(len(ordered))
    count, wanted = 0, 0.0
    for i in range(len(ordered)):
        last = i == len(ordered) - 1
        here = (i + 1) / truths
        after = here if last else (i + 2) / truths
        if after - wanted < wanted - here and not last:
            continue
        chosen[count] = ordered[i]
        count += 1
        wanted += 1.0 / positions
    return chosen[: min(count, positions + 1)]


@njit(cache=True, nogil=True)
def _choose(
    pairs: Pairs,
    truth: int,
    pred_kind: NDArray[np.int8],
    taken: NDArray[np.bool_],
    least: float,
    threshold: float,
) -> int:
    """The detection that a ground truth takes in the second pass, or -1.

    The free one of the largest overlap; one that is too small to count only where there is
    none that counts.
    """
    best, most, small = -1, 0.0, False
    for k in range(pairs.pair_start[truth], pairs.pair_start[truth + 1]):
        pred = pairs.pair_pred[k]
        kind, overlap = pred_kind[pred], pairs.overlap[k]
        if kind == FOREIGN or taken[pred] or pairs.score[pred] < threshold:
            continue
        if not overlap > least:
            continue
        if kind == COUNTED and (overlap > most or small):
            best, most, small = pred, overlap, False
        elif kind == IGNORED and best < 0:
            best, small = pred, True
    return best


@njit(cache=True, nogil=True)
def count_outcomes(
    pairs: Pairs,
    truth_kind: NDArray[np.int8],
    pred_kind: NDArray[np.int8],
    least: float,
    thresholds: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Second pass: what is right, wrong and missed at each threshold.

    Args:
        pairs: All frames.
        truth_kind: (G,) COUNTED or IGNORED.
        pred_kind: (D,) COUNTED, IGNORED or FOREIGN.
        least: An overlap must be larger.
        thresholds: (T,) detections with lower scores are left out.

    Returns:
        (T, 3) int64: true positives, false positives, false negatives.
    """
    result = np.zeros((len(thresholds), 3), np.int64)
    taken = np.empty(len(pred_kind), np.bool_)
    for t in range(len(thresholds)):
        taken[:] = False
        for truth in range(len(truth_kind)):
            best = _choose(pairs, truth, pred_kind, taken, least, thresholds[t])
            if best >= 0:
                taken[best] = True
                if truth_kind[truth] == COUNTED and pred_kind[best] == COUNTED:
                    result[t, 0] += 1
            elif truth_kind[truth] == COUNTED:
                result[t, 2] += 1
        for pred in range(len(pred_kind)):
            if pred_kind[pred] != COUNTED or taken[pred] or pairs.score[pred] < thresholds[t]:
                continue
            if not pairs.excuse[pred] > least:
                result[t, 1] += 1
    return result
