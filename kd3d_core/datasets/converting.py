"""Frames of any reader, written in another layout, drive after drive."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset

TARGETS = (
    "kitti",
    "kitti-tracking",
    "kitti-raw",
    "nuscenes",
    "waymo",
    "argoverse2",
    "folder",
    "bag",
)

_WAYMO_SPLIT = {"train": "training", "val": "validation", "test": "testing"}


class Drive(Sequence[Frame]):
    """The frames of one drive of a data set, read when they are asked for.

    Args:
        dataset: Any reader.
        name: Of the drive.
        indices: Of its frames.
        progress: Is told 1 for each frame that is read.
    """

    def __init__(
        self,
        dataset: FrameDataset,
        name: str,
        indices: Sequence[int],
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._dataset = dataset
        self._indices = indices
        self._progress = progress
        self.name = name

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        return self._dataset[self._indices[index]]

    def __iter__(self) -> Iterator[Frame]:
        for index in self._indices:
            yield self._dataset[index]
            self._progress(1)


def drives_of(
    dataset: FrameDataset, progress: Callable[[int], None] = lambda count: None
) -> list[Drive]:
    """The drives of a data set in its order; one of all frames where the reader tells none."""
    drive = getattr(dataset, "drive", lambda index: "")
    found: dict[str, list[int]] = {}
    for index in range(len(dataset)):
        found.setdefault(drive(index), []).append(index)
    return [
        Drive(dataset, name.replace("/", "_") or "drive_00000", indices, progress)
        for name, indices in found.items()
    ]


def convert_dataset(
    dataset: FrameDataset,
    target: Path,
    to: str,
    *,
    split: str = "train",
    console: Console | None = None,
) -> int:
    """Write all frames of a data set in another layout.

    Args:
        dataset: Any reader; frames should have ground truth, and poses where the layout asks.
        target: The folder to fill.
        to: One of `TARGETS`.
        split: What the frames are there, for layouts that have splits.
        console: Where a progress bar goes; none without it.

    Returns:
        How many frames there are.

    Raises:
        Kd3dError: There is no such layout, it cannot hold the frames, or a file cannot be written.
    """
    if to not in TARGETS:
        raise Kd3dError(f"cannot write the layout {to}; use one of {', '.join(TARGETS)}.")
    if target.is_file():
        raise Kd3dError(f"{target} is a file: choose a folder.")
    bar = Progress(console=console, transient=True, disable=console is None)
    with bar:
        task = bar.add_task("writing", total=len(dataset))
        drives = drives_of(dataset, lambda count: bar.advance(task, count))
        _write(drives, target, to, split)
    return len(dataset)


def _write(drives: list[Drive], target: Path, to: str, split: str) -> None:
    """The writers; modules are imported when they are needed."""
    if to == "folder":
        from kd3d_core.datasets.folder_writer import write_folder

        for drive in drives:
            names = write_folder(drive, target, drive=drive.name)
            _list_split(target / "splits" / f"{split}.txt", names)
    elif to == "bag":
        from kd3d_core.datasets.drive_bags import write_drive_bag

        for drive in drives:
            write_drive_bag(drive, target / drive.name)
    elif to == "argoverse2":
        from kd3d_core.datasets.argoverse2_writer import write_argoverse2

        for drive in drives:
            write_argoverse2(drive, target, split=split, log=drive.name)
    elif to == "nuscenes":
        from kd3d_core.datasets.nuscenes_writer import write_nuscenes

        scenes = [f"scene-{number:04d}" for number in range(1, len(drives) + 1)]
        write_nuscenes(drives, target, splits={split: scenes, "all": scenes})
    elif to == "waymo":
        from kd3d_core.datasets.waymo_writer import write_waymo

        write_waymo(drives, target, split=_WAYMO_SPLIT.get(split, split))
    else:
        _write_kitti(drives, target, to, split)


def _write_kitti(drives: list[Drive], target: Path, to: str, split: str) -> None:
    """One of KITTI's three layouts."""
    if to == "kitti":
        from kd3d_core.datasets.kitti_writer import write_kitti

        write_kitti((frame for drive in drives for frame in drive), target, split=split)
    elif to == "kitti-tracking":
        from kd3d_core.datasets.kitti_drive_writer import write_kitti_tracking

        write_kitti_tracking(drives, target)
    else:
        from kd3d_core.datasets.kitti_drive_writer import write_kitti_raw

        write_kitti_raw(drives, target)


def _list_split(path: Path, names: list[str]) -> None:
    """Add names to the list of a split."""
    from kd3d_core.files import write_text

    known = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    listed = dict.fromkeys([*(name for name in known if name), *names])
    write_text(path, "".join(f"{name}\n" for name in listed))
