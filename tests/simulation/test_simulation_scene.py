"""Scenes: deterministic, free of overlap, on the ground, and as busy as they should be."""

import numpy as np
import pytest

from kd3d_core.config import load_config
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.occupancy import Occupancy
from kd3d_core.simulation.occupancy import rectangles_overlap
from kd3d_core.simulation.plans import STREET_KINDS
from kd3d_core.simulation.scene import Scene
from kd3d_core.simulation.sizes import CARS_IN_VIEW
from kd3d_core.simulation.street import SceneConfig
from kd3d_core.simulation.street import make_scene

GROUND = (Material.ASPHALT, Material.LANE_MARK, Material.CONCRETE, Material.GRASS, Material.SOIL)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    kinds = [make_scene(seed, SceneConfig(street=kind)) for seed, kind in enumerate(STREET_KINDS)]
    return kinds + [make_scene(seed) for seed in range(10, 16)]


def _arrays(scene: Scene):
    yield from (scene.static.vertices, scene.static.faces, scene.static.material)
    yield from (scene.ego.position, scene.ego.yaw)
    for actor in scene.actors:
        yield from (actor.mesh.vertices, actor.mesh.faces, actor.path.position, actor.path.yaw)


def test_same_seed_gives_the_same_arrays():
    one, two = list(_arrays(make_scene(3))), list(_arrays(make_scene(3)))
    assert len(one) == len(two)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_seeds_and_configs_differ():
    one, two = make_scene(3), make_scene(4)
    assert one.static.vertices.shape != two.static.vertices.shape
    busy = make_scene(3, SceneConfig(people=0.0, riders=0.0, driving=0.0, parked=0.0))
    assert len(busy.actors) < len(one.actors)


def test_arrays_are_sound(scenes):
    for scene in scenes:
        for mesh in [scene.static, *(actor.mesh for actor in scene.actors)]:
            assert np.isfinite(mesh.vertices).all()
            assert mesh.vertices.dtype == np.float32
            assert mesh.faces.dtype == np.int32
            assert mesh.faces.min() >= 0
            assert mesh.faces.max() < len(mesh.vertices)
            assert len(mesh.material) == len(mesh.faces)
            assert mesh.material.max() <= max(Material)


def test_boxes_enclose_their_meshes_tightly(scenes):
    for scene in scenes:
        for actor in scene.actors:
            low, high = actor.mesh.vertices.min(axis=0), actor.mesh.vertices.max(axis=0)
            np.testing.assert_allclose(high, np.array(actor.size) / 2, atol=0.02)
            np.testing.assert_allclose(low, -np.array(actor.size) / 2, atol=0.02)


def test_nobody_overlaps_anybody_or_the_ego_vehicle(scenes):
    for scene in scenes:
        for time in np.linspace(0, scene.duration, 9):
            boxes, _ = scene.boxes(time)
            pose = scene.ego.pose(time)
            ego = [pose[0, 3], pose[1, 3], 4.5, 1.9, np.arctan2(pose[1, 0], pose[0, 0])]
            rows = np.concatenate([boxes.bev.astype(np.float64), [ego]])
            i, j = np.triu_indices(len(rows), 1)
            hit = rectangles_overlap(rows[i], rows[j])
            assert not hit.any(), (time, rows[i[hit]], rows[j[hit]])


def _ground_below(scene: Scene, xy: np.ndarray) -> np.ndarray:
    """(F',) heights of all faces of ground material above or below a point (2,)."""
    corners = scene.static.vertices[scene.static.faces[np.isin(scene.static.material, GROUND)]]
    flat = corners[:, :, :2].astype(np.float64)
    near = (flat.min(axis=1) <= xy).all(axis=1) & (flat.max(axis=1) >= xy).all(axis=1)
    corners, flat = corners[near], flat[near]
    a, b, c = flat[:, 0], flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    p = xy - a
    area = b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0]
    area = np.where(np.abs(area) < 1e-9, np.nan, area)
    u = (p[:, 0] * c[:, 1] - p[:, 1] * c[:, 0]) / area
    v = (b[:, 0] * p[:, 1] - b[:, 1] * p[:, 0]) / area
    inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    z = corners[:, :, 2]
    return (z[:, 0] + u * (z[:, 1] - z[:, 0]) + v * (z[:, 2] - z[:, 0]))[inside]


def test_actors_and_ego_stand_on_the_ground(scenes):
    gaps = []
    for scene in scenes:
        for time in (0.0, 0.55 * scene.duration):
            boxes, _ = scene.boxes(time)
            bottoms = boxes.center[:, 2] - boxes.size[:, 2] / 2
            feet = np.column_stack([boxes.center[:, :2], bottoms]).astype(np.float64)
            for foot in np.concatenate([feet, [scene.ego.pose(time)[:3, 3]]]):
                heights = _ground_below(scene, foot[:2])
                assert len(heights), "outside the ground"
                gaps.append(np.abs(heights - foot[2]).min())
    # Where the kerb's edge runs under somebody's centre the gap may be the kerb's height.
    assert np.mean(np.array(gaps) < 0.05) > 0.985
    assert max(gaps) < 0.2


def test_moving_paths_are_continuous(scenes):
    for scene in scenes:
        for path in [scene.ego, *(actor.path for actor in scene.actors)]:
            assert len(path.time) == len(path.position) == len(path.yaw)
            if len(path.time) > 1:
                step = np.diff(path.time)
                assert (step > 0).all()
                speed = np.linalg.norm(np.diff(path.position, axis=0), axis=1) / step
                assert speed.max() < 20
                assert np.abs(np.diff(speed)).max() < 2.5
                assert np.abs(np.diff(path.yaw)).max() < 0.8
                assert path.time[-1] >= scene.duration


def test_vehicles_face_the_way_they_go(scenes):
    checked = 0
    for scene in scenes:
        boxes, _ = scene.boxes(scene.duration / 2)
        speed = np.linalg.norm(boxes.velocity, axis=1)
        moving = speed > 1
        course = np.arctan2(boxes.velocity[moving, 1], boxes.velocity[moving, 0])
        assert (np.cos(course - boxes.yaw[moving]) > 0.95).all()
        checked += moving.sum()
    assert checked > 50


def test_right_hand_traffic(scenes):
    for scene in scenes[:1]:
        assert scene.ego.position[0, 1] < 0  # the lane right of the centre line


def test_all_classes_are_there_in_enough_numbers():
    counts = np.zeros(len(DEFAULT_CLASSES))
    in_view = np.zeros(3)
    total = 14
    for seed in range(100, 100 + total):
        scene = make_scene(seed)
        boxes, ids = scene.boxes(0.0)
        assert len(set(ids.tolist())) == len(ids)
        path = scene.ego.position[:, :2]
        away = np.linalg.norm(boxes.center[:, None, :2] - path[None], axis=2).min(axis=1)
        counts += np.bincount(boxes.label[away < 50], minlength=len(counts))
        ahead = boxes[boxes.label == 0].transformed(invert_pose(scene.ego.pose(0.0))).center
        seen = ahead[np.abs(np.arctan2(ahead[:, 1], ahead[:, 0])) < np.pi / 4]
        in_view += np.histogram(np.hypot(seen[:, 0], seen[:, 1]), [0, 10, 20, 30])[0]
    kitti = np.array([CARS_IN_VIEW[reach] for reach in (10, 20, 30)])
    # Labels leave out what is wholly hidden, so there should be somewhat more than KITTI has.
    assert 0.7 < in_view.sum() / total / kitti.sum() < 2.2
    mean = dict(zip(DEFAULT_CLASSES, counts / total, strict=True))
    assert 12 < mean["car"] < 35
    assert 0.7 < mean["truck"] < 3
    assert 0.3 < mean["bus"] < 2
    assert 4 < mean["pedestrian"] < 16
    assert 1.5 < mean["cyclist"] < 6
    assert 0.7 < mean["motorcycle"] < 4


def test_triangle_budget(scenes):
    static = [len(scene.static.faces) for scene in scenes]
    assert max(static) < 100_000
    assert np.mean(static) < 70_000
    for scene in scenes:
        for actor in scene.actors:
            assert len(actor.mesh.faces) < 2000


def test_ground_reaches_far_around_the_path(scenes):
    for scene in scenes:
        ground = scene.static.vertices[
            scene.static.faces[np.isin(scene.static.material, GROUND)].ravel()
        ]
        low, high = ground[:, :2].min(axis=0), ground[:, :2].max(axis=0)
        assert (low <= scene.ego.position[:, :2].min(axis=0) - 70).all()
        assert (high >= scene.ego.position[:, :2].max(axis=0) + 70).all()


def test_duration_is_kept():
    scene = make_scene(1, SceneConfig(duration=2.0, ego_speed=(5.0, 5.0)))
    assert scene.duration == 2.0
    way = np.linalg.norm(scene.ego.pose(2.0)[:2, 3] - scene.ego.pose(0.0)[:2, 3])
    assert way == pytest.approx(10.0, abs=0.3)


def test_standing_ego_keeps_its_heading():
    scene = make_scene(2, SceneConfig(ego_speed=(0.0, 0.0), street="urban"))
    assert np.abs(np.diff(scene.ego.yaw)).max() < 0.01


def test_bad_setting_is_named(tmp_path):
    path = tmp_path / "scene.yaml"
    path.write_text("parked: -1\n")
    with pytest.raises(Kd3dError, match="parked"):
        load_config(SceneConfig, path)


def test_overlap_of_turned_rectangles():
    a = np.array([[0, 0, 4, 2, 0.0]] * 4)
    b = np.array(
        [
            [3.9, 0, 4, 2, 0],
            [4.1, 0, 4, 2, 0],
            [2.9, 0, 4, 2, np.pi / 2],
            [3.1, 0, 4, 2, np.pi / 2],
        ]
    )
    assert rectangles_overlap(a, b).tolist() == [True, False, True, False]
    # A diamond whose bounding square touches, but which itself does not.
    corner = np.array([[2.5, 1.5, 2, 2, np.pi / 4]])
    assert not rectangles_overlap(np.array([[0.0, 0, 2, 2, 0]]), corner)[0]


def test_occupancy_sees_movers_meet():
    times = np.arange(0, 2, 0.2)
    space = Occupancy(times)
    along = np.column_stack([10 * times, 0 * times, 0 * times])
    space.add(along, (4, 2))
    across = np.column_stack([10 + 0 * times, 10 - 10 * times, 0 * times - np.pi / 2])
    late = across + np.array([0, 15, 0])
    assert not space.is_free(across, (4, 2), 0.2)
    assert space.is_free(late, (4, 2), 0.2)
