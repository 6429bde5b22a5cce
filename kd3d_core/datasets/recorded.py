"""Clouds of bags and files as a data set that can be read in any order."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd3d_core.datasets.bags import BagMessage
from kd3d_core.datasets.bags import iter_cloud_messages
from kd3d_core.datasets.bags import seconds
from kd3d_core.datasets.clouds import BAG_SUFFIXES
from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import find_clouds
from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.pointcloud import PointCloud

#: Says in a cache how many clouds were read for it.
_INFO = "info.json"

#: A cloud as it was read, None where it is malformed.
Read = Frame | None


@dataclass(frozen=True)
class RecordedOptions:
    """Which clouds of a recording are taken.

    Attributes:
        topic: PointCloud2 topic; None takes the only one.
        intensity_scale: The sensor's value for full intensity; None guesses it.
        every: Take every n-th cloud.
        x, y: Extent in which points count [m].
        min_points: Clouds with fewer points there are left out.
    """

    topic: str | None = None
    intensity_scale: float | None = None
    every: int = 1
    x: tuple[float, float] = (-np.inf, np.inf)
    y: tuple[float, float] = (-np.inf, np.inf)
    min_points: int = 1


class RecordedClouds:
    """Frames without ground truth, copied once into a file each.

    Bags are read from front to back; training draws at random, in several processes.

    Args:
        folder: As `cache_clouds` leaves it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = sorted(folder.glob("*.npz"))
        self._read = int(json.loads((folder / _INFO).read_text(encoding="utf-8"))["read"])

    @property
    def left_out(self) -> int:
        """Clouds of the recordings that were malformed or had too few points."""
        return self._read - len(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Frame:
        path = self.paths[index]
        try:
            with np.load(path, allow_pickle=False) as data:
                cloud = PointCloud(data["points"], has_intensity=bool(data["has_intensity"]))
                return Frame(cloud, source=str(data["source"]), stamp=float(data["stamp"]))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise Kd3dError(
                f"{path} is damaged ({error}): delete {self.folder}, it is made anew."
            ) from error


def cache_clouds(
    recordings: Sequence[Path],
    folder: Path,
    options: RecordedOptions = RecordedOptions(),
    progress: Callable[[Iterable[Read]], Iterable[Read]] = lambda frames: frames,
) -> RecordedClouds:
    """Copy the clouds of recordings into a folder of their own below `folder`.

    The copy appears when it is whole, and is found again as long as the recordings and options
    stay the same.

    Args:
        recordings: Bags, cloud files, and folders of them.
        folder: Where caches lie.
        options: Which clouds are taken.
        progress: Wraps the clouds while they are read, for a progress bar.

    Raises:
        Kd3dError: A recording cannot be read, or no cloud of all is usable.
    """
    target = folder / f"clouds-{_key(recordings, options)}"
    if target.is_dir():
        return RecordedClouds(target)
    scratch = folder / f".{target.name}.{os.getpid()}.part"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        read = kept = 0
        for frame in progress(_read_all(recordings, options)):
            read += 1
            if frame is not None and _usable(frame.cloud, options):
                _write(scratch / f"{kept:06d}.npz", frame)
                kept += 1
        if not kept:
            raise Kd3dError(_why_none(recordings, read, options))
        (scratch / _INFO).write_text(json.dumps({"read": read}), encoding="utf-8")
        # Another process of a distributed training may have been quicker with the same.
        if not target.is_dir():
            scratch.rename(target)
    except OSError as error:
        raise Kd3dError(
            f"cannot copy the clouds of {_names(recordings)} into {folder}: "
            f"{error.strerror or error}. A cloud takes about 2 MB; `every` takes fewer."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return RecordedClouds(target)


def _read_all(recordings: Sequence[Path], options: RecordedOptions) -> Iterator[Read]:
    """Every n-th cloud, over all recordings."""
    source = CloudOptions(intensity_scale=options.intensity_scale, topic=options.topic)
    number = 0
    for path in find_clouds(recordings):
        if path.suffix.lower() in BAG_SUFFIXES or path.is_dir():
            for message in iter_cloud_messages(path, options.topic):
                if number % options.every == 0:
                    yield _of_message(message, options.intensity_scale)
                number += 1
        else:
            if number % options.every == 0:
                yield Frame(cloud=read_cloud(path, source), source=str(path))
            number += 1


def _of_message(message: BagMessage, intensity_scale: float | None) -> Read:
    """The cloud of a message; one malformed cloud must not spoil an hour of recording."""
    try:
        cloud = message.cloud(intensity_scale)
    except Kd3dError:
        return None
    return Frame(cloud, source=message.source, stamp=seconds(message.stamp_ns))


def _key(recordings: Sequence[Path], options: RecordedOptions) -> str:
    """What tells these clouds from others: paths, sizes and ages of the files, and options."""
    facts = []
    for path in find_clouds(recordings):
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        facts.append((str(path.resolve()), stats))
    return hashlib.sha256(json.dumps([facts, str(options)]).encode()).hexdigest()[:16]


def _usable(cloud: PointCloud, options: RecordedOptions) -> bool:
    """Whether enough points lie where the network looks."""
    x, y = cloud.points[:, 0], cloud.points[:, 1]
    inside = (x >= options.x[0]) & (x < options.x[1]) & (y >= options.y[0]) & (y < options.y[1])
    return int(np.count_nonzero(inside)) >= options.min_points


def _write(path: Path, frame: Frame) -> None:
    """One cloud; the network sees neither time nor ring."""
    np.savez(
        path,
        points=frame.cloud.points,
        has_intensity=np.array(frame.cloud.has_intensity),
        source=np.array(frame.source),
        stamp=np.array(frame.stamp),
    )


def _why_none(recordings: Sequence[Path], read: int, options: RecordedOptions) -> str:
    """Why there is nothing to learn from."""
    if not read:
        return f"{_names(recordings)} holds no clouds: record the LiDAR's PointCloud2 topic."
    x, y = options.x, options.y
    return (
        f"none of the {read} clouds in {_names(recordings)} is usable: each is malformed or has "
        f"fewer than {options.min_points} points within x {x[0]:g} to {x[1]:g} m and y {y[0]:g} "
        f"to {y[1]:g} m. Look at them with `kd3d_core detect`; they must be in metres in the "
        "sensor's frame."
    )


def _names(recordings: Sequence[Path]) -> str:
    """The recordings, for a message."""
    return ", ".join(str(path) for path in recordings)
