"""Regions: where they are, and what is cut out of a map."""

import numpy as np
import pytest
import torch
from distillation_pairs import random_output

from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.targets import MIN_RADIUS
from kd3d_core.codec.targets import gaussian_radius
from kd3d_core.distillation.regions import Regions
from kd3d_core.distillation.regions import crop
from kd3d_core.distillation.regions import gaussian_reach
from kd3d_core.distillation.regions import propose


def head(peaks, size=16, classes=2, log_size=0.0):
    """A head that sees `peaks`: (class, row, column) -> logit, and nothing else."""
    heatmap = torch.full((1, classes, size, size), -20.0)
    for place, logit in peaks.items():
        heatmap[(0, *place)] = logit
    flat = torch.zeros(1, 4, size, size)
    return HeadMaps(
        heatmap,
        flat[:, :2],
        flat[:, :1],
        torch.full_like(flat[:, :3], log_size),
        flat,
        flat[:, :2],
    )


def test_the_reach_is_that_of_the_training_targets():
    rng = np.random.default_rng(0)
    size = rng.uniform(0.1, 40, (500, 2))
    wanted = [max(MIN_RADIUS, int(gaussian_radius(a, b, 0.1))) for a, b in size]
    got = gaussian_reach(*torch.from_numpy(size).unbind(1))
    np.testing.assert_array_equal(got.numpy(), wanted)
    assert len(set(wanted)) > 5


def test_proposals_are_the_peaks_with_the_extent_of_their_gaussians():
    peaks = {(0, 3, 4): 3.0, (0, 3, 5): 2.0, (1, 3, 5): 1.0, (1, 10, 12): 0.0, (0, 14, 1): -9.0}
    regions = propose(head(peaks, log_size=np.log(8.0)), 0.5, 6, 0.1)
    # (0, 3, 5) is no peak of its class, but the other class has one there; the last is too low.
    assert regions.mask.tolist() == [[True] * 3 + [False] * 3]
    edge = 2 * max(MIN_RADIUS, int(gaussian_radius(16, 16, 0.1))) + 1
    wanted = torch.tensor(
        [[4.5, 3.5, edge, edge], [5.5, 3.5, edge, edge], [12.5, 10.5, edge, edge]]
    )
    torch.testing.assert_close(regions.box[0, :3], wanted / 16)
    assert regions.label[0, :3].tolist() == [0, 1, 1]
    assert edge > 5


def test_a_cell_that_is_a_peak_of_two_classes_counts_once():
    regions = propose(head({(0, 8, 8): 2.0, (1, 8, 8): 3.0}), 1.0, 4, 0.1)
    assert regions.mask.sum() == 1
    assert regions.label[0, 0] == 1


def test_sizes_are_those_of_the_task_of_the_class():
    maps = head({(0, 4, 4): 3.0, (1, 10, 10): 2.0})
    blocks = torch.cat([maps.size, maps.size + np.log(15.0)], dim=1)
    maps = HeadMaps(maps.heatmap, maps.offset, maps.height, blocks, maps.rotation, maps.velocity)
    small, large = propose(maps, 0.5, 2, 0.1, task_of_class=(0, 1)).box[0, :, 2] * 16
    assert small == 5
    assert large == 2 * int(gaussian_radius(30, 30, 0.1)) + 1


def test_a_wild_head_gives_regions_of_finite_size():
    maps = random_output(0).maps
    wild = HeadMaps(maps.heatmap, maps.offset, maps.height, maps.size * 1e4, *maps.as_tuple()[4:])
    box = propose(wild, 1.0, 16, 0.1).box
    assert torch.isfinite(box).all()
    assert (box[..., 2:] * 16 >= 5).all()


def at(*boxes):
    box = torch.tensor([boxes])
    shape = box.shape[:2]
    return Regions(box, torch.ones(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.long))


def test_a_region_on_the_cells_is_cut_out_exactly():
    feature = random_output(1, frames=1).neck
    taken = crop(feature, at([4.5 / 16, 10.5 / 16, 5 / 16, 5 / 16]), 5)
    torch.testing.assert_close(taken[0], feature[0, :, 8:13, 2:7])


@pytest.mark.parametrize("size", [16, 32])
def test_both_grids_give_the_same_ground(size):
    # Bilinear samples of a plane are exact, on whatever grid it was drawn.
    ramp = (torch.arange(size) + 0.5) / size
    plane = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size)])[None]
    taken = crop(plane, at([0.4, 0.55, 0.2, 0.3]), 4)[0]
    steps = (torch.arange(4) + 0.5) / 4 - 0.5
    torch.testing.assert_close(taken[0], (0.4 + 0.2 * steps).expand(4, 4))
    torch.testing.assert_close(taken[1], (0.55 + 0.3 * steps)[:, None].expand(4, 4))


def test_beyond_the_rim_the_rim_goes_on():
    feature = random_output(2, frames=1).neck
    taken = crop(feature, at([0.5 / 16, 0.5 / 16, 5 / 16, 5 / 16]), 5)[0]
    torch.testing.assert_close(taken[:, :3, :3], feature[0, :, :1, :1].expand(-1, 3, 3))


def test_empty_places_are_left_out_whatever_they_hold():
    feature = random_output(3).neck
    box = torch.rand(2, 4, 4)
    mask = torch.tensor([[True, False, True, False], [False, True, False, False]])
    first = crop(feature, Regions(box, mask, mask.long()), 3)
    junk = torch.where(mask[..., None], box, torch.full_like(box, 1e6))
    torch.testing.assert_close(crop(feature, Regions(junk, mask, mask.long()), 3), first)
    assert first.shape == (3, 24, 3, 3)
    alone = crop(feature[1:], Regions(box[1:, 1:2], mask[1:, 1:2], mask[1:, 1:2].long()), 3)
    torch.testing.assert_close(first[2:], alone)
