"""The judgement of parity on figures that are known."""

import numpy as np
import pytest

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.deployment.parity import ParityConfig
from kd3d_core.deployment.parity import ParityResult
from kd3d_core.deployment.parity import _difference
from kd3d_core.deployment.parity import compare_boxes
from kd3d_core.deployment.parity import require_parity
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.runtime.manifest import Manifest

MANIFEST = Manifest(name="m", decode=DecodeConfig(score_threshold=0.3))
GOOD = {"maps": {"heatmap": 1e-6}, "unmatched": 0, "box_distance": 1e-6, "score_difference": 0.0}


def boxes(x, score, label=None):
    center = [[value, 0, 0] for value in x]
    size = np.ones((len(x), 3))
    labels = [0] * len(x) if label is None else label
    return Boxes3D.make(center, size, np.zeros(len(x)), labels, score=score)


@pytest.mark.parametrize(
    "change",
    [
        {"maps": {"heatmap": 0.01}},
        {"maps": {"heatmap": float("nan")}},
        {"maps": {"heatmap": 0.0, "size": float("inf")}},
        {"unmatched": 1},
        {"box_distance": 0.02},
        {"score_difference": 0.01},
    ],
)
def test_beyond_tolerance_is_refused(change):
    require_parity(ParityResult(frames=1, boxes=3, **GOOD))
    with pytest.raises(Kd3dError, match="nothing was written"):
        require_parity(ParityResult(frames=1, boxes=3, **(GOOD | change)))


def test_boxes_are_paired_within_their_class():
    one = boxes([0, 10, 20], [0.9, 0.8, 0.7])
    other = boxes([20.001, 0, 10], [0.7, 0.9, 0.8005])
    unmatched, distance, score = compare_boxes(one, other, MANIFEST, ParityConfig())
    assert unmatched == 0
    assert distance == pytest.approx(0.001, rel=1e-2)
    assert score == pytest.approx(0.0005, rel=1e-2)
    other = boxes([20, 0, 10], [0.7, 0.9, 0.8], [0, 0, 1])
    assert compare_boxes(one, other, MANIFEST, ParityConfig())[0] == 2


def test_only_a_box_at_its_threshold_may_come_or_go():
    one = boxes([0, 10], [0.9, 0.3004])
    assert compare_boxes(one, one[:1], MANIFEST, ParityConfig())[0] == 0
    assert compare_boxes(one[:1], one, MANIFEST, ParityConfig())[0] == 0
    one = boxes([0, 10], [0.9, 0.32])
    assert compare_boxes(one, one[:1], MANIFEST, ParityConfig())[0] == 1
    assert compare_boxes(one[:1], one, MANIFEST, ParityConfig())[0] == 1


def test_maps_are_compared_at_their_scale():
    """The heatmap of empty streets is far below zero, and sums of large numbers round coarsely."""
    unit, logits = np.linspace(-1, 1, 64, dtype=np.float32), np.full(64, -39, np.float32)
    accepted = {"maps": {"heatmap": _difference(logits, logits + np.float32(1.5e-3))}}
    require_parity(ParityResult(frames=1, boxes=3, **(GOOD | accepted)))
    refused = {"maps": {"offset": _difference(unit, unit + np.float32(1.5e-3))}}
    with pytest.raises(Kd3dError, match="offset"):
        require_parity(ParityResult(frames=1, boxes=3, **(GOOD | refused)))
    assert _difference(unit, unit[:-1]) == float("inf")
    assert np.isnan(_difference(unit, np.full(64, np.nan, np.float32)))
