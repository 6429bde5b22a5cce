"""Frames of one set of classes as frames of another."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.labels import boxes_of
from kd3d_core.datasets.labels import drive_of
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.geometry.boxes import Boxes3D


def with_classes(frame: Frame, classes: Sequence[str]) -> Frame:
    """The frame with the boxes of `classes` only, their labels pointing into `classes`."""
    if frame.boxes is None or frame.boxes.classes == tuple(classes):
        return frame
    boxes, keep = boxes_with_classes(frame.boxes, classes)
    return replace(
        frame,
        boxes=boxes,
        num_points=None if frame.num_points is None else frame.num_points[keep],
        track_id=None if frame.track_id is None else frame.track_id[keep],
    )


def boxes_with_classes(
    boxes: Boxes3D, classes: Sequence[str]
) -> tuple[Boxes3D, NDArray[np.bool_]]:
    """The boxes of `classes` only, their labels pointing into `classes`; and which were kept."""
    new = np.array([classes.index(name) if name in classes else -1 for name in boxes.classes])
    label = new[boxes.label] if len(boxes) else boxes.label
    keep = label >= 0
    return replace(boxes[keep], label=label[keep], classes=tuple(classes)), keep


class Renamed:
    """A data set whose classes have other names; several may become one.

    Args:
        dataset: Any reader.
        names: New name by old one; classes that are not in it keep theirs.
    """

    def __init__(self, dataset: FrameDataset, names: Mapping[str, str]) -> None:
        self.dataset = dataset
        new = [names.get(name, name) for name in dataset.classes]
        self._classes = tuple(dict.fromkeys(new))
        self._label = np.array([self._classes.index(name) for name in new], np.int64)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self._classes

    def drive(self, index: int) -> str:
        """Name of the drive of a frame."""
        return drive_of(self.dataset, index)

    def boxes(self, index: int) -> Boxes3D | None:
        """The ground truth of a frame, without its cloud."""
        return self._named(boxes_of(self.dataset, index))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Frame:
        frame = self.dataset[index]
        return replace(frame, boxes=self._named(frame.boxes))

    def _named(self, boxes: Boxes3D | None) -> Boxes3D | None:
        """The same boxes under the new names."""
        if boxes is None:
            return None
        return replace(boxes, label=self._label[boxes.label], classes=self._classes)
