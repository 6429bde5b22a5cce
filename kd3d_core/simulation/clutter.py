"""Small things of a person's height and footprint that are nobody: posts, bins, columns, statues.

Each maker gives a mesh on z = 0, its middle near x = y = 0, its front towards -x.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from kd3d_core.simulation.furniture import advertising_column
from kd3d_core.simulation.furniture import barrier
from kd3d_core.simulation.furniture import bicycle_rack
from kd3d_core.simulation.furniture import cabinet
from kd3d_core.simulation.furniture import sign
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.posts import cone
from kd3d_core.simulation.posts import fence_post
from kd3d_core.simulation.posts import low_sign
from kd3d_core.simulation.posts import pillar
from kd3d_core.simulation.posts import pole
from kd3d_core.simulation.posts import thick_bollard
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.primitives import boxes
from kd3d_core.simulation.primitives import ellipsoid
from kd3d_core.simulation.primitives import leaves
from kd3d_core.simulation.primitives import tubes
from kd3d_core.simulation.vegetation import bush
from kd3d_core.simulation.vegetation import tree

Maker = Callable[[Generator], TriangleMesh]


def hydrant(rng: Generator) -> TriangleMesh:
    """A fire hydrant with outlets on both sides."""
    high = rng.uniform(0.6, 1.0)
    return TriangleMesh.join(
        [
            tubes((0, 0, -0.1), (0, 0, high), 0.12, Material.METAL, sides=8, caps=True),
            ellipsoid((0, 0, high), (0.13, 0.13, 0.1), Material.METAL),
            tubes((0, -0.22, 0.65 * high), (0, 0.22, 0.65 * high), 0.07, Material.METAL),
        ]
    )


def parking_meter(rng: Generator) -> TriangleMesh:
    """A meter on a pole, or a ticket machine as thick as a person."""
    if rng.random() < 0.5:
        high = rng.uniform(1.1, 1.4)
        return TriangleMesh.join(
            [
                tubes((0, 0, -0.1), (0, 0, high), 0.035, Material.METAL),
                box((0, 0, high + 0.15), (0.15, 0.2, 0.35), Material.METAL),
            ]
        )
    size = rng.uniform([0.2, 0.3, 1.4], [0.45, 0.5, 1.9])
    return TriangleMesh.join(
        [
            box((0, 0, size[2] / 2), size, Material.METAL),
            box((0, 0, size[2] + 0.05), size * [1.2, 1.2, 0] + [0, 0, 0.1], Material.PLASTIC),
        ]
    )


def litter_bin(rng: Generator) -> TriangleMesh:
    """A round bin that stands, or one that hangs on a post."""
    radius, high = rng.uniform(0.18, 0.3), rng.uniform(0.8, 1.15)
    low = -0.05 if rng.random() < 0.6 else 0.4 * high
    kind = int(rng.choice([Material.METAL, Material.PLASTIC]))
    parts = [
        tubes((0, 0, low), (0, 0, high), 0.9 * radius, kind, end_radius=radius, sides=9, caps=True)
    ]
    if low > 0:
        parts.append(
            tubes((radius, 0, -0.1), (radius, 0, high + 0.3), 0.04, Material.METAL, sides=4)
        )
    return TriangleMesh.join(parts)


def slim_cabinet(rng: Generator) -> TriangleMesh:
    """A utility cabinet no wider than a person with a bag, on a plinth."""
    size = rng.uniform([0.25, 0.4, 1.0], [0.45, 0.9, 1.6])
    return TriangleMesh.join(
        [
            box(
                (0, 0, size[2] / 2 + 0.1),
                size,
                int(rng.choice([Material.PLASTIC, Material.METAL])),
            ),
            box((0, 0, 0.02), size * [0.9, 0.9, 0] + [0, 0, 0.2], Material.CONCRETE),
        ]
    )


def post_box(rng: Generator) -> TriangleMesh:
    """A letter box on a leg or a pillar box."""
    if rng.random() < 0.4:
        return tubes((0, 0, -0.1), (0, 0, rng.uniform(1.4, 1.7)), rng.uniform(0.2, 0.28),
                     Material.PAINT_LIGHT, sides=10, caps=True)  # fmt: skip
    size = rng.uniform([0.3, 0.35, 0.5], [0.5, 0.6, 0.8])
    return TriangleMesh.join(
        [
            tubes((0, 0, -0.1), (0, 0, 0.8), 0.05, Material.METAL),
            box((0, 0, 0.8 + size[2] / 2), size, Material.PAINT_LIGHT),
        ]
    )


def totem(rng: Generator) -> TriangleMesh:
    """An upright board: advertising, a map, a charger, a stop's pillar."""
    size = rng.uniform([0.1, 0.35, 1.3], [0.35, 0.9, 2.4])
    return box((0, 0, size[2] / 2 - 0.05), size, int(rng.choice([Material.SIGN, Material.METAL])))


def sandwich_board(rng: Generator) -> TriangleMesh:
    """Two boards leaning on each other before a shop."""
    wide, high, deep = rng.uniform([0.5, 0.8, 0.2], [0.7, 1.2, 0.35])
    y = wide / 2
    vertices = [
        [-deep, -y, 0], [-deep, y, 0], [0, y, high], [0, -y, high], [deep, -y, 0], [deep, y, 0],
    ]  # fmt: skip
    faces = [[0, 1, 2], [0, 2, 3], [4, 5, 2], [4, 2, 3]]
    return TriangleMesh(
        np.array(vertices, np.float32),
        np.array(faces, np.int32),
        np.full(4, Material.WOOD, np.uint8),
    )


def planter(rng: Generator) -> TriangleMesh:
    """A tub with a shrub in it."""
    wide, high = rng.uniform(0.4, 1.0), rng.uniform(0.35, 0.8)
    shrub = bush(rng, rng.uniform(0.4, 1.1), bushy=True)
    shrub.vertices[:, 2] += high - 0.1
    shrub.vertices[:, :2] *= min(1.0, wide)
    tub = tubes((0, 0, -0.05), (0, 0, high), 0.42 * wide, Material.CONCRETE,
                end_radius=0.5 * wide, sides=8, caps=True)  # fmt: skip
    return TriangleMesh.join([tub, shrub])


def narrow_shrub(rng: Generator) -> TriangleMesh:
    """A shrub as high and as wide as a person: a thuja, a young yew, a rose."""
    high, wide = rng.uniform(1.0, 2.4), rng.uniform(0.2, 0.5)
    count = int(90 * high)
    up = rng.uniform(0, 1, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    r = wide * np.sqrt(rng.uniform(0, 1, count)) * (1.1 - up) ** rng.uniform(0.2, 0.8)
    points = np.stack([r * np.cos(angle), r * np.sin(angle), 0.05 + high * up], axis=1)
    return TriangleMesh.join(
        [
            tubes((0, 0, -0.1), (0, 0, 0.8 * high), 0.04, Material.BARK, sides=4),
            leaves(points, rng.uniform(0.06, 0.16, count), rng, Material.FOLIAGE),
        ]
    )


def staked_tree(rng: Generator) -> TriangleMesh:
    """A newly planted tree between two or three stakes."""
    count = int(rng.integers(2, 4))
    angle = 2 * np.pi * np.arange(count) / count + rng.uniform(0, 6)
    foot = np.stack([0.35 * np.cos(angle), 0.35 * np.sin(angle), np.full(count, -0.1)], axis=1)
    stakes = tubes(
        foot, foot + np.array([0, 0, rng.uniform(1.3, 2.0)]), 0.04, Material.WOOD, sides=5
    )
    return TriangleMesh.join([tree(rng, "young", 0.5), stakes])


def trunk(rng: Generator) -> TriangleMesh:
    """A grown tree, 0.2 to 0.6 m thick, whose crown begins above a person's head."""
    radius, lean = rng.uniform(0.1, 0.3), rng.normal(0, 0.1, 2)
    stem = rng.uniform(2.4, 4.5)
    mesh = tree(rng, "broad", 0.6)
    crown = mesh.vertices[mesh.faces[mesh.material == Material.FOLIAGE]].reshape(-1, 3)
    crown = crown + np.array([0, 0, stem - crown[:, 2].min()], np.float32)
    faces = np.arange(len(crown), dtype=np.int32).reshape(-1, 3)
    top = (lean[0], lean[1], stem + 1.5)
    return TriangleMesh.join(
        [
            tubes((0, 0, -0.2), (0.3 * lean[0], 0.3 * lean[1], 0.5), 1.4 * radius, Material.BARK,
                  end_radius=radius, sides=9),
            tubes((0.3 * lean[0], 0.3 * lean[1], 0.5), top, radius, Material.BARK,
                  end_radius=0.7 * radius, sides=9),
            TriangleMesh(crown, faces, np.full(len(faces), Material.FOLIAGE, np.uint8)),
        ]
    )  # fmt: skip


def cafe(rng: Generator) -> TriangleMesh:
    """A table and its chairs, at times under a parasol, open or closed."""
    count = int(rng.integers(2, 5))
    angle = 2 * np.pi * np.arange(count) / count + rng.uniform(0, 6)
    seat = np.stack([0.75 * np.cos(angle), 0.75 * np.sin(angle), np.full(count, 0.43)], axis=1)
    back = seat * [1.28, 1.28, 1] + [0, 0, 0.22]
    parts = [
        tubes((0, 0, 0.7), (0, 0, 0.74), 0.38, Material.WOOD, sides=9, caps=True),
        tubes((0, 0, 0), (0, 0, 0.7), 0.04, Material.METAL, sides=4),
        boxes(seat, [[0.4, 0.4, 0.05]] * count, Material.WOOD, angle),
        boxes(back, [[0.04, 0.4, 0.42]] * count, Material.WOOD, angle),
        boxes(seat * [1, 1, 0.5], [[0.32, 0.32, 0.42]] * count, Material.METAL, angle),
    ]
    if rng.random() < 0.5:
        parts.append(tubes((0, 0, 0.7), (0, 0, 2.4), 0.03, Material.METAL, sides=4))
        wide, low = (1.5, 2.05) if rng.random() < 0.6 else (0.2, 1.2)
        parts.append(tubes((0, 0, low), (0, 0, 2.5), wide, Material.CLOTH_LIGHT, end_radius=0.03,
                           sides=8))  # fmt: skip
    return TriangleMesh.join(parts)


def empty_rack(rng: Generator) -> TriangleMesh:
    """Hoops for bicycles, and none there."""
    y = 0.8 * np.arange(int(rng.integers(2, 6)))
    wide, high = rng.uniform(0.5, 0.9), rng.uniform(0.7, 0.9)
    one, two = (np.column_stack([0 * y + x, y, 0 * y]) for x in (-wide / 2, wide / 2))
    up = np.array([0, 0, high])
    starts = np.concatenate([one, two, one + up])
    ends = np.concatenate([one + up, two + up, two + up])
    return tubes(starts, ends, 0.03, Material.METAL, sides=5)


def statue(rng: Generator) -> TriangleMesh:
    """A bust, a torso or an abstract form on a pedestal."""
    high = rng.uniform(0.6, 1.8)
    wide = rng.uniform(0.4, 0.9)
    body = rng.uniform([0.15, 0.2, 0.3], [0.35, 0.45, 0.9])
    kind = int(rng.choice([Material.METAL, Material.CONCRETE]))
    return TriangleMesh.join(
        [
            box((0, 0, high / 2), (wide, wide, high), Material.CONCRETE),
            ellipsoid((0, 0, high + 0.9 * body[2]), body, kind),
            ellipsoid((0.05, 0, high + 1.9 * body[2]), 0.6 * body, kind),
        ]
    )


#: What stands about, by name, and how often among each other.
CLUTTER: dict[str, tuple[Maker, float]] = {
    "bollard": (thick_bollard, 0.12), "hydrant": (hydrant, 0.04), "meter": (parking_meter, 0.06),
    "litter_bin": (litter_bin, 0.09), "cabinet": (slim_cabinet, 0.07), "box": (post_box, 0.03),
    "totem": (totem, 0.05), "board": (sandwich_board, 0.03), "cone": (cone, 0.04),
    "low_sign": (low_sign, 0.06), "pole": (pole, 0.09), "pillar": (pillar, 0.06),
    "post": (fence_post, 0.04), "planter": (planter, 0.05), "shrub": (narrow_shrub, 0.08),
    "staked_tree": (staked_tree, 0.04), "trunk": (trunk, 0.06), "cafe": (cafe, 0.03),
    "empty_rack": (empty_rack, 0.03), "statue": (statue, 0.01),
    "column": (advertising_column, 0.02),
    "sign": (sign, 0.05), "bicycles": (bicycle_rack, 0.04), "barrier": (barrier, 0.02),
    "wide_cabinet": (cabinet, 0.02),
}  # fmt: skip
#: What stands in rows, and how far apart [m].
ROWS: dict[str, tuple[float, float]] = {
    "bollard": (1.2, 3.0), "cone": (1.5, 6.0), "meter": (5.0, 7.0), "pillar": (2.5, 4.5),
    "post": (1.8, 3.0), "planter": (1.5, 4.0), "trunk": (6.0, 10.0), "cafe": (2.6, 3.4),
    "shrub": (0.8, 2.0),
}  # fmt: skip
