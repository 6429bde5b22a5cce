"""Sensors that nobody makes: drawn at random, so that a detector learns no sensor by heart."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from kd3d_core.simulation.sensor_model import SensorModel
from kd3d_core.simulation.sensors_more import dense_about

#: Rays of a sweep at most: what a sweep costs.
MOST_RAYS = 150_000
#: Sensors whose beams differ by less than this on average are taken for the same [deg].
ALIKE_DEG = 0.8
#: Spans of the lowest and the highest beam of near sensors [deg]: a dome that hangs head down, one
#: that stands, a very wide band.
_NEAR_BANDS = (((-89, -60), (-6, 8)), ((-15, 0), (30, 75)), ((-58, -30), (25, 58)))


def draw_sensor(
    rng: Generator, unlike: Sequence[SensorModel] = (), near: bool = False
) -> SensorModel:
    """A sensor called "random", which spins; or one called "random-near".

    Args:
        rng: Source of chance.
        unlike: The draw is repeated until it resembles none of these.
        near: One for the surroundings of a vehicle or robot: short reach, and a dome that hangs
            head down, a dome that stands, or a very wide band; it spins, or scans in waves.
    """
    while True:
        sensor = _draw(rng)
        if near:
            sensor = _made_near(sensor, rng)
        if not any(resembles(sensor, other) for other in unlike):
            return sensor


def resembles(one: SensorModel, other: SensorModel) -> bool:
    """Whether two sensors have about as many beams (within 15 %), at about the same elevations."""
    if not 0.85 < one.beams / other.beams < 1 / 0.85:
        return False
    share = np.linspace(0, 1, 33)
    profiles = [
        np.interp(share, np.linspace(0, 1, s.beams), s.elevation_deg) for s in (one, other)
    ]
    return float(np.mean(np.abs(profiles[0] - profiles[1]))) < ALIKE_DEG


def _draw(rng: Generator) -> SensorModel:
    """One draw."""
    beams = int(np.exp(rng.uniform(np.log(16), np.log(129))))
    low = -float(rng.uniform(12, 30) if rng.random() < 0.8 else rng.uniform(30, 52))
    high = float(rng.uniform(0, 18) if rng.random() < 0.8 else rng.uniform(18, 45))
    power = 1.0 if rng.random() < 0.5 else float(rng.uniform(1.2, 2.4))
    middle = float(np.clip(rng.normal(-2, 2), low + 2, high - 1e-3))
    if power == 1.0:
        elevation = tuple(float(e) for e in np.linspace(low, high, beams).round(4))
    else:
        elevation = dense_about(low, high, beams, middle, power)
    steps = int(np.exp(rng.uniform(np.log(700), np.log(2600))))
    stagger = float(rng.uniform(0.5, 5)) if rng.random() < 0.25 else 0.0
    offsets = tuple(float(o) for o in rng.choice([-stagger, 0.0, stagger], beams))
    range_10 = float(np.exp(rng.uniform(np.log(25), np.log(180))))
    return SensorModel(
        name="random",
        elevation_deg=elevation,
        azimuth_offset_deg=offsets if stagger else (),
        azimuth_steps=max(min(steps, MOST_RAYS // beams), 500),
        rate_hz=float(rng.choice([5.0, 10.0, 10.0, 10.0, 20.0])),
        min_range=float(rng.uniform(0.2, 2.0)),
        max_range=float(np.clip(range_10 * rng.uniform(1.2, 2.5), 60, 200)),
        range_noise=float(np.exp(rng.uniform(np.log(0.003), np.log(0.04)))),
        range_bias=float(rng.uniform(0, 0.04)),
        range_resolution=float(rng.choice([0.001, 0.002, 0.004, 0.005, 0.01])),
        elevation_spread_deg=float(rng.uniform(0, 0.06)),
        divergence_mrad=float(rng.uniform(0.8, 5)),
        pulse_length=float(rng.uniform(0.2, 1.5)),
        range_10=range_10,
        detection_softness=float(rng.uniform(1.2, 4)),
        loss=float(rng.beta(1, 80)),
        noise_returns=float(rng.choice([0.0, 1e-4, 5e-4, 2e-3])),
        intensity_gain=float(np.exp(rng.uniform(np.log(0.1), np.log(1.4)))),
        intensity_power=float(np.exp(rng.uniform(np.log(0.6), np.log(3.2)))),
        intensity_floor=float(rng.uniform(0, 0.14)) if rng.random() < 0.35 else 0.0,
        intensity_range=float(rng.choice([20.0, 30.0, 60.0, 100.0, 200.0])),
        intensity_levels=int(rng.choice([64, 100, 255, 255, 4096])),
        beam_gain_spread=float(rng.uniform(0, 0.3)),
    )


def _made_near(sensor: SensorModel, rng: Generator) -> SensorModel:
    """The sensor with a short reach and another field of view."""
    lowest, highest = _NEAR_BANDS[int(rng.integers(len(_NEAR_BANDS)))]
    elevation = np.linspace(rng.uniform(*lowest), rng.uniform(*highest), sensor.beams).round(4)
    range_10 = float(np.exp(rng.uniform(np.log(12), np.log(60))))
    changes: dict[str, object] = {
        "name": "random-near",
        "elevation_deg": tuple(float(e) for e in elevation),
        "min_range": float(rng.uniform(0.05, 0.6)),
        "max_range": float(np.clip(range_10 * rng.uniform(1.5, 3.5), 30, 120)),
        "range_10": range_10,
    }
    if rng.random() < 0.4:
        pulses = np.exp(rng.uniform(np.log(15_000), np.log(60_000)))
        changes |= {
            "scan": "waves",
            "azimuth_offset_deg": (),
            "azimuth_steps": max(int(pulses / sensor.beams), 200),
            "pulse_length": 0.0,
        }
    return SensorModel.model_validate(sensor.model_dump() | changes)
