"""The 3D view: its geometries say what the boxes say."""

import numpy as np
import pytest

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud


def test_lines_are_the_edges_and_the_heading_of_the_box():
    pytest.importorskip("open3d", reason="open3d is not installed (pip install '.[viz]')")
    from kd3d_core.visualization.viewer import geometries

    cloud = PointCloud.from_arrays(np.array([[1.0, 2.0, 3.0]]), np.array([1.0]))
    boxes = Boxes3D.make([[10, 5, 1]], [[4, 2, 1.5]], [np.pi / 2], [0])
    points, lines = geometries(cloud, boxes)
    np.testing.assert_allclose(np.asarray(points.points), cloud.xyz)
    np.testing.assert_allclose(np.asarray(points.colors), 1.0)
    vertices = np.asarray(lines.points)
    ends = vertices[np.asarray(lines.lines)]
    lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    # Four edges each of length, width and height, and half a length for the heading.
    np.testing.assert_allclose(np.sort(lengths), [1.5] * 4 + [2.0] * 5 + [4.0] * 4, atol=1e-5)
    np.testing.assert_allclose(ends[-1], [[10, 5, 1], [10, 7, 1]], atol=1e-5)
