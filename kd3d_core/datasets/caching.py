"""What several processes want to make once, and decoded frames kept in memory."""

import contextlib
import fcntl
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path

from kd3d_core.datasets.labels import boxes_of
from kd3d_core.datasets.labels import drive_of
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time make `path`; the others wait, and find it made.

    The lock is a file beside it that the system lets go of when its holder ends, however it ends.

    Raises:
        Kd3dError: The folder cannot be made or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(f".{path.name}.lock").open("w")
    except OSError as error:
        raise Kd3dError(f"cannot write {path}: {error.strerror or error}.") from error
    with file:
        with contextlib.suppress(OSError):  # some network file systems have no locks: all make it
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class FramesInMemory:
    """A data set whose first frames are held in memory, decoded, as many as the budget allows.

    They are read when it is made, so that worker processes forked later share them at no cost.

    Args:
        dataset: Any reader.
        budget: Bytes of points that may be held.
        progress: Is told 1 for each frame that is read.
    """

    def __init__(
        self,
        dataset: FrameDataset,
        budget: int,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.dataset = dataset
        self._kept: list[Frame] = []
        left = budget
        for index in range(len(dataset)):
            frame = dataset[index]
            left -= _size(frame)
            if left < 0:
                break
            self._kept.append(frame)
            progress(1)

    @property
    def kept(self) -> int:
        """How many frames are held."""
        return len(self._kept)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return tuple(self.dataset.classes)

    def drive(self, index: int) -> str:
        """Name of the drive of a frame."""
        return drive_of(self.dataset, index)

    def boxes(self, index: int) -> Boxes3D | None:
        """The ground truth of a frame, without its cloud."""
        return boxes_of(self.dataset, index)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Frame:
        return self._kept[index] if 0 <= index < len(self._kept) else self.dataset[index]


def _size(frame: Frame) -> int:
    """Bytes of the points of a frame."""
    cloud = frame.cloud
    parts = (cloud.points, cloud.time, cloud.ring)
    return sum(part.nbytes for part in parts if part is not None)
