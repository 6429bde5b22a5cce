"""Houses and garages: walls with recessed windows, doors, balconies and roofs.

Local frame: x along the street, y away from it with the front at y = 0, z up from the ground.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.porches import porch
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.primitives import boxes
from kd3d_core.simulation.primitives import grid
from kd3d_core.simulation.primitives import quads
from kd3d_core.simulation.primitives import triangles
from kd3d_core.simulation.primitives import upright
from kd3d_core.simulation.shopfronts import GroundFloor
from kd3d_core.simulation.shopfronts import ground_floor


def facade(
    width: float,
    floors: int,
    storey: float,
    material: int,
    rng: Generator,
    shop: bool = False,
    opening: float = 0.0,
) -> list[TriangleMesh]:
    """A wall in the x-z plane, x from 0 to `width`, with windows set back behind it.

    Args:
        width: [m].
        floors: Number of storeys.
        storey: Height of each [m].
        material: Of the wall.
        rng: Draws window sizes and the door.
        shop: Large panes on the ground floor.
        opening: There is no wall from the ground up to here [m].
    """
    bay = rng.uniform(2.2, 3.4)
    columns = max(int(width / bay), 1)
    pitch = width / columns
    share = rng.uniform(0.35, 0.6)
    x = (np.arange(columns)[:, None] + [0.5 - share / 2, 0.5 + share / 2]).ravel() * pitch
    sill, head = rng.uniform(0.8, 1.0), rng.uniform(2.1, 2.4)
    z = (np.arange(floors)[:, None] * storey + [[sill, head]]).ravel()
    if shop:
        z[0] = 0.35
        z[1] = storey - 0.4
    if opening > 0:
        z[1] = opening
    x = np.concatenate([[0], x, [width]])
    z = np.concatenate([[-1.0], z, [floors * storey]])
    door = int(rng.integers(columns))
    depth = rng.uniform(0.08, 0.25)
    xs, zs = np.meshgrid(np.arange(len(x) - 1), np.arange(len(z) - 1), indexing="ij")
    window = (xs % 2 == 1) & (zs % 2 == 1) & (rng.random(xs.shape) < 0.95)
    window[2 * door + 1, 1] = True
    rows = np.stack([x[xs], x[xs + 1], z[zs], z[zs + 1]], axis=-1)
    panes, walls = rows[window], rows[~window]
    kinds = np.full(len(panes), Material.GLASS, np.uint8)
    # Blinds, curtains and shutters return what glass would let through.
    kinds[rng.random(len(panes)) < 0.3] = Material.PLASTIC
    at_door = np.isclose(panes[:, 0], x[2 * door + 1]) & (panes[:, 2] < storey / 2)
    kinds[at_door] = Material.WOOD
    left = panes[:, 3] > opening
    panes, kinds, walls = panes[left], kinds[left], walls[walls[:, 3] > opening]
    reveal = np.concatenate([_reveal(panes, depth, side) for side in range(4)])
    return [
        quads(upright(walls, 0.0), material),
        quads(upright(panes, depth), kinds),
        quads(reveal, material),
    ]


def _reveal(rows: NDArray[np.float64], depth: float, side: int) -> NDArray[np.float64]:
    """(N, 4, 3) corners of one of the four flanks of window niches."""
    front, back = upright(rows, 0.0), upright(rows, depth)
    i, j = side, (side + 1) % 4
    return np.stack([front[:, i], front[:, j], back[:, j], back[:, i]], axis=1)


def house(
    width: float,
    depth: float,
    floors: int,
    rng: Generator,
    *,
    flat: bool = False,
    shop: bool = False,
    ground: GroundFloor = "walled",
) -> TriangleMesh:
    """A building on x from 0 to `width` and y from 0 to `depth` [m].

    Whatever the ground floor, `rng` is left in the same state: the rest of a street is the same.
    """
    wall = int(rng.choice([Material.FACADE, Material.BRICK], p=[0.75, 0.25]))
    storey = rng.uniform(2.7, 3.4)
    height = floors * storey
    chance = rng if ground == "walled" else rng.spawn(1)[0]
    opening = 0.0
    if ground in ("glazed", "arcade"):
        opening = chance.uniform(storey - 0.4, min(storey + 0.5, height - 0.2))
        # Some have a deep band of signs or shutters above.
        opening = chance.uniform(1.9, 2.3) if chance.random() < 0.15 else opening
    parts = facade(width, floors, storey, wall, rng, shop, opening)
    if opening > 0:
        parts += ground_floor(ground, width, opening, 0.45 * depth, wall, chance)
    elif ground == "porch":
        parts += porch(width, chance)
    gable = facade(depth, floors, storey, wall, rng)
    turn_left = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float)
    mirror = np.diag([-1.0, 1, 1, 1])
    for part in gable:
        # Seen from x = 0 the wall runs along +y and its niches go inwards to +x.
        side = part.moved(turn_left).moved(mirror)
        parts.append(side)
        flipped = side.moved(mirror)
        flipped.vertices[:, 0] += width
        parts.append(flipped)
    back = np.array(
        [[[0, depth, -1], [width, depth, -1], [width, depth, height], [0, depth, height]]]
    )
    parts.append(quads(back, wall))
    # Rooms end somewhere: a wall across the middle stops what enters by the windows.
    parts.append(quads(back * [1, 0.45, 1], Material.FACADE))
    parts.append(_roof(width, depth, height, rng, flat))
    parts += _balconies(width, floors, storey, rng)
    if not shop and rng.random() < 0.5:
        x = rng.uniform(1, max(width - 1, 1.1))
        if ground == "walled":
            parts.append(box((x, -0.5, 0.1), (1.6, 1.0, 0.5), Material.CONCRETE))
    return TriangleMesh.join(parts)


def _roof(width: float, depth: float, height: float, rng: Generator, flat: bool) -> TriangleMesh:
    """A flat slab, or a pitched roof with eaves whose ridge runs along the street."""
    if flat:
        return box(
            (width / 2, depth / 2, height + 0.15),
            (width + 0.3, depth + 0.3, 0.3),
            Material.CONCRETE,
        )
    eave = rng.uniform(0.2, 0.7)
    rise = depth / 2 * rng.uniform(0.5, 0.95)
    low = height - eave * rise / (depth / 2)
    y = np.array([-eave, depth / 2, depth + eave])
    z = np.array([low, height + rise, low])
    points = np.stack([np.column_stack([np.full(3, x), y, z]) for x in (-0.3, width + 0.3)])
    roof = grid(points, Material.BRICK)
    ends = [
        [[x, 0, height], [x, depth, height], [x, depth / 2, height + rise]] for x in (0, width)
    ]
    gables = triangles(np.array(ends).reshape(-1, 3), np.arange(6), Material.FACADE)
    return TriangleMesh.join([roof, gables])


def _balconies(width: float, floors: int, storey: float, rng: Generator) -> list[TriangleMesh]:
    """Slabs with a parapet on some upper floors."""
    if floors < 2 or rng.random() < 0.6:
        return []
    out = rng.uniform(0.9, 1.5)
    wide = min(rng.uniform(2.0, 4.0), 0.8 * width)
    x = rng.uniform(wide / 2, width - wide / 2)
    z = np.arange(1, floors) * storey
    slab = np.column_stack([np.full_like(z, x), np.full_like(z, -out / 2), z])
    rail = slab + np.array([0, -out / 2, 0.55])
    solid = rng.random() < 0.5
    parts = [boxes(slab, [[wide, out, 0.18]] * len(z), Material.CONCRETE)]
    if solid:
        parts.append(boxes(rail, [[wide, 0.06, 1.0]] * len(z), Material.FACADE))
    else:
        bars = np.linspace(x - wide / 2, x + wide / 2, int(wide / 0.13))
        at = np.array([[b, -out, h + 0.5] for h in z for b in bars])
        rows = np.stack([at[:, 0] - 0.012, at[:, 0] + 0.012, at[:, 2] - 0.5, at[:, 2] + 0.5], 1)
        parts.append(quads(upright(rows, -out), Material.METAL))
    return parts


def garage(width: float, depth: float, rng: Generator, *, shut: bool = True) -> TriangleMesh:
    """A flat-roofed garage; its door, set back a little, is `shut` or rolled up."""
    high = rng.uniform(2.3, 2.8)
    panel = np.array([[0.3, width - 0.3, 0.0, 2.1]])
    frame = np.array(
        [[0, 0.3, -1, high], [width - 0.3, width, -1, high], [0.3, width - 0.3, 2.1, high]]
    )
    door = int(rng.choice([Material.METAL, Material.PAINT_LIGHT, Material.WOOD]))
    if not shut:
        panel[0, 2] = 1.95  # rolled up
    walls = [
        [[0, 0, -1], [0, depth, -1], [0, depth, high], [0, 0, high]],
        [[width, 0, -1], [width, depth, -1], [width, depth, high], [width, 0, high]],
        [[0, depth, -1], [width, depth, -1], [width, depth, high], [0, depth, high]],
    ]
    return TriangleMesh.join(
        [
            quads(upright(frame, 0.0), Material.FACADE),
            quads(upright(panel, 0.15), door),
            quads(np.array(walls), Material.FACADE),
            box(
                (width / 2, depth / 2, high + 0.06),
                (width + 0.2, depth + 0.2, 0.12),
                Material.CONCRETE,
            ),
        ]
    )
