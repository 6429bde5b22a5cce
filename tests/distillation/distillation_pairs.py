"""Random outputs of two networks and random objects, for the distillation tests."""

from dataclasses import dataclass
from dataclasses import replace

import numpy as np
import torch

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.heads import head_channels
from kd3d_core.codec.targets import make_targets
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.batch import TargetBatch
from kd3d_core.models.batch import collate_targets

CLASSES = ("car", "pedestrian")
WIDTHS = tuple(head_channels(len(CLASSES)).values())
GRID = BevGrid(x=(-8, 8), y=(-8, 8), cell=0.5)
STRIDE = 2


@dataclass(frozen=True)
class Output:
    neck: torch.Tensor
    maps: HeadMaps


def random_output(seed, channels=24, size=16, frames=2, grad=False):
    generator = torch.Generator().manual_seed(seed)

    def draw(width):
        made = torch.randn(frames, width, size, size, generator=generator)
        return made.requires_grad_(grad)

    return Output(draw(channels), HeadMaps(*(draw(width) for width in WIDTHS)))


def boxes(seed, count=5):
    rng = np.random.default_rng(seed)
    return Boxes3D.make(
        rng.uniform(-7, 7, (count, 3)), rng.uniform(0.6, 4, (count, 3)),
        rng.uniform(-3, 3, count), rng.integers(0, 2, count), classes=CLASSES,
    )  # fmt: skip


def targets(seed=0, counts=(5, 3), grid=GRID):
    return collate_targets(
        [make_targets(boxes(seed + i, n), grid, STRIDE) for i, n in enumerate(counts)]
    )


def batch(student, teacher, truth=None):
    truth = truth or targets()
    return DistillationBatch(student, teacher, truth, truth, 1.0, 1.0)


def permuted(truth, order):
    """The objects in another order; the heatmap does not know of it."""
    names = ("mask", "cell", "label", "offset", "height", "size", "rotation", "velocity")
    return replace(truth, **{name: getattr(truth, name)[:, order] for name in names})


def padded(truth, extra, junk):
    """Places added to the list of objects, with whatever values."""
    frames = len(truth.mask)
    made = {"heatmap": truth.heatmap}
    made["mask"] = torch.cat([truth.mask, torch.zeros(frames, extra, dtype=torch.bool)], 1)
    for name in ("cell", "label", "offset", "height", "size", "rotation", "velocity"):
        value = getattr(truth, name)
        fill = torch.full((frames, extra, *value.shape[2:]), junk).to(value.dtype)
        made[name] = torch.cat([value, fill], 1)
    return TargetBatch(**made)


def in_double(output, grad=False):
    """The same output in float64, as leaves."""

    def convert(values):
        return values.detach().double().requires_grad_(grad)

    return Output(
        convert(output.neck), HeadMaps(*(convert(item) for item in output.maps.as_tuple()))
    )
