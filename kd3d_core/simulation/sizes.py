"""How large objects are: fitted to KITTI's labels where it has the class.

The figures of cars, vans, trucks, pedestrians and cyclists come from the 7,470 labelled frames of
KITTI's object benchmark through `scripts/fit_label_statistics.py`: mean and covariance of the log
of (length, width, height), clipped to the 0.5 and 99.5 percentiles. KITTI labels neither buses nor
motorcycles: those are typical dimensions of the vehicles on European roads, as are those of cars
with two seats and of the smallest with four.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray


@dataclass(frozen=True)
class SizeModel:
    """Log-normal (length, width, height) with correlation.

    Attributes:
        log_mean: Mean of the natural log of length, width, height [m].
        log_covariance: Their covariance.
        low: Smallest length, width, height [m].
        high: Largest length, width, height [m].
    """

    log_mean: tuple[float, float, float]
    log_covariance: tuple[tuple[float, float, float], ...]
    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def draw(self, rng: Generator) -> NDArray[np.float64]:
        """(3,) float64 length, width, height [m]."""
        root = np.linalg.cholesky(np.array(self.log_covariance))
        sample = np.exp(np.array(self.log_mean) + root @ rng.normal(size=3))
        return np.clip(sample, self.low, self.high)

    @property
    def mean(self) -> NDArray[np.float64]:
        """(3,) mean length, width, height of the unclipped distribution [m]."""
        return np.exp(np.array(self.log_mean) + np.diag(np.array(self.log_covariance)) / 2)


def _typical(size: tuple[float, float, float], spread: tuple[float, float, float]) -> SizeModel:
    """Independent log-normal dimensions: medians [m] and relative standard deviations."""
    log = np.log(size)
    rows = np.diag(np.square(spread))
    low, high = np.exp(log - 2.2 * np.array(spread)), np.exp(log + 2.2 * np.array(spread))
    return SizeModel(
        (float(log[0]), float(log[1]), float(log[2])),
        tuple((float(r[0]), float(r[1]), float(r[2])) for r in rows),
        (float(low[0]), float(low[1]), float(low[2])),
        (float(high[0]), float(high[1]), float(high[2])),
    )


CAR = SizeModel(  # KITTI "Car", 28,679 labels
    (1.3507, 0.4857, 0.419),
    ((0.01258, 0.00242, 0.00149), (0.00242, 0.004, 0.00159), (0.00149, 0.00159, 0.00728)),
    (2.62, 1.3, 1.26),
    (4.96, 1.94, 2.08),
)
VAN = SizeModel(  # KITTI "Van", 2,908 labels
    (1.6116, 0.6389, 0.7808),
    ((0.02674, 0.00979, 0.01951), (0.00979, 0.00803, 0.00874), (0.01951, 0.00874, 0.02107)),
    (3.19, 1.54, 1.7),
    (6.91, 2.46, 2.91),
)
TRUCK = SizeModel(  # KITTI "Truck", 1,094 labels
    (2.2729, 0.9462, 1.1696),
    ((0.08237, 0.01266, 0.00837), (0.01266, 0.00731, 0.00455), (0.00837, 0.00455, 0.01937)),
    (5.42, 2.06, 2.32),
    (16.79, 3.01, 4.2),
)
MICROCAR = _typical((2.6, 1.56, 1.54), (0.045, 0.04, 0.03))
CITY_CAR = _typical((3.3, 1.56, 1.52), (0.05, 0.04, 0.05))
PEDESTRIAN = SizeModel(  # KITTI "Pedestrian", 4,435 labels
    (-0.2206, -0.4395, 0.5632),
    ((0.10891, 0.01907, 0.00546), (0.01907, 0.04886, 0.00243), (0.00546, 0.00243, 0.00444)),
    (0.2, 0.34, 1.48),
    (1.44, 1.04, 2.0),
)
CYCLIST = SizeModel(  # KITTI "Cyclist", 1,611 labels
    (0.5619, -0.5405, 0.5506),
    ((0.01107, 0.0078, 0.00216), (0.0078, 0.04846, 0.00207), (0.00216, 0.00207, 0.00306)),
    (1.19, 0.34, 1.44),
    (2.12, 0.89, 1.98),
)
CITY_BUS = _typical((12.0, 2.55, 3.1), (0.06, 0.01, 0.05))
COACH = _typical((12.8, 2.55, 3.6), (0.07, 0.01, 0.05))
MIDI_BUS = _typical((8.6, 2.35, 2.9), (0.1, 0.03, 0.05))
ARTICULATED_BUS = _typical((17.9, 2.55, 3.1), (0.02, 0.01, 0.03))
MOTORCYCLE = _typical((2.12, 0.82, 1.2), (0.06, 0.08, 0.08))
SCOOTER = _typical((1.85, 0.7, 1.14), (0.06, 0.06, 0.05))

#: KITTI labels only what its front camera sees, 90 degrees wide: objects per frame by distance
#: [m] there, cars and vans together. A street's densities are set so that a quarter of the
#: circle round the ego vehicle holds about as many.
CARS_IN_VIEW = {10: 0.43, 20: 0.96, 30: 0.97, 40: 0.76, 50: 0.54, 60: 0.32}
