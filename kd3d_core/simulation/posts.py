"""Posts, columns and poles: upright, and often in rows.

Each maker gives a mesh as those of `clutter` do.
"""

from numpy.random import Generator

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.primitives import ellipsoid
from kd3d_core.simulation.primitives import tubes


def thick_bollard(rng: Generator) -> TriangleMesh:
    """A bollard of stone, iron or plastic, 0.1 to 0.3 m thick, at times with a ball on top."""
    high, radius = rng.uniform(0.5, 1.2), rng.uniform(0.05, 0.16)
    kind = int(rng.choice([Material.METAL, Material.CONCRETE, Material.PLASTIC, Material.WOOD]))
    top = radius * rng.uniform(0.7, 1.0)
    parts = [tubes((0, 0, -0.1), (0, 0, high), radius, kind, end_radius=top, sides=8, caps=True)]
    if rng.random() < 0.3:
        parts.append(ellipsoid((0, 0, high), (1.2 * top,) * 3, kind))
    return TriangleMesh.join(parts)


def cone(rng: Generator) -> TriangleMesh:
    """A traffic cone, or a guide post with a foot."""
    if rng.random() < 0.6:
        high, radius, tip = rng.uniform(0.45, 1.0), rng.uniform(0.11, 0.19), 0.03
    else:
        high, radius, tip = rng.uniform(0.8, 1.3), 0.08, 0.07
    return TriangleMesh.join(
        [
            box((0, 0, 0.02), (2.6 * radius, 2.6 * radius, 0.04), Material.RUBBER),
            tubes((0, 0, 0.03), (0, 0, high), radius, Material.SIGN, end_radius=tip, sides=8),
        ]
    )


def low_sign(rng: Generator) -> TriangleMesh:
    """A plate at a person's height: keep left, a beacon, a name of a street."""
    high = rng.uniform(0.9, 1.9)
    wide, tall = rng.uniform([0.25, 0.3], [0.7, 0.9])
    return TriangleMesh.join(
        [
            tubes((0, 0, -0.2), (0, 0, high), 0.04, Material.METAL),
            box((-0.05, 0, high - tall / 2), (0.03, wide, tall), Material.SIGN),
        ]
    )


def pole(rng: Generator) -> TriangleMesh:
    """A pole of wood, concrete or iron, 0.2 to 0.5 m thick at the foot."""
    radius = rng.uniform(0.09, 0.24)
    kind = int(rng.choice([Material.WOOD, Material.CONCRETE, Material.METAL]))
    parts = [tubes((0, 0, -0.2), (0, 0, rng.uniform(4, 10)), radius, kind,
                   end_radius=0.6 * radius, sides=8)]  # fmt: skip
    if rng.random() < 0.4:  # a box or a bin fixed to it
        parts.append(
            box((-radius - 0.12, 0, rng.uniform(0.9, 1.6)), (0.3, 0.4, 0.6), Material.METAL)
        )
    return TriangleMesh.join(parts)


def pillar(rng: Generator) -> TriangleMesh:
    """A column of an arcade or a gate: round or square, on a base."""
    wide, high = rng.uniform(0.25, 0.7), rng.uniform(1.2, 4.5)
    kind = int(rng.choice([Material.CONCRETE, Material.BRICK, Material.FACADE]))
    if rng.random() < 0.5:
        shaft = box((0, 0, high / 2), (wide, wide, high), kind)
    else:
        shaft = tubes((0, 0, 0), (0, 0, high), wide / 2, kind, sides=10, caps=True)
    plinth = box((0, 0, 0.1), (1.25 * wide, 1.25 * wide, 0.4), kind)
    cap = box((0, 0, high), (1.2 * wide, 1.2 * wide, 0.15), kind)
    return TriangleMesh.join([shaft, plinth, cap])


def short_column(rng: Generator) -> TriangleMesh:
    """A column, a thick post or a gatepost as high as a person, round or square."""
    radius, high = rng.uniform(0.06, 0.27), rng.uniform(1.1, 1.95)
    kind = int(rng.choice([Material.CONCRETE, Material.BRICK, Material.WOOD, Material.METAL]))
    if rng.random() < 0.4:
        return box((0, 0, high / 2 - 0.05), (2 * radius, 2 * radius, high), kind)
    return tubes((0, 0, -0.1), (0, 0, high), radius, kind,
                 end_radius=radius * rng.uniform(0.7, 1.1), sides=9, caps=True)  # fmt: skip


def fence_post(rng: Generator) -> TriangleMesh:
    """A post of a fence that is gone or hardly there."""
    wide = rng.uniform(0.07, 0.2)
    return box((0, 0, 0.5), (wide, wide, rng.uniform(1.1, 1.7)), Material.WOOD, rng.uniform(0, 1))
