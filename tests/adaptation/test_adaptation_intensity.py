"""Intensity maps: what they do to points, and how they are found."""

import numpy as np
import pytest
from pydantic import ValidationError

from kd3d_core.adaptation.intensity import RANKS
from kd3d_core.adaptation.intensity import intensity_distance
from kd3d_core.adaptation.intensity import match_intensity
from kd3d_core.adaptation.intensity import quantiles
from kd3d_core.codec.intensity import NO_INTENSITY
from kd3d_core.codec.intensity import IntensityMap
from kd3d_core.codec.intensity import remap
from kd3d_core.pointcloud import PointCloud


def cloud(values, **changes):
    points = np.zeros((len(values), 4), np.float32)
    points[:, 0] = np.arange(len(values))
    points[:, 3] = values
    return PointCloud(points, **changes)


def test_a_rescaled_sensor_gets_its_scale_back():
    rng = np.random.default_rng(0)
    training = rng.beta(2, 5, 50_000)
    one, other = quantiles([cloud(training)]), quantiles([cloud(0.3 * training)])
    found = match_intensity(other, one)
    fresh = np.random.default_rng(1).beta(2, 5, 2000)
    mended = remap(cloud(0.3 * fresh).points, found.table())[:, 3]
    assert np.abs(mended - fresh).max() < 0.02


def test_a_gamma_is_undone_because_only_the_order_counts():
    rng = np.random.default_rng(0)
    training = rng.uniform(0, 1, 50_000)
    found = match_intensity(quantiles([cloud(training**3)]), quantiles([cloud(training)]))
    assert found.table()[round(1023 * 0.125)] == pytest.approx(0.5, abs=0.02)


def test_equal_intensities_go_to_one_place():
    sensor = (0.0,) * 20 + tuple(np.linspace(0.1, 1, 13))
    training = tuple(np.linspace(0, 1, RANKS))
    found = match_intensity(sensor, training)
    assert found.sensor[0] == 0
    # The zeros are the lowest 20 of 33 ranks: they go to the middle of those.
    assert found.network[0] == pytest.approx(np.mean(training[:20]), abs=1e-3)
    assert (np.diff(found.sensor) > 0).all()
    assert (np.diff(found.network) >= 0).all()


@pytest.mark.parametrize(
    ("sensor", "training"), [((), (0.0, 1.0)), ((0.0, 1.0), ()), ((0.5,) * 33, (0.0, 1.0))]
)
def test_nothing_to_match(sensor, training):
    assert match_intensity(sensor, training) is None


def test_clouds_without_intensity_say_nothing():
    assert quantiles([cloud([0.0, 0.0], has_intensity=False)]) == ()


def test_remap_leaves_the_points_given_and_their_places():
    points = cloud([0.0, 0.5, 1.0]).points
    shown = remap(points, NO_INTENSITY.table())
    assert (shown[:, 3] == 0).all()
    assert np.array_equal(shown[:, :3], points[:, :3])
    assert points[2, 3] == 1


def test_remap_is_constant_outside_the_knots():
    table = IntensityMap(sensor=(0.2, 0.4), network=(0.1, 0.9)).table()
    shown = remap(cloud([0.0, 0.2, 0.3, 0.4, 1.0]).points, table)[:, 3]
    assert shown == pytest.approx([0.1, 0.1, 0.5, 0.9, 0.9], abs=5e-3)


@pytest.mark.parametrize(
    ("sensor", "network"),
    [((0.0, 0.0), (0.0, 1.0)), ((0.0, 1.0), (1.0, 0.0)), ((0.0, 1.0), (0.0, 0.5, 1.0)),
     ((0.0, 1.0), (0.0, 1.5))],
)  # fmt: skip
def test_maps_that_are_none(sensor, network):
    with pytest.raises(ValidationError):
        IntensityMap(sensor=sensor, network=network)


def test_distance_is_that_of_a_shift():
    ranks = np.linspace(0, 0.5, RANKS)
    assert intensity_distance(ranks, ranks + 0.25) == pytest.approx(0.25)
    assert intensity_distance(ranks, ranks) == 0
