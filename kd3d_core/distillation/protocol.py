"""What every distillation method sees and gives."""

from dataclasses import dataclass
from typing import Any
from typing import Protocol

import torch
from torch import Tensor
from torch import nn

from kd3d_core.codec.heads import HeadMaps


class Targets(Protocol):
    """What the methods need of the training targets of a batch (`models.losses.TargetBatch`).

    Attributes:
        heatmap: (B, K, H, W) float32 Gaussians in [0, 1] round the centres of the objects.
        cell: (B, M) int64 output cell of each object, row * W + column.
        mask: (B, M) bool, False where a place in the list is empty.
        label: (B, M) int64 class of each object.
        offset, size, rotation: (B, M, 2 / 3 / 4) as in `HeadMaps`.
    """

    @property
    def heatmap(self) -> Tensor: ...  # noqa: D102
    @property
    def cell(self) -> Tensor: ...  # noqa: D102
    @property
    def mask(self) -> Tensor: ...  # noqa: D102
    @property
    def label(self) -> Tensor: ...  # noqa: D102
    @property
    def offset(self) -> Tensor: ...  # noqa: D102
    @property
    def size(self) -> Tensor: ...  # noqa: D102
    @property
    def rotation(self) -> Tensor: ...  # noqa: D102


class NetworkOutput(Protocol):
    """What the methods need of a network's output (`models.detector.DetectorOutput`).

    Attributes:
        neck: (B, C, H, W) concatenated multi-scale features before the head.
        maps: Head maps, each (B, channels, H, W).
    """

    @property
    def neck(self) -> Tensor: ...  # noqa: D102
    @property
    def maps(self) -> HeadMaps[Tensor]: ...  # noqa: D102


@dataclass(frozen=True)
class DistillationBatch:
    """Both networks' answers to the same augmented frames.

    Attributes:
        student: Output of the student, with gradient.
        teacher: Output of the frozen teacher, without.
        targets: Ground truth on the student's output grid.
        teacher_targets: The same objects, in the same order, on the teacher's output grid.
        teacher_cell: Edge of an output cell of the teacher, and
        student_cell: of the student [m].
    """

    student: NetworkOutput
    teacher: NetworkOutput
    targets: Any
    teacher_targets: Any
    student_cell: float = 1.0
    teacher_cell: float = 1.0


class DistillationLoss(nn.Module):
    """Base of the methods: a batch in, named scalar terms out, whose sum joins the loss.

    The weights of the terms are applied already. Parameters of a method (adapters, autoencoders)
    are trained along with the student and are no part of the exported model.
    """

    def forward(self, batch: DistillationBatch) -> dict[str, Tensor]:
        """The weighted terms; each is a scalar, finite also when the batch has no object."""
        raise NotImplementedError

    def monitors(self) -> dict[str, Tensor]:
        """Scalars of the last forward pass that are worth a curve and are no loss, detached."""
        return {}


def gather_cells(maps: Tensor, cell: Tensor) -> Tensor:
    """Values of maps at given cells.

    Args:
        maps: (B, C, H, W).
        cell: (B, M) int64, row * W + column.

    Returns:
        (B, M, C).
    """
    flat = maps.flatten(2)
    index = cell[:, None, :].expand(-1, flat.shape[1], -1)
    return flat.gather(2, index).transpose(1, 2)


def footprints(targets: Any, shape: tuple[int, int], cell: float) -> Tensor:
    """Which output cells lie under an object; the cell of its centre always does.

    Args:
        targets: Ground truth on a grid of `shape`.
        shape: (H, W) of the output grid.
        cell: Edge of an output cell [m].

    Returns:
        (B, 1, H, W) bool.
    """
    rows, columns = shape
    mask = targets.mask.bool()
    covered = torch.zeros(len(mask), rows * columns, dtype=torch.bool, device=mask.device)
    frame, slot = mask.nonzero(as_tuple=True)
    if len(frame):
        index = targets.cell[frame, slot]
        offset = targets.offset[frame, slot]
        size = targets.size[frame, slot].exp() / cell
        sin, cos = nn.functional.normalize(targets.rotation[frame, slot, :2]).unbind(1)
        x = (
            torch.arange(columns, device=mask.device)
            + 0.5
            - (index % columns + offset[:, 0])[:, None]
        )
        y = (
            torch.arange(rows, device=mask.device)
            + 0.5
            - (index // columns + offset[:, 1])[:, None]
        )
        along = (cos[:, None] * x)[:, None, :] + (sin[:, None] * y)[:, :, None]
        across = (cos[:, None] * y)[:, :, None] - (sin[:, None] * x)[:, None, :]
        inside = (along.abs() <= size[:, 0, None, None] / 2) & (
            across.abs() <= size[:, 1, None, None] / 2
        )
        covered.index_put_((frame,), inside.flatten(1), accumulate=True)
        covered[frame, index] = True
    return covered.view(-1, 1, rows, columns)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` holds; 0 with a gradient of 0 where it holds nowhere.

    Args:
        values: Any shape.
        mask: Broadcastable to it, bool or float weights.
    """
    weight = mask.to(values.dtype).expand_as(values)
    return (values * weight).sum() / weight.sum().clamp(min=1e-6)


def of_task(values: Tensor, label: Tensor, task_of_class: tuple[int, ...]) -> Tensor:
    """What the task of an object's class says, of a centre head with several tasks.

    Args:
        values: (B, M, T * C) read at the objects: a block of C channels for each of T tasks.
        label: (B, M) int64 class of each object.
        task_of_class: `codec.heads.task_of_class`; empty for a head without tasks.

    Returns:
        (B, M, C).
    """
    count = max(task_of_class, default=0) + 1
    if count == 1:
        return values
    task = torch.tensor(task_of_class, device=label.device)[label]
    blocks = values.unflatten(2, (count, -1))
    index = task[..., None, None].expand(-1, -1, 1, blocks.shape[-1])
    return blocks.gather(2, index)[:, :, 0]


def full(values: Tensor) -> Tensor:
    """The values in float32, or in float64 if they are: sums over maps need the mantissa."""
    return values if values.dtype == torch.float64 else values.float()


def zero(*values: Tensor) -> Tensor:
    """A scalar 0 that gives every one of `values` a gradient of 0, be they infinite or NaN."""
    return torch.stack([full(value).flatten()[:0].sum() for value in values]).sum()
