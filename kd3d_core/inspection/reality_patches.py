"""Patches of a sweep in figures, from which simulated and recorded ones can be told apart."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kd3d_core.inspection.reality_returns import Returns

#: A patch is a sector of this many to a turn, between two of these distances [m].
SECTORS = 24
BANDS = (5.0, 12.0, 25.0, 45.0)
#: Patches with fewer returns are left out.
LEAST = 60
#: Edges of the bands of height above the ground [m].
HEIGHTS = (-9.0, -0.25, 0.12, 0.5, 1.0, 1.6, 2.2, 3.5, 99.0)
#: Returns between these heights [m] are taken for the ground.
GROUND = (-0.25, 0.12)
_CELL = 1.0
_FINE = 0.25
#: Points that spread less than this [m] the narrow way span no plane.
_SPANS = 0.15

Features = dict[str, float]


def patch_features(returns: Returns) -> tuple[list[str], NDArray[np.float32]]:
    """Every patch of a sweep in figures.

    Returns:
        Names of the figures, "family: what" with the families sampling, shape and intensity, and
        (P, F) float32 with NaN where a patch has nothing to measure; P patches have at least
        `LEAST` returns.
    """
    sector = ((returns.azimuth + np.pi) / (2 * np.pi) * SECTORS).astype(np.int64) % SECTORS
    band = np.digitize(returns.range, BANDS) - 1
    patch = np.where((band >= 0) & (band < len(BANDS) - 1), band * SECTORS + sector, -1)
    order = np.argsort(patch, kind="stable")
    bounds = np.searchsorted(patch[order], np.arange((len(BANDS) - 1) * SECTORS + 1))
    rows: list[Features] = []
    for start, end in pairwise(bounds.tolist()):
        # Sorted again: along the rings, as the returns were.
        inside = np.sort(order[start:end])
        if len(inside) >= LEAST:
            rows.append(_features(returns, inside))
    names = list(rows[0]) if rows else []
    return names, np.array([list(row.values()) for row in rows], np.float32)


def _features(returns: Returns, inside: NDArray[np.int64]) -> Features:
    """The figures of one patch."""
    parts: tuple[Callable[[Returns, NDArray[np.int64]], Features], ...] = (
        _sampling,
        _heights,
        _shapes,
        _intensity,
    )
    told: Features = {}
    for part in parts:
        told |= part(returns, inside)
    return told


def _sampling(returns: Returns, inside: NDArray[np.int64]) -> Features:
    """How many returns there are, which are missing, how exact the ranges are."""
    gaps, bend = returns.missing[inside], returns.bend[inside]
    height = returns.height[inside]
    ground = (height > GROUND[0]) & (height < GROUND[1])
    rings = np.unique(returns.ring[inside])
    span = rings[-1] - rings[0] + 1
    return {
        "sampling: returns": float(np.log(len(inside))),
        "sampling: drop-outs": _mean(np.minimum(gaps, 1)),
        "sampling: missing returns": _mean(gaps),
        "sampling: rings hit": len(rings) / span,
        "sampling: range noise": _quantile(np.abs(bend), 0.5),
        "sampling: range noise on the ground": _quantile(np.abs(bend[ground]), 0.5),
        "sampling: lonely returns": float(returns.lonely[inside].mean()),
    }


def _heights(returns: Returns, inside: NDArray[np.int64]) -> Features:
    """Shares of the returns by height above the ground."""
    counts = np.histogram(returns.height[inside], HEIGHTS)[0] / len(inside)
    words = [f"{low:g} to {high:g} m" for low, high in pairwise(HEIGHTS[1:-1])]
    words = [f"below {HEIGHTS[1]:g} m", *words, f"above {HEIGHTS[-2]:g} m"]
    return {f"shape: share {w}": float(c) for w, c in zip(words, counts, strict=True)}


def _shapes(returns: Returns, inside: NDArray[np.int64]) -> Features:
    """How rough the ground is, how dense, flat, thin and bushy what stands on it."""
    xyz, height = returns.xyz[inside].astype(np.float64), returns.height[inside]
    ground = (height > GROUND[0]) & (height < GROUND[1])
    upright = height > HEIGHTS[3]
    level = column_spreads(xyz[ground])
    told = {"shape: roughness of the ground": _quantile(level.roughness, 0.5)}
    spread = column_spreads(xyz[upright])
    weight = np.where(spread.count >= 5, spread.count, 0)
    total = weight.sum()
    for name in ("linear", "flat", "bushy"):
        value = (getattr(spread, name) * weight).sum()
        told[f"shape: {name}"] = float(value / total) if total else np.nan
    fine = np.unique((xyz[upright] // _FINE).astype(np.int64), axis=0)
    told["shape: returns a 0.25 m cube"] = (
        float(np.log(upright.sum() / len(fine))) if len(fine) else np.nan
    )
    return told


def _intensity(returns: Returns, inside: NDArray[np.int64]) -> Features:
    """Level and spread of the intensity, on the ground and above, and along the rings."""
    value, height = returns.intensity[inside], returns.height[inside]
    ground = (height > GROUND[0]) & (height < GROUND[1])
    same = np.diff(returns.ring[inside]) == 0
    return {
        "intensity: mean": float(value.mean()),
        "intensity: spread": float(value.std()),
        "intensity: zeros": float((value <= 0.001).mean()),
        "intensity: 90 %": float(np.quantile(value, 0.9)),
        "intensity: on the ground": _mean(value[ground]),
        "intensity: spread on the ground": float(value[ground].std()) if ground.any() else np.nan,
        "intensity: above the ground": _mean(value[height > HEIGHTS[3]]),
        "intensity: step to the neighbour": _mean(np.abs(np.diff(value))[same]),
    }


@dataclass(frozen=True, eq=False)
class Spread:
    """How the points of each of C columns, 1 m wide, spread around their middle.

    Attributes:
        root: (C, 3) float64 [m], square roots of the eigenvalues of the covariance, rising.
        count: (C,) int64 points.
    """

    root: NDArray[np.float64]
    count: NDArray[np.int64]

    @property
    def linear(self) -> NDArray[np.float64]:
        """(C,) in [0, 1]; the three are those of Demantké et al., ISPRS Laser Scanning 2011."""
        return (self.root[:, 2] - self.root[:, 1]) / self._largest

    @property
    def flat(self) -> NDArray[np.float64]:
        """(C,) in [0, 1]: planarity."""
        return (self.root[:, 1] - self.root[:, 0]) / self._largest

    @property
    def bushy(self) -> NDArray[np.float64]:
        """(C,) in [0, 1]: scatter."""
        return self.root[:, 0] / self._largest

    @property
    def roughness(self) -> NDArray[np.float64]:
        """Distance of the points to their plane [m], of the columns where they span one.

        Points of a single ring lie on a line, which is as flat as it gets and tells nothing.
        """
        return self.root[(self.count >= 8) & (self.root[:, 1] > _SPANS), 0]

    @property
    def _largest(self) -> NDArray[np.float64]:
        """(C,) [m], never 0."""
        return np.maximum(self.root[:, 2], 1e-6)


def column_spreads(xyz: NDArray[np.float64]) -> Spread:
    """The spread of (N, 3) points [m] in each occupied column."""
    if not len(xyz):
        return Spread(np.zeros((0, 3)), np.zeros(0, np.int64))
    cell = (xyz[:, :2] // _CELL).astype(np.int64)
    key = (cell[:, 0] + 1000) * 4000 + cell[:, 1] + 1000
    _, index = np.unique(key, return_inverse=True)
    count = np.bincount(index)
    mean = np.stack([np.bincount(index, xyz[:, i]) / count for i in range(3)], axis=1)
    away = xyz - mean[index]
    covariance = np.zeros((len(count), 3, 3))
    for i in range(3):
        for j in range(3):
            covariance[:, i, j] = np.bincount(index, away[:, i] * away[:, j]) / count
    return Spread(np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0.0)), count)


def _mean(values: NDArray[np.floating]) -> float:
    """The mean of what is there; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _quantile(values: NDArray[np.floating], share: float) -> float:
    """A quantile of what is there; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(np.quantile(known, share)) if len(known) else np.nan
