import numpy as np
import pytest

from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.geometry.transforms import transform_points
from kd3d_core.simulation.lidar import Lidar
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.scene import Actor
from kd3d_core.simulation.scene import Scene
from kd3d_core.simulation.scene import Trajectory
from kd3d_core.simulation.sensors import SENSORS
from kd3d_core.simulation.sensors import Mount
from kd3d_core.simulation.sensors import Roof

SENSOR = SENSORS["hdl32e"]
#: The same sensor without any error.
IDEAL = SENSOR.model_copy(
    update={
        "range_noise": 0.0,
        "range_bias": 0.0,
        "range_resolution": 1e-5,
        "elevation_spread_deg": 0.0,
        "noise_returns": 0.0,
        "loss": 0.0,
        "range_10": 1e4,
        "pulse_length": 0.0,
    }
)


def cuboid(length, width, height, material):
    corners = [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    faces = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]]
    faces += [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
    return TriangleMesh(
        np.array(corners, np.float32) * np.array([length, width, height], np.float32),
        np.array(faces, np.int32),
        np.full(12, int(material), np.uint8),
    )


def ground(material=Material.CONCRETE):
    return cuboid(400, 400, 1, material).moved(pose_matrix([0, 0, -0.5]))


def driving(speed, start=(0.0, 0.0, 0.0), yaw=0.0):
    step = np.array([np.cos(yaw), np.sin(yaw), 0]) * speed * 10
    return Trajectory(
        np.array([0.0, 10.0]), np.array([start, np.add(start, step)]), np.full(2, yaw)
    )


def car(path, track_id=7, material=Material.PAINT_LIGHT):
    return Actor(cuboid(4.2, 1.8, 1.5, material), (4.2, 1.8, 1.5), 0, track_id, path)


def scene(*actors, ego=None, static=None):
    return Scene(static or ground(), actors, ego or driving(0), 10.0)


def test_a_sweep_is_the_same_for_the_same_seed_and_time():
    world = scene(car(driving(8, (6, 3, 0.75))), ego=driving(10))
    first = Lidar(world, SENSOR, 3).scan(1.0)
    lidar = Lidar(world, SENSOR, 3)
    lidar.scan(0.5)  # chance must not depend on what was scanned before
    again = lidar.scan(1.0)
    np.testing.assert_array_equal(first.cloud.points, again.cloud.points)
    np.testing.assert_array_equal(first.num_points, again.num_points)
    other = Lidar(world, SENSOR, 4).scan(1.0)
    assert other.cloud.points.shape != first.cloud.points.shape or not np.array_equal(
        other.cloud.points, first.cloud.points
    )


def test_points_of_an_ideal_sensor_lie_on_the_ground_at_the_beams_angles():
    frame = Lidar(scene(), IDEAL, mount=Mount(height=2.0)).scan(1.0)
    points, ring = frame.cloud.points.astype(np.float64), frame.cloud.ring
    np.testing.assert_allclose(points[:, 2], -2.0, atol=2e-3)
    elevation = np.arcsin(points[:, 2] / np.linalg.norm(points[:, :3], axis=1))
    np.testing.assert_allclose(elevation, np.deg2rad(IDEAL.elevation_deg)[ring], atol=2e-4)
    for beam in np.unique(ring):  # each beam goes round once
        assert np.count_nonzero(ring == beam) == IDEAL.azimuth_steps


def test_a_pitched_sensor_looks_down_ahead():
    frame = Lidar(scene(), IDEAL, mount=Mount(height=2.0, pitch_deg=5.0)).scan(1.0)
    level = transform_points(frame.pose, frame.cloud.points)
    np.testing.assert_allclose(level[:, 2], 0.0, atol=5e-3)
    ahead = frame.cloud.points[frame.cloud.points[:, 0] > 5]
    assert (ahead[:, 2] > -2.0).all()


def test_range_noise_has_the_models_sigma():
    noisy = IDEAL.model_copy(update={"range_noise": 0.03})
    truth = Lidar(scene(), IDEAL).scan(1.0).cloud
    cloud = Lidar(scene(), noisy).scan(1.0).cloud
    assert len(truth) == len(cloud)
    error = np.linalg.norm(cloud.xyz, axis=1) - np.linalg.norm(truth.xyz, axis=1)
    near = np.linalg.norm(truth.xyz, axis=1) < 50
    assert np.std(error[near]) == pytest.approx(0.03, rel=0.05)
    assert abs(np.mean(error[near])) < 0.002


def test_range_bias_is_constant_over_a_beam():
    biased = IDEAL.model_copy(update={"range_bias": 0.05})
    clouds = [Lidar(scene(), biased, seed=1).scan(t).cloud for t in (1.0, 2.0)]
    beam = [
        np.array([np.median(np.linalg.norm(c.xyz[c.ring == k], axis=1)) for k in range(20)])
        for c in clouds
    ]
    ideal = 1.73 / np.sin(-np.deg2rad(np.array(IDEAL.elevation_deg[:20])))
    np.testing.assert_allclose(beam[0], beam[1], atol=1e-3)
    assert 0.02 < np.std(beam[0] - ideal) < 0.1


def test_a_wall_is_displaced_by_the_egos_motion_since_the_beam_faced_forward():
    speed = 20.0
    wall = cuboid(1, 200, 20, Material.CONCRETE).moved(pose_matrix([40.5, 0, 0]))
    world = scene(ego=driving(speed), static=wall)
    frame = Lidar(world, IDEAL).scan(1.0)  # ego at x = 20, so the wall is 20 m ahead
    assert len(frame.cloud) > 1000
    np.testing.assert_allclose(
        frame.cloud.points[:, 0], 20.0 - speed * frame.cloud.time, atol=2e-3
    )
    assert np.ptp(frame.cloud.time) > 0.03
    still = Lidar(world, IDEAL, motion_compensated=True).scan(1.0)
    np.testing.assert_allclose(still.cloud.points[:, 0], 20.0, atol=2e-3)


def test_motion_compensation_undoes_a_turn_of_a_tilted_sensor():
    wall = cuboid(1, 400, 20, Material.CONCRETE).moved(pose_matrix([40.5, 0, 0]))
    ego = Trajectory(np.array([0.0, 2.0]), np.array([[0, 0, 0], [20, 4, 0.0]]), np.array([0, 1.0]))
    mount = Mount(pitch_deg=3, roll_deg=-2, x_offset=0.5)
    frame = Lidar(scene(ego=ego, static=wall), IDEAL, 0, mount, motion_compensated=True).scan(1.0)
    world = transform_points(frame.pose, frame.cloud.points)
    np.testing.assert_allclose(world[:, 0], 40.0, atol=5e-3)


@pytest.mark.parametrize("compensated", [False, True])
@pytest.mark.parametrize("start", [(15.0, 0.0), (0.0, 8.0), (-12.0, 0.2), (-6.0, -7.0)])
def test_points_of_a_fast_actor_lie_in_its_box(start, compensated):
    path = Trajectory(
        np.array([0.0, 2.0]),
        np.array([[*start, 0.76], [start[0] - 40, start[1] + 10, 0.76]]) + [[20, -5, 0]] * 1,
        np.full(2, np.arctan2(10, -40)),
    )
    world = scene(car(path), ego=driving(12, yaw=0.3))
    frame = Lidar(world, IDEAL, motion_compensated=compensated).scan(1.0)
    above = frame.cloud.points[frame.cloud.points[:, 2] > -1.6]
    assert len(above) > 50
    # A car that passes at 30 m/s shears by up to 0.3 m while the beam crosses it.
    assert frame.boxes.contains(above, margin=0.25)[0].mean() > 0.97
    inside = frame.boxes.contains(above, margin=0.03)[0]
    assert inside.mean() > (0.6 if compensated else 0.5)
    assert frame.num_points[0] == np.count_nonzero(frame.boxes.contains(frame.cloud.points)[0])
    assert frame.track_id.tolist() == [7]


def test_velocity_of_a_box_is_over_ground_in_the_sensors_axes():
    frame = Lidar(scene(car(driving(8, (5, 20, 0.75), np.pi / 2)), ego=driving(5, yaw=np.pi / 2)),
                  IDEAL).scan(1.0)  # fmt: skip
    np.testing.assert_allclose(frame.boxes.velocity[0], [8, 0], atol=1e-5)
    assert frame.boxes.yaw[0] == pytest.approx(0, abs=1e-5)


def test_hidden_and_distant_actors():
    wall = TriangleMesh.join(
        [ground(), cuboid(0.5, 30, 10, Material.BRICK).moved(pose_matrix([10, 0, 5]))]
    )
    cars = [
        car(Trajectory.parked([20, 0, 0.75], 0), 1),
        car(Trajectory.parked([0, 9, 0.75], 1.0), 2),
        car(Trajectory.parked([0, 150, 0.75], 0), 3),
    ]
    frame = Lidar(scene(*cars, static=wall), SENSOR).scan(1.0)
    assert frame.track_id.tolist() == [1, 2]
    assert frame.num_points[0] == 0
    assert frame.num_points[1] > 50
    inside = frame.boxes.contains(frame.cloud.points)
    assert frame.num_points.tolist() == inside.sum(axis=1).tolist()


def test_parked_and_creeping_actors_look_alike():
    parked = Lidar(scene(car(Trajectory.parked([9, 2, 0.75], 0.4))), IDEAL).scan(1.0)
    slow = Trajectory(np.array([0.0, 9.0]), np.array([[9, 2, 0.75], [9, 2.00001, 0.75]]),
                      np.full(2, 0.4))  # fmt: skip
    creeping = Lidar(scene(car(slow)), IDEAL).scan(1.0)
    assert len(parked.cloud) == len(creeping.cloud)
    np.testing.assert_allclose(parked.cloud.xyz, creeping.cloud.xyz, atol=1e-3)


def test_the_ego_vehicle_hides_ground_nearby():
    free = Lidar(scene(), IDEAL).scan(1.0).cloud
    roof = Roof(drop=0.4, front=1.0, rear=1.0, half_width=0.5, posts=((90.0, 10.0, -10.0),))
    cloud = Lidar(scene(), IDEAL, mount=Mount(roof=roof)).scan(1.0).cloud
    assert 0 < len(free) - len(cloud) < len(free) / 3
    lowest = cloud.xyz[cloud.ring == 0]
    azimuth = np.degrees(np.arctan2(lowest[:, 1], lowest[:, 0]))
    assert np.abs(azimuth).min() > 20
    assert np.abs(azimuth - 90).min() > 4.9


def test_scenes_without_actors_or_without_anything():
    empty = Scene(TriangleMesh.join([]), (), driving(0), 10.0)
    frame = Lidar(empty, IDEAL).scan(1.0)
    assert len(frame.cloud) == 0
    assert len(frame.boxes) == 0
    assert frame.num_points.shape == frame.track_id.shape == (0,)
