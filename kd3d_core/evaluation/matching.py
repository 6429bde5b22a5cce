"""Greedy matching of detections to ground truth, as the AP protocols define it."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.iou import bev_iou

#: Outcome of a detection in `match`.
FALSE_POSITIVE, TRUE_POSITIVE, IGNORED = 0, 1, -1


def similarity(pred: Boxes3D, truth: Boxes3D, criterion: str) -> NDArray[np.float32]:
    """How alike each detection and each ground-truth box are; larger is more alike.

    Args:
        pred: N detections.
        truth: M ground-truth boxes.
        criterion: "bev_iou" (rotated, seen from above, in [0, 1]) or "center_distance" (minus the
            horizontal distance of the centres [m]).

    Returns:
        (N, M) float32.
    """
    if criterion == "bev_iou":
        return bev_iou(pred.bev, truth.bev)
    delta = pred.center[:, None, :2] - truth.center[None, :, :2]
    return -np.hypot(delta[..., 0], delta[..., 1]).astype(np.float32)


def match(
    alike: NDArray[np.floating[Any]],
    threshold: float,
    truth_counts: NDArray[np.bool_],
    pred_counts: NDArray[np.bool_],
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Match detections of one class, one after the other, each to its best free ground truth.

    A detection takes the most alike ground-truth box that counts and is still free. Failing that,
    it is ignored when it lies on a box that does not count (too few points, outside the range)
    or does not count itself; otherwise it is a false positive.

    Args:
        alike: (N, M) from `similarity`, detections in order of falling score.
        threshold: Pairs below this are no match.
        truth_counts: (M,) False for ground truth that is neither to be found nor to be missed.
        pred_counts: (N,) False for detections that may be right but not wrong.

    Returns:
        (N,) int8 TRUE_POSITIVE, FALSE_POSITIVE or IGNORED, and (N,) int64 index of the matched
        ground truth, -1 where there is none.
    """
    return _match(
        np.ascontiguousarray(alike, np.float32),
        np.float32(threshold),
        np.ascontiguousarray(truth_counts, np.bool_),
        np.ascontiguousarray(pred_counts, np.bool_),
    )


@numba.njit(cache=True)
def _match(alike, threshold, truth_counts, pred_counts):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """The loop of `match`, compiled."""
    preds, truths = alike.shape
    outcome = np.zeros(preds, np.int8)
    index = np.full(preds, -1, np.int64)
    free = np.ones(truths, np.bool_)
    for i in range(preds):
        best, on_ignored = -1, False
        for j in range(truths):
            if alike[i, j] < threshold:
                continue
            if not truth_counts[j]:
                on_ignored = True
            elif free[j] and (best < 0 or alike[i, j] > alike[i, best]):
                best = j
        if best >= 0:
            free[best] = False
            outcome[i] = 1
            index[i] = best
        elif on_ignored or not pred_counts[i]:
            outcome[i] = -1
    return outcome, index
