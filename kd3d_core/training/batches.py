"""What the loaders give: samples, joined into batches."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields
from dataclasses import is_dataclass
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kd3d_core.codec.inputs import NetworkInput
from kd3d_core.codec.targets import CenterTargets
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.batch import TargetBatch
from kd3d_core.models.batch import collate
from kd3d_core.models.batch import collate_targets

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class TrainBatch:
    """What one training step takes; without a teacher its two fields are None.

    Attributes:
        inputs: Input of the student.
        targets: Ground truth on the student's output grid.
        teacher_inputs: The same augmented clouds encoded for the teacher.
        teacher_targets: The same objects on the teacher's output grid.
    """

    inputs: NetworkBatch
    targets: TargetBatch
    teacher_inputs: NetworkBatch | None = None
    teacher_targets: TargetBatch | None = None

    def to(self, device: torch.device) -> "TrainBatch":
        """The same batch on another device; what is shared stays shared."""
        return _with_tensors(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "TrainBatch":
        """The same batch where a graphics card can fetch it while it computes."""
        return _with_tensors(self, torch.Tensor.pin_memory)


@dataclass(frozen=True)
class ValBatch:
    """Encoded frames and what is true of them.

    Attributes:
        inputs: Input of the network.
        truth: Ground truth of each frame.
        num_points: (N,) int64 points in each box of each frame, or None.
    """

    inputs: NetworkBatch
    truth: list[Boxes3D]
    num_points: list[NDArray[np.int64] | None]

    def pin_memory(self) -> "ValBatch":
        """The same batch where a graphics card can fetch it while it computes."""
        return replace(self, inputs=_with_tensors(self.inputs, torch.Tensor.pin_memory))


def _with_tensors(batch: BatchT, change: Callable[[Tensor], Tensor]) -> BatchT:
    """A dataclass, and those in it, with every tensor changed; what is shared stays shared."""
    done: dict[int, object] = {}

    def changed(value: object) -> object:
        if id(value) in done:
            return done[id(value)]
        result = value
        if isinstance(value, Tensor):
            result = change(value)
        elif is_dataclass(value) and not isinstance(value, type):
            parts = {field.name: changed(getattr(value, field.name)) for field in fields(value)}
            result = replace(value, **parts)
        done[id(value)] = result
        return result

    return changed(batch)  # type: ignore[return-value]


@dataclass(frozen=True)
class Sample:
    """One encoded frame; the teacher's fields are the student's own where nothing differs."""

    inputs: NetworkInput
    targets: CenterTargets
    teacher_inputs: NetworkInput | None = None
    teacher_targets: CenterTargets | None = None


def collate_train(samples: Sequence[Sample]) -> TrainBatch:
    """Join samples; what teacher and student share is joined once."""
    inputs = collate([sample.inputs for sample in samples])
    targets = collate_targets([sample.targets for sample in samples])
    first = samples[0]
    if first.teacher_inputs is None or first.teacher_targets is None:
        return TrainBatch(inputs, targets)
    shared, aligned = first.teacher_inputs is first.inputs, first.teacher_targets is first.targets
    teacher_inputs = [s.teacher_inputs for s in samples if s.teacher_inputs is not None]
    teacher_targets = [s.teacher_targets for s in samples if s.teacher_targets is not None]
    return TrainBatch(
        inputs,
        targets,
        inputs if shared else collate(teacher_inputs),
        targets if aligned else collate_targets(teacher_targets),
    )


def collate_val(items: Sequence[tuple[NetworkInput, Frame]]) -> ValBatch:
    """Join validation frames."""
    truth = [frame.boxes if frame.boxes is not None else Boxes3D.empty() for _, frame in items]
    return ValBatch(
        inputs=collate([inputs for inputs, _ in items]),
        truth=truth,
        num_points=[frame.num_points for _, frame in items],
    )
