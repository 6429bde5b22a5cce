"""Bundles of networks with several tasks and with anchors run as the networks do."""

import numpy as np
import pytest
import small_checkpoint
import torch

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.heads import ANCHOR_NAMES
from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.codec.heads import output_order
from kd3d_core.codec.inputs import encode
from kd3d_core.deployment.export import ExportOptions
from kd3d_core.deployment.export import draft
from kd3d_core.deployment.export import finish
from kd3d_core.deployment.export import installed_backends
from kd3d_core.models.batch import collate
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.detector import Detector
from kd3d_core.training.module import detections

OPTIONS = ExportOptions(decode=DecodeConfig(score_threshold=0.02))
HEADS = {"tasks": small_checkpoint.TASKS, "anchors": small_checkpoint.ANCHORS}


@pytest.mark.parametrize("kind", HEADS)
def test_bundle_runs_as_the_network_does(kind, tmp_path):
    head = HEADS[kind]
    path = small_checkpoint.write(tmp_path / "model.ckpt", "image", head)
    proposal = draft(path, OPTIONS)
    report = finish(proposal, tmp_path / "a.kd3d", small_checkpoint.clouds(), OPTIONS)
    assert set(report.parity) == set(installed_backends())
    for result in report.parity.values():
        assert result.boxes > 0
        assert max(result.maps.values()) < 1e-4
    manifest = read_bundle(tmp_path / "a.kd3d").manifest
    assert manifest.head == head.layout
    cloud = small_checkpoint.clouds(3)[2]
    fed = collate([encode(cloud.points, manifest.grid, manifest.input)])
    wanted = detections(
        proposal.detector, small_checkpoint.config("image", head), fed, OPTIONS.decode
    )[0]
    with torch.inference_mode():
        maps = proposal.detector(fed).outputs
    for backend in installed_backends():
        detector = Detector.load(tmp_path / "a.kd3d", backend, 1)
        for one, other in zip(detector.raw_maps(cloud).as_tuple(), maps.as_tuple(), strict=True):
            assert np.ptp(one) > 1e-2
            np.testing.assert_allclose(one, other[0], atol=1e-4)
        found = detector(cloud).boxes
        assert len(found) == len(wanted) > 0
        np.testing.assert_allclose(found.center[:20], wanted.center[:20], atol=1e-2)


def test_the_order_of_the_outputs_is_that_of_their_kind():
    assert output_order(reversed(ANCHOR_NAMES)) == ANCHOR_NAMES
    assert output_order(sorted(HEAD_NAMES)) == HEAD_NAMES
