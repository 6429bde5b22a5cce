"""The methods there are, as typed configuration."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch import nn

from kd3d_core.codec.heads import head_channels
from kd3d_core.distillation.itkd import ItKD
from kd3d_core.distillation.itkd import ItKDConfig
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import DistillationLoss
from kd3d_core.distillation.response import HeatmapKL
from kd3d_core.distillation.response import HeatmapKLConfig
from kd3d_core.distillation.response import PPLogit
from kd3d_core.distillation.response import PPLogitConfig
from kd3d_core.errors import Kd3dError
from kd3d_core.models.config import ModelConfig

MethodConfig = Annotated[ItKDConfig | HeatmapKLConfig | PPLogitConfig, Field(discriminator="type")]


class CombinedLoss(DistillationLoss):
    """The terms of several methods together."""

    def __init__(self, losses: Sequence[DistillationLoss]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The union of the methods' terms."""
        terms: dict[str, Tensor] = {}
        for loss in self.losses:
            terms |= loss(batch)
        return terms


def build_loss(
    methods: Sequence[MethodConfig], student: ModelConfig, teacher: ModelConfig
) -> CombinedLoss:
    """The loss of `methods` between two networks.

    Raises:
        Kd3dError: The teacher's classes or range are not the student's.
    """
    check_pair(student, teacher)
    losses: list[DistillationLoss] = []
    for method in methods:
        if isinstance(method, ItKDConfig):
            widths = tuple(head_channels(len(student.classes)).values())
            losses.append(ItKD(neck_width(student), neck_width(teacher), widths, method))
        elif isinstance(method, HeatmapKLConfig):
            losses.append(HeatmapKL(method))
        else:
            losses.append(PPLogit(method))
    return CombinedLoss(losses)


def neck_width(model: ModelConfig) -> int:
    """Channels of the neck's output."""
    return len(model.blocks) * model.neck_channels


def check_pair(student: ModelConfig, teacher: ModelConfig) -> None:
    """Refuse a teacher that speaks of other classes or of another piece of ground."""
    if student.classes != teacher.classes:
        raise Kd3dError(
            f"the teacher {teacher.name} knows {', '.join(teacher.classes)}, but the student "
            f"{student.name} shall learn {', '.join(student.classes)}: give both the same classes."
        )
    for axis in ("x", "y"):
        mine, theirs = getattr(student.grid, axis), getattr(teacher.grid, axis)
        if mine != theirs:
            raise Kd3dError(
                f"the teacher {teacher.name} covers {axis} = {theirs} m, but the student "
                f"{student.name} {mine} m: choose the same range (the cells may differ)."
            )
