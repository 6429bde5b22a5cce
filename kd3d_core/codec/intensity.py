"""Intensity as a network knows it, from intensity as another sensor tells it.

Every vendor's full scale, compensation for distance and gamma differ. A rising piecewise linear
map that brings the quantiles of one sensor's intensities onto those of the training data mends all
of it that is a matter of scale (histogram specification: Gonzalez and Woods, Digital Image
Processing, sec. 3.3).
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field
from pydantic import model_validator

from kd3d_core.config import Config

#: Steps of the table that is looked up for each point: finer than any sensor's 8 bits.
_STEPS = 1024


class IntensityMap(Config):
    """A rising map of [0, 1] onto itself, by its knots."""

    sensor: tuple[float, ...] = Field(min_length=2)
    """What the sensor reports, strictly rising; below the first and above the last the map is
    constant."""
    network: tuple[float, ...] = Field(min_length=2)
    """What the network is shown for each, never falling."""

    @model_validator(mode="after")
    def _check(self) -> "IntensityMap":
        sensor, network = np.array(self.sensor), np.array(self.network)
        if len(sensor) != len(network):
            raise ValueError(f"sensor has {len(sensor)} knots, network {len(network)}")
        if (np.diff(sensor) <= 0).any() or (np.diff(network) < 0).any():
            raise ValueError("sensor must rise from knot to knot, and network must not fall")
        if min(sensor[0], network[0]) < 0 or max(sensor[-1], network[-1]) > 1:
            raise ValueError("intensities lie in [0, 1]")
        return self

    def table(self) -> NDArray[np.float32]:
        """(1024,) float32: what the network is shown for evenly spaced intensities in [0, 1]."""
        given = np.linspace(0.0, 1.0, _STEPS)
        return np.interp(given, self.sensor, self.network).astype(np.float32)


#: Shows the network no intensity, as it was shown none in a part of its training.
NO_INTENSITY = IntensityMap(sensor=(0.0, 1.0), network=(0.0, 0.0))


@njit(cache=True, nogil=True)
def remap(points: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points with other intensities.

    Args:
        points: (N, 4) x, y, z [m], intensity in [0, 1].
        table: (T,) from `IntensityMap.table`.

    Returns:
        (N, 4) float32, new.
    """
    result = points.copy()
    last = len(table) - 1
    for i in range(len(points)):
        place = int(points[i, 3] * last + np.float32(0.5))
        result[i, 3] = table[min(max(place, 0), last)]
    return result
