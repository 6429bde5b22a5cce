"""Shop fronts: posts where asked for, rays pass between them, the pavement stays free."""

from dataclasses import replace

import numpy as np
import pytest

from kd3d_core.simulation.buildings import house
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.plans import PLANS
from kd3d_core.simulation.porches import pillar_fence
from kd3d_core.simulation.porches import porch
from kd3d_core.simulation.raycast import RayCaster
from kd3d_core.simulation.shopfronts import OVERHANG
from kd3d_core.simulation.shopfronts import PORCH_REACH
from kd3d_core.simulation.shopfronts import WALLED
from kd3d_core.simulation.shopfronts import Bays
from kd3d_core.simulation.shopfronts import FrontShares
from kd3d_core.simulation.shopfronts import draw_ground_floor
from kd3d_core.simulation.shopfronts import draw_shares
from kd3d_core.simulation.shopfronts import post_positions
from kd3d_core.simulation.shopfronts import shopfront
from kd3d_core.simulation.variety import vary_plan

WIDTH, HEIGHT, DEPTH = 16.2, 3.2, 5.0
OPEN = Bays(pitch=2.0, post=(0.2, 0.3), plinth=0.4, panes=0.0, blinds=0.0, awning=0.0)


def _look_in(mesh: TriangleMesh, x: np.ndarray, z: float) -> tuple[np.ndarray, np.ndarray]:
    """Distance behind y = 0 and material of what rays along +y meet first."""
    origins = np.column_stack([x, 0 * x - 10, 0 * x + z]).astype(np.float32)
    hits = RayCaster(mesh).cast(origins, np.tile(np.float32([[0, 1, 0]]), (len(x), 1)))
    return hits.distance - 10, np.append(mesh.material, 255)[hits.face]


def test_rays_pass_between_posts_and_meet_posts_at_the_pitch():
    back = TriangleMesh.join(shopfront(WIDTH, HEIGHT, DEPTH, OPEN, np.random.default_rng(0)))
    posts = post_positions(WIDTH, 2.0, 0.2)
    np.testing.assert_allclose(np.diff(posts), 2.0)
    assert (posts[0], posts[-1]) == (0.1, pytest.approx(WIDTH - 0.1))
    deep, _ = _look_in(back, posts, 1.0)
    np.testing.assert_allclose(deep, -0.04, atol=1e-5)
    # Above doors' beams nothing but posts and, over the doors, panes is in the way.
    x = np.arange(0, WIDTH, 0.01)
    deep, material = _look_in(back, x, 2.6)
    between = np.abs(x[:, None] - posts).min(1) > 0.11
    assert (deep[~between & (np.abs(x[:, None] - posts).min(1) < 0.09)] < 0).all()
    assert ((deep[between] > 0.5) | (material[between] == Material.GLASS)).all()
    assert (deep[between] > 0.5).mean() > 0.4


def test_panes_fill_the_bays_above_the_plinth():
    glazed = replace(OPEN, panes=1.0)
    mesh = TriangleMesh.join(shopfront(WIDTH, HEIGHT, DEPTH, glazed, np.random.default_rng(0)))
    x = np.arange(1.1, WIDTH, 2.0)
    _, material = _look_in(mesh, x, 2.6)
    assert (material == Material.GLASS).all()
    low, material = _look_in(mesh, x, 0.2)
    assert (material == Material.CONCRETE).sum() >= 3
    assert (np.abs(low[material == Material.CONCRETE]) < 0.3).all()


@pytest.mark.parametrize("ground", ["glazed", "arcade"])
def test_rooms_end_and_the_pavement_stays_free(ground):
    x = np.arange(0.3, 14.7, 0.05)
    for seed in range(6):
        mesh = house(15.0, 10.0, 3, np.random.default_rng(seed), ground=ground)
        low = mesh.vertices[mesh.vertices[:, 2] < 1.8]
        assert low[:, 1].min() > -0.25
        assert mesh.vertices[:, 1].min() > -OVERHANG - 0.2
        glassless = TriangleMesh(
            mesh.vertices,
            mesh.faces[mesh.material != Material.GLASS],
            mesh.material[mesh.material != Material.GLASS],
        )
        deep, _ = _look_in(glassless, x, 1.4)
        assert deep.max() < 4.6
        assert (deep > 1.0).mean() > 0.3


def test_the_ground_floor_leaves_the_rest_of_the_street_as_it_is():
    after = set()
    for ground in ("walled", "glazed", "arcade", "porch"):
        rng = np.random.default_rng(5)
        house(15.0, 10.0, 3, rng, ground=ground)
        after.add(float(rng.random()))
    assert len(after) == 1


def test_streets_without_shares_are_walled():
    rng = np.random.default_rng(1)
    assert all(plan.ground_floors == WALLED for plan in PLANS.values())
    assert {draw_ground_floor(WALLED, 6.0, rng) for _ in range(200)} == {"walled"}
    drawn = [draw_ground_floor(FrontShares(0.5, 0.2, 1.0), 6.0, rng) for _ in range(2000)]
    assert drawn.count("glazed") == pytest.approx(1000, abs=90)
    assert drawn.count("arcade") == pytest.approx(400, abs=70)
    assert drawn.count("walled") == 0
    assert "porch" not in {draw_ground_floor(FrontShares(porch=1.0), 1.0, rng) for _ in range(50)}


def test_some_urban_streets_are_full_of_shops():
    rng = np.random.default_rng(2)
    glazed = np.array([draw_shares("urban", rng).glazed for _ in range(500)])
    assert 0.27 < glazed.mean() < 0.41
    assert 0.2 < (glazed > 0.6).mean() < 0.4
    assert vary_plan(PLANS["plaza"], "plaza", rng).ground_floors.glazed > 0


def test_porches_and_pillars_stay_in_their_place():
    for seed in range(8):
        rng = np.random.default_rng(seed)
        mesh = TriangleMesh.join(porch(9.0, rng))
        assert mesh.vertices[:, 1].min() >= -PORCH_REACH
        assert mesh.vertices[:, 1].max() < 0.2
        fence = pillar_fence(10.0, rng)
        assert fence.vertices[:, 0].min() >= -1e-5
        assert fence.vertices[:, 0].max() <= 10 + 1e-5
        assert np.abs(fence.vertices[:, 1]).max() <= 0.25 + 1e-5
        assert 0.85 < fence.vertices[:, 2].max() <= 2.0
