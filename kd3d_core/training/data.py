"""Frames to batches: load, paste, augment, encode for one or two networks, collate."""

from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import lightning
import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from torch.utils.data import Dataset
from torch.utils.data import Sampler

from kd3d_core.codec.inputs import NetworkInput
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.targets import CenterTargets
from kd3d_core.codec.targets import make_targets
from kd3d_core.datasets.augment import augment
from kd3d_core.datasets.sampling import ObjectSampler
from kd3d_core.evaluation.score import spread
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.batch import TargetBatch
from kd3d_core.models.batch import collate
from kd3d_core.models.batch import collate_targets
from kd3d_core.models.config import ModelConfig
from kd3d_core.training.config import TrainConfig


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
        """The same batch on another device."""
        moved = self.inputs.to(device)
        targets = self.targets.to(device)
        if self.teacher_inputs is None or self.teacher_targets is None:
            return TrainBatch(moved, targets)
        shared = self.teacher_inputs is self.inputs
        aligned = self.teacher_targets is self.targets
        return TrainBatch(
            moved,
            targets,
            moved if shared else self.teacher_inputs.to(device),
            targets if aligned else self.teacher_targets.to(device),
        )


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


@dataclass(frozen=True)
class Sample:
    """One encoded frame; the teacher's fields are the student's own where nothing differs."""

    inputs: NetworkInput
    targets: CenterTargets
    teacher_inputs: NetworkInput | None = None
    teacher_targets: CenterTargets | None = None


def with_classes(frame: Frame, classes: Sequence[str]) -> Frame:
    """The frame with the boxes of `classes` only, their labels pointing into `classes`."""
    boxes = frame.boxes
    if boxes is None or boxes.classes == tuple(classes):
        return frame
    new = np.array([classes.index(name) if name in classes else -1 for name in boxes.classes])
    label = new[boxes.label] if len(boxes) else boxes.label
    keep = label >= 0
    kept = boxes[keep]
    return replace(
        frame,
        boxes=replace(kept, label=label[keep], classes=tuple(classes)),
        num_points=None if frame.num_points is None else frame.num_points[keep],
        track_id=None if frame.track_id is None else frame.track_id[keep],
    )


class Shuffled:
    """An endless stream of the frames of a data set, in another order each time round.

    Args:
        frames: The data set.
        seed: Decides the orders.
    """

    def __init__(self, frames: FrameDataset, *seed: int) -> None:
        self.frames = frames
        self.seed = seed
        self._epoch = -1
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)

    def __getitem__(self, number: int) -> Frame:
        epoch, place = divmod(number, len(self.frames))
        if epoch != self._epoch:
            generator = np.random.default_rng((*self.seed, epoch))
            self._order, self._epoch = generator.permutation(len(self.frames)), epoch
        return self.frames[int(self._order[place])]


class TrainSamples(Dataset[Sample]):
    """Sample number n of an endless, shuffled, augmented stream; n alone decides every draw.

    Args:
        frames: Frames to learn from.
        config: The run.
        model: The model that learns.
        teacher: The teacher, or None.
        sampler: Pastes objects into `frames`, or None.
        unlabelled: Frames with the teacher's boxes, which make up `unlabelled.share` of the
            stream, evenly spread; or None. Nothing is pasted into them: the objects of another
            sensor at another height would hang in the air.
    """

    def __init__(
        self,
        frames: FrameDataset,
        config: TrainConfig,
        model: ModelConfig,
        teacher: ModelConfig | None = None,
        sampler: ObjectSampler | None = None,
        unlabelled: FrameDataset | None = None,
    ) -> None:
        self.config = config
        crop = config.data.crop
        self.model = model if crop is None else crop.of(model)
        self.teacher = teacher if crop is None or teacher is None else crop.of(teacher)
        self.sampler = sampler
        self.labelled = Shuffled(frames, config.seed, 0)
        self.unlabelled = None if unlabelled is None else Shuffled(unlabelled, config.seed, 2)
        self.share = 0.0
        if unlabelled is not None and config.distill is not None:
            self.share = config.distill.unlabelled.share

    def __getitem__(self, number: int) -> Sample:
        rng = np.random.default_rng((self.config.seed, 1, number))
        # Of the first n samples floor(n share) are unlabelled.
        before, after = int(number * self.share), int((number + 1) * self.share)
        if self.unlabelled is not None and after > before:
            frame = with_classes(self.unlabelled[before], self.model.classes)
        else:
            frame = with_classes(self.labelled[number - before], self.model.classes)
            if self.sampler is not None:
                frame = self.sampler(frame, rng)
        if self.config.data.augment is not None:
            frame = augment(frame, self.config.data.augment, rng)
        return self._encode(frame)

    def _encode(self, frame: Frame) -> Sample:
        """Input and targets for the model, and for the teacher where there is one."""
        model, teacher = self.model, self.teacher
        inputs = encode(frame.cloud.points, model.grid, model.input)
        targets = self._targets(frame, model)
        if teacher is None:
            return Sample(inputs, targets)
        same_grid = teacher.grid == model.grid
        same_input = same_grid and teacher.input == model.input
        same_targets = same_grid and teacher.output_stride == model.output_stride
        return Sample(
            inputs,
            targets,
            inputs if same_input else encode(frame.cloud.points, teacher.grid, teacher.input),
            targets if same_targets else self._targets(frame, teacher),
        )

    def _targets(self, frame: Frame, model: ModelConfig) -> CenterTargets:
        """Targets of the boxes that somebody could see."""
        boxes = Boxes3D.empty(model.classes) if frame.boxes is None else frame.boxes
        known = frame.num_points is not None and frame.boxes is not None
        return make_targets(
            boxes,
            model.grid,
            model.output_stride,
            num_points=frame.num_points if known else None,
            min_points=self.config.data.min_points if known else 0,
            # Ground truth has the score 1; less is a teacher that is not sure.
            doubtful=boxes.score < 1,
        )


class ValFrames(Dataset[tuple[NetworkInput, Frame]]):
    """Evenly spaced frames of a data set, encoded; the points stay behind."""

    def __init__(self, frames: FrameDataset, model: ModelConfig, count: int) -> None:
        self.frames = frames
        self.model = model
        self.indices = spread(len(frames), count)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[NetworkInput, Frame]:
        frame = with_classes(self.frames[self.indices[place]], self.model.classes)
        inputs = encode(frame.cloud.points, self.model.grid, self.model.input)
        return inputs, replace(frame, cloud=frame.cloud[:0])


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


class StreamSampler(Sampler[int]):
    """Sample numbers from where training stands to its end, shared out among the ranks."""

    def __init__(self, total: int, start: int = 0, rank: int = 0, world: int = 1) -> None:
        self.total, self.start, self.rank, self.world = total, start, rank, world

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start + self.rank, self.total, self.world))

    def __len__(self) -> int:
        # The whole run also when it is resumed: Lightning counts its batches from the first.
        return len(range(self.rank, self.total, self.world))


class FrameModule(lightning.LightningDataModule):
    """Training and validation loaders.

    Args:
        config: The run.
        model: The model that learns.
        train: Frames to learn from.
        val: Frames to validate on, or None.
        teacher: The teacher, or None.
        sampler: Pastes objects, or None.
        unlabelled: Further frames, with the teacher's boxes, or None.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: ModelConfig,
        train: FrameDataset,
        val: FrameDataset | None,
        teacher: ModelConfig | None = None,
        sampler: ObjectSampler | None = None,
        unlabelled: FrameDataset | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.samples = TrainSamples(train, config, model, teacher, sampler, unlabelled)
        self.val_frames = None if val is None else ValFrames(val, model, config.data.val_frames)

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from the step at which training stands."""
        trainer = self.trainer
        world = 1 if trainer is None else trainer.world_size
        step = 0 if trainer is None else trainer.global_step
        rank = 0 if trainer is None else trainer.global_rank
        each = self.config.batch_size * world
        sampler = StreamSampler(self.config.max_steps * each, step * each, rank, world)
        return DataLoader(
            self.samples,
            batch_size=self.config.batch_size,
            sampler=sampler,
            collate_fn=collate_train,
            drop_last=True,
            **loader_options(self.config.data.workers),
        )

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """Validation batches, in order; none without a validation set."""
        if self.val_frames is None:
            return []
        return DataLoader(
            self.val_frames,
            batch_size=self.config.batch_size,
            collate_fn=collate_val,
            **loader_options(self.config.data.workers),
        )


def loader_options(workers: int) -> dict[str, Any]:
    """Options of a `DataLoader` with this many worker processes."""
    if workers == 0:
        return {"num_workers": 0}
    return {
        "num_workers": workers,
        "prefetch_factor": 3,
        "worker_init_fn": _calm_worker,
        # Fork shares the object database and the data set's index with the workers at no cost.
        "multiprocessing_context": "fork",
    }


def _calm_worker(worker: int) -> None:
    """One thread a worker: the cores belong to the training process."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
