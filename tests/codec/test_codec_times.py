"""The time channel: a feature more, and nothing else changes."""

import numpy as np
import pytest

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.codec.inputs import encode

GRID = BevGrid(x=(-4, 4), y=(-4, 4), z=(-1, 1), cell=0.5)


def cloud(count=3000):
    rng = np.random.default_rng(3)
    points = rng.uniform((-5, -5, -1.2, 0), (5, 5, 1.2, 1), (count, 4)).astype(np.float32)
    return points, rng.uniform(-0.5, 0, count).astype(np.float32)


def test_a_pillar_knows_when_its_points_were_seen():
    points, time = cloud()
    plain = encode(points, GRID, PillarInput())
    timed = encode(points, GRID, PillarInput(time=True), time)
    pillars = timed.arrays["pillars"]
    assert pillars.shape[2] == PillarInput(time=True).features == 10
    np.testing.assert_array_equal(pillars[..., :9], plain.arrays["pillars"])
    np.testing.assert_array_equal(timed.arrays["cells"], plain.arrays["cells"])
    # Each point is found again by its place, with its own time.
    seen = {tuple(p): t for p, t in zip(points.tolist(), time.tolist(), strict=True)}
    for row in pillars.reshape(-1, 10)[::37]:
        assert seen[tuple(row[:4].tolist())] == row[9]


def test_a_voxel_has_the_mean_time():
    points, time = cloud()
    plain = encode(points, GRID, VoxelInput(bins=24))
    timed = encode(points, GRID, VoxelInput(bins=24, time=True), time)
    np.testing.assert_array_equal(timed.arrays["voxels"][:, :4], plain.arrays["voxels"])
    bin_, row, column = timed.arrays["coordinates"][5]
    cell = np.floor((points[:, :3] - [-4, -4, -1]) / [0.5, 0.5, 2 / 24]).astype(int)
    inside = (cell == [column, row, bin_]).all(axis=1)
    assert timed.arrays["voxels"][5, 4] == pytest.approx(time[inside].mean(), abs=1e-6)


@pytest.mark.parametrize("kind", [PillarInput, VoxelInput])
def test_clouds_without_times_are_all_now(kind):
    points, time = cloud()
    name = "pillars" if kind is PillarInput else "voxels"
    timed = encode(points, GRID, kind(time=True)).arrays[name]
    assert not timed[..., -1].any()
    np.testing.assert_array_equal(timed[..., :-1], encode(points, GRID, kind(), time).arrays[name])
    empty = encode(points[:0], GRID, kind(time=True))
    assert empty.arrays[name].shape[-1] == kind(time=True).features
