"""Anchors: boxes of a fixed size at every output cell, and boxes as residuals to them.

SECOND (Sensors 2018), "Anchors and Targets"; PointPillars (CVPR 2019), sec. 2.3 and 3.1.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic import PositiveFloat
from pydantic import model_validator

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import per_class
from kd3d_core.codec.decode import suppress
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.heads import AnchorMaps
from kd3d_core.config import Config
from kd3d_core.geometry.boxes import Boxes3D

#: The yaws of the anchors of a class [rad].
YAWS = (0.0, math.pi / 2)
#: Where the two headings of an axis part [rad]: away from 0 and pi/2, where most cars point.
SPLIT = math.pi / 4
#: Residuals of sizes are decoded within [-3, 3], twentyfold either way: an untrained network must
#: not give infinity.
_MAX_LOG_RATIO = 3.0


class Anchor(Config):
    """The anchor of a class and what counts as a match with it."""

    size: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    """Length, width, height [m]."""
    z: float
    """Height of the centre in the sensor's frame [m]."""
    matched: float = Field(default=0.6, gt=0, le=1)
    """Overlap with an object from which on the anchor shall report it."""
    unmatched: float = Field(default=0.45, ge=0, le=1)
    """Overlap with every object below which the anchor is background; between, it is ignored."""

    @model_validator(mode="after")
    def _check(self) -> "Anchor":
        if self.unmatched > self.matched:
            raise ValueError(f"unmatched {self.unmatched} is above matched {self.matched}")
        return self


#: One anchor for each class, by its name.
Anchors = dict[str, Anchor]


def anchor_boxes(
    index: NDArray[np.int64], grid: BevGrid, stride: int, anchors: Sequence[Anchor]
) -> NDArray[np.float64]:
    """The anchors with the given numbers.

    Args:
        index: (P,) int64 number of each anchor: (slot * rows + row) * columns + column in output
            cells, slot = 2 * class + (0 for yaw 0, 1 for yaw pi/2).
        grid: The input grid.
        stride: Grid cells per output cell.
        anchors: One for each class, in the order of the classes.

    Returns:
        (P, 7) float64: x, y, z, length, width, height [m], yaw [rad].
    """
    rows, columns = grid.shape[0] // stride, grid.shape[1] // stride
    step = grid.cell * stride
    slot, cell = np.divmod(index, rows * columns)
    row, column = np.divmod(cell, columns)
    label, turned = np.divmod(slot, len(YAWS))
    boxes = np.empty((len(index), 7))
    boxes[:, 0] = grid.x[0] + (column + 0.5) * step
    boxes[:, 1] = grid.y[0] + (row + 0.5) * step
    boxes[:, 2] = np.array([anchor.z for anchor in anchors])[label]
    boxes[:, 3:6] = np.array([anchor.size for anchor in anchors])[label]
    boxes[:, 6] = np.array(YAWS)[turned]
    return boxes


def encode_boxes(
    boxes: NDArray[np.floating[Any]], anchors: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """Residuals of boxes to anchors: SECOND, "Anchors and Targets".

    Args:
        boxes: (P, 7) x, y, z, length, width, height [m], yaw [rad].
        anchors: (P, 7) the same.

    Returns:
        (P, 7) float64: the offset in x and y over the diagonal of the anchor, in z over its
        height; the logarithms of the ratios of the sizes; the difference of the yaws [rad].
    """
    boxes, anchors = np.asarray(boxes, np.float64), np.asarray(anchors, np.float64)
    scale = _scale(anchors)
    return np.concatenate(
        [
            (boxes[:, :3] - anchors[:, :3]) / scale,
            np.log(boxes[:, 3:6] / anchors[:, 3:6]),
            boxes[:, 6:] - anchors[:, 6:],
        ],
        axis=1,
    )


def decode_boxes(
    residuals: NDArray[np.floating[Any]], anchors: NDArray[np.floating[Any]]
) -> NDArray[np.float64]:
    """The inverse of `encode_boxes`: (P, 7) residuals and (P, 7) anchors to (P, 7) boxes."""
    residuals, anchors = np.asarray(residuals, np.float64), np.asarray(anchors, np.float64)
    ratios = np.exp(np.clip(residuals[:, 3:6], -_MAX_LOG_RATIO, _MAX_LOG_RATIO))
    return np.concatenate(
        [
            anchors[:, :3] + residuals[:, :3] * _scale(anchors),
            anchors[:, 3:6] * ratios,
            anchors[:, 6:] + residuals[:, 6:],
        ],
        axis=1,
    )


def heading(yaw: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """(P,) int64, 0 or 1: which of the two headings of its axis a yaw (P,) [rad] is.

    The sine of a difference does not tell a heading from its reverse, so a classifier does
    (SECOND, "Sine-Error Loss"). 0 are the yaws of [pi/4, 5 pi/4).
    """
    turn = np.mod(np.asarray(yaw, np.float64) - SPLIT, 2 * math.pi)
    return (turn >= math.pi).astype(np.int64)


def with_heading(
    yaw: NDArray[np.floating[Any]], direction: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(P,) yaw [rad] on the axis of `yaw` (P,) whose `heading` is `direction` (P,)."""
    axis = np.mod(np.asarray(yaw, np.float64) - SPLIT, math.pi)
    return np.asarray(axis + SPLIT + math.pi * direction, np.float64)


def decode_anchors(
    maps: AnchorMaps[NDArray[Any]],
    grid: BevGrid,
    stride: int,
    classes: Sequence[str],
    config: DecodeConfig,
    anchors: Anchors,
) -> Boxes3D:
    """Read the boxes of one frame from the maps of an anchor head.

    Every anchor gives its best class at most; then suppression within each class.

    Args:
        maps: (C, H, W) each, any float dtype, without a batch axis.
        grid: The input grid.
        stride: Grid cells per output cell.
        classes: The K class names, in the order of the scores.
        config: Thresholds and limits.
        anchors: By class name.

    Returns:
        Boxes in the frame of the grid, by falling score; the velocity is unknown.

    Raises:
        Kd3dError: A setting of `config` does not fit the classes.
    """
    rows, columns = maps.score.shape[-2:]
    slots = len(YAWS) * len(classes)
    score = np.asarray(maps.score, np.float32).reshape(slots, len(classes), -1)
    label = score.argmax(axis=1).reshape(-1)
    best = score.max(axis=1).reshape(-1)
    sigmoid = 1.0 / (1.0 + np.exp(-np.clip(best, -60.0, 60.0)))
    threshold = per_class(config.score_threshold, classes, "score_threshold")
    index = np.flatnonzero(sigmoid >= threshold.astype(np.float32)[label])  # NaN leaves here
    index = index[np.argsort(-best[index], kind="stable")[: config.pre_nms]]
    slot, cell = np.divmod(index, rows * columns)
    residual = np.asarray(maps.box).reshape(slots, 7, -1)[slot, :, cell]
    direction = np.asarray(maps.direction).reshape(slots, 2, -1)[slot, :, cell].argmax(axis=1)
    order = [anchors[name] for name in classes]
    found = decode_boxes(residual, anchor_boxes(index, grid, stride, order))
    boxes = Boxes3D.make(
        found[:, :3],
        found[:, 3:6],
        with_heading(found[:, 6], direction),
        label[index],
        classes=classes,
    )
    boxes = replace(boxes, score=sigmoid[index].astype(np.float32))
    return suppress(boxes, config)[: config.max_boxes]


def _scale(anchors: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(P, 3): what the residuals of the centre of anchors (P, 7) are counted in [m]."""
    diagonal = np.hypot(anchors[:, 3], anchors[:, 4])
    return np.stack([diagonal, diagonal, anchors[:, 5]], axis=1).astype(np.float64)
