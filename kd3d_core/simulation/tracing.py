"""What rays meet first, behind panes of glass and by way of puddles too."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.simulation.effects import GLASS_GAIN
from kd3d_core.simulation.effects import GLASS_PASSES
from kd3d_core.simulation.effects import GLASS_RETURNS
from kd3d_core.simulation.effects import Echoes
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.raycast import RayCaster


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Triangles made ready for rays, and what each one belongs to.

    Attributes:
        caster: Of the triangles.
        material: (F,) uint8.
    """

    caster: RayCaster
    material: NDArray[np.uint8]

    @classmethod
    def of(cls, parts: list[TriangleMesh]) -> "Surfaces":
        """Join the parts."""
        mesh = TriangleMesh.join(parts)
        return cls(RayCaster(mesh), np.append(mesh.material, np.uint8(0)))


@dataclass(frozen=True, eq=False)
class World:
    """All that the rays of one sweep may meet.

    Attributes:
        layers: Surfaces, and which of the (N,) rays of the sweep may meet them.
        reach: Nothing is met beyond this distance [m].
    """

    layers: list[tuple[Surfaces, NDArray[np.bool_]]]
    reach: float

    def nearest(
        self,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        *,
        everything: bool = False,
    ) -> Echoes:
        """The nearest surface on each ray.

        Args:
            origins: (N, 3) float32 [m].
            directions: (N, 3) float32 unit vectors.
            everything: The rays are not those of the sweep; each may meet every surface.
        """
        count = len(origins)
        echoes = Echoes(
            distance=np.full(count, np.inf, np.float32),
            cosine=np.zeros(count, np.float32),
            material=np.zeros(count, np.uint8),
            gain=np.ones(count, np.float32),
        )
        limit = np.float32(self.reach)
        for surfaces, serves in self.layers:
            rays = np.arange(count) if everything else np.flatnonzero(serves)
            hits = surfaces.caster.cast(
                origins[rays], directions[rays], np.minimum(echoes.distance[rays], limit)
            )
            met = hits.face >= 0
            rays = rays[met]
            echoes.distance[rays] = hits.distance[met]
            echoes.cosine[rays] = hits.cosine[met]
            echoes.material[rays] = surfaces.material[hits.face[met]]
        return echoes


def look_through_panes(
    world: World,
    echoes: Echoes,
    origins: NDArray[np.float32],
    directions: NDArray[np.float32],
    rng: np.random.Generator,
) -> None:
    """Replace, in place, what hit glass: some is lost, some meets what is behind the pane.

    Args:
        world: What the rays may meet.
        echoes: Of N rays.
        origins: (N, 3) float32 [m].
        directions: (N, 3) float32 unit vectors.
        rng: Source of chance.
    """
    glass = echoes.material == int(Material.GLASS)
    pane = np.flatnonzero(glass & np.isfinite(echoes.distance))
    fate = rng.random(len(pane))
    passed = pane[fate >= 1 - GLASS_PASSES]
    first = echoes.distance[passed] + np.float32(0.02)
    echoes.distance[pane[fate >= GLASS_RETURNS]] = np.inf
    starts = origins[passed] + first[:, None] * directions[passed]
    behind = world.nearest(starts, directions[passed], everything=True)
    _replace(echoes, passed, first, behind)


def look_into_puddles(
    world: World,
    echoes: Echoes,
    origins: NDArray[np.float32],
    directions: NDArray[np.float32],
    mirror: float,
    rng: np.random.Generator,
) -> None:
    """Replace, in place, some hits on the road by what a film of water mirrors.

    The range is that of the whole way, so that the mirrored thing seems to be below the road.
    Flat incidence mirrors more (Fresnel), and takes the road's own echo away.

    Args:
        world: What the rays may meet.
        echoes: Of N rays.
        origins: (N, 3) float32 [m].
        directions: (N, 3) float32 unit vectors.
        mirror: Share of the pulses that is mirrored at the flattest incidence.
        rng: Source of chance.
    """
    road = (echoes.material == int(Material.ASPHALT)) & np.isfinite(echoes.distance)
    ground = np.flatnonzero(road)
    share = mirror * (1 - echoes.cosine[ground]) ** 4
    ground = ground[rng.random(len(ground), np.float32) < share]
    first = echoes.distance[ground]
    starts = origins[ground] + first[:, None] * directions[ground]
    starts[:, 2] += np.float32(0.02)
    onward = directions[ground] * np.array([1, 1, -1], np.float32)
    _replace(echoes, ground, first, world.nearest(starts, onward, everything=True))


def _replace(
    echoes: Echoes, rays: NDArray[np.int64], first: NDArray[np.float32], second: Echoes
) -> None:
    """Let some rays go `first` [m] and then on to `second`, in place."""
    echoes.distance[rays] = first + second.distance
    echoes.cosine[rays] = second.cosine
    echoes.material[rays] = second.material
    echoes.gain[rays] = GLASS_GAIN
