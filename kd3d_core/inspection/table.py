"""The boxes of many frames as columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.inspection.facts import FrameFacts
from kd3d_core.inspection.findings import examples


@dataclass(frozen=True, eq=False)
class BoxTable:
    """B boxes of many frames.

    Attributes:
        frames: The frames that they are of.
        frame: (B,) int64 index into `frames`.
        number: (B,) int64 index of the box in its frame.
        name: (B,) class names.
        center, size: (B, 3) float64 [m].
        yaw: (B,) float64 [rad].
        velocity: (B, 2) float64 [m/s], as stated, else from tracks and poses; NaN where unknown.
        points: (B,) int64 points inside.
        above: (B,) float64 height of the bottom above the ground [m], NaN where unknown.
        overlap: (B,) float64 with another box of the frame.
        finite: (B,) bool: all numbers are finite and sizes positive.
    """

    frames: Sequence[FrameFacts]
    frame: NDArray[np.int64]
    number: NDArray[np.int64]
    name: NDArray[np.str_]
    center: NDArray[np.float64]
    size: NDArray[np.float64]
    yaw: NDArray[np.float64]
    velocity: NDArray[np.float64]
    points: NDArray[np.int64]
    above: NDArray[np.float64]
    overlap: NDArray[np.float64]
    finite: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def range(self) -> NDArray[np.float64]:
        """(B,) horizontal distance from the sensor [m]."""
        return np.hypot(self.center[:, 0], self.center[:, 1])

    @property
    def speed(self) -> NDArray[np.float64]:
        """(B,) over ground [m/s], NaN where unknown."""
        return np.hypot(self.velocity[:, 0], self.velocity[:, 1])

    @property
    def classes(self) -> list[str]:
        """Classes with at least one box, those with the most boxes first."""
        names, counts = np.unique(self.name, return_counts=True)
        return [str(name) for name in names[np.argsort(-counts, kind="stable")]]

    def examples(self, rows: NDArray[np.int64]) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """Frames and words for some rows, spread over them; see `findings.examples`."""
        spread = rows[np.linspace(0, len(rows) - 1, min(len(rows), 5)).astype(int)]
        return examples([(self.frames[self.frame[i]], int(self.number[i])) for i in spread])


def box_table(frames: Sequence[FrameFacts]) -> BoxTable:
    """The boxes of frames; neighbours of a drive give velocities where none are stated."""
    parts = [(i, facts.boxes) for i, facts in enumerate(frames) if facts.boxes is not None]
    counts = [len(boxes.boxes) for _, boxes in parts]

    def join(arrays: list[NDArray[np.generic]], tail: tuple[int, ...], kind: type) -> NDArray:
        return np.concatenate([np.zeros((0, *tail), kind), *arrays]).astype(kind)

    moved = _from_tracks(frames)
    velocity = [
        np.where(np.isnan(boxes.boxes.velocity), moved.get(i, np.nan), boxes.boxes.velocity)
        for i, boxes in parts
    ]
    names = [name for _, boxes in parts for name in boxes.boxes.names]
    return BoxTable(
        frames=frames,
        frame=np.repeat([i for i, _ in parts], counts).astype(np.int64),
        number=join([np.arange(count) for count in counts], (), np.int64),
        name=np.array(names, np.str_),
        center=join([boxes.boxes.center for _, boxes in parts], (3,), np.float64),
        size=join([boxes.boxes.size for _, boxes in parts], (3,), np.float64),
        yaw=join([boxes.boxes.yaw for _, boxes in parts], (), np.float64),
        velocity=join(velocity, (2,), np.float64),
        points=join([boxes.points for _, boxes in parts], (), np.int64),
        above=join([boxes.above for _, boxes in parts], (), np.float64),
        overlap=join([boxes.overlap for _, boxes in parts], (), np.float64),
        finite=join([boxes.finite for _, boxes in parts], (), np.bool_),
    )


def neighbours(frames: Sequence[FrameFacts]) -> list[tuple[int, int]]:
    """Pairs of positions of frames that follow each other in one drive of the data set."""
    return [
        (i, i + 1)
        for i in range(len(frames) - 1)
        if frames[i].drive == frames[i + 1].drive and frames[i].index + 1 == frames[i + 1].index
    ]


def _from_tracks(frames: Sequence[FrameFacts]) -> dict[int, NDArray[np.float64]]:
    """(N, 2) velocities [m/s] in the sensor's axes of the boxes of frames, by position."""
    found: dict[int, NDArray[np.float64]] = {}
    for i, j in neighbours(frames):
        here, there = frames[i], frames[j]
        seconds = there.stamp - here.stamp
        first, second = here.boxes, there.boxes
        if first is None or second is None or here.pose is None or there.pose is None:
            continue
        if first.track is None or second.track is None or not 0 < seconds < 1.5:
            continue
        back = here.pose[:3, :3].T
        later = second.boxes.center @ there.pose[:3, :3].T + there.pose[:3, 3]
        now = (later - here.pose[:3, 3]) @ back.T
        _, a, b = np.intersect1d(first.track, second.track, return_indices=True)
        velocity = np.full((len(first.boxes), 2), np.nan)
        velocity[a] = (now[b, :2] - first.boxes.center[a, :2]) / seconds
        found[i] = velocity
    return found
