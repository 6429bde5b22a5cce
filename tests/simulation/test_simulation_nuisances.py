"""Weather, dust, mirrors and odd intensities: each does what it says and nothing else."""

import numpy as np
import pytest
from test_simulation_lidar import IDEAL
from test_simulation_lidar import car
from test_simulation_lidar import cuboid
from test_simulation_lidar import driving
from test_simulation_lidar import scene

from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.simulation.clouds import clouds_in_sight
from kd3d_core.simulation.lidar import Lidar
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.mounting import Mount
from kd3d_core.simulation.mounting import Roof
from kd3d_core.simulation.nuisances import Cloud
from kd3d_core.simulation.nuisances import Nuisances
from kd3d_core.simulation.nuisances import _chords

#: Few columns keep these sweeps cheap.
SENSOR = IDEAL.model_copy(update={"azimuth_steps": 360})
NO_AIR = Nuisances()


def scan(nuisances=NO_AIR, world=None, sensor=SENSOR, mount=None):
    world = scene(car(driving(8, (8, 3, 0.75)))) if world is None else world
    return Lidar(world, sensor, 3, mount, nuisances=nuisances).scan(1.0)


def ranges(frame):
    return np.linalg.norm(frame.cloud.xyz, axis=1)


def test_no_nuisance_changes_nothing():
    plain = Lidar(scene(car(driving(8, (8, 3, 0.75)))), SENSOR, 3).scan(1.0)
    np.testing.assert_array_equal(plain.cloud.points, scan().cloud.points)


def test_fog_hides_what_is_far_and_answers_near():
    sensor = SENSOR.model_copy(update={"range_10": 50.0})
    clear = scan(sensor=sensor)
    fog = scan(Nuisances(extinction=0.03, haze=0.1, haze_depth=3.0), sensor=sensor)
    assert np.count_nonzero(ranges(fog) > 40) < 0.5 * np.count_nonzero(ranges(clear) > 40)
    nearest = ranges(clear).min()
    answers = np.count_nonzero(ranges(fog) < nearest - 0.1)
    rays = sensor.azimuth_steps * sensor.beams
    # A tenth of all rays, but for those nearer than `min_range` or behind the ground.
    assert 0.03 * rays < answers < 0.1 * rays


def test_drops_are_faint_and_near():
    rain = scan(Nuisances(drops=0.05))
    clear = scan()
    extra = ranges(rain) < ranges(clear).min() - 0.1
    assert extra.sum() > 50
    assert np.median(rain.cloud.points[extra, 3]) < 0.05
    assert ranges(rain)[extra].max() < 20


def test_a_fast_car_raises_spray_behind_itself_and_a_slow_one_none():
    for speed, expected in ((12.0, True), (2.0, False)):
        world = scene(car(driving(speed, (10 - speed, 4, 0.75))))  # at x = 10 when seen
        clear, wet = scan(world=world), scan(Nuisances(spray=0.8), world)
        new = len(wet.cloud) - len(clear.cloud)
        box = wet.boxes.center[0]
        near = np.abs(wet.cloud.xyz - [box[0] - 4.5, box[1], box[2]]) < [4.5, 1.5, 0.6]
        was = np.abs(clear.cloud.xyz - [box[0] - 4.5, box[1], box[2]]) < [4.5, 1.5, 0.6]
        gained = near.all(1).sum() - was.all(1).sum()
        assert (gained > 20) == expected
        if not expected:
            assert new == 0


def test_dust_stands_still_in_the_world():
    dust = Nuisances(dust_clouds=6, dust=1.0)
    world = scene(ego=driving(6))
    places = []
    for x in (0.0, 3.0):
        pose = pose_matrix([x, 0, 1.7], pitch=0.05)
        clouds = clouds_in_sight(dust, world, [], pose, seed=4)
        assert all(np.linalg.norm(cloud.center) > 6 for cloud in clouds)
        places.append({tuple(np.round((pose @ [*c.center, 1])[:3], 6)) for c in clouds})
    assert len(places[0]) >= 4
    # Those too near the sensor are left out, the others stay where they are.
    assert len(places[0] & places[1]) >= min(map(len, places)) - 2


def test_chords_of_a_sphere():
    sphere = Cloud(np.array([10.0, 0, 0]), np.eye(3), np.full(3, 2.0), 1.0)
    rays = np.array(
        [[[1, 0, 0], [0, 1, 0], [np.cos(0.1), np.sin(0.1), 0], [-1, 0, 0]]], np.float32
    )
    enter, leave, index = _chords(sphere, rays)
    assert index.tolist() == [0, 2]
    np.testing.assert_allclose([enter[0], leave[0]], [8, 12], atol=1e-5)
    half = np.sqrt(4 - (10 * np.sin(0.1)) ** 2)
    np.testing.assert_allclose(leave[1] - enter[1], 2 * half, atol=1e-3)


def test_ghosts_lie_behind_shiny_things_alone():
    wall = cuboid(1, 60, 20, Material.METAL).moved(pose_matrix([15.5, 0, 0]))
    brick = cuboid(1, 60, 20, Material.BRICK).moved(pose_matrix([-15.5, 0, 0]))
    world = scene(static=TriangleMesh.join([wall, brick]))
    frame = scan(Nuisances(ghosts=0.1), world)
    beyond = np.abs(frame.cloud.points[:, 0]) > 15.6
    front = frame.cloud.points[:, 0] > 0
    assert 0.05 < beyond[front].mean() < 0.15
    assert not beyond[~front].any()


def test_a_wet_road_shows_things_below_itself():
    wall = cuboid(1, 60, 6, Material.BRICK).moved(pose_matrix([20.5, 0, 0]))
    road = cuboid(400, 400, 1, Material.ASPHALT).moved(pose_matrix([0, 0, -0.5]))
    world = scene(static=TriangleMesh.join([road, wall]))
    dry, wet = scan(world=world), scan(Nuisances(mirror=0.8), world)
    assert dry.cloud.points[:, 2].min() > -1.75
    below = wet.cloud.points[wet.cloud.points[:, 2] < -1.8]
    assert len(below) > 20
    # The mirrored wall is where the wall is, upside down.
    np.testing.assert_allclose(below[:, 0], 20.0, atol=0.1)
    assert below[:, 2].min() > -1.73 - 3.1


def test_dead_beams_and_missing_intensity():
    frame = scan(Nuisances(dead_beams=(3, 7), intensity=False))
    assert not np.isin(frame.cloud.ring, [3, 7]).any()
    assert {2, 4, 6, 8} <= set(frame.cloud.ring.tolist())
    assert (frame.cloud.points[:, 3] == 0).all()


@pytest.mark.parametrize(("gain", "power"), [(0.5, 1.0), (1.0, 2.0), (4.0, 0.5)])
def test_odd_intensity_stays_in_range(gain, power):
    plain = scan().cloud.points
    odd = scan(Nuisances(intensity_gain=gain, intensity_power=power)).cloud.points
    np.testing.assert_array_equal(plain[:, :3], odd[:, :3])
    expected = np.clip(gain * plain[:, 3] ** power, 0, 0.999)
    np.testing.assert_allclose(odd[:, 3], expected, atol=1e-5)


def test_blind_sector_and_shown_roof():
    sector = Roof(drop=0.5, posts=((90.0, 40.0, 90.0),))
    azimuth = np.rad2deg(np.arctan2(*scan(mount=Mount(roof=sector)).cloud.xyz[:, 1::-1].T))
    assert np.abs(azimuth - 90).min() > 19
    roof = Roof(drop=1.0, front=2.5, rear=2.5, half_width=2.0, posts=(), shown=True)
    low = scan(mount=Mount(height=2.2, roof=roof)).cloud.xyz
    on_roof = np.abs(low[:, 2] + 1.0) < 0.15
    on_roof &= (np.abs(low[:, 0]) < 2.6) & (np.abs(low[:, 1]) < 2.1)
    assert on_roof.sum() > 100
