"""What recorded sweeps say about returns: jitter along a ring, points on a car, silent returns."""

import numpy as np
import pytest
from test_simulation_lidar import IDEAL
from test_simulation_lidar import car
from test_simulation_lidar import ground
from test_simulation_lidar import scene

from kd3d_core.inspection.reality_returns import returns_of
from kd3d_core.simulation import effects
from kd3d_core.simulation.lidar import Lidar
from kd3d_core.simulation.materials import OPTICS
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mounting import Mount
from kd3d_core.simulation.random_sensor import draw_sensor
from kd3d_core.simulation.scene import Trajectory
from kd3d_core.simulation.sensors import SENSORS
from kd3d_core.simulation.wear import Wear


@pytest.fixture(scope="module")
def road():
    return Lidar(scene(static=ground(Material.ASPHALT)), SENSORS["hdl64e"], 5).scan(1.0)


def test_rings_of_the_hdl64e_are_smooth_and_disagree(road):
    returns = returns_of(road)
    near = (returns.range > 5) & (returns.range < 20)
    # Of recorded roads: 11 mm along a ring (the median second difference says so).
    noise = np.nanmedian(np.abs(returns.bend[near])) * 2 / (0.6745 * 6**0.5)
    assert 0.007 < noise < 0.015
    unit = effects.Unit.make(SENSORS["hdl64e"], 5)
    slant = np.linalg.norm(returns.xyz, axis=1)
    error = [
        np.median(slant[returns.ring == k]) - 1.73 / np.sin(-unit.elevation[k]) for k in range(30)
    ]
    assert np.std(error) > 1.5 * noise
    assert np.nanmean(np.minimum(returns.missing[near], 1)) < 0.01


def points_on_car(sensor, paint=Material.PAINT_LIGHT):
    street = scene(car(Trajectory.parked([15, 13, 0.75], 0), material=paint))
    frame = Lidar(street, SENSORS[sensor], 2, Mount(height=1.93)).scan(1.0)
    # The cuboid's faces are those of its box: noise puts half of their points outside.
    inside = frame.boxes.contains(frame.cloud.points, margin=0.1)[0]
    return np.count_nonzero(inside & (frame.cloud.points[:, 2] > -1.8))


def test_a_pair_sees_what_both_of_its_units_see_of_a_car():
    pair, one = points_on_car("vlp32c-pair"), points_on_car("vlp32c")
    # A cuboid 20 m away fills 15 of the pair's beams over 17 deg, 10 of the one unit's.
    assert 900 < pair < 1400
    assert 1.35 < pair / one < 1.6


def test_dark_cars_answer_as_light_ones_do_nearby():
    counts = [points_on_car("vlp32c-pair", m) for m in (Material.PAINT_DARK, Material.PAINT_LIGHT)]
    assert counts[0] > 0.9 * counts[1]


def echoes(material, columns=400, beams=64):
    shape = (columns, beams)
    return effects.Echoes(
        distance=np.full(shape, 8, np.float32),
        cosine=np.ones(shape, np.float32),
        material=np.broadcast_to(np.asarray(material, np.uint8), shape),
        gain=np.ones(shape, np.float32),
    )


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_the_faintest_returns_are_silent(share):
    sensor = SENSORS["hdl64e"].model_copy(update={"intensity_floor": 0.0})
    unit = effects.Unit.make(sensor, 0)
    unit = effects.Unit(unit.elevation, unit.range_bias, unit.gain, share)
    materials = np.where(np.arange(64) % 2, int(Material.ASPHALT), int(Material.FACADE))
    got = effects.measure(sensor, unit, echoes(materials), np.random.default_rng(0))
    zero = got.intensity[got.valid] <= 0.001
    assert zero.mean() == pytest.approx(share, abs=0.02)
    dark = np.broadcast_to(materials == int(Material.ASPHALT), got.valid.shape)[got.valid]
    if share:
        assert zero[dark].mean() > 1.5 * zero[~dark].mean()


def test_units_differ_in_how_many_returns_are_silent():
    shares = [effects.Unit.make(SENSORS["hdl64e"], seed).silent for seed in range(50)]
    most = SENSORS["hdl64e"].most_silent
    assert 0 <= min(shares) < 0.2 * most
    assert 0.8 * most < max(shares) <= most


def test_a_steeper_response_spreads_intensities():
    def spread(power):
        sensor = IDEAL.model_copy(update={"intensity_power": power, "most_silent": 0.0})
        unit = effects.Unit.make(sensor, 0)
        medians = [
            np.median(
                effects.measure(
                    sensor, unit, echoes(m, beams=32), np.random.default_rng(0)
                ).intensity
            )
            for m in (Material.ASPHALT, Material.FACADE)
        ]
        return medians[1] / medians[0]

    ratio = OPTICS[Material.FACADE].reflectance / OPTICS[Material.ASPHALT].reflectance
    assert spread(1.0) == pytest.approx(ratio, rel=0.05)
    assert spread(2.0) == pytest.approx(ratio**2, rel=0.15)


def test_wear_stands_still_in_the_world():
    """A sweep from elsewhere finds the same surface as dark or as bright as before."""
    sensor = IDEAL.model_copy(update={"azimuth_steps": 720, "beam_gain_spread": 0.0,
                                      "most_silent": 0.0, "intensity_levels": 4096})  # fmt: skip
    flat = ground(Material.ASPHALT)
    seed = max(range(20), key=lambda s: Wear.draw(s).depth)
    lidar = Lidar(scene(static=flat), sensor, seed)
    sweeps = [lidar.scan(t).cloud for t in (1.0, 2.0)]
    logs = [np.log(c.points[:, 3] + 1e-3) for c in sweeps]
    # Same rays, other chance from pulse to pulse: what the two share is the ground's own.
    assert len(logs[0]) == len(logs[1])
    near = np.linalg.norm(sweeps[0].xyz, axis=1) < 20
    shared = np.corrcoef(logs[0][near], logs[1][near])[0, 1]
    assert shared > 0.5


def test_drawn_sensors_cover_what_is_recorded():
    rng = np.random.default_rng(1)
    drawn = [draw_sensor(rng) for _ in range(300)]
    for field, low, high in (
        ("range_noise", 0.010, 0.03), ("range_bias", 0.008, 0.032), ("intensity_power", 0.8, 2.8),
    ):  # fmt: skip
        values = np.array([getattr(sensor, field) for sensor in drawn])
        assert 0.02 < (values < low).mean() < 0.6
        assert (values > high).mean() > 0.02
    assert np.median([sensor.loss for sensor in drawn]) < 0.015
