"""Random sensors and domains: reproducible, within their ranges, and apart from the unseen."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from test_simulation_lidar import IDEAL
from test_simulation_lidar import car
from test_simulation_lidar import driving
from test_simulation_lidar import scene

from kd3d_core.cli.simulate import _settings
from kd3d_core.config import load_config
from kd3d_core.datasets.generate import _claim
from kd3d_core.datasets.simulated import write_index
from kd3d_core.errors import Kd3dError
from kd3d_core.simulation.domain import DomainConfig
from kd3d_core.simulation.drives import SimulationConfig
from kd3d_core.simulation.drives import plan_drive
from kd3d_core.simulation.drives import simulate_drive
from kd3d_core.simulation.lidar import Lidar
from kd3d_core.simulation.mounting import Mount
from kd3d_core.simulation.patterns import irregular_rays
from kd3d_core.simulation.plans import PLANS
from kd3d_core.simulation.random_sensor import MOST_RAYS
from kd3d_core.simulation.random_sensor import draw_sensor
from kd3d_core.simulation.random_sensor import resembles
from kd3d_core.simulation.sensors import SENSORS
from kd3d_core.simulation.street import SceneConfig
from kd3d_core.simulation.street import make_scene
from kd3d_core.simulation.variety import vary_plan

CONFIGS = Path(__file__).parents[2] / "config" / "simulate"
IRREGULAR = [name for name, sensor in SENSORS.items() if sensor.scan != "spinning"]


def config(name: str) -> SimulationConfig:
    return load_config(SimulationConfig, CONFIGS / f"{name}.yaml")


@pytest.mark.parametrize("part", ["train", "more", "small", "near"])
def test_unseen_sensors_are_not_trained_on(part):
    train, val, unseen = (config(f"multi_{name}") for name in (part, "val", "unseen"))
    assert len(set(unseen.sensors)) == len(unseen.sensors) == 8
    for seen in (train, val):
        assert not set(unseen.sensors) & set(seen.sensors)
        assert set(seen.domain.unlike) == set(unseen.sensors)
    assert set(val.sensors) <= set(train.sensors)
    assert train.seed not in {config("shipped_train").seed, val.seed, unseen.seed}
    held_back = [SENSORS[name] for name in unseen.sensors]
    drives = [plan_drive(train, index) for index in range(300)]
    drawn = [drive.model for drive in drives if drive.sensor not in SENSORS]
    assert len(drawn) >= 150
    assert {model.name for model in drawn} <= {"random", "random-near"}
    assert not any(resembles(model, other) for model in drawn for other in held_back)


def test_val_and_unseen_show_the_same_streets():
    val, unseen = config("multi_val"), config("multi_unseen")
    assert val.drives == unseen.drives
    for index in (0, 1, 17):
        one, two = plan_drive(val, index), plan_drive(unseen, index)
        assert one.scene_seed == two.scene_seed
        assert (one.scene, one.mount, one.motion_compensated) == (
            two.scene, two.mount, two.motion_compensated,
        )  # fmt: skip


def test_a_sensor_resembles_itself_and_its_like():
    vlp16 = SENSORS["vlp16"]
    tilted = vlp16.model_copy(update={"elevation_deg": tuple(np.linspace(-15.5, 15, 16))})
    assert resembles(vlp16, vlp16)
    assert resembles(tilted, vlp16)
    assert not resembles(SENSORS["hdl64e"], vlp16)
    assert not resembles(SENSORS["os1-32"], SENSORS["xt32"])


def test_random_sensors_are_various_and_bounded():
    rng = np.random.default_rng(0)
    sensors = [draw_sensor(rng) for _ in range(300)]
    beams = np.array([sensor.beams for sensor in sensors])
    assert beams.min() < 20
    assert beams.max() > 110
    assert all(16 <= sensor.beams <= 128 for sensor in sensors)
    assert all(sensor.beams * sensor.azimuth_steps <= MOST_RAYS for sensor in sensors)
    uneven = [np.ptp(np.diff(sensor.elevation_deg)) > 0.1 for sensor in sensors]
    assert 0.3 < np.mean(uneven) < 0.7
    assert {sensor.rate_hz for sensor in sensors} == {5.0, 10.0, 20.0}


def test_near_sensors_look_far_up_or_down_and_not_far():
    rng = np.random.default_rng(0)
    sensors = [draw_sensor(rng, near=True) for _ in range(300)]
    assert {sensor.name for sensor in sensors} == {"random-near"}
    assert max(sensor.range_10 for sensor in sensors) <= 60
    assert np.median([sensor.range_10 for sensor in sensors]) < 35
    ends = np.array([(sensor.elevation_deg[0], sensor.elevation_deg[-1]) for sensor in sensors])
    down, up = ends[:, 0] < -59, ends[:, 0] > -16
    for kind in (down, up, ~(down | up)):
        assert 0.2 < kind.mean() < 0.5
    assert (ends[down, 1] < 9).all()
    assert (ends[~down, 1] > 24).all()
    waves = [sensor for sensor in sensors if sensor.scan == "waves"]
    assert 0.25 < len(waves) / len(sensors) < 0.55
    assert all(10_000 < s.beams * s.azimuth_steps < 62_000 for s in waves)
    assert all(s.beams * s.azimuth_steps <= MOST_RAYS for s in sensors)


def test_a_near_sensor_sees_a_drive_as_it_is_meant_to():
    settings = SimulationConfig(
        drives=6, frames_per_drive=1, sensors=("random-near",), seed=5, domain=DomainConfig()
    )
    for index in range(6):
        drive = plan_drive(settings, index)
        ((_, frame),) = simulate_drive(settings, index)
        assert frame.sensor == "random-near"
        xyz = frame.cloud.points[:, :3]
        assert len(xyz) > 1000
        assert np.linalg.norm(xyz, axis=1).max() < drive.model.max_range + 5
        elevation = np.rad2deg(np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1])))
        within = (drive.model.elevation_deg[0] - 2, drive.model.elevation_deg[-1] + 2)
        assert np.mean((elevation > within[0]) & (elevation < within[1])) > 0.95


def test_a_span_that_no_street_can_have_is_refused_by_name():
    with pytest.raises(ValidationError, match=r"riders \[1.0, 6.0\].*equal to 5"):
        SimulationConfig(domain=DomainConfig(riders=(1.0, 6.0)))


def test_drives_of_a_domain_differ_within_its_ranges():
    settings = config("multi_train")
    drives = [plan_drive(settings, index) for index in range(300)]
    assert drives[5] == plan_drive(settings, 5)
    heights = np.array([drive.mount.height for drive in drives])
    assert 0.4 <= heights.min() < 0.8
    assert 2.3 < heights.max() <= 2.6
    share = {
        "fog": np.mean([drive.nuisances.haze > 0 for drive in drives]),
        "rain": np.mean([drive.nuisances.drops > 0 for drive in drives]),
        "dust": np.mean([drive.nuisances.dust_clouds > 0 for drive in drives]),
        "ghosts": np.mean([drive.nuisances.ghosts > 0 for drive in drives]),
        "dark": np.mean([not drive.nuisances.intensity for drive in drives]),
        "compensated": np.mean([drive.motion_compensated for drive in drives]),
    }
    domain = settings.domain
    expected = (domain.fog, domain.rain, domain.dust, domain.ghosts, domain.no_intensity,
                domain.compensated)  # fmt: skip
    np.testing.assert_allclose(list(share.values()), expected, atol=0.07)
    # A slow head must not start its first sweep before the drive does.
    assert all(drive.times[0] >= drive.model.period / 2 for drive in drives)


def test_defaults_draw_no_domain():
    drive = plan_drive(SimulationConfig(), 0)
    assert drive.model is SENSORS["hdl64e"]
    assert not drive.varied
    assert drive.scene == SceneConfig()
    assert SimulationConfig().domain is None


def test_settings_that_a_domain_overrides_are_refused(tmp_path):
    path = CONFIGS / "multi_unseen.yaml"
    with pytest.raises(Kd3dError, match=r"--height would change nothing.*domain\.car_height"):
        _settings(tmp_path, path, {"height": 2.0})
    assert _settings(tmp_path, path, {"drives": 3}).drives == 3
    assert _settings(tmp_path, CONFIGS / "shipped_val.yaml", {"height": 2.0}).height == 2.0


@pytest.mark.parametrize("name", ["shipped_train", "shipped_val"])
def test_data_sets_of_earlier_releases_go_on(name, tmp_path):
    settings = config(name)
    old = settings.model_dump(mode="json")
    del old["domain"]  # what an earlier release wrote
    write_index(tmp_path, old, settings.drives * settings.frames_per_drive)
    _claim(tmp_path, settings)
    assert _settings(tmp_path, None, {}) == settings
    with pytest.raises(Kd3dError, match=r"other settings \(domain\)"):
        _claim(tmp_path, settings.model_copy(update={"domain": DomainConfig()}))


def test_a_data_set_from_before_small_cars_and_posts_goes_on(tmp_path):
    settings = config("multi_val")
    old = settings.model_dump(mode="json")
    for part in (old["domain"], old["scene"]):
        del part["small_cars"], part["posts"]
    write_index(tmp_path, old, settings.drives * settings.frames_per_drive)
    _claim(tmp_path, settings)
    old["gone"] = 1  # a setting of no version that we know
    write_index(tmp_path, old, settings.drives * settings.frames_per_drive)
    with pytest.raises(Kd3dError, match=r"other settings \(domain, gone, scene\)"):
        _claim(tmp_path, settings)


def test_small_cars_and_posts_change_nothing_else_of_a_drive():
    settings = config("multi_small")
    domain = settings.domain.model_copy(update={"small_cars": (0.0, 0.0), "posts": (0.0, 0.0)})
    plain = [plan_drive(settings.model_copy(update={"domain": domain}), i) for i in range(20)]
    drives = [plan_drive(settings, i) for i in range(20)]
    for drive, bare in zip(drives, plain, strict=True):
        assert (drive.mount, drive.nuisances) == (bare.mount, bare.nuisances)
        off = {"small_cars": 0.0, "posts": 0.0}
        assert drive.scene.model_copy(update=off) == bare.scene
    assert 0.08 < np.mean([d.scene.small_cars for d in drives]) < 0.17
    assert 1.0 < np.mean([d.scene.posts for d in drives]) < 3.0


def test_a_frame_of_a_random_drive_knows_its_height_and_repeats():
    settings = SimulationConfig(
        drives=4, frames_per_drive=1, sensors=("random",), seed=3, domain=DomainConfig()
    )
    ((_, frame),) = simulate_drive(settings, 1)
    ((_, again),) = simulate_drive(settings, 1)
    np.testing.assert_allclose(frame.cloud.points, again.cloud.points, atol=0.02)
    drive = plan_drive(settings, 1)
    assert frame.sensor == "random"
    assert frame.sensor_height == drive.mount.height
    near = np.linalg.norm(frame.cloud.xyz[:, :2], axis=1) < 12
    level = frame.cloud.xyz[near] @ drive.mount.pose()[:3, :3].T
    histogram, edges = np.histogram(level[:, 2], np.arange(-4, 1, 0.1))
    assert edges[histogram.argmax()] == pytest.approx(-frame.sensor_height, abs=0.25)


def test_varied_streets_have_cars_of_other_sizes():
    bare = SceneConfig(street="residential", duration=1, vegetation=0)
    varied, again = (make_scene(20, bare, varied=True) for _ in range(2))

    def length(street):
        return np.mean([actor.size[0] for actor in street.actors if actor.label == 0])

    places = [length(make_scene(seed, bare, varied=True)) for seed in range(20, 26)]
    assert max(places) > 1.1 * min(places)
    np.testing.assert_array_equal(again.static.vertices, varied.static.vertices)
    for actor in varied.actors:
        reach = np.abs(actor.mesh.vertices).max(0)
        assert (reach <= np.array(actor.size) / 2 + 0.02).all()


def test_plans_vary_in_what_makes_streets_hard():
    rng = np.random.default_rng(0)
    plans = [vary_plan(PLANS["urban"], "urban", rng) for _ in range(200)]
    base = PLANS["urban"]
    assert 0.1 < np.mean([plan.floors != base.floors for plan in plans]) < 0.3  # canyons
    assert 0.05 < np.mean([plan.plots[2] > 0.4 for plan in plans]) < 0.25  # car parks
    assert 0.05 < np.mean([plan.speed[1] < 5 for plan in plans]) < 0.2  # jams
    assert max(plan.people for plan in plans) == 3 * base.people  # crowds
    assert max(plan.half_lanes[1] for plan in plans) > 1.5 * base.half_lanes[1]  # wide roads


@pytest.mark.parametrize("name", IRREGULAR)
def test_irregular_patterns_fill_their_field_of_view_and_do_not_repeat(name):
    sensor = SENSORS[name]
    rays, azimuth = irregular_rays(sensor, 0.3)
    assert rays.shape == (sensor.azimuth_steps, sensor.beams, 3)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=2), 1, atol=1e-5)
    assert (np.diff(azimuth) <= 0).all()
    assert (np.diff(rays[..., 2], axis=1) >= 0).mean() > (0.99 if sensor.scan == "rosette" else 0)
    half = np.deg2rad(sensor.field_of_view_deg) / 2
    angle = np.arctan2(rays[..., 1], rays[..., 0])
    assert 0.9 * half < np.abs(angle).max() <= half + 1e-4
    other, _ = irregular_rays(sensor, 0.7)
    assert np.abs(other - rays).max() > 0.02


@pytest.mark.parametrize("name", [*IRREGULAR, "rs-m1"])
def test_boxes_and_points_of_limited_fields_agree(name):
    clean = {key: getattr(IDEAL, key) for key in ("range_noise", "range_bias", "noise_returns")}
    sensor = SENSORS[name].model_copy(update=clean)
    world = scene(car(driving(8, (4, 2, 0.75))), car(driving(0, (-12, 0, 0.75)), 8))
    frame = Lidar(world, sensor, 0, Mount(height=1.2)).scan(1.0)
    inside = frame.boxes.contains(frame.cloud.points)
    assert frame.num_points.tolist() == inside.sum(axis=1).tolist()
    assert frame.num_points[0] > 30
    if sensor.field_of_view_deg < 360:
        assert frame.num_points[1] == 0
    low = np.deg2rad(sensor.elevation_deg[0]) - 0.05
    elevation = np.arcsin(frame.cloud.xyz[:, 2] / np.linalg.norm(frame.cloud.xyz, axis=1))
    assert elevation.min() > low - np.deg2rad(sensor.elevation_deg[1] - sensor.elevation_deg[0])


def test_two_stacked_units_have_all_their_beams():
    pair, one = SENSORS["vlp32c-pair"], SENSORS["vlp32c"]
    assert pair.beams == 2 * one.beams
    assert len(set(pair.elevation_deg)) == pair.beams
    assert set(one.elevation_deg) <= set(pair.elevation_deg)
