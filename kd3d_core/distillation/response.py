"""Pivotal-position logit distillation (PP-logit of SparseKD, Yang et al., NeurIPS 2022)."""

from typing import Literal

from pydantic import NonNegativeFloat
from torch import Tensor
from torch.nn import functional

from kd3d_core.config import Config
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import DistillationLoss
from kd3d_core.distillation.protocol import gather_cells
from kd3d_core.distillation.protocol import masked_mean


class PPLogitConfig(Config):
    """Settings of PP-logit; the defaults are the paper's for centre-based voxel detectors."""

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
        teacher = batch.teacher.maps.heatmap.float().sigmoid()
        if teacher.shape != student.shape:
            teacher = functional.interpolate(
                teacher, student.shape[-2:], mode="bilinear", align_corners=False
            )
        gaussian = batch.targets.heatmap.amax(dim=1, keepdim=True)
        pivotal = teacher.amax(dim=1, keepdim=True) * gaussian
        terms = {"pp_logit": self.config.weight * masked_mean((student - teacher) ** 2, pivotal)}
        if self.config.regression:
            mask = batch.targets.mask.bool() & batch.teacher_targets.mask.bool()
            terms["pp_regression"] = self.config.regression * _regression(batch, mask)
        return terms


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
