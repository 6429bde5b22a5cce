"""Porches before houses, and fences between pillars: posts of a person's size at regular spacing.

Local frame as in `buildings`: x along the street, y away from it, z up from the ground.
"""

import numpy as np
from numpy.random import Generator

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.primitives import quads
from kd3d_core.simulation.primitives import upright
from kd3d_core.simulation.shopfronts import FOOT
from kd3d_core.simulation.shopfronts import PORCH_REACH
from kd3d_core.simulation.shopfronts import post_positions
from kd3d_core.simulation.shopfronts import posts


def porch(width: float, rng: Generator) -> list[TriangleMesh]:
    """A roof on posts before a front of `width` [m], at times with a balustrade between them."""
    out, high = rng.uniform(1.2, PORCH_REACH - 0.2), rng.uniform(2.3, 2.8)
    wide = rng.uniform(min(2.0, 0.8 * width), 0.95 * width)
    thick = rng.uniform(0.1, 0.35)
    left = rng.uniform(0, width - wide)
    kind = int(rng.choice([Material.WOOD, Material.PAINT_LIGHT, Material.FACADE, Material.BRICK]))
    x = left + post_positions(wide, rng.uniform(1.2, 2.8), thick)
    floor = rng.uniform(0.05, 0.5)
    parts = [
        posts(x, -out, high, (thick, thick), kind),
        box((left + wide / 2, -out / 2, high + 0.1), (wide + 0.3, out + 0.3, 0.2), kind),
        box(
            (left + wide / 2, -out / 2, (floor - FOOT) / 2),
            (wide, out, floor + FOOT),
            Material.CONCRETE,
        ),
    ]
    if rng.random() < 0.5:
        parts.append(_bars(left, left + wide, (floor, floor + 0.9), thick / 2 - out, kind))
    return parts


def _bars(
    left: float, right: float, heights: tuple[float, float], y: float, material: int
) -> TriangleMesh:
    """A balustrade of upright bars below a rail, at y, between two x and two heights [m]."""
    at = np.arange(left + 0.06, right, 0.13)
    low, high = np.full_like(at, heights[0]), np.full_like(at, heights[1])
    bars = np.column_stack([at - 0.015, at + 0.015, low, high])
    rail = [[left, right, heights[1] - 0.06, heights[1]]]
    return quads(upright(np.concatenate([bars, rail]), y), material)


def pillar_fence(length: float, rng: Generator) -> TriangleMesh:
    """Pillars along x from 0 to `length` [m] at y = 0, and a low wall, bars or nothing between."""
    thick, high = rng.uniform(0.18, 0.5), rng.uniform(0.9, 2.0)
    stone = int(rng.choice([Material.BRICK, Material.CONCRETE, Material.FACADE]))
    x = post_positions(length, rng.uniform(1.4, 3.2), min(thick, length / 3))
    parts = [posts(x, -thick / 2, high, (thick, thick), stone)]
    wall, bars = rng.random(2) < [0.6, 0.6]
    top = rng.uniform(0.2, 0.6) if wall else 0.08
    if wall:
        middle = (length / 2, 0.0, (top - FOOT) / 2)
        parts.append(box(middle, (length, 0.18, top + FOOT), stone))
    if bars:
        parts.append(_bars(0.0, length, (top, 0.9 * high), 0.0, Material.METAL))
    return TriangleMesh.join(parts)
