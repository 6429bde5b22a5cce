import json

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.argoverse2_region import RegionOfInterest
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import pose_matrix

pytest.importorskip("PIL", reason="Pillow is not installed")

SQUARE = np.array([[0, 0], [30, 0], [30, 20], [0, 20], [0, 0]], float)
STAR = np.array([[40.3, 31.7], [55.1, 12.2], [61.9, 33.3], [47.7, 22.4], [66.6, 20.1]], float)


def test_reaches_five_metres_beyond_the_drivable_area_within_the_map():
    region = RegionOfInterest([SQUARE, STAR])
    places = np.array([[15, 10], [15, 24.9], [15, 25.4], [34.9, 10], [-3, 10], [33, 23], [34, 25]])
    assert region.contains_points(places).tolist() == [True, True, False, True, False, True, False]


def test_a_box_counts_with_one_corner_inside():
    region = RegionOfInterest([SQUARE, STAR])
    boxes = Boxes3D.make([[0, 27, 0], [0, 28, 0]], np.full((2, 3), 4.0), [0, 0], [0, 0])
    pose = pose_matrix((15, 0, 3))
    assert region.contains(boxes, pose).tolist() == [True, False]


def test_equals_the_published_raster():
    pytest.importorskip("av2", reason="av2 (the published evaluation) is not installed")
    from av2.map.drivable_area import DrivableArea
    from av2.map.map_api import DrivableAreaMapLayer
    from av2.map.map_api import RoiMapLayer
    from av2.map.map_primitives import Point

    areas = [
        DrivableArea(i, [Point(float(x), float(y), 0.0) for x, y in polygon])
        for i, polygon in enumerate((SQUARE, STAR))
    ]
    layer = RoiMapLayer.from_drivable_area_layer(DrivableAreaMapLayer.from_vector_data(areas))
    places = np.random.default_rng(0).uniform(-8, 75, (20_000, 2))
    expected = layer.get_raster_values_at_coords(places, fill_value=0) == 1
    got = RegionOfInterest([SQUARE, STAR]).contains_points(places)
    np.testing.assert_array_equal(got, expected)
    assert 0.2 < got.mean() < 0.8


def test_map_file(tmp_path):
    with pytest.raises(Kd3dError, match="holds no log_map_archive"):
        RegionOfInterest.load(tmp_path)
    corners = [{"x": x, "y": y, "z": 0.0} for x, y in SQUARE]
    path = tmp_path / "log_map_archive_one.json"
    path.write_text(json.dumps({"drivable_areas": {"1": {"area_boundary": corners, "id": 1}}}))
    assert RegionOfInterest.load(tmp_path).contains_points(np.array([[1.0, 1.0]])).all()
    path.write_text(json.dumps({"drivable_areas": {"1": {}}}))
    with pytest.raises(Kd3dError, match="not a readable Argoverse 2 map"):
        RegionOfInterest.load(tmp_path)
