"""Random changes of a frame that keep points and boxes consistent, for training."""

from dataclasses import replace

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic import NonNegativeFloat
from pydantic import PositiveFloat

from kd3d_core.config import Config
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D


class AugmentConfig(Config):
    """What may happen to a training frame; every step is drawn anew for each frame."""

    flip_x: float = Field(default=0.5, ge=0, le=1)
    """Probability of mirroring x (front becomes rear)."""
    flip_y: float = Field(default=0.5, ge=0, le=1)
    """Probability of mirroring y (left becomes right)."""
    rotation: NonNegativeFloat = float(np.pi / 4)
    """Largest turn about z [rad], either way; pi makes every heading equally likely."""
    scale: NonNegativeFloat = 0.05
    """Sizes are scaled by a factor in [1 - scale, 1 + scale]."""
    object_scale: tuple[PositiveFloat, PositiveFloat] = (1.0, 1.0)
    """Every object is scaled by a factor of its own between these two, with its points: what is
    sold elsewhere is smaller or larger (random object scaling: ST3D, CVPR 2021, sec. 3.2)."""
    height: NonNegativeFloat = 0.2
    """Largest shift along z [m], either way: sensors are not all mounted alike."""
    min_keep: float = Field(default=0.6, gt=0, le=1)
    """A share of the points in [min_keep, 1] is kept: sensors with fewer beams or longer range."""
    dropout: float = Field(default=0.5, ge=0, le=1)
    """Probability that points are dropped at all."""
    intensity_gain: NonNegativeFloat = 0.3
    """Intensity is scaled by a factor in [1 - gain, 1 + gain]: no two vendors calibrate alike."""
    intensity_noise: NonNegativeFloat = 0.02
    """Standard deviation of noise added to the intensity."""
    intensity_off: float = Field(default=0.1, ge=0, le=1)
    """Probability that the intensity is zeroed, so that the model works without it."""
    until: float = Field(default=1.0, ge=0, le=1)
    """Frames come unchanged after this share of the steps."""


def augment(frame: Frame, config: AugmentConfig, rng: np.random.Generator) -> Frame:
    """Draw and apply every step of `config`; the frame given stays as it was.

    The result has no pose, because a mirrored or scaled frame has none in the world.
    """
    if rng.random() < config.dropout:
        frame = drop_points(frame, rng.uniform(config.min_keep, 1.0), rng)
    if rng.random() < config.flip_x:
        frame = flip(frame, "x")
    if rng.random() < config.flip_y:
        frame = flip(frame, "y")
    if config.object_scale != (1.0, 1.0):
        frame = scale_objects(frame, config.object_scale, rng)
    frame = rotate(frame, rng.uniform(-config.rotation, config.rotation))
    frame = scale(frame, rng.uniform(1 - config.scale, 1 + config.scale))
    frame = shift_height(frame, rng.uniform(-config.height, config.height))
    return change_intensity(frame, config, rng)


def flip(frame: Frame, axis: str) -> Frame:
    """Mirror the coordinate `axis`, "x" or "y", of points, boxes, headings and velocities."""
    column = {"x": 0, "y": 1}[axis]
    points = frame.cloud.points.copy()
    points[:, column] *= -1
    boxes = frame.boxes
    if boxes is not None:
        center, velocity = boxes.center.copy(), boxes.velocity.copy()
        center[:, column] *= -1
        velocity[:, column] *= -1
        yaw = np.pi - boxes.yaw if axis == "x" else -boxes.yaw
        boxes = replace(boxes, center=center, velocity=velocity, yaw=yaw)
    return replace(frame, cloud=replace(frame.cloud, points=points), boxes=boxes, pose=None)


def rotate(frame: Frame, angle: float) -> Frame:
    """Turn everything about z by `angle` [rad], counter-clockwise."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    matrix = np.array([[cos, -sin], [sin, cos]], np.float32)
    points = frame.cloud.points.copy()
    points[:, :2] = points[:, :2] @ matrix.T
    boxes = frame.boxes
    if boxes is not None:
        center = boxes.center.copy()
        center[:, :2] = center[:, :2] @ matrix.T
        boxes = replace(
            boxes,
            center=center,
            yaw=boxes.yaw + np.float32(angle),
            velocity=boxes.velocity @ matrix.T,
        )
    return replace(frame, cloud=replace(frame.cloud, points=points), boxes=boxes, pose=None)


def scale(frame: Frame, factor: float) -> Frame:
    """Scale every length, and with the lengths the velocities, by `factor`."""
    points = frame.cloud.points.copy()
    points[:, :3] *= np.float32(factor)
    boxes = frame.boxes
    if boxes is not None:
        boxes = replace(
            boxes,
            center=boxes.center * np.float32(factor),
            size=boxes.size * np.float32(factor),
            velocity=boxes.velocity * np.float32(factor),
        )
    height = None if frame.sensor_height is None else frame.sensor_height * factor
    return replace(
        frame,
        cloud=replace(frame.cloud, points=points),
        boxes=boxes,
        pose=None,
        sensor_height=height,
    )


def scale_objects(frame: Frame, factors: tuple[float, float], rng: np.random.Generator) -> Frame:
    """Scale each box, and the points in it, about the middle of its bottom.

    Args:
        frame: One without boxes stays as it is.
        factors: Smallest and largest factor, drawn evenly for each box.
        rng: Source of chance.
    """
    boxes = frame.boxes
    if boxes is None or not len(boxes):
        return frame
    factor = rng.uniform(*factors, len(boxes)).astype(np.float32)
    points = frame.cloud.points.copy()
    foot = boxes.center.copy()
    foot[:, 2] -= boxes.size[:, 2] / 2
    _scale_points(points, boxes.center, boxes.size, boxes.yaw, foot, factor)
    size = boxes.size * factor[:, None]
    center = foot.copy()
    center[:, 2] += size[:, 2] / 2
    return replace(
        frame,
        cloud=replace(frame.cloud, points=points),
        boxes=replace(boxes, center=center, size=size),
    )


def shift_height(frame: Frame, shift: float) -> Frame:
    """Raise points and boxes by `shift` [m], as if the sensor were mounted that much lower."""
    points = frame.cloud.points.copy()
    points[:, 2] += np.float32(shift)
    boxes = frame.boxes
    if boxes is not None:
        boxes = replace(boxes, center=boxes.center + np.array([0, 0, shift], np.float32))
    height = None if frame.sensor_height is None else frame.sensor_height - shift
    return replace(
        frame,
        cloud=replace(frame.cloud, points=points),
        boxes=boxes,
        pose=None,
        sensor_height=height,
    )


def drop_points(frame: Frame, share: float, rng: np.random.Generator) -> Frame:
    """Keep about `share` of the points, drawn at random, and count the points of boxes anew."""
    cloud = frame.cloud[rng.random(len(frame.cloud), np.float32) < share]
    counts = None if frame.boxes is None else count_points(frame.boxes, cloud.points)
    if counts is not None and frame.num_points is not None:
        # What was counted in the newest of several sweeps is not to grow by the others' points.
        counts = np.minimum(counts, frame.num_points)
    return replace(frame, cloud=cloud, num_points=counts)


def change_intensity(frame: Frame, config: AugmentConfig, rng: np.random.Generator) -> Frame:
    """Rescale and blur the intensity, or take it away; geometry stays as it is."""
    points = frame.cloud.points.copy()
    if rng.random() < config.intensity_off:
        points[:, 3] = 0
        return replace(frame, cloud=replace(frame.cloud, points=points, has_intensity=False))
    gain = rng.uniform(1 - config.intensity_gain, 1 + config.intensity_gain)
    noise = rng.standard_normal(len(points), np.float32) * np.float32(config.intensity_noise)
    points[:, 3] = np.clip(points[:, 3] * np.float32(gain) + noise, 0, 1)
    return replace(frame, cloud=replace(frame.cloud, points=points))


def count_points(boxes: Boxes3D, points: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) int64: how many of the (M, 3 or more) points [m] lie in each of the N boxes."""
    return _inside(boxes.center, boxes.size, boxes.yaw, points, False)[1]


def points_in_any(boxes: Boxes3D, points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(M,) bool: which of the (M, 3 or more) points [m] lie in at least one box."""
    return _inside(boxes.center, boxes.size, boxes.yaw, points, True)[0]


@numba.njit(cache=True)
def _inside(center, size, yaw, points, stop):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """One pass over the points: which lie in any box, and how many in each (unless `stop`)."""
    boxes = len(center)
    inside = np.zeros(len(points), np.bool_)
    counts = np.zeros(boxes, np.int64)
    cos, sin = np.cos(yaw), np.sin(yaw)
    reach = np.hypot(size[:, 0], size[:, 1]) / 2
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for j in range(boxes):
            dx, dy = x - center[j, 0], y - center[j, 1]
            if abs(dx) > reach[j] or abs(dy) > reach[j]:
                continue
            if (
                abs(z - center[j, 2]) <= size[j, 2] / 2
                and abs(cos[j] * dx + sin[j] * dy) <= size[j, 0] / 2
                and abs(cos[j] * dy - sin[j] * dx) <= size[j, 1] / 2
            ):
                inside[i] = True
                counts[j] += 1
                if stop:
                    break
    return inside, counts


@numba.njit(cache=True)
def _scale_points(points, center, size, yaw, foot, factor):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
    """Move the points of each box, in place; one of two boxes goes with the first."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    reach = np.hypot(size[:, 0], size[:, 1]) / 2
    for i in range(len(points)):
        for j in range(len(center)):
            dx, dy = points[i, 0] - center[j, 0], points[i, 1] - center[j, 1]
            if abs(dx) > reach[j] or abs(dy) > reach[j]:
                continue
            if (
                abs(points[i, 2] - center[j, 2]) <= size[j, 2] / 2
                and abs(cos[j] * dx + sin[j] * dy) <= size[j, 0] / 2
                and abs(cos[j] * dy - sin[j] * dx) <= size[j, 1] / 2
            ):
                for axis in range(3):
                    away = points[i, axis] - foot[j, axis]
                    points[i, axis] = foot[j, axis] + factor[j] * away
                break
