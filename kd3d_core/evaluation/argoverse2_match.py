"""Which detection belongs to which ground truth, by the rule of Argoverse 2."""

import numba
import numpy as np
from numpy.typing import NDArray


def assign(
    pred: NDArray[np.float64],
    pred_label: NDArray[np.int64],
    truth: NDArray[np.float64],
    truth_label: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give each detection to the nearest ground truth of its class, which keeps the first.

    Args:
        pred: (N, 3) centres of detections [m], of each class by falling score.
        pred_label: (N,) classes.
        truth: (M, 3) centres of ground truth [m].
        truth_label: (M,) classes.

    Returns:
        (N,) float64 distance [m] to the ground truth that kept the detection, infinite for the
        others, and (N,) int64 index of that ground truth, -1 for none. At equal distances the
        earlier ground truth is the nearer one.
    """
    return _assign(
        np.ascontiguousarray(pred),
        np.ascontiguousarray(pred_label),
        np.ascontiguousarray(truth),
        np.ascontiguousarray(truth_label),
    )


@numba.njit(cache=True)
def _assign(pred, pred_label, truth, truth_label):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """The loop of `assign`, compiled."""
    gap = np.full(len(pred), np.inf)
    index = np.full(len(pred), -1, np.int64)
    taken = np.zeros(len(truth), np.bool_)
    for i in range(len(pred)):
        nearest, best = np.inf, -1
        for j in range(len(truth)):
            if truth_label[j] != pred_label[i]:
                continue
            x, y = pred[i, 0] - truth[j, 0], pred[i, 1] - truth[j, 1]
            z = pred[i, 2] - truth[j, 2]
            # The root is taken before distances are compared: it rounds some onto each other.
            distance = np.sqrt(x * x + y * y + z * z)
            if distance < nearest:
                nearest, best = distance, j
        if best >= 0 and not taken[best]:
            taken[best] = True
            gap[i] = nearest
            index[i] = best
    return gap, index
