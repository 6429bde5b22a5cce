"""The loss of the anchor head: SECOND (Sensors 2018), sec. 3.2, as PointPillars (2019) uses it."""

import torch
from torch import Tensor
from torch import nn
from torch.nn import functional

from kd3d_core.codec.anchor_targets import IGNORED
from kd3d_core.codec.heads import AnchorMaps
from kd3d_core.models.batch import AnchorTargetBatch
from kd3d_core.models.batch import TargetBatch
from kd3d_core.models.config import AnchorHeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.layers import full_precision
from kd3d_core.models.losses import CenterLoss
from kd3d_core.models.losses import LossWeights

#: Where the smooth L1 turns from a parabola into a line; the authors' code of SECOND.
BETA = 1 / 9
#: Focal loss: RetinaNet (ICCV 2017), sec. 5.
ALPHA = 0.25


def anchor_focal_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Focal loss of the classes of anchors, summed (RetinaNet, eq. 5, with gamma = 2).

    Args:
        logits: (B, A * K, H, W), any float dtype: for each anchor K classes.
        label: (B, A, H, W) int: class, or negative for background; `IGNORED` ones cost nothing.

    Returns:
        () float32.
    """
    size, slots, rows, columns = label.shape
    logits = logits.float().view(size, slots, -1, rows, columns)
    classes = torch.arange(logits.shape[2], device=label.device).view(-1, 1, 1)
    hit = label[:, :, None] == classes
    probability = torch.sigmoid(logits)
    missed = torch.where(hit, 1 - probability, probability)
    weight = torch.where(hit, ALPHA, 1 - ALPHA) * (label != IGNORED)[:, :, None]
    cross = functional.softplus(torch.where(hit, -logits, logits))
    return (weight * missed**2 * cross).sum()


def residual_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Smooth L1 between residuals, summed; the yaws by the sine of their difference.

    SECOND, "Sine-Error Loss": a box and its reverse are the same here, for `direction` to tell
    apart.

    Args:
        prediction: (P, 7), any float dtype.
        target: (P, 7) float32.

    Returns:
        () float32.
    """
    difference = prediction.float() - target
    difference = torch.cat([difference[:, :6], difference[:, 6:].sin()], dim=1)
    zeros = torch.zeros_like(difference)
    return functional.smooth_l1_loss(difference, zeros, reduction="sum", beta=BETA)


class AnchorLoss(nn.Module):
    """The detection loss of a batch for an anchor head.

    Args:
        weights: What each term is multiplied by.
    """

    def __init__(self, weights: LossWeights | None = None) -> None:
        super().__init__()
        self.weights = weights or LossWeights()

    def forward(self, maps: AnchorMaps[Tensor], targets: TargetBatch) -> dict[str, Tensor]:
        """Compare maps with targets.

        Args:
            maps: (B, C, H, W) each, on the grid of the targets.
            targets: The truth of the B frames, made for anchors.

        Returns:
            The () float32 terms "score", "box" and "direction", already multiplied by their
            weights and divided by the number of anchors that report an object.
        """
        truth = targets.anchors
        if truth is None:
            raise ValueError("AnchorLoss: the targets were made for another head")
        with full_precision(maps.score.device):
            count = max(len(truth.positive), 1)
            found = gather_anchors(maps.box, truth, 7)
            heading = gather_anchors(maps.direction, truth, 2).float()
            terms = {
                "score": anchor_focal_loss(maps.score, truth.label),
                "box": residual_loss(found, truth.residual),
                "direction": functional.cross_entropy(heading, truth.direction, reduction="sum"),
            }
            return {
                name: getattr(self.weights, name) * term / count for name, term in terms.items()
            }


def detection_loss(model: ModelConfig, weights: LossWeights) -> CenterLoss | AnchorLoss:
    """The loss for the head of a model: called with its outputs and the targets of a batch."""
    if isinstance(model.head, AnchorHeadConfig):
        return AnchorLoss(weights)
    return CenterLoss(weights, model.head.tasks)


def gather_anchors(values: Tensor, targets: AnchorTargetBatch, channels: int) -> Tensor:
    """(P, channels) of the positive anchors from a map (B, A * channels, H, W)."""
    size, slots, rows, columns = targets.label.shape
    flat = values.view(size, slots, channels, rows * columns)
    place = targets.positive % (rows * columns)
    slot = torch.div(targets.positive, rows * columns, rounding_mode="floor")
    return flat[targets.frame, slot, :, place]
