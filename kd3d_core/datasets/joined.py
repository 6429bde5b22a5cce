"""Several data sets as one."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from kd3d_core.datasets.labels import boxes_of
from kd3d_core.datasets.labels import drive_of
from kd3d_core.datasets.relabel import boxes_with_classes
from kd3d_core.datasets.relabel import with_classes
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D


class Joined:
    """The frames of several data sets, one set after the other.

    Args:
        datasets: One or more; the labels of all point into the classes of the first, and boxes of
            classes that it lacks are left out.
    """

    def __init__(self, datasets: Sequence[FrameDataset]) -> None:
        self.datasets = tuple(datasets)
        self._starts = [0, *accumulate(len(dataset) for dataset in self.datasets)]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return tuple(self.datasets[0].classes)

    def drive(self, index: int) -> str:
        """Name of the drive of a frame; drives of two data sets are never the same."""
        part, inside = self._find(index)
        return f"{part}/{drive_of(self.datasets[part], inside)}"

    def boxes(self, index: int) -> Boxes3D | None:
        """The ground truth of a frame, without its cloud."""
        part, inside = self._find(index)
        boxes = boxes_of(self.datasets[part], inside)
        return None if boxes is None else boxes_with_classes(boxes, self.classes)[0]

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> Frame:
        part, inside = self._find(index)
        return with_classes(self.datasets[part][inside], self.classes)

    def _find(self, index: int) -> tuple[int, int]:
        """Number of the data set, and the frame's index there.

        Raises:
            IndexError: There is no such frame.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"there is no frame {index}: there are {len(self)}")
        part = bisect_right(self._starts, index) - 1
        return part, index - self._starts[part]
