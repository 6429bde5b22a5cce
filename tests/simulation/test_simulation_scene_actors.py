"""Families of actors: sizes as fitted, shapes that a LiDAR can tell apart."""

import numpy as np
import pytest

from kd3d_core.simulation.furniture import FENCE_KINDS
from kd3d_core.simulation.furniture import PROPS
from kd3d_core.simulation.furniture import fence
from kd3d_core.simulation.heavy import BUS_STYLES
from kd3d_core.simulation.heavy import TRUCK_STYLES
from kd3d_core.simulation.heavy import bus_mesh
from kd3d_core.simulation.heavy import truck_mesh
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.people import bend
from kd3d_core.simulation.people import pedestrian_mesh
from kd3d_core.simulation.primitives import ellipsoid
from kd3d_core.simulation.primitives import tubes
from kd3d_core.simulation.sizes import CAR
from kd3d_core.simulation.sizes import CYCLIST
from kd3d_core.simulation.sizes import PEDESTRIAN
from kd3d_core.simulation.sizes import TRUCK
from kd3d_core.simulation.sizes import VAN
from kd3d_core.simulation.two_wheelers import cyclist_mesh
from kd3d_core.simulation.two_wheelers import motorcycle_mesh
from kd3d_core.simulation.vegetation import TREE_KINDS
from kd3d_core.simulation.vegetation import tree
from kd3d_core.simulation.vehicles import CAR_STYLES
from kd3d_core.simulation.vehicles import VAN_STYLES
from kd3d_core.simulation.vehicles import car_mesh
from kd3d_core.simulation.vehicles import van_mesh

FAMILIES = [
    *((car_mesh, style) for style in CAR_STYLES),
    *((van_mesh, style) for style in VAN_STYLES),
    *((truck_mesh, style) for style in TRUCK_STYLES),
    *((bus_mesh, style) for style in BUS_STYLES),
    *((pedestrian_mesh, kind) for kind in ("adult", "child", "umbrella", "stroller")),
    (motorcycle_mesh, True),
    (motorcycle_mesh, False),
]


@pytest.mark.parametrize(("maker", "style"), FAMILIES)
def test_every_style_is_sound(maker, style):
    for seed in range(3):
        mesh, size = maker(np.random.default_rng(seed), style)
        assert np.isfinite(mesh.vertices).all()
        spread = mesh.vertices.max(axis=0) - mesh.vertices.min(axis=0)
        np.testing.assert_allclose(spread, size, atol=0.01)
        assert 200 < len(mesh.faces) < 2000


@pytest.mark.parametrize("model", [CAR, VAN, TRUCK, PEDESTRIAN, CYCLIST])
def test_drawn_sizes_follow_the_fit(model):
    rng = np.random.default_rng(0)
    sizes = np.array([model.draw(rng) for _ in range(1500)])
    np.testing.assert_allclose(sizes.mean(axis=0), model.mean, rtol=0.05)
    spread = np.sqrt(np.diag(np.array(model.log_covariance)))
    np.testing.assert_allclose(np.log(sizes).std(axis=0), spread, rtol=0.25)


@pytest.mark.parametrize(
    ("maker", "model", "tolerance"),
    [(car_mesh, CAR, 0.03), (pedestrian_mesh, PEDESTRIAN, 0.12), (cyclist_mesh, CYCLIST, 0.1)],
)
def test_meshes_are_as_large_as_the_labels(maker, model, tolerance):
    rng = np.random.default_rng(1)
    sizes = np.array([maker(rng)[1] for _ in range(120)])
    np.testing.assert_allclose(sizes.mean(axis=0), model.mean, rtol=tolerance)


def test_a_car_has_windows_wheels_and_an_inside():
    mesh, size = car_mesh(np.random.default_rng(5), "hatchback")
    corners = mesh.vertices[mesh.faces]
    z = corners[..., 2].mean(axis=1) + size[2] / 2
    glass = mesh.material == Material.GLASS
    assert z[glass].min() > 0.5 * size[2]
    rubber = mesh.material == Material.RUBBER
    assert z[rubber].min() < 0.1
    assert (mesh.material == Material.CLOTH_DARK).any()
    # The bonnet is lower than the roof, and the nose narrower than the middle.
    front = mesh.vertices[mesh.vertices[:, 0] > 0.4 * size[0]]
    assert front[:, 2].max() + size[2] / 2 < 0.75 * size[2]


def test_cars_point_forward():
    rng = np.random.default_rng(2)
    for style in ("hatchback", "estate", "mpv", "suv"):
        mesh, size = car_mesh(rng, style)
        high = mesh.vertices[mesh.vertices[:, 2] > 0.4 * size[2]]
        assert high[:, 0].mean() < -0.02 * size[0]  # the roof is behind the middle


def test_knees_keep_the_length_of_the_leg():
    hip, ankle = np.array([0.0, 0, 0.9]), np.array([0.2, 0.1, 0.1])
    knee = bend(hip, ankle, 0.45, 0.45, (1, 0, 0))
    assert np.linalg.norm(knee - hip) == pytest.approx(0.45)
    assert np.linalg.norm(knee - ankle) == pytest.approx(0.45)
    assert knee[0] > 0.1


def test_tubes_keep_their_radius():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    a[0], b[0] = (0, 0, 0), (0, 0, 1)
    mesh = tubes(a, b, 0.1, 0, sides=6)
    axis = (b - a) / np.linalg.norm(b - a, axis=1, keepdims=True)
    ring = mesh.vertices.reshape(50, 12, 3) - a[:, None]
    away = ring - (ring * axis[:, None]).sum(axis=2, keepdims=True) * axis[:, None]
    np.testing.assert_allclose(np.linalg.norm(away, axis=2), 0.1, atol=1e-5)


def test_ellipsoid_lies_on_its_surface():
    mesh = ellipsoid((1, 2, 3), (0.5, 0.2, 1.0), 0, detail=2)
    assert len(mesh.faces) == 320
    unit = (mesh.vertices - [1, 2, 3]) / [0.5, 0.2, 1.0]
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", PROPS)
def test_furniture_is_of_a_sensible_size(name):
    for seed in range(3):
        mesh = PROPS[name](np.random.default_rng(seed))
        spread = mesh.vertices.max(axis=0) - mesh.vertices.min(axis=0)
        assert (spread < 11).all()
        assert mesh.vertices[:, 2].min() > -0.5


@pytest.mark.parametrize("kind", TREE_KINDS)
def test_trees_have_a_trunk_and_let_rays_pass(kind):
    mesh = tree(np.random.default_rng(0), kind)
    assert (mesh.material == Material.BARK).any()
    assert len(mesh.faces) < 1500
    if kind != "bare":
        corners = mesh.vertices[mesh.faces[mesh.material == Material.FOLIAGE]]
        edges = np.linalg.norm(np.roll(corners, 1, axis=1) - corners, axis=2)
        assert edges.max() < 1.5


@pytest.mark.parametrize("kind", FENCE_KINDS)
def test_fences_run_their_length(kind):
    mesh = fence(12.0, kind, np.random.default_rng(0))
    assert mesh.vertices[:, 0].min() > -0.1
    assert 11.5 < mesh.vertices[:, 0].max() < 12.3
