"""What a run learns from: labelled frames, clouds that a teacher labelled, or both."""

import os
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from kd3d_core.datasets.sampling import ObjectSampler
from kd3d_core.datasets.sampling import cached_database
from kd3d_core.datasets.simulated import SimulatedDataset
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import FrameDataset
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.unlabelled import TaughtFrames
from kd3d_core.training.unlabelled import open_unlabelled


@dataclass(frozen=True)
class Sources:
    """The frames of a run.

    Attributes:
        labelled: Frames with ground truth to learn from, or None.
        unlabelled: Frames with the teacher's boxes to learn from, or None; never both None.
        val: Frames to validate on, or None.
    """

    labelled: FrameDataset | None
    unlabelled: TaughtFrames | None
    val: FrameDataset | None

    @property
    def main(self) -> FrameDataset:
        """The labelled frames where there are any, else the unlabelled ones."""
        frames = self.unlabelled if self.labelled is None else self.labelled
        if frames is None:
            raise ValueError("nothing to learn from")
        return frames

    @property
    def mixed_in(self) -> TaughtFrames | None:
        """The unlabelled frames where they come on top of labelled ones."""
        return None if self.labelled is None else self.unlabelled

    def describe(self, config: TrainConfig) -> dict[str, Any]:
        """Plain data for the checkpoint."""
        about: dict[str, Any] = {}
        if self.labelled is not None:
            about |= {"train": str(config.data.train), "frames": len(self.labelled)}
        if self.unlabelled is not None and config.distill is not None:
            settings = config.distill.unlabelled
            about["unlabelled"] = {
                "bags": [str(path) for path in settings.bags],
                "clouds": len(self.unlabelled),
                "labels": self.unlabelled.sure,
                "share": settings.share if self.labelled is not None else 1.0,
            }
        return about

    def words(self) -> str:
        """What there is, in words."""
        parts = []
        if self.labelled is not None:
            parts.append(f"{len(self.labelled)} frames")
        if self.unlabelled is not None:
            parts.append(f"{len(self.unlabelled)} unlabelled clouds")
        return " and ".join(parts)


def open_sources(
    config: TrainConfig,
    console: Console,
    train: FrameDataset | None = None,
    val: FrameDataset | None = None,
) -> Sources:
    """Open the frames of a run.

    Args:
        config: The run.
        console: Where progress is reported.
        train: Labelled frames instead of those of `config.data.train`.
        val: The same for validation.

    Raises:
        Kd3dError: A data set or recording cannot be read or is empty, or the teacher does not fit.
    """
    if val is None and config.data.val is not None:
        val = SimulatedDataset(config.data.val)
    unlabelled = open_unlabelled(config, console)
    if train is None and not _without_labels(config, unlabelled, console):
        train = SimulatedDataset(config.data.train)
    if train is not None and not len(train):
        raise Kd3dError(f"{config.data.train} has no frames: make some with `kd3d_core simulate`.")
    return Sources(train, unlabelled, val)


def _without_labels(
    config: TrainConfig, unlabelled: TaughtFrames | None, console: Console
) -> bool:
    """Whether the run learns from unlabelled clouds alone, by wish or because there is no more."""
    if unlabelled is None or config.distill is None:
        return False
    if config.distill.unlabelled.share == 1:
        return True
    if config.data.train.exists():
        return False
    console.print(
        f"there is no labelled data in {config.data.train}: learning from the unlabelled clouds "
        "alone, so what they do not show may be forgotten (give --data)"
    )
    return True


def open_sampler(config: TrainConfig, sources: Sources, console: Console) -> ObjectSampler | None:
    """The sampler of labelled objects with its database, built by the first run and cached."""
    sampling, frames = config.data.sampling, sources.labelled
    if sampling is None or frames is None:
        return None
    root = config.data.train.resolve()
    index = root / "dataset.json"
    # Beside the data every run finds it again; a data set that is read-only or not on disk leaves
    # the output folder.
    beside = index.is_file() and os.access(root, os.W_OK)
    identity = f"{root}:{index.stat().st_mtime_ns if index.is_file() else 0}"
    folder = root if beside else config.out / "cache"
    with console.status("cutting out objects for ground-truth sampling"):
        database = cached_database(frames, sampling, config.seed, folder, identity)
    return ObjectSampler(database, sampling) if len(database) else None
