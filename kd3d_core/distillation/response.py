"""Distillation of the head's answers: heatmap divergence, and PP-logit of SparseKD."""

from collections import Counter
from typing import Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor
from torch.nn import functional

from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.config import Config
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import DistillationLoss
from kd3d_core.distillation.protocol import full
from kd3d_core.distillation.protocol import gather_cells
from kd3d_core.distillation.protocol import masked_mean
from kd3d_core.distillation.protocol import of_task
from kd3d_core.models.layers import full_precision


class HeatmapKLConfig(Config):
    """Settings of the heatmap divergence."""

    type: Literal["heatmap_kl"] = "heatmap_kl"
    weight: NonNegativeFloat = 1.0
    """Weight of the term."""
    focus: NonNegativeFloat = 1.0
    """Exponent on the difference of the scores: 0 is the plain divergence, more looks away from
    the many cells in which both see nothing (as in the quality focal loss, Li et al., NeurIPS
    2020, eq. 4)."""
    over: Literal["objects", "map"] = "objects"
    """What the sum over the map is divided by: the objects, as the detection loss is, or the
    frames' cells and classes, which makes it a mean and wants a weight some hundred times as
    large."""


class HeatmapKL(DistillationLoss):
    """Match the teacher's scores everywhere: also where it doubts what the label says.

    A cell's heatmap is a Bernoulli distribution for each class; the term is the Kullback-Leibler
    divergence from the teacher's to the student's (Hinton et al., 2015, for sigmoid outputs),
    summed over the map and divided by the number of objects, as the detection loss is. With
    `focus: 0` it is the plain baseline.
    """

    def __init__(self, config: HeatmapKLConfig | None = None) -> None:
        super().__init__()
        self.config = config or HeatmapKLConfig()

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The weighted term "heatmap_kl"."""
        # Mixed precision ends here: a sum over a whole map does not fit 8 bits of mantissa.
        with full_precision(batch.targets.mask.device):
            student = full(batch.student.maps.heatmap)
            teacher = _like(full(batch.teacher.maps.heatmap.detach()).sigmoid(), student)
            # In logits, so that no logarithm sees a zero; xlogy gives 0 where the teacher is sure.
            cross = functional.binary_cross_entropy_with_logits(student, teacher, reduction="none")
            entropy = torch.xlogy(teacher, teacher) + torch.xlogy(1 - teacher, 1 - teacher)
            divergence = (cross + entropy).clamp(min=0)
            if self.config.focus:
                # As a constant: the power's own gradient would be infinite where both agree.
                apart = (student.sigmoid() - teacher).detach().abs()
                divergence = divergence * apart**self.config.focus
            if self.config.over == "map":
                return {"heatmap_kl": self.config.weight * divergence.mean()}
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
    """Match the teacher's heatmap where it matters: near objects that the teacher sees too.

    Squared errors of the scores, summed over the classes, in a mean over the cells with the weight
    (highest score of the teacher in any class) x (highest Gaussian of the ground truth). Several
    tasks are taken each on its own, and their mean counts.

    Args:
        config: Weights.
        tasks: `codec.heads.task_of_class` of the student and of the teacher; empty for a head
            without tasks.
    """

    def __init__(
        self,
        config: PPLogitConfig | None = None,
        tasks: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
    ) -> None:
        super().__init__()
        self.config = config or PPLogitConfig()
        self.tasks = tasks

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The weighted terms "pp_logit" and, when it has a weight, "pp_regression"."""
        with full_precision(batch.targets.mask.device):
            student = full(batch.student.maps.heatmap).sigmoid()
            teacher = _like(full(batch.teacher.maps.heatmap.detach()).sigmoid(), student)
            sizes = list(Counter(self.tasks[0]).values()) or [student.shape[1]]
            parts = (item.split(sizes, 1) for item in (student, teacher, batch.targets.heatmap))
            errors = torch.stack([_pivotal(*part) for part in zip(*parts, strict=True)])
            terms = {"pp_logit": self.config.weight * errors.mean()}
            if self.config.regression:
                terms["pp_regression"] = self.config.regression * self._regression(batch)
            return terms

    def _regression(self, batch: DistillationBatch) -> Tensor:
        """L1 between the regression outputs at the objects, summed over the heads.

        Offsets are compared only when both grids are the same: they are counted in output cells.
        """
        same = batch.student.maps.heatmap.shape == batch.teacher.maps.heatmap.shape
        sides = (
            (batch.student.maps, batch.targets, self.tasks[0]),
            (batch.teacher.maps, batch.teacher_targets, self.tasks[1]),
        )
        mask = batch.targets.mask.bool() & batch.teacher_targets.mask.bool()
        terms = []
        for name in HEAD_NAMES[1 if same else 2 :]:
            mine, theirs = (
                of_task(gather_cells(full(getattr(maps, name)), truth.cell), truth.label, tasks)
                for maps, truth, tasks in sides
            )
            terms.append(masked_mean((mine - theirs.detach()).abs(), mask[..., None]))
        return torch.stack(terms).sum()


def _pivotal(student: Tensor, teacher: Tensor, gaussian: Tensor) -> Tensor:
    """Weighted squared error of the scores (B, K, H, W) of one task: (), without its weight."""
    weight = teacher.amax(dim=1, keepdim=True) * gaussian.amax(dim=1, keepdim=True)
    return masked_mean((student - teacher).square().sum(dim=1, keepdim=True), weight)


def _like(teacher: Tensor, student: Tensor) -> Tensor:
    """The teacher's (B, K, H, W) map on the student's grid."""
    if teacher.shape == student.shape:
        return teacher
    return functional.interpolate(
        teacher, student.shape[-2:], mode="bilinear", align_corners=False
    )
