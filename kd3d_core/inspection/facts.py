"""What one frame tells: figures of its points, its boxes and its place."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.iou import bev_iou
from kd3d_core.ground import GroundEstimate
from kd3d_core.ground import estimate_ground

#: Points this far around a box [m] tell where the ground below it is.
_AROUND = 2.5
_ENOUGH_GROUND = 12


@dataclass(frozen=True, eq=False)
class BoxFacts:
    """The ground truth of a frame, N boxes.

    Attributes:
        boxes: In the sensor's frame.
        points: (N,) int64 points of the cloud inside.
        above: (N,) float64 height of the bottom above the ground around it [m]; NaN where no
            ground is in sight.
        overlap: (N,) float32 largest overlap with an earlier box of the frame, seen from above.
        track: (N,) int64, or None.
        finite: (N,) bool: every number of the box is finite and every size positive.
    """

    boxes: Boxes3D
    points: NDArray[np.int64]
    above: NDArray[np.float64]
    overlap: NDArray[np.float32]
    track: NDArray[np.int64] | None
    finite: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class FrameFacts:
    """One frame in figures.

    Attributes:
        index: Of the frame in its data set.
        source, sensor, drive: Where it comes from.
        stamp: [s].
        pose: (4, 4) world_from_sensor, or None.
        points: Finite points.
        dropped: Points that were not finite.
        has_intensity: Whether the source has one.
        intensity: Quantiles 0.5, 0.99 and 1 of it, the shares of 0 and of 1.
        reach: Quantiles 0.5, 0.99 and 1 of the horizontal distance [m].
        ground: None where it is not in sight.
        stated_height: Of the sensor above the ground as the data set says [m], or None.
        has_time, has_ring: Whether points have them.
        boxes: None where the frame is not labelled.
    """

    index: int
    source: str
    sensor: str
    drive: str
    stamp: float
    pose: NDArray[np.floating[Any]] | None
    points: int
    dropped: int
    has_intensity: bool
    intensity: tuple[float, float, float, float, float]
    reach: tuple[float, float, float]
    ground: GroundEstimate | None
    stated_height: float | None
    has_time: bool
    has_ring: bool
    boxes: BoxFacts | None


def frame_facts(frame: Frame, index: int, drive: str) -> FrameFacts:
    """Look at one frame.

    Args:
        frame: Any.
        index: Of the frame in its data set.
        drive: Name of its drive, "" when unknown.
    """
    cloud = frame.cloud
    ground = estimate_ground(cloud)
    reach = np.hypot(cloud.points[:, 0], cloud.points[:, 1])
    value = cloud.points[:, 3]
    shares = (float(np.mean(value == 0)), float(np.mean(value == 1))) if len(value) else (0, 0)
    return FrameFacts(
        index=index,
        source=frame.source,
        sensor=frame.sensor,
        drive=drive,
        stamp=frame.stamp,
        pose=frame.pose,
        points=len(cloud),
        dropped=cloud.dropped,
        has_intensity=cloud.has_intensity,
        intensity=(*_quantiles(value), *shares),
        reach=_quantiles(reach),
        ground=ground,
        stated_height=frame.sensor_height,
        has_time=cloud.time is not None,
        has_ring=cloud.ring is not None,
        boxes=None if frame.boxes is None else _box_facts(frame, frame.boxes, ground),
    )


def _quantiles(values: NDArray[np.float32]) -> tuple[float, float, float]:
    """The median, the 99 % quantile and the largest; zeros without values."""
    if not len(values):
        return 0.0, 0.0, 0.0
    half, most = np.quantile(values, (0.5, 0.99))
    return float(half), float(most), float(values.max())


def _box_facts(frame: Frame, boxes: Boxes3D, ground: GroundEstimate | None) -> BoxFacts:
    """The boxes of a frame."""
    numbers = np.column_stack([boxes.center, boxes.size, boxes.yaw])
    finite = np.asarray(np.isfinite(numbers).all(axis=1) & (boxes.size > 0).all(axis=1))
    points = np.zeros(len(boxes), np.int64)
    above = np.full(len(boxes), np.nan)
    overlap = np.zeros(len(boxes), np.float32)
    good = np.flatnonzero(finite)
    if len(good):
        known = boxes[good]
        points[good] = known.contains(frame.cloud.points).sum(axis=1)
        above[good] = [_above_ground(known[i], frame.cloud.points) for i in range(len(known))]
        if len(good) > 1:
            overlap[good] = np.tril(bev_iou(known.bev, known.bev), -1).max(axis=1)
    return BoxFacts(boxes, points, above, overlap, frame.track_id, finite)


def _above_ground(box: Boxes3D, points: NDArray[np.float32]) -> float:
    """Height of one box's bottom above the lowest points around it [m], NaN without such."""
    half = np.hypot(box.size[0, 0], box.size[0, 1]) / 2 + _AROUND
    near = points[
        (np.abs(points[:, 0] - box.center[0, 0]) < half)
        & (np.abs(points[:, 1] - box.center[0, 1]) < half)
    ]
    if len(near) < _ENOUGH_GROUND:
        return np.nan
    cos, sin = np.cos(box.yaw[0]), np.sin(box.yaw[0])
    delta = near[:, :2] - box.center[0, :2]
    local = np.abs(
        np.column_stack([delta @ (cos, sin), delta @ (-sin, cos)]) / (box.size[0, :2] / 2)
    )
    beside = near[(local > 1.1).any(axis=1), 2]
    if len(beside) < _ENOUGH_GROUND:
        return np.nan
    level = float(np.quantile(beside, 0.05))
    flat = np.count_nonzero(np.abs(beside - level) < 0.15)
    # Ground is where many points lie at the lowest level; a wall or a hedge is not.
    if flat < max(_ENOUGH_GROUND // 2, 0.2 * len(beside)):
        return np.nan
    return float(box.center[0, 2] - box.size[0, 2] / 2 - level)
