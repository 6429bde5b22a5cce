"""The methods there are, as typed configuration."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch import nn

from kd3d_core.codec.heads import head_channels
from kd3d_core.codec.heads import task_of_class
from kd3d_core.distillation.features import FeatureHint
from kd3d_core.distillation.features import FitNetConfig
from kd3d_core.distillation.features import GTBoxConfig
from kd3d_core.distillation.itkd import ItKD
from kd3d_core.distillation.itkd import ItKDConfig
from kd3d_core.distillation.kd3d import Kd3d
from kd3d_core.distillation.kd3d import Kd3dConfig
from kd3d_core.distillation.pointdistiller import PointDistiller
from kd3d_core.distillation.pointdistiller import PointDistillerConfig
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import DistillationLoss
from kd3d_core.distillation.rdd import RDD
from kd3d_core.distillation.rdd import RDDConfig
from kd3d_core.distillation.response import HeatmapKL
from kd3d_core.distillation.response import HeatmapKLConfig
from kd3d_core.distillation.response import PPLogit
from kd3d_core.distillation.response import PPLogitConfig
from kd3d_core.errors import Kd3dError
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig

MethodConfig = Annotated[
    Kd3dConfig
    | ItKDConfig
    | RDDConfig
    | PointDistillerConfig
    | HeatmapKLConfig
    | PPLogitConfig
    | FitNetConfig
    | GTBoxConfig,
    Field(discriminator="type"),
]


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

    def monitors(self) -> dict[str, Tensor]:
        """The union of the methods' monitors."""
        watched: dict[str, Tensor] = {}
        for loss in self.losses:
            assert isinstance(loss, DistillationLoss)
            watched |= loss.monitors()
        return watched


def build_loss(
    methods: Sequence[MethodConfig], student: ModelConfig, teacher: ModelConfig
) -> CombinedLoss:
    """The loss of `methods` between two networks.

    Raises:
        Kd3dError: The teacher's classes or range are not the student's, or a method compares
            heatmaps and one of the two has none.
    """
    check_pair(student, teacher)
    for method in methods:
        _check_heads(method, student, teacher)
    return CombinedLoss([_loss(method, student, teacher) for method in methods])


def _loss(method: MethodConfig, student: ModelConfig, teacher: ModelConfig) -> DistillationLoss:
    """The loss of one method."""
    widths = neck_width(student), neck_width(teacher)
    tasks = _tasks(student), _tasks(teacher)
    if isinstance(method, Kd3dConfig):
        return Kd3d(*widths, method, tasks)
    if isinstance(method, ItKDConfig):
        heads = tuple(head_channels(len(student.classes)).values())
        return ItKD(*widths, heads, method, tasks)
    if isinstance(method, PointDistillerConfig):
        return PointDistiller(*widths, method)
    if isinstance(method, RDDConfig):
        return RDD(*widths, method, tasks)
    if isinstance(method, FitNetConfig | GTBoxConfig):
        return FeatureHint(*widths, method)
    if isinstance(method, HeatmapKLConfig):
        return HeatmapKL(method)
    return PPLogit(method, tasks)


def _check_heads(method: MethodConfig, student: ModelConfig, teacher: ModelConfig) -> None:
    """Refuse a method that compares heatmaps where a network has an anchor head."""
    if isinstance(method, ItKDConfig):
        compares = method.attention > 0
    else:
        compares = isinstance(method, Kd3dConfig | RDDConfig | HeatmapKLConfig | PPLogitConfig)
    for model in (student, teacher):
        if compares and not isinstance(model.head, HeadConfig):
            raise Kd3dError(
                f"the method {method.type} compares heatmaps, and {model.name} has an anchor "
                "head: distil features (fitnet, gt_box, point_distiller, itkd with attention: 0), "
                "or choose models with centre heads."
            )


def _tasks(model: ModelConfig) -> tuple[int, ...]:
    """The task of each class of a centre head with several; empty for other heads."""
    if not isinstance(model.head, HeadConfig) or not model.head.tasks:
        return ()
    return task_of_class(len(model.classes), model.head.tasks)


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
