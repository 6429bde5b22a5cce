"""Boxes as the nuScenes metrics compare them: float64, upright in one level frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.nuscenes_frames import level_turn
from kd3d_core.datasets.nuscenes_frames import turned_yaw
from kd3d_core.geometry.boxes import Boxes3D


@dataclass(frozen=True, eq=False)
class LevelBoxes:
    """N boxes of chosen classes.

    float64, because a centre in world coordinates has no room for millimetres in float32.

    Attributes:
        center: (N, 3) float64 [m].
        size: (N, 3) float64 length, width, height [m].
        yaw: (N,) float64 [rad].
        velocity: (N, 2) float64 [m/s], NaN where unknown.
        score: (N,) float64.
        label: (N,) int64, index into the classes that are evaluated.
        attribute: (N,) str, "" where there is none.
    """

    center: NDArray[np.float64]
    size: NDArray[np.float64]
    yaw: NDArray[np.float64]
    velocity: NDArray[np.float64]
    score: NDArray[np.float64]
    label: NDArray[np.int64]
    attribute: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.center)

    def __getitem__(self, index: Any) -> "LevelBoxes":
        """Select by slice, mask (N,) bool or indices (M,) int."""
        return LevelBoxes(*(getattr(self, name)[index] for name in _COLUMNS))

    @classmethod
    def concatenate(cls, parts: Sequence["LevelBoxes"]) -> "LevelBoxes":
        """Join boxes, in order; `parts` must not be empty."""
        columns = ([getattr(part, name) for part in parts] for name in _COLUMNS)
        return cls(*(np.concatenate(column) for column in columns))

    def inside(self, racks: "LevelBoxes") -> NDArray[np.bool_]:
        """(N,) bool: whose centres lie in one of the M `racks`, the faces included."""
        delta = self.center[:, None] - racks.center[None]
        cos, sin = np.cos(racks.yaw), np.sin(racks.yaw)
        along = np.abs(cos * delta[..., 0] + sin * delta[..., 1])
        across = np.abs(cos * delta[..., 1] - sin * delta[..., 0])
        half = racks.size / 2
        hit = (along <= half[:, 0]) & (across <= half[:, 1])
        return np.asarray((hit & (np.abs(delta[..., 2]) <= half[:, 2])).any(axis=1))


_COLUMNS = ("center", "size", "yaw", "velocity", "score", "label", "attribute")


def level_boxes(
    boxes: Boxes3D,
    classes: Sequence[str],
    attributes: Sequence[str] | None = None,
    world_from_boxes: NDArray[np.floating[Any]] | None = None,
) -> tuple[LevelBoxes, NDArray[np.bool_]]:
    """Boxes of the wanted classes, as the metrics compare them.

    Args:
        boxes: N of them, in any frame.
        classes: The wanted classes; boxes of others are left out.
        attributes: N names, "" where there is none; None for no attributes at all.
        world_from_boxes: (4, 4) pose of their frame; None leaves them in it.

    Returns:
        The boxes, and which of the N they are: (N,) bool.

    Raises:
        ValueError: There are not N attributes.
    """
    if attributes is not None and len(attributes) != len(boxes):
        raise ValueError(f"there are {len(boxes)} boxes but {len(attributes)} attributes")
    names = np.zeros(len(boxes), np.str_) if attributes is None else np.asarray(attributes, str)
    order = {name: i for i, name in enumerate(classes)}
    label = np.array([order.get(name, -1) for name in boxes.classes], np.int64)[boxes.label]
    center, yaw, velocity = (
        np.asarray(part, np.float64) for part in (boxes.center, boxes.yaw, boxes.velocity)
    )
    if world_from_boxes is not None:
        turn = level_turn(world_from_boxes)
        center = center @ world_from_boxes[:3, :3].T + world_from_boxes[:3, 3]
        yaw, velocity = turned_yaw(turn, yaw), velocity @ turn.T
    every = LevelBoxes(
        center=center,
        size=boxes.size.astype(np.float64),
        yaw=yaw,
        velocity=velocity,
        score=boxes.score.astype(np.float64),
        label=label,
        attribute=names,
    )
    known = label >= 0
    return every[known], known
