"""Losses of the centre head: CenterPoint (CVPR 2021), sec. 4, after CenterNet (2019), sec. 3."""

from dataclasses import replace

import torch
from pydantic import NonNegativeFloat
from torch import Tensor
from torch import nn
from torch.nn import functional

from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.heads import Tasks
from kd3d_core.config import Config
from kd3d_core.models.batch import TargetBatch
from kd3d_core.models.layers import full_precision


class LossWeights(Config):
    """What each term is multiplied by."""

    heatmap: NonNegativeFloat = 1.0
    offset: NonNegativeFloat = 1.0
    height: NonNegativeFloat = 1.0
    size: NonNegativeFloat = 1.0
    rotation: NonNegativeFloat = 1.0
    velocity: NonNegativeFloat = 0.2
    score: NonNegativeFloat = 1.0
    """Anchor heads: of the class of an anchor (this and the next two as in SECOND, sec. 3.2)."""
    box: NonNegativeFloat = 2.0
    """Anchor heads: of the residuals."""
    direction: NonNegativeFloat = 0.2
    """Anchor heads: of the heading."""


def gaussian_focal_loss(logits: Tensor, heatmap: Tensor) -> Tensor:
    """Focal loss against Gaussian peaks, summed over everything (CenterNet, 2019, eq. 1).

    With p the sigmoid of the logits and y the target: -(1 - p)^2 log p where y = 1, and
    -(1 - y)^4 p^2 log(1 - p) elsewhere. Computed in float32 from the logits, so that neither
    logarithm ever sees a zero.

    Args:
        logits: (B, K, H, W), any float dtype.
        heatmap: (B, K, H, W) float32 in [0, 1], exactly 1 at centres.

    Returns:
        () float32.
    """
    logits = logits.float()
    probability = torch.sigmoid(logits)
    hit = -((1 - probability) ** 2) * functional.logsigmoid(logits)
    miss = (1 - heatmap) ** 4 * probability**2 * functional.softplus(logits)
    return torch.where(heatmap == 1, hit, miss).sum()


def masked_l1(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Absolute error summed over channels, averaged over objects.

    Args:
        prediction: (B, M, C), any float dtype.
        target: (B, M, C) float32; objects with a NaN are left out.
        mask: (B, M) bool: which rows are objects.

    Returns:
        () float32; 0, with a gradient of 0, when there is no object.
    """
    known = mask & ~torch.isnan(target).any(dim=-1)
    error = (prediction.float() - torch.nan_to_num(target)).abs().sum(dim=-1)
    # where, and not a product: a diverged prediction in a masked row must not spread its NaN.
    error = torch.where(known, error, torch.zeros_like(error))
    return error.sum() / known.sum().clamp(min=1)


class CenterLoss(nn.Module):
    """The detection loss of a batch: the sum over the tasks of the loss of each.

    Args:
        weights: What each term is multiplied by.
        tasks: The tasks of the head; empty for one.
    """

    def __init__(self, weights: LossWeights | None = None, tasks: Tasks = ()) -> None:
        super().__init__()
        self.weights = weights or LossWeights()
        self.sizes = [len(task) for task in tasks]

    def forward(self, maps: HeadMaps[Tensor], targets: TargetBatch) -> dict[str, Tensor]:
        """Compare maps with targets.

        Args:
            maps: (B, C, H, W) each, on the grid of the targets.
            targets: The truth of the B frames.

        Returns:
            A () float32 term for each of `HEAD_NAMES`, already multiplied by its weight: the loss
            is their sum. The heatmap's is divided by the number of objects in the batch, of each
            task on its own.
        """
        with full_precision(maps.heatmap.device):
            first, *others = self._parts(maps, targets)
            terms = center_terms(*first)
            for part in others:
                terms = {name: terms[name] + term for name, term in center_terms(*part).items()}
            return {name: term * getattr(self.weights, name) for name, term in terms.items()}

    def _parts(
        self, maps: HeadMaps[Tensor], targets: TargetBatch
    ) -> list[tuple[HeadMaps[Tensor], TargetBatch]]:
        """For each task its maps and its targets; both as they are when there is one task."""
        if not self.sizes:
            return [(maps, targets)]
        heat = torch.split(maps.heatmap, self.sizes, dim=1)
        truth = torch.split(targets.heatmap, self.sizes, dim=1)
        blocks = [torch.chunk(item, len(self.sizes), dim=1) for item in maps.as_tuple()[1:]]
        parts, low = [], 0
        for task, size in enumerate(self.sizes):
            mine = (targets.label >= low) & (targets.label < low + size)
            own = replace(targets, heatmap=truth[task], mask=targets.mask & mine)
            parts.append((HeadMaps(heat[task], *(block[task] for block in blocks)), own))
            low += size
        return parts


def center_terms(maps: HeadMaps[Tensor], targets: TargetBatch) -> dict[str, Tensor]:
    """The () float32 terms of one task, without weights: maps (B, C, H, W) against targets."""
    objects = targets.mask.sum().clamp(min=1)
    terms = {"heatmap": gaussian_focal_loss(maps.heatmap, targets.heatmap) / objects}
    for name in HEAD_NAMES[1:]:
        prediction = targets.gather(getattr(maps, name))
        terms[name] = masked_l1(prediction, getattr(targets, name), targets.mask)
    return terms
