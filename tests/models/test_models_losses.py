"""The detection loss against hand computation, and at its edges."""

import math

import numpy as np
import pytest
import torch

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.heads import head_channels
from kd3d_core.codec.targets import make_targets
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.batch import collate_targets
from kd3d_core.models.losses import CenterLoss
from kd3d_core.models.losses import LossWeights
from kd3d_core.models.losses import gaussian_focal_loss

GRID = BevGrid(x=(-8, 8), y=(-8, 8), cell=0.5)


def _frame(count, velocity=None):
    rng = np.random.default_rng(count)
    boxes = Boxes3D.make(
        rng.uniform(-7, 7, (count, 3)),
        rng.uniform(1, 4, (count, 3)),
        rng.uniform(-3, 3, count),
        rng.integers(0, 6, count),
        velocity=velocity,
    )
    return make_targets(boxes, GRID, 2)


def _perfect(targets):
    """Maps (B, C, 16, 16) that say what the targets say; the heatmap is as sure as it may be."""
    maps = {}
    for name, channels in head_channels(6).items():
        if name == "heatmap":
            maps[name] = torch.where(targets.heatmap == 1, 30.0, -30.0)
            continue
        values = torch.nan_to_num(getattr(targets, name))
        canvas = torch.zeros(len(values), 256, channels)
        for frame in range(len(values)):
            here = targets.mask[frame]
            canvas[frame, targets.cell[frame, here]] = values[frame, here]
        maps[name] = canvas.transpose(1, 2).reshape(-1, channels, 16, 16)
    return maps


def test_perfect_maps_cost_nothing_and_every_error_costs():
    targets = collate_targets([_frame(4, np.ones((4, 2))), _frame(1, np.ones((1, 2)))])
    maps = _perfect(targets)
    terms = CenterLoss()(HeadMaps(**maps), targets)
    assert sum(terms.values()).item() < 1e-5
    for name in HEAD_NAMES[1:]:
        wrong = CenterLoss()(HeadMaps(**(maps | {name: maps[name] + 0.5})), targets)
        weight = getattr(LossWeights(), name)
        expected = 0.5 * maps[name].shape[1] * weight
        assert wrong[name].item() == pytest.approx(expected, rel=1e-4)
        others = [value for key, value in wrong.items() if key != name]
        assert sum(others).item() < 1e-5


def test_focal_loss_by_hand():
    logits = torch.tensor([[[[0.4, -1.0, 2.0]]]])
    heatmap = torch.tensor([[[[1.0, 0.5, 0.0]]]])
    p = [1 / (1 + math.exp(-x)) for x in (0.4, -1.0, 2.0)]
    expected = -((1 - p[0]) ** 2) * math.log(p[0])
    expected -= 0.5**4 * p[1] ** 2 * math.log(1 - p[1])
    expected -= p[2] ** 2 * math.log(1 - p[2])
    assert gaussian_focal_loss(logits, heatmap).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("value", [-200.0, 200.0])
def test_extreme_logits_in_bfloat16_stay_finite(value):
    logits = torch.full((1, 1, 2, 2), value, dtype=torch.bfloat16, requires_grad=True)
    heatmap = torch.tensor([[[[1.0, 0.3], [0.0, 0.9]]]])
    loss = gaussian_focal_loss(logits, heatmap)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_unknown_velocities_teach_nothing():
    velocity = np.full((3, 2), np.nan)
    velocity[1] = 2.0
    targets = collate_targets([_frame(3, velocity)])
    maps = _perfect(targets)
    maps["velocity"] = torch.full_like(maps["velocity"], 5.0).requires_grad_()
    term = CenterLoss()(HeadMaps(**maps), targets)["velocity"]
    assert term.item() == pytest.approx(0.2 * 6.0, rel=1e-5)  # |5 - 2| twice, of one object
    term.backward()
    assert torch.count_nonzero(maps["velocity"].grad) == 2


def test_padding_and_empty_frames_change_nothing():
    alone = collate_targets([_frame(2)])
    beside = collate_targets([_frame(2), _frame(0)])
    assert beside.mask.tolist() == [[True, True], [False, False]]
    torch.manual_seed(0)
    maps = {n: torch.randn(1, c, 16, 16) for n, c in head_channels(6).items()}
    twice = {n: torch.cat([v, v]) for n, v in maps.items()}
    one = CenterLoss()(HeadMaps(**maps), alone)
    two = CenterLoss()(HeadMaps(**twice), beside)
    for name in HEAD_NAMES[1:]:
        torch.testing.assert_close(one[name], two[name])


def test_a_batch_without_objects_has_a_finite_loss_and_gradient():
    targets = collate_targets([_frame(0), _frame(0)])
    maps = {n: torch.randn(2, c, 16, 16).requires_grad_() for n, c in head_channels(6).items()}
    terms = CenterLoss()(HeadMaps(**maps), targets)
    total = sum(terms.values())
    total.backward()
    assert torch.isfinite(total)
    assert terms["size"].item() == 0
    assert torch.isfinite(maps["heatmap"].grad).all()


def test_gather_reads_row_and_column():
    targets = collate_targets([_frame(3), _frame(2)])
    cells = torch.arange(256.0).view(1, 1, 16, 16).expand(2, 2, 16, 16)
    picked = targets.gather(cells)
    assert picked.shape == (2, 3, 2)
    torch.testing.assert_close(picked[..., 0], targets.cell.float())


def test_weights_scale_terms():
    targets = collate_targets([_frame(2)])
    maps = HeadMaps(**{n: torch.randn(1, c, 16, 16) for n, c in head_channels(6).items()})
    plain = CenterLoss()(maps, targets)
    heavy = CenterLoss(LossWeights(size=3.0, heatmap=0.0))(maps, targets)
    torch.testing.assert_close(heavy["size"], 3 * plain["size"])
    assert heavy["heatmap"].item() == 0
