"""Triangle meshes with a material on each face."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.transforms import transform_points


class Material(IntEnum):
    """What a face is made of; the sensor model turns it into reflectance and drop-out."""

    ASPHALT = 0
    LANE_MARK = 1
    CONCRETE = 2
    GRASS = 3
    SOIL = 4
    FACADE = 5
    BRICK = 6
    GLASS = 7
    PAINT_DARK = 8
    PAINT_LIGHT = 9
    METAL = 10
    RUBBER = 11
    PLATE = 12
    LAMP = 13
    CLOTH_DARK = 14
    CLOTH_LIGHT = 15
    SKIN = 16
    FOLIAGE = 17
    BARK = 18
    WOOD = 19
    SIGN = 20
    PLASTIC = 21


@dataclass(frozen=True, eq=False)
class TriangleMesh:
    """F triangles.

    Attributes:
        vertices: (V, 3) float32 [m].
        faces: (F, 3) int32 indices into `vertices`.
        material: (F,) uint8, values of `Material`.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    material: NDArray[np.uint8]

    @classmethod
    def join(cls, parts: Sequence["TriangleMesh"]) -> "TriangleMesh":
        """One mesh of several; an empty sequence gives an empty mesh."""
        if not parts:
            return cls(
                np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros(0, np.uint8)
            )
        starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
        return cls(
            vertices=np.concatenate([part.vertices for part in parts]),
            faces=np.concatenate(
                [part.faces + np.int32(start) for part, start in zip(parts, starts, strict=True)]
            ),
            material=np.concatenate([part.material for part in parts]),
        )

    def moved(self, pose: NDArray[np.floating[Any]]) -> "TriangleMesh":
        """The same mesh under a (4, 4) target_from_source pose."""
        return TriangleMesh(transform_points(pose, self.vertices), self.faces, self.material)
