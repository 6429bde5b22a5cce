"""RDD: representation disparity-aware distillation (Li et al., ICCV 2023, 2308.10308)."""

from typing import Literal

import torch
from pydantic import Field
from pydantic import NonNegativeFloat
from pydantic import NonNegativeInt
from pydantic import PositiveFloat
from pydantic import PositiveInt
from pydantic import model_validator
from torch import Tensor

from kd3d_core.config import Config
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import DistillationLoss
from kd3d_core.distillation.protocol import full
from kd3d_core.distillation.protocol import of_task
from kd3d_core.distillation.protocol import zero
from kd3d_core.distillation.regions import Regions
from kd3d_core.distillation.regions import crop
from kd3d_core.distillation.regions import propose
from kd3d_core.models.layers import conv_norm_relu
from kd3d_core.models.layers import full_precision


class RDDConfig(Config):
    """Settings of RDD; the weights, the temperature and lambda are the paper's."""

    type: Literal["rdd"] = "rdd"
    feature: NonNegativeFloat = 0.2
    """Alpha 1: weight of the feature loss."""
    logit: NonNegativeFloat = 0.2
    """Alpha 2: weight of the logit loss."""
    regression: NonNegativeFloat = 0.0
    """Weight of the regression outputs within the logit loss; none for centre-based detectors."""
    disparity: Literal["feature", "score"] = "feature"
    """What the disparity of a pair is measured by: distributions of features, or scores."""
    threshold: NonNegativeFloat = 0.1
    """Lambda: pairs whose disparity exceeds this share of the batch's mean are distilled."""
    temperature: PositiveFloat = 4.0
    """Tau of the distributions over channels."""
    teacher_proposals: NonNegativeInt = 32
    """M: most regions that the teacher proposes in a frame; 0 leaves it to the student."""
    student_proposals: NonNegativeInt = 32
    """N: most regions that the student proposes in a frame."""
    score: float = Field(default=0.1, ge=0, lt=1)
    """Peaks of a heatmap must score above this to be proposals."""
    region: PositiveInt = 5
    """Samples along each edge of a region. The smallest region is 5 cells wide."""

    @model_validator(mode="after")
    def _check(self) -> "RDDConfig":
        if not self.teacher_proposals + self.student_proposals:
            raise ValueError("teacher_proposals, student_proposals: one of them must be above 0")
        return self


class RDD(DistillationLoss):
    """Match features and scores in the regions where the two networks see different things.

    Both networks propose regions (`regions.propose`: axis-aligned, under the Gaussian round a
    peak), each is cropped from both networks' maps, and those pairs whose disparity is large are
    distilled. The disparity of a pair is the distance of the two distributions over channels
    (softmax at temperature tau at every location); the inner problem min_m sum m_i (lambda - d_i)
    over m in [0, 1] is solved exactly by m_i = 1[d_i > lambda], a constant in the outer step. d is
    divided by its mean over the batch, so lambda has no unit.

    Where the paper leaves a choice:
        - psi (1x1 convolution, batch norm, ReLU) works on the student's cropped region, not on
          its whole map: a 1x1 convolution and a crop commute, the statistics of the norm are those
          of the regions, and it costs a fraction. Its output, not its input, goes through
          the softmax, so that distributions are compared with distributions.
        - Networks of one width are compared without psi for the disparity, so that a student
          that equals its teacher has none; else with psi.
        - The distance of a pair is tau * sqrt(C) * the L2 norm of the difference of its two
          distributions at a location, summed over the R x R locations, as the L1 of the scores
          is. To first order tau * sqrt(C) turns it into the RMS difference of the features
          (centred over the channels), whatever C and tau are. The bare norm of the whole region
          is some hundred times smaller and its gradient nothing beside the detection loss's.
        - The logit loss is the sum over the locations of a region and over the classes, as
          printed; regression outputs are compared at the centre of the region.
        - `disparity: score` selects by the distance of the scores instead: most pairs agree in
          them and a few do not at all, so lambda = 0.1 sorts out what the features, which never
          agree, keep.

    Both terms are divided by the number of pairs in the batch, kept or not, as printed.

    Args:
        student_channels: Width of the student's neck output.
        teacher_channels: Width of the teacher's.
        config: Weights and options.
        tasks: `codec.heads.task_of_class` of the student and of the teacher; empty for a head
            without tasks.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        config: RDDConfig | None = None,
        tasks: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
    ) -> None:
        super().__init__()
        self.tasks = tasks
        self.config = config or RDDConfig()
        self.adapter = conv_norm_relu(student_channels, teacher_channels, kernel=1)
        self.same_width = student_channels == teacher_channels
        self._monitors: dict[str, Tensor] = {}

    def monitors(self) -> dict[str, Tensor]:
        """Of the last batch: the share of the pairs that was kept, and the pairs of a frame."""
        return self._monitors

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The weighted terms "rdd_feature" and "rdd_logit"; 0 where there is no proposal."""
        config = self.config
        with full_precision(batch.student.neck.device):
            regions = self.pairs(batch)
            total = int(regions.mask.sum())
            if total == 0:
                self._watch(regions, torch.zeros(1))
                nothing = zero(batch.student.neck, batch.student.maps.heatmap, *self.parameters())
                return {"rdd_feature": nothing, "rdd_logit": nothing}
            student = crop(full(batch.student.neck), regions, config.region)
            teacher = crop(full(batch.teacher.neck.detach()), regions, config.region)
            lifted = self.adapter(student)
            distance = self.distance(lifted, teacher)
            scores, regression = self._logits(batch, regions)
            if config.disparity == "score":
                disparity = scores
            else:
                disparity = self.distance(student, teacher) if self.same_width else distance
            kept = select(disparity, config.threshold)
            self._watch(regions, kept)
            logit = scores + config.regression * regression
            return {
                "rdd_feature": config.feature * (kept * distance).sum() / total,
                "rdd_logit": config.logit * (kept * logit).sum() / total,
            }

    def pairs(self, batch: DistillationBatch) -> Regions:
        """(B, M + N) regions that the two networks propose."""
        config, (mine, theirs) = self.config, self.tasks
        teacher = propose(
            batch.teacher.maps,
            batch.teacher_cell,
            config.teacher_proposals,
            config.score,
            theirs,
        )
        student = propose(
            batch.student.maps, batch.student_cell, config.student_proposals, config.score, mine
        )
        return teacher + student

    def distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """How far apart the pairs are.

        Args:
            student: (P, C, R, R) features of regions.
            teacher: (P, C, R, R).

        Returns:
            (P,), 0 where the two have the same distributions.
        """
        tau = self.config.temperature
        apart = distribution(student, tau) - distribution(teacher, tau)
        norm = torch.linalg.vector_norm(apart, dim=1).sum(dim=(1, 2))
        return tau * apart.shape[1] ** 0.5 * norm

    def _logits(self, batch: DistillationBatch, regions: Regions) -> tuple[Tensor, Tensor]:
        """(P,) L1 distances of the pairs' scores and, if asked for, regression outputs."""
        student, teacher = batch.student.maps, batch.teacher.maps
        mine, theirs = (
            crop(full(maps.heatmap).sigmoid(), regions, self.config.region)
            for maps in (student, teacher)
        )
        scores = (mine - theirs.detach()).abs().sum(dim=(1, 2, 3))
        regression = torch.zeros_like(scores)
        if not self.config.regression:
            return scores, regression
        label = regions.label[regions.mask][:, None]
        # Offsets are counted in output cells: on different grids they cannot be compared.
        same = student.heatmap.shape[-2:] == teacher.heatmap.shape[-2:]
        for name in ("offset", "height", "size", "rotation", "velocity")[0 if same else 1 :]:
            mine, theirs = (
                of_task(crop(full(getattr(maps, name)), regions, 1)[:, None, :, 0, 0], label, task)
                for maps, task in zip((student, teacher), self.tasks, strict=True)
            )
            regression = regression + (mine - theirs.detach()).abs().sum(dim=(1, 2))
        return scores, regression

    def _watch(self, regions: Regions, kept: Tensor) -> None:
        """Remember what `monitors` tells."""
        self._monitors = {
            "rdd_keep_rate": kept.float().mean(),
            "rdd_pairs": regions.mask.sum() / len(regions.mask),
        }


def distribution(feature: Tensor, temperature: float) -> Tensor:
    """(P, C, R, R) features as distributions over the channels at every location."""
    return (feature / temperature).softmax(dim=1)


@torch.no_grad()
def select(disparity: Tensor, threshold: float) -> Tensor:
    """The inner problem: which pairs are distilled.

    Args:
        disparity: (P,) distances >= 0.
        threshold: Lambda, as a share of their mean.

    Returns:
        (P,) of the same dtype, 1 where the distance over its mean exceeds lambda, else 0: the
        m in [0, 1] that minimises sum m_i (lambda - d_i).
    """
    mean = disparity.mean().clamp(min=torch.finfo(disparity.dtype).tiny)
    return (disparity / mean > threshold).to(disparity.dtype)
