"""Quaternions of rotations."""

import numpy as np
import pytest

from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.geometry.transforms import quaternion_from_matrix


def test_quaternion_of_a_rotation_turns_vectors_alike():
    rng = np.random.default_rng(0)
    for yaw, pitch, roll in rng.uniform(-np.pi, np.pi, (30, 3)):
        rotation = pose_matrix((0, 0, 0), yaw, pitch, roll)[:3, :3]
        x, y, z, w = quaternion_from_matrix(rotation)
        assert np.linalg.norm((x, y, z, w)) == pytest.approx(1)
        vector = np.array((x, y, z))
        point = rng.normal(size=3)
        turned = point + 2 * np.cross(vector, np.cross(vector, point) + w * point)
        np.testing.assert_allclose(turned, rotation @ point, atol=1e-9)
