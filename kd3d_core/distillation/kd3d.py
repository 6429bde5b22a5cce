"""The project's own loss: the teacher's scores everywhere, its features and boxes in proposals."""

from typing import Literal

from pydantic import NonNegativeFloat
from torch import Tensor

from kd3d_core.config import Config
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import DistillationLoss
from kd3d_core.distillation.rdd import RDD
from kd3d_core.distillation.rdd import RDDConfig
from kd3d_core.distillation.response import HeatmapKL
from kd3d_core.distillation.response import HeatmapKLConfig


class Kd3dConfig(Config):
    """Settings of the loss; docs/distillation.md has what each part gives.

    It is meant to go with `start: {type: taught}`, which gives the larger part of the gain.
    """

    type: Literal["kd3d"] = "kd3d"
    feature: NonNegativeFloat = 0.5
    """Weight of the distance of feature distributions in both networks' proposals."""
    logit: NonNegativeFloat = 0.2
    """Weight of the distance of scores in these regions."""
    regression: NonNegativeFloat = 0.2
    """Weight of the boxes' numbers within the latter."""
    scores: NonNegativeFloat = 1.0
    """Weight of the divergence of the scores over the whole map."""


class Kd3d(DistillationLoss):
    """RDD's region pairs with the boxes compared too, and the heatmaps' divergence over the map.

    The proposals choose the places: what the teacher sees, and what the student thinks it sees.
    RDD's further selection by disparity keeps all of them at its lambda, because the networks
    differ about as much everywhere (watch `train/rdd_keep_rate`).

    Args:
        student_channels: Width of the student's neck output.
        teacher_channels: Width of the teacher's.
        config: The weights.
        tasks: As for `RDD`.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        config: Kd3dConfig | None = None,
        tasks: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
    ) -> None:
        super().__init__()
        config = config or Kd3dConfig()
        regions = RDDConfig(
            feature=config.feature,
            logit=config.logit,
            regression=config.regression,
        )
        self.regions = RDD(student_channels, teacher_channels, regions, tasks)
        self.scores = HeatmapKL(HeatmapKLConfig(weight=config.scores))

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The weighted terms of both parts."""
        return self.regions(batch) | self.scores(batch)

    def monitors(self) -> dict[str, Tensor]:
        """Those of the regions: the keep-rate and the number of pairs."""
        return self.regions.monitors()
