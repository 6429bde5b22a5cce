"""itKD: interchange transfer-based knowledge distillation (Cho et al., CVPR 2023, 2205.15531)."""

import itertools
from typing import Literal

import torch
from pydantic import NonNegativeFloat
from pydantic import PositiveInt
from torch import Tensor
from torch import nn
from torch.nn import functional

from kd3d_core.codec.heads import HeadMaps
from kd3d_core.config import Config
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import DistillationLoss
from kd3d_core.distillation.protocol import footprints
from kd3d_core.distillation.protocol import gather_cells
from kd3d_core.distillation.protocol import masked_mean


class ItKDConfig(Config):
    """Settings of itKD; the defaults are the paper's."""

    type: Literal["itkd"] = "itkd"
    weight: NonNegativeFloat = 1.0
    """Alpha: weight of the whole method beside the detection loss."""
    interchange: NonNegativeFloat = 1.0
    """Weight of the interchange transfer loss within the method."""
    compressed: NonNegativeFloat = 1.0
    """Weight of the compressed representation loss."""
    attention: NonNegativeFloat = 1.0
    """Weight of the head attention loss."""
    compressed_on: Literal["objects", "map"] = "objects"
    """Where compressed features are compared: on objects (the paper) or everywhere (its code)."""
    center_l2: bool = True
    """Add a squared error at the object centres to the interchange transfer loss."""
    heatmap: Literal["sigmoid", "logits"] = "sigmoid"
    """Which form of both heatmaps enters the head attention."""
    fusion: Literal["mean", "learned"] = "mean"
    """How inter- and intra-head attention join: their mean, or a learned convex combination (which
    unlike a free 1x1 layer cannot collapse to zero)."""
    pool: PositiveInt = 1
    """Average features over this many cells each way before they are compared; 2 quarters the cost
    of the feature terms, which matters when training on a CPU."""


class AutoEncoder(nn.Module):
    """The channel-wise autoencoder that teacher and student share (sec. 3.2).

    1x1 convolutions, ReLU between them, none last: C -> C/3 -> C/6 -> C/12 and back.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels, *(max(channels // part, 1) for part in (3, 6, 12))]
        self.encoder = _pointwise(widths)
        self.decoder = _pointwise(widths[::-1])

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> compressed (B, C / 12, H, W) and reconstructed (B, C, H, W)."""
        compressed = self.encoder(feature)
        return compressed, self.decoder(compressed)


def _pointwise(widths: list[int]) -> nn.Sequential:
    """1x1 convolutions through `widths` with ReLU between them."""
    layers: list[nn.Module] = []
    for low, high in itertools.pairwise(widths):
        layers += [nn.Conv2d(low, high, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


class ItKD(DistillationLoss):
    """The three terms of itKD between neck features and head outputs.

    Args:
        student_channels: Width of the student's neck output.
        teacher_channels: Width of the teacher's.
        head_channels: Channels of each head map, in order, for the learned fusion.
        config: Weights and options.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        head_channels: tuple[int, ...],
        config: ItKDConfig | None = None,
    ) -> None:
        super().__init__()
        self.config = config or ItKDConfig()
        self.buffer: nn.Module = (
            nn.Identity()
            if student_channels == teacher_channels
            else nn.Conv2d(student_channels, teacher_channels, 1)
        )
        self.autoencoder = AutoEncoder(teacher_channels)
        self.attention = HeadAttention(sum(head_channels), self.config.fusion)

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The weighted terms "interchange", "compressed" and "attention"."""
        config, terms = self.config, {}
        if config.interchange or config.compressed:
            interchange, compressed = self._feature_terms(batch)
            terms["itkd_interchange"] = config.weight * config.interchange * interchange
            terms["itkd_compressed"] = config.weight * config.compressed * compressed
        if config.attention:
            loss = self.attention.loss(
                _objects(batch.student.maps, batch.targets.cell, config.heatmap),
                _objects(batch.teacher.maps, batch.teacher_targets.cell, config.heatmap),
                batch.targets.mask.bool() & batch.teacher_targets.mask.bool(),
            )
            terms["itkd_attention"] = config.weight * config.attention * loss
        return terms

    def _feature_terms(self, batch: DistillationBatch) -> tuple[Tensor, Tensor]:
        """Interchange transfer loss (eq. 5) and compressed representation loss (eq. 3)."""
        teacher, student, pool = batch.teacher.neck, batch.student.neck, self.config.pool
        rows, columns = teacher.shape[-2:]
        if student.shape[-2:] != teacher.shape[-2:]:
            student = functional.interpolate(
                student, (rows, columns), mode="bilinear", align_corners=False
            )
        targets = batch.teacher_targets
        mask = footprints(targets, (rows, columns), batch.teacher_cell).to(teacher.dtype)
        cell = targets.cell
        if pool > 1:
            teacher = functional.avg_pool2d(teacher, pool, ceil_mode=True)
            student = functional.avg_pool2d(student, pool, ceil_mode=True)
            mask = functional.max_pool2d(mask, pool, ceil_mode=True)
            cell = (cell // columns // pool) * teacher.shape[-1] + cell % columns // pool
        lifted = self.buffer(student)
        student_code, from_student = self.autoencoder(lifted)
        teacher_code, from_teacher = self.autoencoder(teacher)

        # Mixed precision ends here: sums over a whole map do not fit 8 bits of mantissa.
        difference = (student_code.float() - teacher_code.float()).abs()
        if self.config.compressed_on == "map":
            mask = torch.ones_like(mask)
        compressed = masked_mean(difference, mask)
        pairs = ((from_student, teacher), (from_teacher, lifted))
        interchange = difference.new_zeros(())
        for made, wanted in pairs:
            interchange = interchange + functional.l1_loss(made.float(), wanted.float())
            if self.config.center_l2:
                error = gather_cells(made.float(), cell) - gather_cells(wanted.float(), cell)
                interchange = interchange + masked_mean(error**2, targets.mask[..., None])
        return interchange, compressed


class HeadAttention(nn.Module):
    """Channel attention among and within the heads at the objects (sec. 3.3).

    Args:
        channels: Sum of the channels of all heads.
        fusion: "mean", or "learned" for a convex combination per channel.
    """

    def __init__(self, channels: int, fusion: Literal["mean", "learned"] = "mean") -> None:
        super().__init__()
        self.balance = nn.Parameter(torch.zeros(channels)) if fusion == "learned" else None

    def forward(self, heads: list[Tensor], mask: Tensor) -> Tensor:
        """Fused attention features.

        Args:
            heads: For each head (B, M, channels), its values at the objects.
            mask: (B, M) bool, False for padding.

        Returns:
            (B, M, C) over all heads; 0 for padding.
        """
        heads = [head.float() * mask[..., None] for head in heads]
        count = mask.sum(dim=1)
        inter = attend(torch.cat(heads, dim=2), count)
        intra = torch.cat([attend(head, count) for head in heads], dim=2)
        if self.balance is None:
            return (inter + intra) / 2
        share = self.balance.sigmoid()
        return share * inter + (1 - share) * intra

    def loss(self, student: list[Tensor], teacher: list[Tensor], mask: Tensor) -> Tensor:
        """L1 between the two networks' attention features, a mean over objects and channels."""
        with torch.autocast(mask.device.type, enabled=False):
            difference = (self(student, mask) - self(teacher, mask)).abs()
        return masked_mean(difference, mask[..., None])


def attention_matrix(values: Tensor, count: Tensor) -> Tensor:
    """softmax(X^T X / sqrt(K)): how much each channel attends to each other one.

    Args:
        values: (B, M, C), X with rows of 0 for padding.
        count: (B,) K, the objects of each frame.

    Returns:
        (B, C, C) whose columns sum to 1.
    """
    scale = count.clamp(min=1).to(values.dtype).sqrt()[:, None, None]
    return (values.transpose(1, 2) @ values / scale).softmax(dim=1)


def attend(values: Tensor, count: Tensor) -> Tensor:
    """X A for the (B, M, C) values of the objects: each channel a mixture of those like it."""
    return values @ attention_matrix(values, count)


def _objects(maps: HeadMaps[Tensor], cell: Tensor, heatmap: str) -> list[Tensor]:
    """For each head (B, M, channels) float32 at the objects' cells."""
    first, *rest = [gather_cells(item, cell).float() for item in maps.as_tuple()]
    return [first.sigmoid() if heatmap == "sigmoid" else first, *rest]
