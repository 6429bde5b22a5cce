"""What a run learns from: labelled frames, clouds that a teacher labelled, or both."""

import math
import os
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from kd3d_core.datasets.balance import ClassBalance
from kd3d_core.datasets.balance import cached_counts
from kd3d_core.datasets.balance import count_classes
from kd3d_core.datasets.caching import FramesInMemory
from kd3d_core.datasets.joined import Joined
from kd3d_core.datasets.opening import open_dataset
from kd3d_core.datasets.relabel import Renamed
from kd3d_core.datasets.sampling import ObjectSampler
from kd3d_core.datasets.sampling import cached_database
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.score import spread
from kd3d_core.frame import FrameDataset
from kd3d_core.training.config import DataConfig
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.on_ground import on_ground
from kd3d_core.training.unlabelled import TaughtFrames
from kd3d_core.training.unlabelled import open_unlabelled

#: Folder in a data set for what is made of it.
CACHE = ".kd3d"


@dataclass(frozen=True)
class Sources:
    """The frames of a run.

    Attributes:
        labelled: Frames with ground truth to learn from, or None.
        unlabelled: Frames with the teacher's boxes to learn from, or None; never both None.
        val: Frames to validate on, or None.
        balance: Which of the labelled frames come how often, or None.
    """

    labelled: FrameDataset | None
    unlabelled: TaughtFrames | None
    val: FrameDataset | None
    balance: ClassBalance | None = None

    @property
    def epoch(self) -> float:
        """Frames of a time round the labelled ones, the unlabelled ones between them included."""
        return float(len(self.main) if self.balance is None else len(self.balance))

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
            if config.data.also:
                about["also"] = [str(path) for path in config.data.also]
            if config.data.split is not None:
                about["split"] = config.data.split
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
    data, classes = config.data, config.model_config_resolved().classes
    if val is None and data.val is not None:
        val = open_frames(data, classes, data.val, data.val_split)
    unlabelled = open_unlabelled(config, console)
    if train is None and not _without_labels(config, unlabelled, console):
        train = open_frames(data, classes, data.train, data.split)
        _check_labels(train, data, classes)
        if data.also:
            others = [open_frames(data, classes, root, data.split) for root in data.also]
            train = Joined([train, *others])
    if train is not None and not len(train):
        raise Kd3dError(f"{data.train} has no frames: make some with `kd3d_core simulate`.")
    sources = Sources(train, unlabelled, val)
    if train is None:
        return sources
    if data.balance == "cbgs":
        with console.status("counting objects for class-balanced sampling"):
            counts = cached_counts(train, classes, *_cache(config))
        sources = replace(sources, balance=ClassBalance(counts))
    if data.cache_gb:
        sources = replace(sources, labelled=_in_memory(train, data.cache_gb, console))
    return sources


def open_frames(
    data: DataConfig, classes: tuple[str, ...], root: Path, split: str | None
) -> FrameDataset:
    """Open the frames of a run as its model is to see them.

    Args:
        data: Layout, sweeps and names of classes.
        classes: Of the model: readers that translate classes translate into these.
        root: The data set.
        split: Part of it, or None.

    Raises:
        Kd3dError: It cannot be read.
    """
    mapped = [old for old, new in data.class_map.items() if new in classes]
    wanted = dict.fromkeys([*mapped, *(name for name in classes if name not in data.class_map)])
    frames = open_dataset(
        root,
        format=data.format,
        split=split,
        classes=tuple(wanted),
        sweeps=data.sweeps,
        sweep_stride=data.sweep_stride,
    )
    return Renamed(frames, data.class_map) if data.class_map else frames


def in_steps(config: TrainConfig, sources: Sources) -> TrainConfig:
    """The same run with its length in steps, where it is given in epochs."""
    if config.max_epochs is None:
        return config
    seen = config.max_epochs * sources.epoch
    if sources.mixed_in is not None and config.distill is not None:
        seen /= 1 - config.distill.unlabelled.share
    each = config.batch_size * config.devices * config.num_nodes
    steps = max(1, math.ceil(seen / each))
    return config.model_copy(update={"max_steps": steps, "max_epochs": None})


def _check_labels(frames: FrameDataset, data: DataConfig, classes: tuple[str, ...]) -> None:
    """Refuse labels of other names: the run would learn that there is nothing anywhere."""
    if not len(frames) or count_classes(frames, classes, spread(len(frames), 50)).any():
        return
    own = open_dataset(data.train, format=data.format, split=data.split).classes
    raise Kd3dError(
        f"{data.train}: no object of the model's classes ({', '.join(classes)}) in "
        f"{min(len(frames), 50)} frames spread over it. Its own classes are {', '.join(own)}: "
        "name the pairs in data.class_map, or choose a model with its classes."
    )


def _in_memory(frames: FrameDataset, gigabytes: float, console: Console) -> FrameDataset:
    """The frames, as many as fit held in memory."""
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("reading frames into memory", total=len(frames))
        held = FramesInMemory(frames, int(gigabytes * 1e9), lambda count: bar.advance(task, count))
    console.print(f"{held.kept} of {len(frames)} frames are held in memory")
    return held


def _cache(config: TrainConfig) -> tuple[Path, str]:
    """Where what is made of the labelled frames is kept, and what tells them from others.

    Beside the data every run finds it again; a data set that is read-only or not on disk leaves
    it to the output folder.
    """
    data = config.data
    root = data.train.resolve()
    kind = [data.format, data.split, data.sweeps, data.sweep_stride, data.class_map]
    kind += [_age(path) for path in data.also]
    identity = f"{_age(root)}:{kind}"
    beside = root.is_dir() and os.access(root, os.W_OK)
    return (root / CACHE if beside else config.out / "cache"), identity


def _age(root: Path) -> str:
    """Where a data set lies, and when its index was written."""
    index = root.resolve() / "dataset.json"
    return f"{root.resolve()}:{index.stat().st_mtime_ns if index.is_file() else 0}"


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
    folder, identity = _cache(config)
    height = config.data.ground_height
    if height is not None:
        frames, identity = on_ground(frames, height), f"{identity}:{height}"
    with console.status("cutting out objects for ground-truth sampling"):
        database = cached_database(frames, sampling, config.seed, folder, identity)
    return ObjectSampler(database, sampling) if len(database) else None
