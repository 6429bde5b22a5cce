"""Distillation of the head's answers: heatmap divergence, and PP-logit of SparseKD."""

from typing import Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor
from torch.nn import functional

from kd3d_core.config import Config
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import DistillationLoss
from kd3d_core.distillation.protocol import gather_cells
from kd3d_core.distillation.protocol import masked_mean


class HeatmapKLConfig(Config):
    """Settings of the heatmap divergence."""

    type: Literal["heatmap_kl"] = "heatmap_kl"
    weight: NonNegativeFloat = 1.0
    """Weight of the term."""
    focus: NonNegativeFloat = 1.0
    """Exponent on the difference of the scores: 0 is the plain divergence, more looks away from
    the many cells in which both see nothing (as in the quality focal loss, Li et al., NeurIPS
    2020, eq. 4)."""


class HeatmapKL(DistillationLoss):
    """Match the teacher's scores everywhere: also where it doubts what the label says.

    A cell's heatmap is a Bernoulli distribution for each class; the term is the Kullback-Leibler
    divergence from the teacher's to the student's (Hinton et al., 2015, for sigmoid outputs),
    summed over the map and divided by the number of objects, as the detection loss is.
    """

    def __init__(self, config: HeatmapKLConfig | None = None) -> None:
        super().__init__()
        self.config = config or HeatmapKLConfig()

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The weighted term "heatmap_kl"."""
        # Mixed precision ends here: a sum over a whole map does not fit 8 bits of mantissa.
        with torch.autocast(batch.targets.mask.device.type, enabled=False):
            student = batch.student.maps.heatmap.float()
            teacher = _like(batch.teacher.maps.heatmap.float().sigmoid(), student)
            # In logits, so that no logarithm sees a zero; xlogy gives 0 where the teacher is sure.
            cross = functional.binary_cross_entropy_with_logits(student, teacher, reduction="none")
            entropy = torch.xlogy(teacher, teacher) + torch.xlogy(1 - teacher, 1 - teacher)
            divergence = (cross + entropy).clamp(min=0)
            if self.config.focus:
                # As a constant: the power's own gradient would be infinite where both agree.
                apart = (student.sigmoid() - teacher).detach().abs()
                divergence = divergence * apart**self.config.focus
            objects = batch.targets.mask.sum().clamp(min=1)
            return {"heatmap_kl": self.config.weight * divergence.sum() / objects}


class PPLogitConfig(Config):
    """Settings of PP-logit (SparseKD, Yang et al., NeurIPS 2022).

    The defaults are the paper's for centre-based voxel detectors.
    """

    type: Literal["pp_logit"] = "pp_logit"
    weight: NonNegativeFloat = 10.0
    """Weight of the heatmap term (the paper: 10, 15 for its smallest students, 7 for pillars)."""
    regression: NonNegativeFloat = 0.2
    """Weight of the L1 between regression outputs at object centres (0 for pillars)."""


class PPLogit(DistillationLoss):
    """Match the teacher's heatmap where it matters: near objects that the teacher sees too."""

    def __init__(self, config: PPLogitConfig | None = None) -> None:
        super().__init__()
        self.config = config or PPLogitConfig()

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The weighted terms "pp_logit" and, when it has a weight, "pp_regression"."""
        student = batch.student.maps.heatmap.float().sigmoid()
        teacher = _like(batch.teacher.maps.heatmap.float().sigmoid(), student)
        gaussian = batch.targets.heatmap.amax(dim=1, keepdim=True)
        pivotal = teacher.amax(dim=1, keepdim=True) * gaussian
        terms = {"pp_logit": self.config.weight * masked_mean((student - teacher) ** 2, pivotal)}
        if self.config.regression:
            mask = batch.targets.mask.bool() & batch.teacher_targets.mask.bool()
            terms["pp_regression"] = self.config.regression * _regression(batch, mask)
        return terms


def _like(teacher: Tensor, student: Tensor) -> Tensor:
    """The teacher's (B, K, H, W) map on the student's grid."""
    if teacher.shape == student.shape:
        return teacher
    return functional.interpolate(
        teacher, student.shape[-2:], mode="bilinear", align_corners=False
    )


def _regression(batch: DistillationBatch, mask: Tensor) -> Tensor:
    """L1 between the regression outputs at (B, M) objects, summed over the heads.

    Offsets are compared only when both grids are the same: they are counted in output cells.
    """
    same = batch.student.maps.heatmap.shape == batch.teacher.maps.heatmap.shape
    names = ("offset", "height", "size", "rotation", "velocity")[0 if same else 1 :]
    total = batch.student.maps.heatmap.new_zeros((), dtype=mask.new_zeros(()).float().dtype)
    for name in names:
        student = gather_cells(getattr(batch.student.maps, name), batch.targets.cell)
        teacher = gather_cells(getattr(batch.teacher.maps, name), batch.teacher_targets.cell)
        total = total + masked_mean((student.float() - teacher.float()).abs(), mask[..., None])
    return total
