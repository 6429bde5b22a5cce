"""Head maps to boxes."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import NonNegativeFloat
from pydantic import PositiveInt

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.heads import HeadMaps
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
        for row in range(rows):
            for column in range(columns):
                value = heatmap[k, row, column]
                if not value >= threshold[k]:  # NaN leaves here too
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


def decode(
    maps: HeadMaps[NDArray[Any]],
    grid: BevGrid,
    stride: int,
    classes: Sequence[str],
    config: DecodeConfig,
) -> Boxes3D:
    """Read the boxes of one frame from its maps.

    Args:
        maps: (C, H, W) each, any float dtype, without a batch axis.
        grid: The input grid.
        stride: Grid cells per output cell.
        classes: The K class names of the heatmap's channels.
        config: Thresholds and limits.

    Returns:
        Boxes in the frame of the grid, by falling score.

    Raises:
        Kd3dError: A setting of `config` does not fit the classes.
    """
    heatmap = np.ascontiguousarray(maps.heatmap, np.float32)
    if heatmap.ndim != 3 or len(heatmap) != len(classes):
        raise ValueError(f"heatmap has shape {heatmap.shape}, not ({len(classes)}, H, W)")
    rows, columns = heatmap.shape[1:]
    threshold = per_class(config.score_threshold, classes, "score_threshold")
    found, logits = _peaks(heatmap, _logit(threshold))
    order = np.argsort(-logits, kind="stable")[: config.pre_nms]
    label, cell = np.divmod(found[order], rows * columns)
    boxes = _gather(maps, grid.cell * stride, (grid.x[0], grid.y[0]), label, cell, classes)
    score = 1.0 / (1.0 + np.exp(-np.clip(logits[order], -60.0, 60.0)))
    boxes = replace(boxes, score=score.astype(np.float32))
    return suppress(boxes, config)[: config.max_boxes]


def suppress(boxes: Boxes3D, config: DecodeConfig) -> Boxes3D:
    """Non-maximum suppression within each class.

    Returns:
        The kept boxes by falling score; equal scores keep their order.
    """
    rotated = config.nms == "rotated"
    name = "nms_threshold" if rotated else "circle_radius"
    limits = per_class(getattr(config, name), boxes.classes, name)
    bev = boxes.bev
    kept = [np.zeros(0, np.int64)]
    for label, limit in enumerate(limits):
        index = np.flatnonzero(boxes.label == label)
        if len(index) == 0:
            continue
        score = boxes.score[index]
        if rotated:
            kept.append(index[rotated_nms(bev[index], score, limit)])
        else:
            kept.append(index[circle_nms(bev[index, :2], score, limit)])
    index = np.sort(np.concatenate(kept))
    return boxes[index[np.argsort(-boxes.score[index], kind="stable")]]


def _gather(
    maps: HeadMaps[NDArray[Any]],
    step: float,
    low: tuple[float, float],
    label: NDArray[np.int64],
    cell: NDArray[np.int64],
    classes: Sequence[str],
) -> Boxes3D:
    """Boxes (P,) with score 1 from the regression maps (C, H, W) at cells (P,) of edge `step`."""
    columns = maps.heatmap.shape[-1]
    row, column = np.divmod(cell, columns)

    def at(values: NDArray[Any]) -> NDArray[np.float64]:
        """(P, C) float64 values of a map at the cells."""
        return np.asarray(values)[:, row, column].T.astype(np.float64)

    offset = at(maps.offset)
    center = np.empty((len(cell), 3))
    center[:, 0] = low[0] + (column + offset[:, 0]) * step
    center[:, 1] = low[1] + (row + offset[:, 1]) * step
    center[:, 2] = at(maps.height)[:, 0]
    return Boxes3D.make(
        center,
        np.exp(np.clip(at(maps.size), -_MAX_LOG_SIZE, _MAX_LOG_SIZE)),
        decode_rotation(at(maps.rotation)),
        label,
        velocity=at(maps.velocity),
        classes=classes,
    )


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float32]:
    """(K,) float32 logits; 0 gives -inf and what is 1 or more gives +inf."""
    return np.array(
        [
            -math.inf if p <= 0 else math.inf if p >= 1 else math.log(p) - math.log1p(-p)
            for p in probability
        ],
        np.float32,
    )
