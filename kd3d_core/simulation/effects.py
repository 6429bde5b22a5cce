"""From what a ray meets to what a LiDAR reports: lost pulses, range errors, intensity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.simulation.materials import optics_table
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.sensor_model import SensorModel

_OPTICS = optics_table()
#: Share of pulses on a pane that the pane itself returns, and that go through it.
GLASS_RETURNS = 0.15
GLASS_PASSES = 0.40
#: What is left of a pulse's energy after a pane on the way there and back.
GLASS_GAIN = 0.5
#: Mean depth at which a pulse is answered behind the hull of a loose surface [m].
_DEPTH = {Material.FOLIAGE: 0.20, Material.GRASS: 0.02}


@dataclass(frozen=True, eq=False)
class Unit:
    """What sets one specimen of a sensor apart from its model.

    Attributes:
        elevation: (B,) float64, of its beams [rad].
        range_bias: (B,) float32, added to every range [m].
        gain: (B,) float32, factor on the intensity.
        silent: Share of the returns that come without any intensity, at least.
    """

    elevation: NDArray[np.float64]
    range_bias: NDArray[np.float32]
    gain: NDArray[np.float32]
    silent: float

    @classmethod
    def make(cls, sensor: SensorModel, seed: int) -> "Unit":
        """The specimen with serial number `seed`."""
        rng = np.random.default_rng([seed, sensor.beams])
        spread = rng.normal(0, sensor.elevation_spread_deg, sensor.beams)
        return cls(
            elevation=np.deg2rad(np.array(sensor.elevation_deg) + spread),
            range_bias=rng.normal(0, sensor.range_bias, sensor.beams).astype(np.float32),
            gain=np.exp(rng.normal(0, sensor.beam_gain_spread, sensor.beams)).astype(np.float32),
            silent=float(rng.uniform(0, sensor.most_silent)),
        )


@dataclass(eq=False)
class Echoes:
    """What the rays of a sweep met: C columns of B beams, or N = C * B of them in a row.

    Attributes:
        distance: (C, B) float32 [m]; inf where a ray met nothing.
        cosine: (C, B) float32, of the angle of incidence.
        material: (C, B) uint8, values of `Material`; any where a ray met nothing.
        gain: (C, B) float32, share of the pulse's energy that reached the surface.
    """

    distance: NDArray[np.float32]
    cosine: NDArray[np.float32]
    material: NDArray[np.uint8]
    gain: NDArray[np.float32]

    def reshape(self, shape: tuple[int, ...]) -> "Echoes":
        """The same echoes in another arrangement."""
        return Echoes(
            self.distance.reshape(shape),
            self.cosine.reshape(shape),
            self.material.reshape(shape),
            self.gain.reshape(shape),
        )


@dataclass(frozen=True, eq=False)
class Measurement:
    """What the sensor reports: C columns of B beams.

    Attributes:
        valid: (C, B) bool, where there is a return at all.
        distance: (C, B) float32 [m].
        intensity: (C, B) float32 in [0, 1].
    """

    valid: NDArray[np.bool_]
    distance: NDArray[np.float32]
    intensity: NDArray[np.float32]


def detection_probability(
    sensor: SensorModel, strength: NDArray[np.float32], distance: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How likely an echo is to be noticed.

    The echo of a surface that fills the beam falls with the square of the distance; it is noticed
    half of the time where it is as strong as that of a 10 % target at `sensor.range_10`.

    Args:
        sensor: The model.
        strength: (...) float32, reflectance times the effect of incidence and attenuation.
        distance: (...) float32 [m].

    Returns:
        (...) float32 in [0, 1).
    """
    ratio = strength * np.float32(10 * sensor.range_10**2) / np.square(np.maximum(distance, 0.1))
    return np.asarray(1 - 1 / (1 + ratio**sensor.detection_softness), np.float32)


def blend_edges(
    sensor: SensorModel, distance: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Give some rays at depth edges a range between foreground and background.

    A beam that straddles an edge gets two echoes; where they overlap in time the sensor reports
    something between the two.

    Args:
        sensor: The model.
        distance: (C, B) float32 [m], inf for no echo.
        rng: Source of chance.

    Returns:
        (C, B) float32 [m].
    """
    step = 2000 * np.pi / sensor.azimuth_steps  # [mrad]
    straddle = min(1.0, sensor.divergence_mrad / step)
    ahead = np.roll(distance, -1, axis=0)
    with np.errstate(invalid="ignore"):
        gap = ahead - distance
        size = np.abs(gap)
    columns, beams = np.nonzero((size > 0.1) & (size < 4 * sensor.pulse_length))
    if not len(columns):
        return distance
    size = size[columns, beams]
    chance = np.where(size < 1.5 * sensor.pulse_length, 0.4, 0.04) * straddle
    mixed = rng.random(len(size)) < chance
    columns, beams = columns[mixed], beams[mixed]
    blended = distance.copy()
    weight = rng.random(len(columns), dtype=np.float32)
    blended[columns, beams] += gap[columns, beams] * weight
    return blended


def measure(
    sensor: SensorModel, unit: Unit, echoes: Echoes, rng: np.random.Generator
) -> Measurement:
    """Turn echoes into what the sensor reports.

    Args:
        sensor: The model.
        unit: The specimen.
        echoes: What the rays met.
        rng: Source of chance.
    """
    shape = echoes.distance.shape
    hit = np.isfinite(echoes.distance)
    distance = blend_edges(sensor, echoes.distance, rng)
    distance = np.where(hit, distance, np.float32(sensor.max_range))
    reflectance, spread, signal, shade = (column[echoes.material] for column in _OPTICS.T)
    texture = rng.standard_normal(shape, np.float32)
    reflectance = reflectance * np.exp(spread * texture) * echoes.gain
    log_cos = np.log(np.maximum(echoes.cosine, 1e-4))
    strength = reflectance * np.exp(signal * log_cos)
    noticed = rng.random(shape, np.float32) < detection_probability(sensor, strength, distance)
    noticed &= hit & (rng.random(shape, np.float32) >= sensor.loss)

    fade = np.square(np.minimum(1, sensor.intensity_range / np.maximum(distance, 0.1)))
    albedo = reflectance * np.exp(shade * log_cos) * unit.gain
    intensity = _response(sensor, albedo * fade) - np.float32(sensor.intensity_floor)
    intensity[_silent(unit.silent, albedo, noticed, rng)] = 0

    distance = _sink_in(distance, echoes.material, rng) + unit.range_bias
    distance += rng.standard_normal(shape, np.float32) * np.float32(sensor.range_noise)
    ghosts = ~noticed & (rng.random(shape, np.float32) < sensor.noise_returns)
    count = int(np.count_nonzero(ghosts))
    spread_out = rng.uniform(np.log(max(sensor.min_range, 0.1)), np.log(sensor.max_range), count)
    distance[ghosts] = np.exp(spread_out)
    intensity[ghosts] = 0

    resolution = np.float32(sensor.range_resolution)
    distance = np.round(distance / resolution) * resolution
    levels = sensor.intensity_levels
    intensity = np.round(np.clip(intensity, 0, 1) * (levels - 1)) / np.float32(levels)
    in_range = (distance >= sensor.min_range) & (distance <= sensor.max_range)
    return Measurement((noticed | ghosts) & in_range, distance, intensity.astype(np.float32))


def _response(sensor: SensorModel, albedo: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intensity that a sensor makes of what comes back, floor aside; shape kept."""
    if sensor.intensity_power != 1:
        albedo = np.power(albedo, np.float32(sensor.intensity_power))
    return np.asarray(albedo * np.float32(sensor.intensity_gain), np.float32)


def _silent(
    share: float,
    albedo: NDArray[np.float32],
    noticed: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """(C, B) bool: about `share` of the returns, the faintest ones, with some chance in it."""
    faint = albedo * (rng.random(albedo.shape, np.float32) + np.float32(0.1))
    some = faint[noticed][::16]
    if not len(some):
        return np.zeros(albedo.shape, bool)
    return np.asarray(faint < np.quantile(some, share))


def _sink_in(
    distance: NDArray[np.float32], material: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Move echoes of loose surfaces a little behind their hulls; (C, B) to (C, B) [m]."""
    deeper = distance.copy()
    for loose, depth in _DEPTH.items():
        where = material == loose
        deeper[where] += rng.exponential(depth, int(np.count_nonzero(where))).astype(np.float32)
    return deeper
