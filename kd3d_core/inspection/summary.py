"""The figures of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from kd3d_core.inspection.facts import FrameFacts
from kd3d_core.inspection.table import BoxTable


@dataclass(frozen=True)
class Spread:
    """How values are spread: quantiles 0, 0.05, 0.5, 0.95 and 1."""

    least: float
    low: float
    median: float
    high: float
    most: float

    @classmethod
    def of(cls, values: ArrayLike) -> "Spread | None":
        """Of (N,) values; None without a finite one."""
        array = np.asarray(values, np.float64)
        array = array[np.isfinite(array)]
        if not len(array):
            return None
        return cls(*np.quantile(array, (0, 0.05, 0.5, 0.95, 1)).tolist())


@dataclass(frozen=True)
class ClassSummary:
    """The boxes of one class.

    Attributes:
        boxes: How many.
        frames: In how many frames.
        length, width, height: [m].
        range: Horizontal distance [m].
        points: Inside a box.
        empty: Boxes without a point.
        speed: Over ground [m/s]; None where unknown.
        yaw: (8,) boxes by heading: 8 sectors counter-clockwise, the first from +x to +45 degrees.
    """

    boxes: int
    frames: int
    length: Spread | None
    width: Spread | None
    height: Spread | None
    range: Spread | None
    points: Spread | None
    empty: int
    speed: Spread | None
    yaw: tuple[int, ...]


@dataclass(frozen=True)
class Summary:
    """What was found.

    Attributes:
        drives: How many drives the data set has.
        sensors: Names of the LiDARs.
        labelled: Frames with labels.
        classes: By name, in the order of the data set; classes without a box too.
        points: Of a cloud.
        intensity: Median of a cloud, in [0, 1].
        reach: 99 % quantile of the horizontal distance of a cloud's points [m].
        ground: Height of the origin above the ground as seen in the clouds [m].
        rate: Frames a second; None when unknown.
        has_time, has_ring, has_pose, has_velocity: Whether any frame has them.
    """

    drives: int
    sensors: tuple[str, ...]
    labelled: int
    classes: dict[str, ClassSummary]
    points: Spread | None
    intensity: Spread | None
    reach: Spread | None
    ground: Spread | None
    rate: float | None
    has_time: bool
    has_ring: bool
    has_pose: bool
    has_velocity: bool


def summarise(
    frames: Sequence[FrameFacts], table: BoxTable, classes: Sequence[str], drives: int
) -> Summary:
    """The figures of some frames and their boxes; `classes` are those that are declared."""
    names = list(dict.fromkeys([*classes, *table.classes]))
    steps = [
        b.stamp - a.stamp
        for a, b in pairwise(frames)
        if a.drive == b.drive and a.index + 1 == b.index and b.stamp > a.stamp
    ]
    return Summary(
        drives=drives,
        sensors=tuple(sorted({facts.sensor for facts in frames})),
        labelled=sum(facts.boxes is not None for facts in frames),
        classes={name: _class_summary(table, name) for name in names},
        points=Spread.of([facts.points for facts in frames]),
        intensity=Spread.of([f.intensity[0] for f in frames if f.has_intensity]),
        reach=Spread.of([facts.reach[1] for facts in frames]),
        ground=Spread.of([f.ground.height for f in frames if f.ground is not None]),
        rate=1 / float(np.median(steps)) if steps else None,
        has_time=any(facts.has_time for facts in frames),
        has_ring=any(facts.has_ring for facts in frames),
        has_pose=any(facts.pose is not None for facts in frames),
        has_velocity=bool(np.isfinite(table.velocity).any()),
    )


def _class_summary(table: BoxTable, name: str) -> ClassSummary:
    """The boxes of one class."""
    rows = np.flatnonzero(table.name == name)
    sector = np.floor(np.mod(table.yaw[rows][np.isfinite(table.yaw[rows])], 2 * np.pi) / np.pi * 4)
    return ClassSummary(
        boxes=len(rows),
        frames=len(np.unique(table.frame[rows])),
        length=Spread.of(table.size[rows, 0]),
        width=Spread.of(table.size[rows, 1]),
        height=Spread.of(table.size[rows, 2]),
        range=Spread.of(table.range[rows]),
        points=Spread.of(table.points[rows]),
        empty=int(np.count_nonzero(table.points[rows] == 0)),
        speed=Spread.of(table.speed[rows]),
        yaw=tuple(np.bincount(np.minimum(sector, 7).astype(int), minlength=8).tolist()),
    )
