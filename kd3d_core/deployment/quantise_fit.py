"""Integer weights for one layer that keep its results: least squares, rounded column by column.

Rounding every weight to the nearest integer ignores that errors add up, and that the layer reads
quantised values. Here each layer is fitted to what it gave in float32, reading what it will read
in int8, so that errors do not pile up from layer to layer either. The rounding is that of Frantar
et al., GPTQ (ICLR 2023): a column is rounded, and those still free make up for it. The bias is a
last column that is never rounded, so that the mean error is zero.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

#: Ridge, as a part of the mean square of what is read.
_RIDGE = 0.01
#: Added to it: a layer may read nothing but zeros.
_LEAST_RIDGE = 1e-7
#: Columns whose corrections are added to the rest in one product.
_BLOCK = 64
#: Parts of the largest weight that are tried as the largest representable one.
_SHRINK = np.linspace(1.0, 0.6, 17)


@dataclass(frozen=True, eq=False)
class Rounded:
    """A layer in integers.

    Attributes:
        values: (R, K) float64, whole numbers.
        scale: (R,) float64: a weight is its value times the scale of its row.
        bias: (R,) float64.
        error: Root mean square of the difference of the results, as a part of their standard
            deviation.
    """

    values: Doubles
    scale: Doubles
    bias: Doubles
    error: float


def fit(
    weights: NDArray[np.float32],
    bias: NDArray[np.float32],
    read: NDArray[np.float32],
    wanted: NDArray[np.float32],
    largest: int,
    repeats: int = 1,
) -> Rounded:
    """Fit integer weights and a bias.

    Args:
        weights: (R, K) of the layer in float32.
        bias: (R,) likewise.
        read: (P, K) what it reads in int8, for P cells.
        wanted: (P, R) what it gave in float32 for the same cells.
        largest: The largest absolute integer, such as 127.
        repeats: So many successive rows share a scale and a bias.
    """
    given = np.concatenate([read, np.ones((len(read), 1), np.float32)], 1)
    before = np.concatenate([weights, bias[:, None]], 1).astype(np.float64)
    moments = (given.T @ given).astype(np.float64) / len(given)
    residual = wanted - given @ before.T.astype(np.float32)
    pull = (given.T @ residual).astype(np.float64) / len(given)
    ridge = np.full(len(moments), _RIDGE * np.diag(moments)[:-1].mean() + _LEAST_RIDGE)
    ridge[-1] = _LEAST_RIDGE
    moments[np.diag_indices_from(moments)] += ridge
    best = before + np.linalg.solve(moments, pull).T
    scale = _scale(best[:, :-1], np.diag(moments)[:-1], largest)
    if repeats > 1:
        scale = np.repeat(scale.reshape(-1, repeats).max(1), repeats)
    values, free = _round(best, moments, scale, largest)
    if repeats > 1:
        free = np.repeat(free.reshape(-1, repeats).mean(1), repeats)
    found = read @ (values * scale[:, None]).T.astype(np.float32) + free.astype(np.float32)
    error = np.sqrt(np.square(found - wanted).mean()) / max(float(wanted.std()), 1e-12)
    return Rounded(values, scale, free, float(error))


def _scale(weights: Doubles, weight_of: Doubles, largest: int) -> Doubles:
    """(R,) the scales with the least weighted square error of rounding to the nearest."""
    extreme = np.maximum(np.abs(weights).max(1), 1e-12)
    least = np.full(len(weights), np.inf)
    scale = extreme / largest
    for part in _SHRINK:
        tried = part * extreme[:, None] / largest
        rounded = np.clip(np.round(weights / tried), -largest, largest) * tried
        error = np.square(rounded - weights) @ weight_of
        better = error < least
        least[better], scale[better] = error[better], tried[better, 0]
    return scale


def _round(
    best: Doubles, moments: Doubles, scale: Doubles, largest: int
) -> tuple[Doubles, Doubles]:
    """Round (R, K + 1) column by column; the last one, the bias, stays free.

    Columns that matter most come first, while there are many left to make up for them.
    """
    count = len(moments) - 1
    order = np.append(np.argsort(-np.diag(moments)[:count], kind="stable"), count)
    left = best[:, order]
    upper = np.linalg.cholesky(np.linalg.inv(moments[np.ix_(order, order)])).T
    values = np.empty((len(best), count))
    for start in range(0, count, _BLOCK):
        end = min(start + _BLOCK, count)
        errors = np.empty((len(best), end - start))
        for i in range(start, end):
            whole = np.clip(np.round(left[:, i] / scale), -largest, largest)
            errors[:, i - start] = (left[:, i] - whole * scale) / upper[i, i]
            left[:, i + 1 : end] -= errors[:, i - start, None] * upper[i, i + 1 : end]
            values[:, order[i]] = whole
        left[:, end:] -= errors @ upper[start:end, end:]
    return values, left[:, count]
