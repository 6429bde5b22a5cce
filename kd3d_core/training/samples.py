"""Frames to samples: order, paste, augment, encode for one or two networks."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from kd3d_core.codec.inputs import NetworkInput
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.targets import CenterTargets
from kd3d_core.codec.targets import make_targets
from kd3d_core.datasets.augment import augment
from kd3d_core.datasets.balance import ClassBalance
from kd3d_core.datasets.relabel import with_classes
from kd3d_core.datasets.sampling import ObjectSampler
from kd3d_core.evaluation.score import spread
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.config import ModelConfig
from kd3d_core.training.batches import Sample
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.on_ground import on_ground


class Shuffled:
    """An endless stream of the frames of a data set, in another order each time round.

    The number alone decides the frame, so a run that is resumed goes on where it was.

    Args:
        frames: The data set.
        seed: Decides the orders.
        balance: What each time round is made of; None is every frame once.
    """

    def __init__(
        self, frames: FrameDataset, *seed: int, balance: ClassBalance | None = None
    ) -> None:
        self.frames = frames
        self.seed = seed
        self.balance = balance
        self._round = len(frames) if balance is None else len(balance)
        self._epoch = -1
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)

    def __getitem__(self, number: int) -> Frame:
        epoch, place = divmod(number, self._round)
        if epoch != self._epoch:
            generator = np.random.default_rng((*self.seed, epoch))
            if self.balance is None:
                self._order = generator.permutation(len(self.frames))
            else:
                self._order = self.balance.order(generator)
            self._epoch = epoch
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
        balance: Which of `frames` come how often, or None.
    """

    def __init__(
        self,
        frames: FrameDataset,
        config: TrainConfig,
        model: ModelConfig,
        teacher: ModelConfig | None = None,
        sampler: ObjectSampler | None = None,
        unlabelled: FrameDataset | None = None,
        balance: ClassBalance | None = None,
    ) -> None:
        self.config = config
        crop = config.data.crop
        self.model = model if crop is None else crop.of(model)
        self.teacher = teacher if crop is None or teacher is None else crop.of(teacher)
        self.sampler = sampler
        height = config.data.ground_height
        self.labelled = Shuffled(on_ground(frames, height), config.seed, 0, balance=balance)
        self.unlabelled = None
        if unlabelled is not None:
            self.unlabelled = Shuffled(on_ground(unlabelled, height), config.seed, 2)
        self.share = 0.0
        if unlabelled is not None and config.distill is not None:
            self.share = config.distill.unlabelled.share

    def __getitem__(self, number: int) -> Sample:
        return self._encode(self.frame(number))

    def frame(self, number: int) -> Frame:
        """The frame of a sample, with all that happens to it, before it is encoded."""
        rng = np.random.default_rng((self.config.seed, 1, number))
        done = number / self.config.samples
        data = self.config.data
        # Of the first n samples floor(n share) are unlabelled.
        before, after = int(number * self.share), int((number + 1) * self.share)
        if self.unlabelled is not None and after > before:
            frame = with_classes(self.unlabelled[before], self.model.classes)
        else:
            frame = with_classes(self.labelled[number - before], self.model.classes)
            pasting = data.sampling is None or done < data.sampling.until
            if self.sampler is not None and pasting:
                frame = self.sampler(frame, rng)
        if data.augment is not None and done < data.augment.until:
            frame = augment(frame, data.augment, rng)
        return frame

    def _encode(self, frame: Frame) -> Sample:
        """Input and targets for the model, and for the teacher where there is one."""
        model, teacher = self.model, self.teacher
        inputs = encoded(frame, model)
        targets = self._targets(frame, model)
        if teacher is None:
            return Sample(inputs, targets)
        same_grid = teacher.grid == model.grid
        same_input = same_grid and teacher.input == model.input
        same_targets = same_grid and teacher.output_stride == model.output_stride
        same_targets &= teacher.head.layout == model.head.layout
        return Sample(
            inputs,
            targets,
            inputs if same_input else encoded(frame, teacher),
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
            layout=model.head.layout,
        )


class ValFrames(Dataset[tuple[NetworkInput, Frame]]):
    """Evenly spaced frames of a data set, encoded; the points stay behind.

    Args:
        frames: The data set.
        model: The model that they are encoded for.
        count: At most this many frames.
        ground_height: Where the ground of every frame is brought [m]; None leaves it.
    """

    def __init__(
        self,
        frames: FrameDataset,
        model: ModelConfig,
        count: int,
        ground_height: float | None = None,
    ) -> None:
        self.frames = frames
        self.model = model
        self._shown = on_ground(frames, ground_height)
        self.indices = spread(len(frames), count)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> tuple[NetworkInput, Frame]:
        frame = with_classes(self._shown[self.indices[place]], self.model.classes)
        return encoded(frame, self.model), replace(frame, cloud=frame.cloud[:0])


def encoded(frame: Frame, model: ModelConfig) -> NetworkInput:
    """What a model takes of a frame's cloud."""
    return encode(frame.cloud.points, model.grid, model.input, frame.cloud.time)
