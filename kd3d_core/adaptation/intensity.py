"""Intensity of one sensor against that of the training data."""

from collections.abc import Iterable
from collections.abc import Sequence

import numpy as np

from kd3d_core.codec.intensity import IntensityMap
from kd3d_core.pointcloud import PointCloud

#: Ranks at which intensities are compared.
RANKS = 33
#: Points of a cloud that are looked at.
_SAMPLE = 20_000


def quantiles(clouds: Iterable[PointCloud]) -> tuple[float, ...]:
    """Intensities at evenly spaced ranks, from the lowest to the highest.

    Args:
        clouds: Those without intensity are left out.

    Returns:
        33 values in [0, 1]; empty without any intensity.
    """
    rng = np.random.default_rng(0)
    parts = []
    for cloud in clouds:
        if cloud.has_intensity and len(cloud):
            values = cloud.points[:, 3]
            parts.append(values[rng.integers(0, len(values), min(_SAMPLE, len(values)))])
    if not parts:
        return ()
    found = np.quantile(np.concatenate(parts), np.linspace(0, 1, RANKS))
    return tuple(round(float(value), 4) for value in found)


def match_intensity(sensor: Sequence[float], training: Sequence[float]) -> IntensityMap | None:
    """The rising map that gives a sensor's intensities the distribution of the training's.

    Args:
        sensor: Quantiles at evenly spaced ranks, as `quantiles` gives them.
        training: Likewise; as many or not.

    Returns:
        None where either is unknown, or the sensor reports one value only.
    """
    if len(sensor) < 2 or len(training) < 2:
        return None
    ranks = np.linspace(0, 1, len(sensor))
    wanted = np.interp(ranks, np.linspace(0, 1, len(training)), training)
    # Many points may share a value (0 above all): it goes to the middle of what they shall be.
    known, place = np.unique(np.asarray(sensor, np.float64), return_inverse=True)
    if len(known) < 2:
        return None
    shown = np.bincount(place, wanted) / np.bincount(place)
    return IntensityMap(
        sensor=tuple(known.tolist()),
        network=tuple(np.round(np.clip(np.maximum.accumulate(shown), 0, 1), 4).tolist()),
    )


def intensity_distance(one: Sequence[float], two: Sequence[float]) -> float:
    """Mean difference of two distributions' quantiles: their Wasserstein-1 distance, in [0, 1]."""
    ranks = np.linspace(0, 1, RANKS)
    values = [np.interp(ranks, np.linspace(0, 1, len(each)), each) for each in (one, two)]
    return float(np.abs(values[0] - values[1]).mean())
