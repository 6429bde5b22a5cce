"""itKD: interchange transfer-based knowledge distillation (Cho et al., CVPR 2023, 2205.15531)."""

import itertools
from typing import Literal

import torch
from pydantic import NonNegativeFloat
from pydantic import PositiveInt
from pydantic import model_validator
from torch import Tensor
from torch import nn
from torch.nn import functional

from kd3d_core.config import Config
from kd3d_core.distillation.attention import Fusion
from kd3d_core.distillation.attention import HeadAttention
from kd3d_core.distillation.attention import at_objects
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import DistillationLoss
from kd3d_core.distillation.protocol import footprints
from kd3d_core.distillation.protocol import full
from kd3d_core.distillation.protocol import gather_cells
from kd3d_core.distillation.protocol import masked_mean
from kd3d_core.models.layers import full_precision


class ItKDConfig(Config):
    """Settings of itKD.

    The defaults are the paper's, but for `fusion`, of which the paper says no more than "1x1". The
    published code (github.com/hyeon-jo/interchange-transfer-KD) is not quite its paper:

    ============== ================= ========================================
    option         paper             published code
    ============== ================= ========================================
    compressed_on  objects           map
    decoder        mirror            narrow, lifted again to meet the teacher
    heatmap        one form for both mixed: student sigmoid, teacher logits
    fusion         1x1 layer         free
    attention_over objects           objects_sum: the channels are added
    reconstruct    other             other
    lift           student           student
    detach         false             false
    ============== ================= ========================================

    The paper's ablations are `reconstruct: self` and `lift: teacher`.

    Its total of 0.5 * distillation + 0.5 * detection is `weight: 0.5` here and
    `detection_weight: 0.5` of the training. Its squared error at the centres is divided by the
    length of the padded list of objects, ours by the objects there are.
    """

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
    """Where compressed features are compared: on objects or everywhere."""
    center_l2: bool = True
    """Add a squared error at the object centres to the interchange transfer loss."""
    reconstruct: Literal["other", "self"] = "other"
    """What each network's decoded feature shall resemble: the other network's, or its own."""
    lift: Literal["student", "teacher"] = "student"
    """Whose feature the 1x1 buffer brings to the other's width before the encoder."""
    decoder: Literal["mirror", "narrow"] = "mirror"
    """Width of the decoder's output: that of the encoder's input, or the student's."""
    detach: bool = False
    """Keep the teacher's decoded feature from pulling at the student's."""
    heatmap: Literal["sigmoid", "logits", "mixed"] = "sigmoid"
    """Which form of the heatmaps enters the head attention. "mixed" (the student's as sigmoid, the
    teacher's as logits) is here for comparison only: identical networks differ in it."""
    fusion: Fusion = "mean"
    """How inter- and intra-head attention join: their mean, a learned convex combination (which
    cannot collapse to zero), or a free 1x1 layer (which can: see the monitor `itkd_fusion`)."""
    attention_over: Literal["objects", "objects_sum"] = "objects"
    """The attention loss of an object is the mean over the channels, or the sum."""
    pool: PositiveInt = 1
    """Average features over this many cells each way before they are compared; 2 quarters the cost
    of the feature terms, which matters when training on a CPU."""

    @model_validator(mode="after")
    def _check(self) -> "ItKDConfig":
        if self.decoder == "narrow" and self.lift == "teacher":
            raise ValueError("decoder: narrow needs lift: student")
        return self


class AutoEncoder(nn.Module):
    """The channel-wise autoencoder that teacher and student share (sec. 3.2).

    1x1 convolutions, ReLU between them, none last: C -> C/3 -> C/6 -> C/12 and back.

    Args:
        channels: Width C of its input.
        outputs: Width of its output; None for C.
    """

    def __init__(self, channels: int, outputs: int | None = None) -> None:
        super().__init__()
        widths = [channels, *(max(channels // part, 1) for part in (3, 6, 12))]
        self.encoder = _pointwise(widths)
        self.decoder = _pointwise([*widths[:0:-1], outputs or channels])

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> compressed (B, C / 12, H, W) and decoded (B, outputs, H, W)."""
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
        tasks: `codec.heads.task_of_class` of the student and of the teacher; empty for a head
            without tasks. `head_channels` are those of a head without tasks either way.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        head_channels: tuple[int, ...],
        config: ItKDConfig | None = None,
        tasks: tuple[tuple[int, ...], tuple[int, ...]] = ((), ()),
    ) -> None:
        super().__init__()
        self.tasks = tasks
        self.config = config or ItKDConfig()
        low, high = student_channels, teacher_channels
        if self.config.lift == "teacher":
            low, high = high, low
        self.buffer: nn.Module = nn.Identity() if low == high else nn.Conv2d(low, high, 1)
        self.autoencoder = AutoEncoder(high, low if self.config.decoder == "narrow" else None)
        self.attention = HeadAttention(sum(head_channels), self.config.fusion)

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The weighted terms "itkd_interchange", "itkd_compressed" and "itkd_attention"."""
        config, terms = self.config, {}
        if config.interchange or config.compressed:
            interchange, compressed = self._feature_terms(batch)
            terms["itkd_interchange"] = config.weight * config.interchange * interchange
            terms["itkd_compressed"] = config.weight * config.compressed * compressed
        if config.attention:
            attention = config.weight * config.attention * self._attention_term(batch)
            terms["itkd_attention"] = attention
        return terms

    def monitors(self) -> dict[str, Tensor]:
        """The free fusion's norm over that at its start: towards 0 it has collapsed."""
        norm = self.attention.shrinkage()
        return {} if norm is None else {"itkd_fusion": norm}

    def _attention_term(self, batch: DistillationBatch) -> Tensor:
        """Head attention loss (sec. 3.3)."""
        config, mine, theirs = self.config, *self.tasks
        student = at_objects(
            batch.student.maps, batch.targets, mine, sigmoid=config.heatmap != "logits"
        )
        teacher = at_objects(
            batch.teacher.maps, batch.teacher_targets, theirs, sigmoid=config.heatmap == "sigmoid"
        )
        mask = batch.targets.mask.bool() & batch.teacher_targets.mask.bool()
        loss = self.attention.loss(student, teacher, mask)
        if config.attention_over == "objects_sum":
            loss = loss * sum(item.shape[2] for item in student)
        return loss

    def _feature_terms(self, batch: DistillationBatch) -> tuple[Tensor, Tensor]:
        """Interchange transfer loss (eq. 5) and compressed representation loss (eq. 3)."""
        config = self.config
        student, teacher, cell, mask = self._maps(batch)
        unlifted, objects = student, batch.teacher_targets.mask
        if config.lift == "student":
            student = self.buffer(student)
        else:
            teacher = self.buffer(teacher)
        student_code, from_student = self.autoencoder(student)
        teacher_code, from_teacher = self.autoencoder(teacher)
        if config.compressed_on == "map":
            mask = torch.ones_like(mask)
        # Mixed precision ends here: sums over a whole map do not fit 8 bits of mantissa.
        with full_precision(mask.device):
            compressed = masked_mean((full(student_code) - full(teacher_code)).abs(), mask)
        if config.decoder == "narrow":
            student = unlifted
        made = [from_teacher, from_student]
        if config.reconstruct == "self":
            made.reverse()
        if config.decoder == "narrow":
            made[1] = self.buffer(made[1])
        with full_precision(mask.device):
            wanted = [student.detach() if config.detach else student, teacher]
            interchange = torch.stack(
                [self._error(*pair, cell, objects) for pair in zip(made, wanted, strict=True)]
            ).sum()
        return interchange, compressed

    def _maps(self, batch: DistillationBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Both features on one grid, the objects' cells on it and the cells under objects."""
        teacher, student = batch.teacher.neck.detach(), batch.student.neck
        pool = self.config.pool
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
        return student, teacher, cell, mask

    def _error(self, made: Tensor, wanted: Tensor, cell: Tensor, mask: Tensor) -> Tensor:
        """L1 over the map and, if asked for, L2 at the (B, M) cells of objects."""
        made, wanted = full(made), full(wanted)
        error = functional.l1_loss(made, wanted)
        if self.config.center_l2:
            apart = gather_cells(made, cell) - gather_cells(wanted, cell)
            error = error + masked_mean(apart**2, mask[..., None])
        return error
