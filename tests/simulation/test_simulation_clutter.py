"""Clutter, small cars and bushier plants of varied streets."""

import numpy as np
import pytest

from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.simulation import strewing
from kd3d_core.simulation.clutter import CLUTTER
from kd3d_core.simulation.clutter import ROWS
from kd3d_core.simulation.occupancy import Occupancy
from kd3d_core.simulation.scene import Scene
from kd3d_core.simulation.street import SceneConfig
from kd3d_core.simulation.street import make_scene
from kd3d_core.simulation.traffic import MAKERS
from kd3d_core.simulation.variety import draw_micro_share
from kd3d_core.simulation.variety import draw_stretch
from kd3d_core.simulation.vegetation import bush
from kd3d_core.simulation.vegetation import hedge
from kd3d_core.simulation.vehicles import microcar_mesh
from kd3d_core.simulation.vehicles import small_car_mesh

BARE = SceneConfig(street="urban", duration=1, vegetation=0.5)


def cars(seeds: int, each: int) -> np.ndarray:
    """(N, 3) sizes of cars of so many places, as `Traffic` makes them."""
    sizes = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        stretch, micro = np.array(draw_stretch(rng)), draw_micro_share(rng)
        for _ in range(each):
            small = rng.random() < micro
            sizes.append(microcar_mesh(rng)[1] if small else MAKERS["car"](rng)[1] * stretch)
    return np.array(sizes)


def test_cars_are_as_short_as_kittis_and_as_long_as_americas():
    length = cars(150, 6)[:, 0]
    assert 4.0 < np.median(length) < 4.3
    assert 0.03 < np.mean(length < 3.3) < 0.09
    assert 0.01 < np.mean(length < 2.9) < 0.05
    assert 0.03 < np.mean(length > 5.2) < 0.15
    assert length.min() > 2.2


def test_places_differ_from_kei_cars_to_pickups():
    rng = np.random.default_rng(0)
    length, width, height = np.array([draw_stretch(rng) for _ in range(2000)]).T
    assert 0.88 < length.min() < 0.94
    assert 1.18 < length.max() < 1.33
    assert 0.2 < np.mean(length < 1) < 0.45
    assert height[length < 0.95].mean() > width[length < 0.95].mean() + 0.03


def test_microcars_fill_their_boxes_and_are_short():
    for seed in range(20):
        mesh, size = microcar_mesh(np.random.default_rng(seed))
        assert 2.3 < size[0] < 2.95
        np.testing.assert_allclose(np.ptp(mesh.vertices, axis=0), size, atol=1e-3)
        np.testing.assert_allclose(mesh.vertices.max(axis=0), size / 2, atol=1e-3)
        roof = mesh.vertices[mesh.vertices[:, 2] > 0.45 * size[2], 0]
        assert np.ptp(roof) > 0.3 * size[0]
        assert np.ptp(roof) < 0.75 * size[0]


def test_small_cars_are_microcars_and_city_cars():
    length = []
    for seed in range(40):
        mesh, size = small_car_mesh(np.random.default_rng(seed))
        np.testing.assert_allclose(mesh.vertices.max(axis=0), size / 2, atol=1e-3)
        length.append(size[0])
    assert 2.3 < min(length) < 2.9
    assert 3.4 < max(length) < 3.75
    assert 0.3 < np.mean(np.array(length) < 2.92) < 0.7


def test_a_street_has_the_asked_share_of_small_cars():
    def share(wanted: float) -> float:
        config = BARE.model_copy(update={"street": "residential", "small_cars": wanted})
        streets = [make_scene(seed, config, varied=True) for seed in range(6)]
        length = [actor.size[0] for s in streets for actor in s.actors if actor.label == 0]
        return float(np.mean(np.array(length) < 3.75))

    assert share(1.0) > 0.9  # few cars are micro anyway, and all others small
    assert share(0.0) < 0.5


def test_rows_of_posts_are_as_high_as_people_and_take_nobodys_way():
    for seed in range(4):
        config = BARE.model_copy(update={"posts": 4.0})
        plain, rows = (make_scene(seed, c, varied=True) for c in (BARE, config))
        count = len(plain.static.vertices)
        np.testing.assert_array_equal(rows.static.vertices[:count], plain.static.vertices)
        posts = rows.static.vertices[count:]
        assert len(posts) > 500
        boxes, before = rows.boxes(0.0)[0], plain.boxes(0.0)[0]
        np.testing.assert_array_equal(boxes.center, before.center)
        assert not boxes.contains(np.column_stack([posts, 0 * posts[:, 0]])).any()


@pytest.mark.parametrize("name", CLUTTER)
def test_clutter_stands_on_the_ground_and_is_cheap(name):
    for seed in range(6):
        mesh = CLUTTER[name][0](np.random.default_rng(seed))
        low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
        assert np.isfinite(mesh.vertices).all()
        assert -0.35 < low[2] <= 0.05
        assert 0.4 < high[2] < 16
        at_foot = mesh.vertices[mesh.vertices[:, 2] < 1.0, :2]
        assert np.abs(at_foot).max() < 4.5
        assert len(mesh.faces) == len(mesh.material)
        assert len(mesh.faces) < 4000
    assert set(ROWS) <= set(CLUTTER)


def strewn(seed: int, monkeypatch) -> tuple[Scene, list[tuple[str, np.ndarray]]]:
    """A varied street, and what of its vertices are whose clutter."""
    placed: list[tuple[str, np.ndarray]] = []
    real = strewing.CLUTTER
    owner: dict[int, str] = {}
    kept = []

    def named(name, maker):
        def make(rng):
            mesh = maker(rng)
            kept.append(mesh)
            owner[id(mesh)] = name
            return mesh

        return make

    with monkeypatch.context() as patch:
        patch.setattr(strewing, "CLUTTER", {n: (named(n, m), s) for n, (m, s) in real.items()})
        put = strewing.Layout.put

        def watched(layout, mesh, *args, **kwargs):
            done = put(layout, mesh, *args, **kwargs)
            if done and id(mesh) in owner:
                placed.append((owner[id(mesh)], layout.meshes[-1].vertices))
            return done

        patch.setattr(strewing.Layout, "put", watched)
        scene = make_scene(seed, BARE, varied=True)
    return scene, placed


def test_clutter_of_every_kind_stands_clear_of_everybody_and_has_no_label(monkeypatch):
    kinds: set[str] = set()
    counts = []
    for seed in range(8):
        scene, placed = strewn(seed, monkeypatch)
        kinds |= {name for name, _ in placed}
        counts.append(len(placed))
        boxes, _ = scene.boxes(0.0)
        solid = boxes[np.isin(boxes.label, [DEFAULT_CLASSES.index(n) for n in MAKERS])]
        for name, vertices in placed:
            low = vertices[vertices[:, 2] < vertices[:, 2].min() + 1.5].astype(np.float64)
            inside = solid.contains(np.column_stack([low, 0 * low[:, 0]]).astype(np.float32))
            assert not inside.any(), (seed, name)
    assert len(kinds) >= len(CLUTTER) - 5, set(CLUTTER) - kinds
    assert max(counts) > 2.5 * (min(counts) + 1)  # streets differ
    assert np.mean(counts) > 12


def test_plain_streets_have_no_clutter(monkeypatch):
    def fail(*_):
        raise AssertionError("strewn")

    monkeypatch.setattr("kd3d_core.simulation.street.strew", fail)
    make_scene(3, BARE)
    with pytest.raises(AssertionError, match="strewn"):
        make_scene(3, BARE, varied=True)


def spread(mesh) -> float:
    """How the leaves' middles spread across y, as a share of the mesh's depth."""
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    return float(np.abs(middle[:, 1]).std() / np.abs(middle[:, 1]).max())


def test_bushy_plants_are_filled_rather_than_flat():
    thin, bushy = (hedge(8, 1.5, 1.0, np.random.default_rng(1), bushy=b) for b in (False, True))
    assert spread(bushy) > 0.15
    assert 7.8 < np.ptp(bushy.vertices[:, 0]) < 8.8
    assert len(bushy.faces) < 3 * len(thin.faces)
    shrub = bush(np.random.default_rng(2), 1.2, bushy=True)
    radius = np.linalg.norm(shrub.vertices[:, :2], axis=1)
    share = np.histogram(radius, np.linspace(0, radius.max(), 4))[0] / len(radius)
    assert share.min() > 0.08


def test_occupied_ground_is_left_alone(monkeypatch):
    monkeypatch.setattr(Occupancy, "is_free", lambda *_: False)
    _, placed = strewn(1, monkeypatch)
    assert not placed
