import numpy as np
import pytest
from pydantic import ValidationError

from kd3d_core.simulation import effects
from kd3d_core.simulation.materials import OPTICS
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.raycast import RayCaster
from kd3d_core.simulation.sensors import SENSORS
from kd3d_core.simulation.sensors import SensorModel


@pytest.mark.parametrize(
    ("name", "beams", "lowest", "highest"),
    [
        ("vlp16", 16, -15, 15),
        ("vlp32c", 32, -25, 15),
        ("hdl32e", 32, -30.67, 10.67),
        ("hdl64e", 64, -23.6, 2.6),
        ("os1-128", 128, -22.5, 22.5),
        ("pandar40", 40, -25, 15),
    ],
)
def test_beams_of_each_sensor(name, beams, lowest, highest):
    sensor = SENSORS[name]
    assert sensor.name == name
    assert sensor.beams == beams
    assert len(set(sensor.elevation_deg)) == beams
    assert (sensor.elevation_deg[0], sensor.elevation_deg[-1]) == (lowest, highest)


def test_beams_must_rise():
    with pytest.raises(ValidationError, match="elevation_deg must rise"):
        SensorModel(name="x", elevation_deg=(1.0, 0.0), azimuth_steps=100)


def test_every_material_has_optics():
    assert set(OPTICS) == set(Material)


def test_distance_and_incidence_of_a_slanted_plane():
    rng = np.random.default_rng(0)
    # The plane x + z = 10, spanned widely.
    corners = np.array([[-90, -99, 100], [110, -99, -100], [110, 99, -100], [-90, 99, 100]])
    mesh = TriangleMesh(
        corners.astype(np.float32),
        np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        np.zeros(2, np.uint8),
    )
    origins = rng.uniform(-3, 3, (500, 3)).astype(np.float32)
    rays = rng.normal((1.5, 0, 1.5), size=(500, 3))
    rays = (rays / np.linalg.norm(rays, axis=1)[:, None]).astype(np.float32)
    hits = RayCaster(mesh).cast(origins, rays)
    speed = rays[:, 0] + rays[:, 2]
    expected = (10 - origins[:, 0] - origins[:, 2]) / speed
    place = origins + expected[:, None] * rays
    inside = (speed > 0) & (np.abs(place[:, 1]) < 98) & (np.abs(place[:, 0] - 10) < 98)
    assert inside.sum() > 300
    np.testing.assert_allclose(hits.distance[inside], expected[inside], rtol=1e-4)
    np.testing.assert_allclose(hits.cosine[inside], speed[inside] / np.sqrt(2), rtol=1e-4)
    behind = speed < 0
    assert behind.any()
    assert np.isinf(hits.distance[behind]).all()
    assert (hits.face[behind] == -1).all()
    short = RayCaster(mesh).cast(origins, rays, np.full(500, 0.5, np.float32))
    assert (short.face == -1).all()


def test_detection_falls_with_range_and_rises_with_strength():
    sensor = SENSORS["hdl64e"]
    ranges = np.linspace(1, 120, 200, dtype=np.float32)
    dark = effects.detection_probability(sensor, np.full(200, 0.1, np.float32), ranges)
    bright = effects.detection_probability(sensor, np.full(200, 0.5, np.float32), ranges)
    assert (np.diff(dark) <= 0).all()
    assert (np.diff(dark)[ranges[1:] > 20] < 0).all()  # nearer, float32 says 1
    assert (bright >= dark).all()
    assert np.interp(sensor.range_10, ranges, dark) == pytest.approx(0.5, abs=0.01)


def measured(material, distance, cosine=1.0, sensor=SENSORS["hdl64e"], columns=400):
    shape = (columns, sensor.beams)
    echoes = effects.Echoes(
        distance=np.full(shape, distance, np.float32),
        cosine=np.full(shape, cosine, np.float32),
        material=np.full(shape, int(material), np.uint8),
        gain=np.ones(shape, np.float32),
    )
    return effects.measure(sensor, effects.Unit.make(sensor, 0), echoes, np.random.default_rng(0))


def test_dropout_grows_with_range_and_grazing_incidence():
    share = [measured(Material.ASPHALT, d, 1.7 / d).valid.mean() for d in (5, 45, 60, 79)]
    assert share[0] > 0.95
    assert share == sorted(share, reverse=True)
    assert share[-1] < 0.6 * share[0]
    paint = [measured(Material.PAINT_DARK, 40, c).valid.mean() for c in (1.0, 0.2, 0.05)]
    assert paint == sorted(paint, reverse=True)


def test_retroreflectors_are_bright_and_dark_paint_is_not():
    plate = measured(Material.PLATE, 20)
    paint = measured(Material.PAINT_DARK, 20)
    road = measured(Material.ASPHALT, 10, 0.17)
    assert np.median(plate.intensity) > 0.9
    assert np.median(paint.intensity) < 0.1
    # Recorded HDL-64E sweeps have a median reflectance of 0.2 to 0.3 on roads.
    assert 0.2 < np.median(road.intensity) < 0.32
    for measurement in (plate, paint, road):
        assert 0 <= measurement.intensity.min() <= measurement.intensity.max() < 1


def test_edges_give_ranges_in_between():
    sensor = SENSORS["hdl64e"]
    distance = np.full((100, sensor.beams), 10, np.float32)
    distance[50:] = 11
    blended = effects.blend_edges(sensor, distance, np.random.default_rng(0))
    between = (blended > 10.01) & (blended < 10.99)
    assert between[49].any()
    assert not between[np.arange(100) != 49][1:-1].any()
    flat = np.full((100, sensor.beams), 10, np.float32)
    np.testing.assert_array_equal(
        effects.blend_edges(sensor, flat, np.random.default_rng(0)), flat
    )
