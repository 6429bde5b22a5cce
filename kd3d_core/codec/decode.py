"""Head maps to boxes."""

import math
from collections.abc import Sequence
from typing import Any
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import NonNegativeFloat
from pydantic import PositiveInt

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.heads import Tasks
from kd3d_core.codec.heads import task_of_class
from kd3d_core.codec.rotation import decode_rotation
from kd3d_core.config import Config
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.nms import circle_nms
from kd3d_core.geometry.nms import rotated_nms

#: One value for all classes, one for each class in the order of the labels, or one by class name.
PerClass = NonNegativeFloat | tuple[NonNegativeFloat, ...] | dict[str, NonNegativeFloat]

#: Sizes are decoded within [exp(-5), exp(5)] m: an untrained network must not give infinity.
_MAX_LOG_SIZE = 5.0


class DecodeConfig(Config):
    """How boxes are read from the maps."""

    score_threshold: PerClass = 0.1
    """Peaks below this score are left out; one value, or one for each class."""
    pre_nms: PositiveInt = 1000
    """At most this many peaks, the best of all classes, enter suppression."""
    max_boxes: PositiveInt = 256
    """At most this many boxes come out."""
    nms: Literal["rotated", "circle"] = "rotated"
    """Suppress by rotated IoU, or by the distance of centres; always within a class."""
    nms_threshold: PerClass = 0.2
    """Rotated: the IoU above which the weaker box of a class goes."""
    circle_radius: PerClass = 1.0
    """Circle: the distance [m] below which the weaker box of a class goes."""


def per_class(value: PerClass, classes: Sequence[str], name: str) -> NDArray[np.float64]:
    """(K,) float64: the setting for each class.

    Raises:
        Kd3dError: The values do not name the classes, or are not as many.
    """
    if isinstance(value, dict):
        if set(value) != set(classes):
            raise Kd3dError(
                f"{name} has values for {sorted(value)}; give one for each of the model's "
                f"classes: {', '.join(classes)}."
            )
        return np.array([value[key] for key in classes], np.float64)
    if isinstance(value, tuple):
        if len(value) != len(classes):
            raise Kd3dError(
                f"{name} has {len(value)} values; give {len(classes)}, one for each of the "
                f"model's classes: {', '.join(classes)}."
            )
        return np.array(value, np.float64)
    return np.full(len(classes), value, np.float64)


@njit(cache=True, nogil=True)
def _peaks(
    heatmap: NDArray[np.float32], threshold: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Cells that are the largest of their 3x3 neighbours (CenterNet, 2019, sec. 4).

    Args:
        heatmap: (K, H, W) logits.
        threshold: (K,) logits that a peak has to reach.

    Returns:
        (P,) int64 indices into the flattened heatmap, rising, and (P,) float32 logits.
    """
    classes, rows, columns = heatmap.shape
    found = np.empty(1024, np.int64)
    count = 0
    for k in range(classes):
        least = threshold[k]
        for row in range(rows):
            # Nearly all rows hold nothing; counting alone is compiled to eight at a time.
            above = 0
            for column in range(columns):
                if heatmap[k, row, column] >= least:  # NaN counts as nothing
                    above += 1
            if above == 0:
                continue
            for column in range(columns):
                value = heatmap[k, row, column]
                if not value >= least:
                    continue
                highest = value
                for y in range(max(row - 1, 0), min(row + 2, rows)):
                    for x in range(max(column - 1, 0), min(column + 2, columns)):
                        highest = max(highest, heatmap[k, y, x])
                if highest > value:
                    continue
                if count == len(found):
                    larger = np.empty(2 * count, np.int64)
                    larger[:count] = found
                    found = larger
                found[count] = (k * rows + row) * columns + column
                count += 1
    found = found[:count].copy()
    logits = np.empty(count, np.float32)
    flat = heatmap.reshape(-1)
    for i in range(count):
        logits[i] = flat[found[i]]
    return found, logits


@njit(cache=True, nogil=True)
def _read(
    found: NDArray[np.int64],
    task: NDArray[np.int64],
    low: tuple[float, float],
    step: float,
    offset: NDArray[np.float32],
    height: NDArray[np.float32],
    size: NDArray[np.float32],
    rotation: NDArray[np.float32],
    velocity: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Read the regressions at peaks, each from the channels of its class's task.

    Args:
        found: (P,) indices into the flattened heatmap (K, H, W).
        task: (K,) number of the task of each class.
        low: Low corner of the grid x, y [m].
        step: Edge of an output cell [m].
        offset: (T * 2, H, W); the others likewise, as `HeadMaps` describes them for T tasks.
        height: (T, H, W).
        size: (T * 3, H, W).
        rotation: (T * 4, H, W).
        velocity: (T * 2, H, W).

    Returns:
        (P,) int64 labels, (P, 3 + 3 + 2) float32 centre, size and velocity, (P, 4) float32
        rotation.
    """
    rows, columns = height.shape[1:]
    label = np.empty(len(found), np.int64)
    boxes = np.empty((len(found), 8), np.float32)
    turn = np.empty((len(found), 4), np.float32)
    for i in range(len(found)):
        k, cell = divmod(found[i], rows * columns)
        row, column = divmod(cell, columns)
        t = task[k]
        label[i] = k
        boxes[i, 0] = low[0] + (column + np.float64(offset[2 * t, row, column])) * step
        boxes[i, 1] = low[1] + (row + np.float64(offset[2 * t + 1, row, column])) * step
        boxes[i, 2] = height[t, row, column]
        for c in range(3):
            logarithm = np.float64(size[3 * t + c, row, column])
            boxes[i, 3 + c] = math.exp(min(max(logarithm, -_MAX_LOG_SIZE), _MAX_LOG_SIZE))
        for c in range(2):
            boxes[i, 6 + c] = velocity[2 * t + c, row, column]
        for c in range(4):
            turn[i, c] = rotation[4 * t + c, row, column]
    return label, boxes, turn


def decode(
    maps: HeadMaps[NDArray[Any]],
    grid: BevGrid,
    stride: int,
    classes: Sequence[str],
    config: DecodeConfig,
    tasks: Tasks = (),
) -> Boxes3D:
    """Read the boxes of one frame from its maps.

    Args:
        maps: (C, H, W) each, any float dtype, without a batch axis.
        grid: The input grid.
        stride: Grid cells per output cell.
        classes: The K class names of the heatmap's channels.
        config: Thresholds and limits.
        tasks: The tasks of the head; empty for one.

    Returns:
        Boxes in the frame of the grid, by falling score.

    Raises:
        Kd3dError: A setting of `config` does not fit the classes.
    """
    heatmap = np.ascontiguousarray(maps.heatmap, np.float32)
    if heatmap.ndim != 3 or len(heatmap) != len(classes):
        raise ValueError(f"heatmap has shape {heatmap.shape}, not ({len(classes)}, H, W)")
    threshold = per_class(config.score_threshold, classes, "score_threshold")
    found, logits = _peaks(heatmap, logit(threshold))
    order = np.argsort(-logits, kind="stable")[: config.pre_nms]
    label, read, rotation = _read(
        found[order],
        np.array(task_of_class(len(classes), tasks), np.int64),
        (grid.x[0], grid.y[0]),
        grid.cell * stride,
        *(np.ascontiguousarray(each, np.float32) for each in maps.as_tuple()[1:]),
    )
    boxes = Boxes3D(
        center=read[:, :3],
        size=read[:, 3:6],
        yaw=decode_rotation(rotation.astype(np.float64)).astype(np.float32),
        velocity=read[:, 6:],
        score=(1.0 / (1.0 + np.exp(-np.clip(logits[order], -60.0, 60.0)))).astype(np.float32),
        label=label,
        classes=tuple(classes),
    )
    return suppress(boxes, config, config.max_boxes)


def suppress(boxes: Boxes3D, config: DecodeConfig, most: int | None = None) -> Boxes3D:
    """Non-maximum suppression within each class.

    Args:
        boxes: Before suppression.
        config: How, and with what thresholds.
        most: At most this many boxes are kept; None keeps all.

    Returns:
        The kept boxes by falling score; equal scores keep their order.
    """
    rotated = config.nms == "rotated"
    name = "nms_threshold" if rotated else "circle_radius"
    limits = per_class(getattr(config, name), boxes.classes, name)[boxes.label]
    if rotated:
        kept = rotated_nms(boxes.bev, boxes.score, limits, label=boxes.label, most=most)
    else:
        kept = circle_nms(boxes.center[:, :2], boxes.score, limits, label=boxes.label, most=most)
    return boxes[kept]


def logit(probability: NDArray[np.float64]) -> NDArray[np.float32]:
    """(K,) float32 logits; 0 gives -inf and what is 1 or more gives +inf."""
    return np.array(
        [
            -math.inf if p <= 0 else math.inf if p >= 1 else math.log(p) - math.log1p(-p)
            for p in probability
        ],
        np.float32,
    )
