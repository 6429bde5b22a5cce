"""Telling simulated from recorded sweeps: a planted difference is found, none is not made up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.inspection.reality_patches import column_spreads
from kd3d_core.inspection.reality_patches import patch_features
from kd3d_core.inspection.reality_returns import returns_of
from kd3d_core.inspection.reality_returns import rings_in_order
from kd3d_core.inspection.reality_statistics import StatisticsAccumulator
from kd3d_core.inspection.reality_test import area
from kd3d_core.inspection.reality_test import tell_apart
from kd3d_core.pointcloud import PointCloud

BEAMS, STEPS, HEIGHT = 24, 720, 1.7
ELEVATION = np.deg2rad(np.linspace(-20, -2, BEAMS))


def sweep(seed: int, noise: float = 0.01) -> Frame:
    """A LiDAR in a round yard: flat ground, a wall at another distance each time."""
    rng = np.random.default_rng(seed)
    azimuth = np.linspace(-np.pi, np.pi, STEPS, endpoint=False)
    wall = rng.uniform(18, 24) + rng.uniform(0, 4) * np.cos(3 * azimuth)
    ring, step = np.meshgrid(np.arange(BEAMS), np.arange(STEPS), indexing="ij")
    ring, step = ring.ravel(), step.ravel()
    down, turn = ELEVATION[ring], azimuth[step]
    flat = np.minimum(HEIGHT / np.tan(-down), wall[step])
    slant = flat / np.cos(down) + noise * rng.standard_normal(len(flat))
    xyz = slant[:, None] * np.stack(
        [np.cos(down) * np.cos(turn), np.cos(down) * np.sin(turn), np.sin(down)], axis=1
    )
    intensity = np.clip(0.3 + 0.05 * rng.standard_normal(len(flat)), 0, 1)
    kept = rng.random(len(flat)) > 0.02
    cloud = PointCloud.from_arrays(xyz[kept], intensity[kept], ring=ring[kept])
    return Frame(cloud, f"yard {seed}", sensor_height=HEIGHT)


def patches(frames: list[Frame]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Names, figures, and the number of the frame of each patch."""
    told = [patch_features(returns_of(frame)) for frame in frames]
    scene = np.repeat(np.arange(len(told)), [len(rows) for _, rows in told])
    return told[0][0], np.concatenate([rows for _, rows in told]), scene


def test_equal_kinds_cannot_be_told_apart_and_a_planted_difference_can():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    names, features, scene = patches([sweep(seed) for seed in range(8)])
    real = scene < 4
    same = tell_apart(features, real, scene, names, folds=2)
    assert 0.3 < same.auc < 0.7

    noisy = [sweep(seed, noise=0.01 if seed < 4 else 0.03) for seed in range(8)]
    names, features, scene = patches(noisy)
    found = tell_apart(features, scene < 4, scene, names, folds=2)
    assert found.auc > 0.95
    best = found.differences[0]
    assert best.name.startswith("sampling: range noise")
    assert best.simulated == pytest.approx(3 * best.real, rel=0.2)
    assert found.by_family["sampling"] > 0.95
    assert found.by_family["intensity"] < 0.7


def test_a_scene_is_never_on_both_sides():
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    # Every scene has a figure of its own that gives it away; kinds have nothing in common.
    rng = np.random.default_rng(0)
    scene = np.repeat(np.arange(20), 30)
    real = scene % 2 == 0
    features = (rng.random(20)[scene] + 1e-6 * rng.random(len(scene)))[:, None]
    assert tell_apart(features, real, scene, ["sampling: secret"], folds=2).auc < 0.75


def test_too_few_scenes_are_refused():
    scene = np.arange(6)
    with pytest.raises(Kd3dError, match=r"3 recorded scenes cannot be split 5 ways"):
        tell_apart(np.zeros((6, 1)), scene < 3, scene, ["shape: none"])


def test_area_counts_ties_as_half():
    yes = np.array([True, False, True, False])
    assert area(np.array([3, 1, 2, 0]), yes) == 1.0
    assert area(np.array([1, 1, 1, 1]), yes) == 0.5
    assert area(np.array([1, 1, 2, 0]), yes) == pytest.approx(3.5 / 4)


def test_returns_know_the_ground_the_noise_and_the_gaps():
    returns = returns_of(sweep(3, noise=0.02))
    near = returns.range < 12
    assert np.median(returns.height[near]) == pytest.approx(0, abs=0.02)
    # The second difference of white noise is sqrt(6) times it; the median of |N| is 0.6745.
    noise = np.nanmedian(np.abs(returns.bend[near])) / 0.6745 / np.sqrt(6) * 2
    assert noise == pytest.approx(0.02, rel=0.1)
    assert np.nanmean(np.minimum(returns.missing, 1)) == pytest.approx(0.02, abs=0.005)


def test_rings_come_out_of_the_order_of_a_file():
    frame = sweep(0)
    ring = frame.cloud.ring
    turn = np.mod(np.arctan2(frame.cloud.xyz[:, 1], frame.cloud.xyz[:, 0]), 2 * np.pi)
    order = np.lexsort((turn, -ring.astype(int)))
    stored = replace(frame.cloud[order], ring=None)
    np.testing.assert_array_equal(rings_in_order(stored), ring[order])
    shuffled = frame.cloud[np.random.default_rng(0).permutation(len(ring))]
    with pytest.raises(Kd3dError, match="ring"):
        returns_of(Frame(replace(shuffled, ring=None)[:2000], "shuffled", sensor_height=HEIGHT))


def test_spreads_tell_lines_planes_and_bushes():
    rng = np.random.default_rng(1)
    thin = rng.random((3, 400)) * [[0.9], [0.0], [0.0]]
    flat = rng.random((3, 400)) * [[0.9], [0.9], [0.0]] + [[5.0], [0.0], [0.0]]
    bush = rng.random((3, 400)) * 0.9 + [[10.0], [0.0], [0.0]]
    flat[2] += 0.01 * rng.standard_normal(400)
    spread = column_spreads(np.concatenate([thin, flat, bush], axis=1).T)
    assert np.argmax([spread.linear[0], spread.flat[0], spread.bushy[0]]) == 0
    assert np.argmax([spread.linear[1], spread.flat[1], spread.bushy[1]]) == 1
    assert np.argmax([spread.linear[2], spread.flat[2], spread.bushy[2]]) == 2
    assert spread.roughness[0] == pytest.approx(0.01, rel=0.2)  # the line spans no plane


def test_histograms_compare_kinds_and_halves():
    sums = StatisticsAccumulator()
    for seed in range(4):
        sums.add(returns_of(sweep(seed)), real=True)
        sums.add(returns_of(sweep(10 + seed, noise=0.03)), real=False)
    told = {histogram.name: histogram for histogram in sums.result()}
    noise = told["range noise along a ring [mm]"]
    assert noise.distance > 0.3 > 0.1 > noise.floor
    assert told["intensity"].distance < 0.03
    assert noise.real.sum() == pytest.approx(1)


def test_kitti_has_64_rings_in_the_order_of_its_files(shared_data: Path):
    from kd3d_core.datasets.kitti import KittiDataset

    returns = returns_of(KittiDataset(shared_data / "kitti")[3])
    assert returns.ring.max() + 1 == 64
    elevation = np.arctan2(returns.xyz[:, 2], returns.range)
    medians = [np.median(elevation[returns.ring == ring]) for ring in range(64)]
    assert np.mean(np.diff(medians) > 0) > 0.9
