"""Distillation of the neck's features: hints of FitNets, over the map or on the objects only."""

from typing import Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor
from torch import nn
from torch.nn import functional

from kd3d_core.config import Config
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import DistillationLoss
from kd3d_core.distillation.protocol import footprints
from kd3d_core.distillation.protocol import full
from kd3d_core.models.layers import full_precision


class FitNetConfig(Config):
    """Settings of the hint loss over the whole map (Romero et al., ICLR 2015, 1412.6550)."""

    type: Literal["fitnet"] = "fitnet"
    weight: NonNegativeFloat = 1.0
    """Weight of the term, whose value is a share: 1 explains nothing of the teacher's map."""


class GTBoxConfig(Config):
    """Settings of the hint loss on the objects."""

    type: Literal["gt_box"] = "gt_box"
    weight: NonNegativeFloat = 1.0
    """Weight of the term, whose value is a share: 1 explains nothing of the teacher's objects."""


class FeatureHint(DistillationLoss):
    """Squared distance of the adapted student's neck feature from the teacher's (FitNets, eq. 3).

    The student's map is resized bilinearly to the teacher's grid and lifted to its width by a 1x1
    convolution; between equal widths that begins as the identity, so that a student which starts
    as its teacher pays nothing.

    The sum of the squared errors is divided by that of the teacher's squares over the same cells:
    a teacher whose features are ten times as large is the same teacher, and one weight serves all.

    Args:
        student_channels: Width of the student's neck output.
        teacher_channels: Width of the teacher's.
        config: Where to look: at the whole map or at the cells under the objects.
    """

    def __init__(
        self, student_channels: int, teacher_channels: int, config: FitNetConfig | GTBoxConfig
    ) -> None:
        super().__init__()
        self.config = config
        self.adapter = nn.Conv2d(student_channels, teacher_channels, 1)
        if student_channels == teacher_channels:
            nn.init.dirac_(self.adapter.weight)
        assert self.adapter.bias is not None
        nn.init.zeros_(self.adapter.bias)

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The one weighted term, "fitnet" or "gt_box"; 0 when there is nothing to look at."""
        # Mixed precision ends here: sums over a whole map do not fit 8 bits of mantissa.
        with full_precision(batch.teacher.neck.device):
            teacher = full(batch.teacher.neck.detach())
            student = resized(full(batch.student.neck), teacher)
            if isinstance(self.config, GTBoxConfig):
                shape = (teacher.shape[-2], teacher.shape[-1])
                mask = footprints(batch.teacher_targets, shape, batch.teacher_cell)[:, 0]
                # (cells, C): the rest of the map need not be computed, and there may be no cell,
                # which a convolution refuses.
                student = functional.linear(
                    student.movedim(1, -1)[mask], self.adapter.weight.flatten(1), self.adapter.bias
                )
                teacher = teacher.movedim(1, -1)[mask]
            else:
                student = self.adapter(student)
            error = (student - teacher).square().sum()
            scale = teacher.square().sum().clamp(min=torch.finfo(teacher.dtype).tiny)
            return {self.config.type: self.config.weight * error / scale}


def resized(feature: Tensor, like: Tensor) -> Tensor:
    """A (B, C, h, w) map on the (H, W) grid of `like`, bilinearly; itself where they agree."""
    if feature.shape[-2:] == like.shape[-2:]:
        return feature
    return functional.interpolate(feature, like.shape[-2:], mode="bilinear", align_corners=False)
