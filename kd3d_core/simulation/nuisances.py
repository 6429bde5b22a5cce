"""What spoils sweeps: weather, dust and spray, mirrors, blind sectors, odd intensities."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.simulation.effects import Echoes
from kd3d_core.simulation.effects import Measurement
from kd3d_core.simulation.materials import SHINY
from kd3d_core.simulation.mounting import Roof
from kd3d_core.simulation.sensor_model import SensorModel


@dataclass(frozen=True)
class Nuisances:
    """What spoils the sweeps of one drive; the defaults spoil nothing.

    Attributes:
        extinction: Of the air [1/m]: an echo from R metres keeps exp(-2 * extinction * R).
        haze: Share of pulses that fog answers, near the sensor.
        haze_depth: Mean range of those answers [m].
        drops: Share of pulses that a raindrop or a snowflake answers.
        spray: Density of the water or dust behind moving vehicles [1/m].
        dust_clouds: Number of clouds of dust, steam or exhaust along the way.
        dust: Their density [1/m].
        ghosts: Share of pulses on shiny surfaces that come back by a longer way.
        mirror: Share of pulses on the road that a film of water mirrors onwards.
        dead_beams: Rings that give nothing.
        intensity: Whether the sensor reports any.
        intensity_gain: Factor on what is reported.
        intensity_power: Exponent of what is reported, before the factor.
    """

    extinction: float = 0.0
    haze: float = 0.0
    haze_depth: float = 4.0
    drops: float = 0.0
    spray: float = 0.0
    dust_clouds: int = 0
    dust: float = 0.0
    ghosts: float = 0.0
    mirror: float = 0.0
    dead_beams: tuple[int, ...] = ()
    intensity: bool = True
    intensity_gain: float = 1.0
    intensity_power: float = 1.0

    @property
    def airborne(self) -> bool:
        """Whether there is anything in the air that answers pulses."""
        return self.haze > 0 or self.drops > 0


@dataclass(frozen=True, eq=False)
class Cloud:
    """An ellipsoid of dust or spray.

    Attributes:
        center: (3,) in the sensor frame [m].
        axes: (3, 3) rows are the unit vectors of its axes in the sensor frame.
        radii: (3,) [m].
        density: [1/m].
    """

    center: NDArray[np.float64]
    axes: NDArray[np.float64]
    radii: NDArray[np.float64]
    density: float


def fade(echoes: Echoes, extinction: float) -> None:
    """Weaken echoes, in place, by the air's extinction [1/m] on the way there and back."""
    if extinction > 0:
        echoes.gain *= np.exp(-2 * np.float32(extinction) * echoes.distance)


def lengthen(echoes: Echoes, share: float, rng: np.random.Generator) -> None:
    """Give, in place, some pulses on shiny surfaces a longer way: ghosts behind the object.

    All pulses of one piece of the turn go astray by the same length, so that the ghosts look like
    something rather than like noise.

    Args:
        echoes: (C, B).
        share: Of the pulses on shiny surfaces.
        rng: Source of chance.
    """
    if share <= 0:
        return
    columns = len(echoes.distance)
    block = max(columns // 40, 1)
    extra = rng.uniform(1.5, 15.0, columns // block + 1)[np.arange(columns) // block]
    astray = np.isin(echoes.material, SHINY) & np.isfinite(echoes.distance)
    astray &= rng.random(astray.shape, np.float32) < share
    echoes.distance += np.where(astray, extra[:, None], 0).astype(np.float32)
    echoes.gain[astray] *= np.float32(0.7)


def answer_in_air(
    nuisances: Nuisances, sensor: SensorModel, measured: Measurement, rng: np.random.Generator
) -> Measurement:
    """Let fog and drops answer some pulses before whatever lies behind them."""
    if not nuisances.airborne:
        return measured
    shape = measured.distance.shape
    fate = rng.random(shape, np.float32)
    near = np.full(shape, np.inf, np.float32)
    haze = np.flatnonzero(fate < nuisances.haze)
    near.flat[haze] = rng.gamma(2.0, nuisances.haze_depth / 2, len(haze))
    drops = np.flatnonzero((fate >= nuisances.haze) & (fate < nuisances.haze + nuisances.drops))
    # The answer of a drop falls with the square of its range, their number in a cone rises with
    # it: up to some 20 m any range is about as likely.
    near.flat[drops] = rng.uniform(0, 20, len(drops)) * rng.uniform(0.3, 1, len(drops))
    return _put_before(sensor, measured, near, rng)


def answer_in_clouds(
    clouds: list[Cloud],
    sensor: SensorModel,
    local: NDArray[np.float32],
    measured: Measurement,
    rng: np.random.Generator,
) -> Measurement:
    """Let dust and spray answer pulses that pass through them.

    Args:
        clouds: Where they are.
        sensor: The model.
        local: (C, B, 3) float32 rays in the sensor frame.
        measured: Of the same rays.
        rng: Source of chance.
    """
    for cloud in clouds:
        enter, leave, index = _chords(cloud, local)
        depth = rng.exponential(1 / cloud.density, len(index))
        met = depth < leave - enter
        near = np.full(measured.distance.shape, np.inf, np.float32)
        near.flat[index[met]] = enter[met] + depth[met]
        measured = _put_before(sensor, measured, near, rng)
    return measured


def _chords(
    cloud: Cloud, local: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Ranges where rays enter and leave an ellipsoid [m], and which rays (flat indices)."""
    rays = local.reshape(-1, 3)
    turn = cloud.axes / cloud.radii[:, None]
    start = turn @ -cloud.center
    distance = float(np.linalg.norm(cloud.center))
    reach = float(np.max(cloud.radii))
    if distance > reach:
        aim = (cloud.center / distance).astype(np.float32)
        narrow = np.float32(np.sqrt(1 - (reach / distance) ** 2))
        index = np.flatnonzero(rays @ aim >= narrow)
    else:
        index = np.arange(len(rays))
    way = rays[index].astype(np.float64) @ turn.T
    a, b, c = (way**2).sum(1), way @ start, float(start @ start) - 1
    root = b**2 - a * c
    hit = root > 0
    root = np.sqrt(root[hit])
    enter = np.maximum((-b[hit] - root) / a[hit], 0.0)
    leave = (-b[hit] + root) / a[hit]
    ahead = leave > 0
    return enter[ahead], leave[ahead], index[hit][ahead]


def _put_before(
    sensor: SensorModel,
    measured: Measurement,
    near: NDArray[np.float32],
    rng: np.random.Generator,
) -> Measurement:
    """Report `near` (C, B) [m] wherever it is nearer than what is reported; inf for nothing."""
    first = (near < measured.distance) | (~measured.valid & np.isfinite(near))
    first &= (near >= sensor.min_range) & (near <= sensor.max_range)
    faint = rng.exponential(0.02, int(np.count_nonzero(first)))
    distance, intensity = measured.distance.copy(), measured.intensity.copy()
    distance[first] = near[first]
    intensity[first] = np.minimum(faint, 0.3)
    return Measurement(measured.valid | first, distance, intensity)


def report_intensity(nuisances: Nuisances, measured: Measurement) -> Measurement:
    """Rescale or leave out the intensity."""
    if not nuisances.intensity:
        return Measurement(measured.valid, measured.distance, np.zeros_like(measured.intensity))
    gain, power = nuisances.intensity_gain, nuisances.intensity_power
    if gain == 1 and power == 1:
        return measured
    intensity = np.clip(np.float32(gain) * measured.intensity ** np.float32(power), 0, 0.999)
    return Measurement(measured.valid, measured.distance, intensity.astype(np.float32))


def show_roof(
    roof: Roof,
    sensor: SensorModel,
    local: NDArray[np.float32],
    measured: Measurement,
    rng: np.random.Generator,
) -> Measurement:
    """Put points on the ego vehicle's own roof, which raw clouds of many sensors hold.

    Args:
        roof: The flat rectangle below the sensor.
        sensor: The model.
        local: (C, B, 3) float32 rays in the sensor frame.
        measured: Of the same rays; those that end on the vehicle have no return yet.
        rng: Source of chance.
    """
    x, y, z = np.moveaxis(local, -1, 0)
    reach = np.float32(roof.drop) / np.maximum(-z, np.float32(1e-3))
    on_it = (reach * x < roof.front) & (reach * x > -roof.rear)
    on_it &= (np.abs(reach * y) < roof.half_width) & ~measured.valid
    on_it &= (reach >= sensor.min_range) & (rng.random(reach.shape, np.float32) < 0.9)
    distance, intensity = measured.distance.copy(), measured.intensity.copy()
    count = int(np.count_nonzero(on_it))
    distance[on_it] = reach[on_it] + rng.normal(0, sensor.range_noise + 0.01, count)
    intensity[on_it] = rng.uniform(0.05, 0.5) * rng.uniform(0.8, 1.2, count)
    return Measurement(measured.valid | on_it, distance, intensity)
