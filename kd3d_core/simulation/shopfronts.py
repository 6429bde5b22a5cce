"""Ground floors that a LiDAR looks through: shop windows and arcades.

Glass returns little, so what is left of them is a row of upright posts of a person's size.
Local frame as in `buildings`: x along the street, y away from it, z up from the ground.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.primitives import boxes
from kd3d_core.simulation.primitives import quads
from kd3d_core.simulation.primitives import tubes
from kd3d_core.simulation.primitives import upright

GroundFloor = Literal["walled", "glazed", "arcade", "porch"]
#: Posts go on below the ground by this much, since streets slope and houses do not [m].
FOOT = 1.0
#: Porches reach at most this far into the front garden [m].
PORCH_REACH = 2.4
#: Awnings and signs reach at most this far over the pavement [m], higher than a bus passenger.
OVERHANG = 1.4
_FRAMES = (Material.METAL, Material.PAINT_DARK, Material.FACADE, Material.WOOD, Material.BRICK)


@dataclass(frozen=True)
class FrontShares:
    """How many buildings of a street have which ground floor; the rest are walled.

    Attributes:
        glazed: With shop windows.
        arcade: With columns before a recessed ground floor.
        porch: Of the others with a front garden, those with a roof on posts before the door.
        pillars: Of the fences and walls, those between pillars.
        open_garages: Of the garages.
    """

    glazed: float = 0.0
    arcade: float = 0.0
    porch: float = 0.0
    pillars: float = 0.0
    open_garages: float = 0.0


#: No such fronts at all.
WALLED = FrontShares()


@dataclass(frozen=True)
class Bays:
    """The look of one shop front.

    Attributes:
        pitch: From post to post, wanted; a whole number of bays fills the front [m].
        post: Width and depth of the posts [m].
        plinth: Height of the wall below the panes [m].
        panes: Share of the bays with glass; the others stand open.
        blinds: Share of the bays with a blind or poster behind the glass.
        awning: How far it reaches over the pavement, 0 for none [m].
    """

    pitch: float
    post: tuple[float, float]
    plinth: float
    panes: float
    blinds: float
    awning: float


def draw_shares(kind: str, rng: Generator) -> FrontShares:
    """Shares for a street of a kind: a few streets are full of shops, most have some or none."""
    busy, colonnade = rng.random(2) < [0.3, 0.15]
    glazed, porch, pillars, garages = rng.uniform(0, [0.3, 0.5, 0.6, 0.3])
    if kind in ("urban", "plaza"):
        glazed = rng.uniform(0.6, 0.95) if busy else glazed
        arcade = (1 - glazed) * (rng.uniform(0.3, 0.8) if colonnade else 0.05)
        return FrontShares(glazed, arcade, 0.0, pillars, garages)
    if kind in ("residential", "suburban"):
        glazed = 2 * glazed if busy else 0.0
    return FrontShares(glazed, 0.0, porch, pillars, garages)


def draw_ground_floor(shares: FrontShares, setback: float, rng: Generator) -> GroundFloor:
    """What the ground floor of one building `setback` [m] behind the pavement is like."""
    lot, door = rng.random(2)
    if lot < shares.arcade:
        return "arcade"
    if lot < shares.arcade + shares.glazed:
        return "glazed"
    return "porch" if setback > PORCH_REACH + 0.6 and door < shares.porch else "walled"


def draw_bays(rng: Generator) -> Bays:
    """A shop front as they come."""
    shut, plinth, awning = rng.random(3) < [0.65, 0.65, 0.45]
    return Bays(
        pitch=rng.uniform(1.2, 3.0),
        post=(rng.uniform(0.08, 0.35), rng.uniform(0.1, 0.5)),
        plinth=rng.uniform(0.15, 0.6) if plinth else 0.0,
        panes=rng.uniform(0.7, 1.0) if shut else rng.uniform(0.0, 0.3),
        blinds=rng.uniform(0.0, 0.25),
        awning=rng.uniform(0.5, OVERHANG) if awning else 0.0,
    )


def post_positions(width: float, pitch: float, post: float) -> NDArray[np.float64]:
    """(N,) middles of evenly spaced posts that are `post` wide, flush with both ends [m]."""
    gaps = max(round((width - post) / pitch), 1)
    return np.linspace(post / 2, width - post / 2, gaps + 1)


def ground_floor(
    kind: GroundFloor, width: float, height: float, depth: float, wall: int, rng: Generator
) -> list[TriangleMesh]:
    """What fills the opening that a facade leaves on the ground floor.

    Args:
        kind: Glazed or arcade.
        width: [m].
        height: Of the opening [m].
        depth: Where the rooms behind end [m].
        wall: Material of the building.
        rng: Draws everything else.
    """
    if kind == "arcade":
        return arcade(width, height, depth, wall, rng)
    return shopfront(width, height, depth, draw_bays(rng), rng)


def shopfront(
    width: float, height: float, depth: float, bays: Bays, rng: Generator
) -> list[TriangleMesh]:
    """Posts, plinth, panes and doors below a sign, and a room with goods behind them.

    Args:
        width: x from 0 to here [m].
        height: Of the opening [m].
        depth: Where the room ends; the wall there is the building's [m].
        bays: The look.
        rng: Draws doors, blinds, goods and materials.
    """
    wide, deep = bays.post
    frame = int(rng.choice(_FRAMES))
    x = post_positions(width, bays.pitch, wide)
    parts = [posts(x, -0.04, height, (wide, deep), frame)]
    edges = np.stack([x[:-1] + wide / 2, x[1:] - wide / 2], axis=1)
    door = rng.random(len(edges)) < 0.2
    door[int(rng.integers(len(edges)))] = True
    parts += _bay_fill(edges[~door], height, deep / 2, bays, rng)
    parts += _doors(edges[door], height, deep / 2, frame, rng)
    parts += _room(width, height, deep, depth, rng)
    sign = (width / 2, -0.05, height + 0.22)
    parts.append(box(sign, (width, 0.3, 0.44), int(rng.choice([frame, Material.PLASTIC]))))
    if bays.awning > 0 and height > 2.6:
        low = height - 0.3
        slope = [(0.3, 0.0, height), (width - 0.3, 0.0, height),
                 (width - 0.3, -bays.awning, low), (0.3, -bays.awning, low)]  # fmt: skip
        parts.append(quads([slope], Material.CLOTH_LIGHT))
    return parts


def posts(
    x: NDArray[np.float64], y: float, height: float, size: tuple[float, float], material: int
) -> TriangleMesh:
    """Posts at (N,) x whose front is at y, of a width and depth [m]."""
    center = np.column_stack([x, 0 * x + y + size[1] / 2, 0 * x + (height - FOOT) / 2])
    return boxes(center, [[*size, height + FOOT]] * len(x), material)


def _bay_fill(
    edges: NDArray[np.float64], height: float, y: float, bays: Bays, rng: Generator
) -> list[TriangleMesh]:
    """Plinths, panes and blinds of bays with (N, 2) left and right edges [m]."""
    count = len(edges)
    if not count:
        return []
    rows = np.column_stack([edges, np.full(count, bays.plinth), np.full(count, height)])
    rows_of_glass = rows[rng.random(count) < bays.panes]
    blinds = rows[rng.random(count) < bays.blinds]
    blinds[:, 2] += rng.uniform(0, 1.5, len(blinds))
    parts = [
        quads(upright(rows_of_glass, y), Material.GLASS),
        quads(upright(blinds, y + 0.03), Material.PLASTIC),
    ]
    if bays.plinth > 0:
        center = np.column_stack(
            [edges.mean(axis=1), np.full(count, y), np.full(count, (bays.plinth - FOOT) / 2)]
        )
        size = np.column_stack(
            [np.diff(edges), np.full(count, 0.16), np.full(count, bays.plinth + FOOT)]
        )
        parts.append(boxes(center, size, Material.CONCRETE))
    return parts


def _doors(
    edges: NDArray[np.float64], height: float, y: float, frame: int, rng: Generator
) -> list[TriangleMesh]:
    """Doorways: open with the leaf turned inwards, or shut, below a beam and a pane."""
    parts = []
    for left, right in edges:
        beam = np.array([[left, right, 2.1, 2.2]])
        above = np.array([[left, right, 2.2, max(height, 2.21)]])
        leaf = min(right - left, 1.0)
        parts += [quads(upright(beam, y), frame), quads(upright(above, y), Material.GLASS)]
        if rng.random() < 0.4:
            parts.append(box((left + 0.03, y + leaf / 2, 1.05), (0.05, leaf, 2.1), Material.WOOD))
        else:
            kind = Material.GLASS if rng.random() < 0.7 else Material.WOOD
            parts.append(quads(upright(np.array([[left, left + leaf, 0.0, 2.1]]), y), kind))
            jamb = np.array([[left + leaf, left + leaf + 0.07, 0.0, 2.1]])
            parts.append(quads(upright(jamb, y), frame))
    return parts


def _room(
    width: float, height: float, front: float, depth: float, rng: Generator
) -> list[TriangleMesh]:
    """A ceiling, walls between neighbouring shops, and goods and counters on the floor."""
    parts = [_ceiling(width, height, 0.0, depth)]
    walls = np.arange(0, width, rng.uniform(5, 12))[1:]
    if len(walls):
        ends = [(front, -FOOT), (depth, -FOOT), (depth, height), (front, height)]
        corners = [np.column_stack([walls, 0 * walls + y, 0 * walls + z]) for y, z in ends]
        parts.append(quads(np.stack(corners, axis=1), Material.FACADE))
    count = int(rng.poisson(0.3 * width))
    room = depth - front - 0.9
    if count and room > 0.3:
        size = rng.uniform([0.3, 0.3, 0.4], [1.6, 0.8, 1.9], (count, 3))
        low, high = [0.9, front + 0.5, 0], [max(width - 0.9, 1), front + 0.5 + room, 0]
        center = rng.uniform(low, high, (count, 3))
        center[:, 2] = size[:, 2] / 2
        kind = rng.choice([Material.WOOD, Material.PLASTIC, Material.METAL, Material.CLOTH_DARK])
        parts.append(boxes(center, size, int(kind)))
    return parts


def _ceiling(width: float, height: float, y0: float, y1: float) -> TriangleMesh:
    """A level quad at `height`, from y0 to y1 [m]."""
    corners = [(0, y0, height), (width, y0, height), (width, y1, height), (0, y1, height)]
    return quads([corners], Material.FACADE)


def arcade(
    width: float, height: float, depth: float, wall: int, rng: Generator
) -> list[TriangleMesh]:
    """Columns along the front, and shops or a wall behind the covered walk.

    The arguments are those of `ground_floor`.
    """
    thick = rng.uniform(0.3, 0.8)
    x = post_positions(width, rng.uniform(2.2, 4.5), thick)
    if rng.random() < 0.5:
        ends = [np.column_stack([x, 0 * x + thick / 2, 0 * x + z]) for z in (-FOOT, height)]
        parts = [tubes(ends[0], ends[1], thick / 2, wall, sides=8)]
    else:
        parts = [posts(x, 0.0, height, (thick, thick), wall)]
    recess = min(rng.uniform(1.8, 3.5), depth - 0.8)
    if rng.random() < 0.6:
        for part in shopfront(width, height, depth - recess, draw_bays(rng), rng):
            part.vertices[:, 1] += recess
            parts.append(part)
    else:
        parts.append(quads(upright(np.array([[0, width, -FOOT, height]]), recess), wall))
    return [*parts, _ceiling(width, height, 0.0, recess)]
