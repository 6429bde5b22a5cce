"""Label distillation of SparseKD (Yang et al., NeurIPS 2022, 2205.15156, sec. 4.2)."""

from collections.abc import Sequence
from dataclasses import fields
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import PerClass
from kd3d_core.codec.decode import per_class
from kd3d_core.codec.heads import AnchorMaps
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.layout import decode_outputs
from kd3d_core.codec.rotation import decode_rotation
from kd3d_core.codec.targets import CenterTargets
from kd3d_core.codec.targets import make_targets
from kd3d_core.config import Config
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.iou import bev_iou
from kd3d_core.models.batch import AnchorTargetBatch
from kd3d_core.models.batch import TargetBatch
from kd3d_core.models.batch import collate_targets
from kd3d_core.models.config import ModelConfig


class LabelDistillConfig(Config):
    """Which of the teacher's boxes become labels beside the ground truth."""

    score: PerClass = 0.6
    """Boxes with a higher score do: one value (the paper's 0.6), or one by class name."""
    overlap: float = Field(default=0.1, ge=0, lt=1)
    """A box that overlaps ground truth of its class by more than this (IoU from above) is that
    object again and no label."""


class TeacherLabels:
    """Adds what the teacher is sure of to the targets of the frames that both networks see.

    Args:
        config: Which boxes.
        student: What learns, on the grid that training sees.
        teacher: What teaches, on that grid too.

    Raises:
        Kd3dError: `config.score` does not fit the classes.
    """

    def __init__(
        self, config: LabelDistillConfig, student: ModelConfig, teacher: ModelConfig
    ) -> None:
        score = per_class(config.score, teacher.classes, "distill.labels.score")
        self.config, self.student, self.teacher = config, student, teacher
        self.decode = DecodeConfig(score_threshold=tuple(score.tolist()))
        self.added = 0.0

    def __call__(
        self,
        targets: TargetBatch,
        teacher_targets: TargetBatch,
        outputs: HeadMaps[Tensor] | AnchorMaps[Tensor],
    ) -> tuple[TargetBatch, TargetBatch]:
        """The targets on both grids with the same new objects, or as they are when there is none.

        Args:
            targets: Ground truth of B frames on the student's output grid.
            teacher_targets: The same on the teacher's; may be the same object.
            outputs: What the teacher's head says, (B, C, H, W) each.
        """
        found = self._found(targets, outputs)
        self.added = sum(map(len, found)) / len(found)
        if not any(map(len, found)):
            return targets, teacher_targets
        merged = self._merged(targets, found, self.student)
        if teacher_targets is targets:
            return merged, merged
        return merged, self._merged(teacher_targets, found, self.teacher)

    def monitors(self) -> dict[str, Tensor]:
        """How many labels a frame of the last batch got, as "labels_added"."""
        return {"labels_added": torch.tensor(self.added)}

    def _found(
        self, targets: TargetBatch, outputs: HeadMaps[Tensor] | AnchorMaps[Tensor]
    ) -> list[Boxes3D]:
        """For each frame the teacher's boxes that are no ground truth yet."""
        arrays = [item.detach().float().cpu().numpy() for item in outputs.as_tuple()]
        truth = targets.to("cpu")
        model, result = self.teacher, []
        for frame in range(len(arrays[0])):
            boxes = decode_outputs(
                [array[frame] for array in arrays],
                model.head.layout,
                model.grid,
                model.output_stride,
                model.classes,
                self.decode,
            )
            known, label = objects_from_above(truth, frame, self.student)
            again = bev_iou(boxes.bev, known) > self.config.overlap
            again &= boxes.label[:, None] == label
            result.append(_within(boxes[~again.any(axis=1)], model))
        return result

    @staticmethod
    def _merged(targets: TargetBatch, found: Sequence[Boxes3D], model: ModelConfig) -> TargetBatch:
        """The targets with the boxes of each frame drawn in, on the grid of `model`."""
        grid, stride, layout = model.grid, model.output_stride, model.head.layout
        made = [make_targets(boxes, grid, stride, layout=layout) for boxes in found]
        return merge_targets(targets, made)


def merge_targets(targets: TargetBatch, more: Sequence[CenterTargets]) -> TargetBatch:
    """Targets as if the objects of `more` had been there from the start, but for their order.

    An anchor that objects of both ask for keeps to its first.

    Args:
        targets: Of B frames.
        more: Further objects of each of the B frames, on the same grid.
    """
    added = collate_targets(more).to(targets.heatmap.device)
    single = ("heatmap", "anchors")
    lists = [field.name for field in fields(targets) if field.name not in single]
    # Drawing keeps the higher value where peaks meet, so a maximum is the drawing of both.
    changed: dict[str, Any] = {"heatmap": torch.maximum(targets.heatmap, added.heatmap)}
    for name in lists:
        changed[name] = torch.cat([getattr(targets, name), getattr(added, name)], 1)
    if targets.anchors is not None and added.anchors is not None:
        changed["anchors"] = _merge_anchors(targets.anchors, added.anchors)
    return replace(targets, **changed)


def _merge_anchors(targets: AnchorTargetBatch, more: AnchorTargetBatch) -> AnchorTargetBatch:
    """The anchors of both; `IGNORED` is the lowest label, and wins over background."""
    label = torch.where(targets.label >= 0, targets.label, more.label)
    label = torch.where(label >= 0, label, torch.minimum(targets.label, more.label))
    free = targets.label.flatten(1)[more.frame, more.positive] < 0
    names = ("frame", "positive", "residual", "direction")
    joined = {
        name: torch.cat([getattr(targets, name), getattr(more, name)[free]]) for name in names
    }
    return AnchorTargetBatch(label=label, **joined)


def objects_from_above(
    targets: TargetBatch, frame: int, model: ModelConfig
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The rectangles that one frame's targets were made from.

    Args:
        targets: On the CPU, on the output grid of `model`.
        frame: Which of the B frames.
        model: Whose grid it is.

    Returns:
        (N, 5) x, y, length, width [m], yaw [rad], and (N,) labels.
    """
    mask = targets.mask[frame].bool()
    names = ("cell", "offset", "size", "rotation", "label")
    own = (getattr(targets, name)[frame][mask].numpy() for name in names)
    cell, offset, size, rotation, label = own
    row, column = np.divmod(cell, targets.heatmap.shape[-1])
    step = model.grid.cell * model.output_stride
    x = model.grid.x[0] + (column + offset[:, 0]) * step
    y = model.grid.y[0] + (row + offset[:, 1]) * step
    bev = np.column_stack([x, y, np.exp(size[:, :2]), decode_rotation(rotation)])
    return bev.astype(np.float32), label


def _within(boxes: Boxes3D, model: ModelConfig) -> Boxes3D:
    """The boxes with their centre on the ground of `model`, whatever the rounding of its cells.

    Both grids have to take the same ones: the objects of two `TargetBatch` correspond by order.
    """
    margin = 1e-3
    keep = np.ones(len(boxes), np.bool_)
    for axis, (low, high) in enumerate((model.grid.x, model.grid.y)):
        keep &= (boxes.center[:, axis] >= low + margin) & (boxes.center[:, axis] < high - margin)
    return boxes[keep]
