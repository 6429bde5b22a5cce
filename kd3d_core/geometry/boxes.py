"""`Boxes3D`: the currency in which every room speaks of objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray

#: The classes of the shipped models, in the order of their labels.
DEFAULT_CLASSES = ("car", "truck", "bus", "pedestrian", "cyclist", "motorcycle")


def wrap_angle(angle: ArrayLike) -> NDArray[np.float32]:
    """Wrap angles [rad] of any shape into (-pi, pi], as float32."""
    wrapped = np.asarray(angle, np.float64)
    wrapped = np.pi - np.mod(np.pi - wrapped, 2 * np.pi)
    # float32(pi) is above pi; what rounds to -float32(pi) must come back as +pi.
    result = wrapped.astype(np.float32)
    return np.where(result <= -np.float32(np.pi), np.float32(np.pi), result)


@dataclass(frozen=True, eq=False)
class Boxes3D:
    """N oriented boxes in one frame.

    Attributes:
        center: (N, 3) float32, geometric centre x, y, z [m].
        size: (N, 3) float32, length (along the heading), width, height [m].
        yaw: (N,) float32, heading counter-clockwise from +x [rad], in (-pi, pi].
        velocity: (N, 2) float32, vx, vy over ground [m/s]; NaN where unknown.
        score: (N,) float32 in [0, 1]; 1 for ground truth.
        label: (N,) int64, index into `classes`.
        classes: The class names that `label` points into.
    """

    center: NDArray[np.float32]
    size: NDArray[np.float32]
    yaw: NDArray[np.float32]
    velocity: NDArray[np.float32]
    score: NDArray[np.float32]
    label: NDArray[np.int64]
    classes: tuple[str, ...] = DEFAULT_CLASSES

    def __post_init__(self) -> None:
        count = len(np.asarray(self.center))
        shapes = {"center": (3,), "size": (3,), "yaw": (), "velocity": (2,), "score": ()}
        for name, tail in shapes.items():
            array = np.ascontiguousarray(getattr(self, name), np.float32)
            if array.shape != (count, *tail):
                raise ValueError(f"Boxes3D.{name}: shape {array.shape}, not {(count, *tail)}")
            object.__setattr__(self, name, array)
        label = np.ascontiguousarray(self.label, np.int64)
        if label.shape != (count,):
            raise ValueError(f"Boxes3D.label: shape {label.shape}, not {(count,)}")
        if count and not (label.min() >= 0 and label.max() < len(self.classes)):
            raise ValueError(f"Boxes3D.label: a label is outside the {len(self.classes)} classes")
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "yaw", wrap_angle(self.yaw))

    @classmethod
    def make(
        cls,
        center: ArrayLike,
        size: ArrayLike,
        yaw: ArrayLike,
        label: ArrayLike,
        *,
        velocity: ArrayLike | None = None,
        score: ArrayLike | None = None,
        classes: Sequence[str] = DEFAULT_CLASSES,
    ) -> "Boxes3D":
        """Build boxes from array-likes; velocity defaults to NaN (unknown), score to 1."""
        center = np.asarray(center, np.float32).reshape(-1, 3)
        count = len(center)
        return cls(
            center=center,
            size=np.asarray(size, np.float32).reshape(-1, 3),
            yaw=np.asarray(yaw, np.float32).reshape(-1),
            velocity=np.full((count, 2), np.nan, np.float32)
            if velocity is None
            else np.asarray(velocity, np.float32).reshape(-1, 2),
            score=np.ones(count, np.float32)
            if score is None
            else np.asarray(score, np.float32).reshape(-1),
            label=np.asarray(label, np.int64).reshape(-1),
            classes=tuple(classes),
        )

    @classmethod
    def empty(cls, classes: Sequence[str] = DEFAULT_CLASSES) -> "Boxes3D":
        """No boxes at all."""
        return cls.make(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), [], classes=classes)

    @classmethod
    def concatenate(cls, parts: Sequence["Boxes3D"]) -> "Boxes3D":
        """Join boxes that share their classes, in order; `parts` must not be empty."""
        if any(part.classes != parts[0].classes for part in parts):
            raise ValueError("Boxes3D.concatenate: the parts have different classes")
        names = ("center", "size", "yaw", "velocity", "score", "label")
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in names
        }
        return cls(**joined, classes=parts[0].classes)

    def __len__(self) -> int:
        return len(self.center)

    def __getitem__(self, index: Any) -> "Boxes3D":
        """Select by slice, mask (N,) bool or indices (M,) int."""
        if isinstance(index, (int, np.integer)):
            index = [index]
        names = ("center", "size", "yaw", "velocity", "score", "label")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    @property
    def bev(self) -> NDArray[np.float32]:
        """(N, 5) float32: x, y, length, width [m], yaw [rad]: the box seen from above."""
        return np.concatenate([self.center[:, :2], self.size[:, :2], self.yaw[:, None]], axis=1)

    @property
    def names(self) -> list[str]:
        """The class name of each box."""
        return [self.classes[label] for label in self.label]

    def corners(self) -> NDArray[np.float32]:
        """(N, 8, 3) float32 corners [m]: the bottom four counter-clockwise, then the top four.

        The first corner is front left (+length/2, +width/2), then rear left, rear right and
        front right.
        """
        unit = np.array(
            [[x, y, z] for z in (-1, 1) for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1))],
            np.float32,
        )
        local = unit[None] * self.size[:, None] / 2
        cos, sin = np.cos(self.yaw)[:, None], np.sin(self.yaw)[:, None]
        x = cos * local[..., 0] - sin * local[..., 1]
        y = sin * local[..., 0] + cos * local[..., 1]
        turned = np.stack([x, y, local[..., 2]], axis=-1).astype(np.float32)
        return turned + self.center[:, None]

    def transformed(self, pose: NDArray[np.floating[Any]]) -> "Boxes3D":
        """The same boxes in another frame.

        Args:
            pose: (4, 4) target_from_source rigid transform. Only its rotation about z turns the
                yaw and the velocity: boxes stay upright, as in every LiDAR data set.
        """
        turn = np.arctan2(pose[1, 0], pose[0, 0])
        cos, sin = np.cos(turn), np.sin(turn)
        vx, vy = self.velocity[:, 0], self.velocity[:, 1]
        return replace(
            self,
            center=(self.center @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32),
            yaw=self.yaw + np.float32(turn),
            velocity=np.stack([cos * vx - sin * vy, sin * vx + cos * vy], axis=1),
        )

    def contains(self, points: NDArray[np.float32], margin: float = 0.0) -> NDArray[np.bool_]:
        """Which points lie in which box.

        Args:
            points: (M, 3 or more) x, y, z [m] first.
            margin: Grow every box by this much on each side [m].

        Returns:
            (N, M) bool.
        """
        inside = np.zeros((len(self), len(points)), bool)
        xyz = np.asarray(points, np.float32)[:, :3]
        for i in range(len(self)):
            # A cheap axis-aligned cut first: of 120,000 points few are near any box.
            reach = float(np.hypot(self.size[i, 0], self.size[i, 1])) / 2 + 2 * margin
            near = np.flatnonzero(
                (np.abs(xyz[:, 0] - self.center[i, 0]) <= reach)
                & (np.abs(xyz[:, 1] - self.center[i, 1]) <= reach)
            )
            delta = xyz[near] - self.center[i]
            cos, sin = np.cos(self.yaw[i]), np.sin(self.yaw[i])
            local = np.abs(
                np.stack(
                    [
                        cos * delta[:, 0] + sin * delta[:, 1],
                        cos * delta[:, 1] - sin * delta[:, 0],
                        delta[:, 2],
                    ],
                    axis=1,
                )
            )
            inside[i, near] = (local <= self.size[i] / 2 + margin).all(axis=1)
        return inside
