"""Class-balanced sampling: CBGS (Zhu et al. 2019, arXiv 1908.09492), sec. 3.1.

Streets are full of cars, and construction vehicles are rare: seen evenly, they are hardly learned.
Every class is given the same number of frames, so frames that show rare objects come back often.
"""

import hashlib
import json
from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.caching import locked
from kd3d_core.datasets.labels import boxes_of
from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.frame import FrameDataset


def count_classes(
    dataset: FrameDataset, classes: Sequence[str], indices: Iterable[int] | None = None
) -> NDArray[np.int32]:
    """Objects of each class in each frame, from the labels alone where the reader can.

    Args:
        dataset: Any reader.
        classes: The K names to count.
        indices: Of the frames; None takes all.

    Returns:
        (F, K) int32.
    """
    order = range(len(dataset)) if indices is None else indices
    rows = []
    for index in order:
        boxes = boxes_of(dataset, index)
        names = [] if boxes is None else [boxes.classes[label] for label in boxes.label]
        rows.append([names.count(name) for name in classes])
    return np.array(rows, np.int32).reshape(len(rows), len(classes))


def cached_counts(
    dataset: FrameDataset, classes: Sequence[str], folder: Path, identity: str
) -> NDArray[np.int32]:
    """`count_classes` of all frames, kept in `folder` for later runs.

    Args:
        dataset: Any reader.
        classes: The K names to count.
        folder: Where the counts are kept.
        identity: What tells this data set from others, such as its absolute path and its age.
    """
    key = json.dumps([list(classes), identity, len(dataset)])
    path = folder / f"classes-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    with locked(path):
        if path.is_file():
            with np.load(path, allow_pickle=False) as data:
                return np.asarray(data["counts"])
        counts = count_classes(dataset, classes)
        with atomic_path(path) as temporary:
            np.savez(temporary, counts=counts)
    return counts


class ClassBalance:
    """Orders of frames in which every class has the same share.

    With n_c frames that show class c, an epoch has N = sum of n_c frames (a frame counts once for
    each of its classes) and each of K classes gives N / K of them: its own frames over and over,
    as often as fits, and a random part of them for the rest. Frames without any object of a class
    do not appear.

    Args:
        counts: (F, K) objects of each class in each frame.

    Raises:
        Kd3dError: No frame has an object.
    """

    def __init__(self, counts: NDArray[np.int32]) -> None:
        shown = [np.flatnonzero(column) for column in np.asarray(counts).T]
        self._frames = [frames for frames in shown if len(frames)]
        if not self._frames:
            raise Kd3dError(
                "data.balance: no frame shows an object of the model's classes; check the labels "
                "and data.class_map."
            )
        self._each = max(1, sum(map(len, self._frames)) // len(self._frames))

    def __len__(self) -> int:
        """Frames of an epoch."""
        return self._each * len(self._frames)

    def order(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """(L,) int64 the frames of one epoch."""
        drawn = []
        for frames in self._frames:
            times, rest = divmod(self._each, len(frames))
            drawn.append(np.tile(frames, times))
            drawn.append(generator.choice(frames, rest, replace=False))
        return generator.permutation(np.concatenate(drawn))
