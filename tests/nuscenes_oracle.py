"""Runs the official evaluation, and makes detections worth evaluating."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest

from kd3d_core.geometry.boxes import Boxes3D


def devkit():
    """The module `nuscenes`, or a skip that says how to get it."""
    reason = (
        "needs nuscenes-devkit: pip install --no-deps nuscenes-devkit pyquaternion cachetools "
        "opencv-python-headless scikit-learn joblib threadpoolctl narwhals matplotlib"
    )
    try:
        import matplotlib
    except ImportError:
        pytest.skip(reason)
    matplotlib.use("Agg")
    return pytest.importorskip("nuscenes", reason=reason)


def official_metrics(root, version, submission, folder, split="all"):
    """What the real DetectionEval says: its `DetectionMetrics`."""
    nuscenes = devkit()
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    with contextlib.redirect_stderr(io.StringIO()):
        tables = nuscenes.NuScenes(version, str(root), verbose=False)
        evaluation = DetectionEval(
            tables,
            config_factory("detection_cvpr_2019"),
            str(submission),
            split,
            str(folder),
            verbose=False,
        )
        return evaluation.evaluate()[0]


def assert_equal_metrics(ours, official, tolerance=1e-6):
    """mAP, NDS, every AP and every error agree."""
    assert ours.mean_ap == pytest.approx(official.mean_ap, abs=tolerance)
    assert ours.nds == pytest.approx(official.nd_score, abs=tolerance)
    for name, value in official.tp_errors.items():
        assert ours.errors[name] == pytest.approx(value, abs=tolerance), name
    for label, entry in ours.classes.items():
        for distance, value in entry.ap.items():
            expected = official.get_label_ap(label, distance)
            assert value == pytest.approx(expected, abs=tolerance), (label, distance)
        for name, value in entry.errors.items():
            expected = official.get_label_tp(label, name)
            if value is None:
                assert np.isnan(expected), (label, name)
            else:
                assert value == pytest.approx(expected, abs=tolerance), (label, name)


def perturbed(generator, truth, *, ties=0.3, noise=0.5):
    """Detections as of a mediocre detector: misses, wrong ones, confused classes, equal scores."""
    seen = truth[generator.random(len(truth)) < 0.85]
    count = len(seen)
    turned = np.where(generator.random(count) < 0.1, np.pi, 0.0)
    label = np.where(
        generator.random(count) < 0.1,
        generator.integers(0, len(truth.classes), count),
        seen.label,
    )
    velocity = seen.velocity + generator.normal(0, 0.4, (count, 2))
    velocity[generator.random(count) < 0.05] = np.nan
    found = replace(
        seen,
        center=seen.center + generator.normal(0, noise, (count, 3)).astype(np.float32),
        size=seen.size * generator.uniform(0.8, 1.25, (count, 3)).astype(np.float32),
        yaw=seen.yaw + (generator.normal(0, 0.2, count) + turned).astype(np.float32),
        velocity=velocity,
        label=label,
    )
    wrong = int(generator.poisson(6))
    false = Boxes3D.make(
        generator.uniform(-55, 55, (wrong, 3)) * [1, 1, 0.02],
        generator.uniform(0.4, 5, (wrong, 3)),
        generator.uniform(-np.pi, np.pi, wrong),
        generator.integers(0, len(truth.classes), wrong),
        velocity=generator.normal(0, 2, (wrong, 2)),
        classes=truth.classes,
    )
    every = Boxes3D.concatenate([found, false])
    score = generator.beta(2, 2, len(every))
    tied = generator.random(len(every)) < ties
    score[tied] = np.round(score[tied], 1)  # equal ones within samples and across them
    shuffled = generator.permutation(len(every))
    return replace(every, score=score)[shuffled]
