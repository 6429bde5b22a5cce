"""Plain statistics of simulated and recorded sweeps side by side."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.frame import Frame
from kd3d_core.inspection.reality_patches import GROUND
from kd3d_core.inspection.reality_patches import column_spreads
from kd3d_core.inspection.reality_returns import Returns

#: Bands of distance for points on cars [m].
CAR_BANDS = ((0.0, 15.0), (15.0, 30.0), (30.0, 50.0))
#: Distance [m] to which the points on a car are scaled by the square law.
_SCALED = 20.0
_COLUMN = 0.5


@dataclass(frozen=True, eq=False)
class Histogram:
    """How one quantity is spread over recorded and simulated sweeps.

    Attributes:
        name: With its unit.
        edges: (K + 1,) of the bins.
        real, simulated: (K,) shares of the values inside the edges.
        distance: Total variation distance of the two, in [0, 1]: the share that lies elsewhere.
        floor: The same between one half of the recorded sweeps and the other; None of one sweep.
    """

    name: str
    edges: NDArray[np.float64]
    real: NDArray[np.float64]
    simulated: NDArray[np.float64]
    distance: float
    floor: float | None


@dataclass(frozen=True)
class CarPoints:
    """Points on cars in one band of distance, as if each were 20 m away.

    Attributes:
        band: From, to [m].
        real, simulated: How many cars there are.
        real_points, simulated_points: Their medians; None without cars.
    """

    band: tuple[float, float]
    real: int
    simulated: int
    real_points: float | None
    simulated_points: float | None


def _density(returns: Returns) -> NDArray[np.float64]:
    """log2 of the returns in each occupied 0.5 m column within 40 m."""
    near = returns.xyz[returns.range < 40.0, :2]
    _, count = np.unique((near // _COLUMN).astype(np.int64), axis=0, return_counts=True)
    return np.log2(count)


def _roughness(returns: Returns) -> NDArray[np.float64]:
    """Distance of the ground's points to the plane of their 1 m cell [mm]."""
    height = returns.height
    ground = (height > GROUND[0]) & (height < GROUND[1]) & (returns.range < 25.0)
    return 1e3 * column_spreads(returns.xyz[ground].astype(np.float64)).roughness


def _bushiness(returns: Returns) -> NDArray[np.float64]:
    """Scatter of the 1 m columns of what is above the ground: 0 walls and poles, 1 bushes."""
    upright = returns.xyz[(returns.height > 0.5) & (returns.range < 40.0)].astype(np.float64)
    spread = column_spreads(upright)
    return spread.bushy[spread.count >= 10]


def _elevation(returns: Returns) -> NDArray[np.float64]:
    """Angle above the horizon of the sensor [deg]: the rings, by where they point."""
    return np.rad2deg(np.arctan2(returns.xyz[:, 2], returns.range)).astype(np.float64)


Values = Callable[[Returns], NDArray[np.floating]]

#: Name, edges of the bins and values of each statistic.
STATISTICS: tuple[tuple[str, NDArray[np.float64], Values], ...] = (
    ("horizontal range [m]", np.arange(0.0, 81.0, 2.0), lambda r: r.range),
    ("height above the ground [m]", np.arange(-0.5, 6.1, 0.25), lambda r: r.height),
    ("ring, by its elevation [deg]", np.arange(-26.0, 16.0, 0.5), _elevation),
    ("returns in a 0.5 m column, log2", np.arange(0.0, 9.1, 0.5), _density),
    ("intensity", np.arange(0.0, 1.03, 0.02), lambda r: r.intensity),
    ("returns missing to the next", np.arange(-0.5, 6.0, 1.0), lambda r: r.missing),
    ("range noise along a ring [mm]", np.arange(0.0, 101.0, 2.5), lambda r: 1e3 * np.abs(r.bend)),
    ("roughness of the ground [mm]", np.arange(0.0, 31.0, 1.0), _roughness),
    ("bushiness of what stands", np.arange(0.0, 0.61, 0.02), _bushiness),
)


class StatisticsAccumulator:
    """Takes sweeps one by one and keeps counts alone."""

    def __init__(self) -> None:
        self._counts: dict[bool, list[list[NDArray[np.int64]]]] = {True: [], False: []}

    def add(self, returns: Returns, real: bool) -> None:
        """Account for one sweep, recorded or simulated."""
        row = []
        for _, edges, values in STATISTICS:
            value = values(returns)
            row.append(np.histogram(value[~np.isnan(value)], edges)[0])
        self._counts[real].append(row)

    def result(self) -> tuple[Histogram, ...]:
        """Every statistic, of sweeps of both kinds."""
        real, simulated = self._counts[True], self._counts[False]
        told = []
        for i, (name, edges, _) in enumerate(STATISTICS):
            ours, theirs = _shares(real, i), _shares(simulated, i)
            halves = np.abs(_shares(real[::2], i) - _shares(real[1::2], i)).sum() / 2
            told.append(
                Histogram(
                    name=name,
                    edges=edges,
                    real=ours,
                    simulated=theirs,
                    distance=float(np.abs(ours - theirs).sum() / 2),
                    floor=float(halves) if len(real) > 1 else None,
                )
            )
        return tuple(told)


def points_on_cars(real: Sequence[Frame], simulated: Sequence[Frame]) -> tuple[CarPoints, ...]:
    """Points on cars by distance, scaled to 20 m: nearer ones have more by the square.

    Cars without a point are left out, because recorded ones have no label then.
    """
    rows = []
    ours, theirs = _cars(real), _cars(simulated)
    for low, high in CAR_BANDS:
        values = [points[(far >= low) & (far < high)] for far, points in (ours, theirs)]
        medians = [float(np.median(v)) if len(v) else None for v in values]
        rows.append(CarPoints((low, high), len(values[0]), len(values[1]), *medians))
    return tuple(rows)


def _cars(frames: Sequence[Frame]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance [m] and scaled points of every car with a point."""
    far, points = [np.zeros(0)], [np.zeros(0)]
    for frame in frames:
        if frame.boxes is None or frame.num_points is None:
            continue
        cars = np.array([name == "car" for name in frame.boxes.names], bool)
        cars &= frame.num_points > 0
        distance = np.hypot(*frame.boxes.center[cars, :2].astype(np.float64).T)
        far.append(distance)
        points.append(frame.num_points[cars] * (distance / _SCALED) ** 2)
    return np.concatenate(far), np.concatenate(points)


def _shares(rows: Sequence[Sequence[NDArray[np.int64]]], index: int) -> NDArray[np.float64]:
    """The shares of one statistic over sweeps; each sweep weighs the same."""
    total = np.zeros(len(STATISTICS[index][1]) - 1)
    for row in rows:
        total += row[index] / max(int(row[index].sum()), 1)
    return total / max(total.sum(), 1e-12)
