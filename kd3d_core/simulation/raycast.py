"""Rays against triangles, through Embree."""

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh as EmbreeMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from kd3d_core.simulation.mesh import TriangleMesh


@dataclass(frozen=True, eq=False)
class Hits:
    """What N rays met first.

    Attributes:
        distance: (N,) float32 along the ray [m]; inf where it met nothing.
        face: (N,) int32 index of the triangle, or -1.
        cosine: (N,) float32 in [0, 1], of the angle between ray and surface normal; 0 on a miss.
    """

    distance: NDArray[np.float32]
    face: NDArray[np.int32]
    cosine: NDArray[np.float32]

    @classmethod
    def none(cls, count: int) -> "Hits":
        """All rays miss."""
        return cls(
            np.full(count, np.inf, np.float32),
            np.full(count, -1, np.int32),
            np.zeros(count, np.float32),
        )


class RayCaster:
    """A mesh made ready for ray queries; both sides of a triangle count."""

    def __init__(self, mesh: TriangleMesh) -> None:
        self._faces = len(mesh.faces)
        if self._faces:
            self._scene = EmbreeScene(robust=True)
            # Embree holds its own copy of the triangles.
            EmbreeMesh(
                self._scene,
                np.ascontiguousarray(mesh.vertices, np.float32),
                np.ascontiguousarray(mesh.faces, np.int32),
            )

    def cast(
        self,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        limit: NDArray[np.float32] | None = None,
    ) -> Hits:
        """The first triangle on each ray.

        Args:
            origins: (N, 3) float32 [m].
            directions: (N, 3) float32 unit vectors.
            limit: (N,) float32, ignore what lies beyond this distance [m]; None for no limit.
        """
        count = len(origins)
        if not self._faces or not count:
            return Hits.none(count)
        # Embree writes the distances into the array it is given.
        reach = np.full(count, 1e30, np.float32) if limit is None else limit.astype(np.float32)
        np.minimum(reach, 1e30, out=reach)
        out = self._scene.run(origins, directions, dists=reach, query="INTERSECT", output=True)
        face, normal = out["primID"], out["Ng"]
        hit = face >= 0
        distance = np.where(hit, out["tfar"], np.float32(np.inf))
        length = np.sqrt(np.einsum("ij,ij->i", normal, normal))
        along = np.abs(np.einsum("ij,ij->i", normal, directions))
        cosine = np.where(hit, along / np.maximum(length, 1e-20), 0).astype(np.float32)
        return Hits(distance, face, np.minimum(cosine, 1, out=cosine))
