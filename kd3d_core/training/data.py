"""Samples to batches: what feeds a training and its validation."""

import os
from collections.abc import Iterator
from typing import Any

import lightning
import numba
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Sampler

from kd3d_core.datasets.balance import ClassBalance
from kd3d_core.datasets.sampling import ObjectSampler
from kd3d_core.frame import FrameDataset
from kd3d_core.models.config import ModelConfig
from kd3d_core.training.batches import collate_train
from kd3d_core.training.batches import collate_val
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.samples import TrainSamples
from kd3d_core.training.samples import ValFrames


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
        balance: Which of `train` come how often, or None.
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
        balance: ClassBalance | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.samples = TrainSamples(train, config, model, teacher, sampler, unlabelled, balance)
        self.val_frames = None
        if val is not None:
            data = config.data
            self.val_frames = ValFrames(val, model, data.val_frames, data.ground_height)

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
        workers = self.config.data.workers
        return DataLoader(
            self.val_frames,
            batch_size=self.config.batch_size,
            collate_fn=collate_val,
            # One loader of training lasts for the run; this one is asked again and again.
            persistent_workers=workers > 0,
            **loader_options(workers),
        )


def loader_options(workers: int) -> dict[str, Any]:
    """Options of a `DataLoader` with this many worker processes, but no more than there are cores.

    Workers need no seeds: the number of a sample decides all that is drawn for it.
    """
    workers = min(workers, len(os.sched_getaffinity(0)))
    # Pinned batches reach a graphics card while it computes.
    options: dict[str, Any] = {"num_workers": workers, "pin_memory": torch.cuda.is_available()}
    if workers:
        options |= {
            "prefetch_factor": 3,
            "worker_init_fn": _calm_worker,
            # Fork shares the object database, the data set's index and frames in memory with the
            # workers at no cost.
            "multiprocessing_context": "fork",
        }
    return options


def _calm_worker(worker: int) -> None:
    """One thread a worker: the cores belong to the training process."""
    torch.set_num_threads(1)
    numba.set_num_threads(1)
