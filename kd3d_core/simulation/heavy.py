"""Lorries and buses: a cab or body shell with what it carries."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.primitives import boxes
from kd3d_core.simulation.primitives import fitted
from kd3d_core.simulation.primitives import quads
from kd3d_core.simulation.primitives import tubes
from kd3d_core.simulation.shell import Shell
from kd3d_core.simulation.shell import body_shell
from kd3d_core.simulation.sizes import ARTICULATED_BUS
from kd3d_core.simulation.sizes import CITY_BUS
from kd3d_core.simulation.sizes import COACH
from kd3d_core.simulation.sizes import MIDI_BUS
from kd3d_core.simulation.sizes import TRUCK

TRUCK_STYLES = ("box", "semi", "tipper", "tank", "flatbed", "curtain", "refuse")
BUS_STYLES = ("city", "coach", "midi", "articulated")


def truck_mesh(
    rng: Generator, style: str | None = None
) -> tuple[TriangleMesh, NDArray[np.float64]]:
    """A lorry: centred mesh and its (3,) length, width, height [m]; `style` of `TRUCK_STYLES`."""
    size = TRUCK.draw(rng)
    if style is None:
        style = str(rng.choice(["semi", "curtain"])) if size[0] > 12.5 else str(
            rng.choice(["box", "tipper", "tank", "flatbed", "curtain", "refuse"],
                       p=[0.38, 0.16, 0.06, 0.14, 0.16, 0.1])
        )  # fmt: skip
    length, width, height = size
    cab_length = float(np.clip(rng.normal(2.0, 0.2), 1.5, 0.36 * length))
    cab_height = float(np.clip(rng.normal(2.9, 0.25), 0.72 * height, 0.99 * height))
    if style in ("tipper", "flatbed", "tank"):
        cab_height = height
    paint = int(rng.choice([Material.PAINT_LIGHT, Material.PAINT_DARK]))
    radius = float(np.clip(0.14 * height, 0.36, 0.52))
    at_front = pose_matrix((length / 2 - cab_length / 2, 0, 0))
    cab = [
        part.moved(at_front)
        for part in _cab(cab_length, 0.97 * width, cab_height, radius, paint, rng)
    ]
    # Behind the cab: from the rear end up to a gap at the cab.
    gap = rng.uniform(0.08, 0.3) if style != "semi" else rng.uniform(0.3, 0.8)
    front, rear = length / 2 - cab_length - gap, -length / 2
    deck = 2 * radius + 0.12
    parts = [*cab, *_chassis(size, radius, deck, style == "semi")]
    parts += _load(style, (rear, front), (width, deck, height), rng)
    mesh = TriangleMesh.join(parts)
    return fitted(mesh, size), size


def _cab(
    length: float, width: float, height: float, radius: float, paint: int, rng: Generator
) -> list[TriangleMesh]:
    """A forward-control cab, its middle at x = 0."""
    shell = Shell(
        (0.02, 0.14), (0.97, 0.995), 0.44, 0.47, 0.5, 0.5,
        axles=(float(np.clip(1.3 / length, 0.4, 0.7)),), clearance=0.3, wheel_radius=radius,
        roof_width=0.9, corner=(0.93, 0.99), pillars=(), glazed=0.62, seats=(0.55,),
    )  # fmt: skip
    return body_shell(shell, (length, width, height), paint, rng)


def _chassis(
    size: NDArray[np.float64], radius: float, deck: float, semi: bool
) -> list[TriangleMesh]:
    """Frame, rear axles, side guards and lamps, with x from -L/2."""
    length, width, _ = size
    rear = -length / 2
    axles = [rear + 1.4 + i * 1.3 for i in range(3 if semi else (2 if length > 9 else 1))]
    if semi:
        axles.append(length / 2 - 4.2)
    x = np.repeat(axles, 2)
    sign = np.tile([1.0, -1.0], len(axles))
    z = np.full_like(x, radius)
    outer = np.stack([x, sign * (width / 2 - 0.03), z], axis=1)
    inner = np.stack([x, sign * (width / 2 - 0.58), z], axis=1)
    hub = np.stack([x, sign * (width / 2 - 0.06), z], axis=1)
    frame_z = deck - 0.2
    guard = max(length - 6.5, 1.0)
    return [
        tubes(inner, outer, radius, Material.RUBBER, sides=12, caps=True),
        tubes(inner, hub, 0.55 * radius, Material.METAL, sides=8, caps=True),
        box((-0.3, 0, frame_z), (length - 1.4, 0.9, 0.3), Material.PAINT_DARK),
        boxes(
            [[0.2, s * (width / 2 - 0.12), 0.75] for s in (1, -1)],
            [[guard, 0.05, 0.35]] * 2,
            Material.METAL,
        ),
        box((rear + 0.1, 0, 0.6), (0.12, 0.9 * width, 0.15), Material.METAL),
        boxes(
            [[rear + 0.03, s * (width / 2 - 0.3), 0.85] for s in (1, -1)],
            [[0.06, 0.4, 0.14]] * 2,
            Material.LAMP,
        ),
        box((rear + 0.02, 0, 0.8), (0.02, 0.52, 0.11), Material.PLATE),
    ]


def _load(
    style: str, span: tuple[float, float], section: tuple[float, float, float], rng: Generator
) -> list[TriangleMesh]:
    """What stands on the deck from span[0] to span[1]; section is width, deck, height [m]."""
    rear, front = span
    width, deck, height = section
    mid, long = (rear + front) / 2, front - rear
    body = int(rng.choice([Material.PAINT_LIGHT, Material.METAL, Material.PAINT_DARK]))
    if style in ("box", "semi", "curtain"):
        kind = Material.PLASTIC if style == "curtain" else body
        parts = [box((mid, 0, (deck + height) / 2), (long, width, height - deck), kind)]
        seam = np.linspace(rear + 0.5, front - 0.5, 6)
        ribs = [[x, s * width / 2, (deck + height) / 2] for x in seam for s in (1, -1)]
        parts.append(boxes(ribs, [[0.06, 0.03, height - deck]] * len(ribs), Material.METAL))
        return parts
    if style == "refuse":
        hopper = long * 0.26
        return [
            box(
                (mid + hopper / 2, 0, (deck + height) / 2),
                (long - hopper, width, height - deck),
                body,
            ),
            quads(_hopper_sides(rear, rear + hopper, width, deck, height), body),
        ]
    if style == "tank":
        radius = min((height - deck) / 2, width / 2) * 0.98
        z = deck + radius
        return [
            tubes((rear + 0.1, 0, z), (front, 0, z), radius, Material.METAL, sides=14, caps=True),
            box((mid, 0, deck + 0.1), (long, 0.8 * width, 0.2), Material.PAINT_DARK),
            box((mid, 0, z + radius), (0.8 * long, 0.5, 0.12), Material.METAL),
        ]
    wall = rng.uniform(0.7, 1.1) if style == "tipper" else rng.uniform(0.3, 0.45)
    parts = _open_bed((rear, front), width, deck, wall, body)
    if style == "tipper" or rng.random() < 0.5:
        heap = wall * rng.uniform(0.3, 1.25)
        parts.append(
            box((mid, 0, deck + heap / 2), (0.9 * long, 0.85 * width, heap), Material.SOIL)
        )
    else:
        parts += _freight((rear, front), width, deck, min(height - deck, 1.8), rng)
    return parts


def _hopper_sides(
    rear: float, front: float, width: float, deck: float, height: float
) -> Sequence[Sequence[Sequence[float]]]:
    """(5, 4, 3) quads of a refuse lorry's sloping tail."""
    y = 0.98 * width / 2
    low, mid, top = deck - 0.25, deck + 0.5 * (height - deck), 0.97 * height
    return [
        [[rear, -y, low], [rear, y, low], [rear, y, mid], [rear, -y, mid]],
        [[rear, -y, mid], [rear, y, mid], [front, y, top], [front, -y, top]],
        [[rear, y, low], [front, y, low], [front, y, top], [rear, y, mid]],
        [[rear, -y, low], [front, -y, low], [front, -y, top], [rear, -y, mid]],
        [[rear, -y, low], [rear, y, low], [front, y, low], [front, -y, low]],
    ]


def _open_bed(
    span: tuple[float, float], width: float, deck: float, wall: float, material: int
) -> list[TriangleMesh]:
    """Floor and four walls."""
    rear, front = span
    mid, long = (rear + front) / 2, front - rear
    z = deck + wall / 2
    return [
        box((mid, 0, deck), (long, width, 0.1), Material.METAL),
        boxes(
            [[mid, width / 2 - 0.03, z], [mid, 0.03 - width / 2, z]],
            [[long, 0.06, wall]] * 2,
            material,
        ),
        boxes(
            [[rear + 0.03, 0, z], [front - 0.03, 0, z + 0.15]],
            [[0.06, width, wall], [0.06, width, wall + 0.3]],
            material,
        ),
    ]


def _freight(
    span: tuple[float, float], width: float, deck: float, high: float, rng: Generator
) -> list[TriangleMesh]:
    """A few crates or a machine on a flatbed."""
    count = int(rng.integers(1, 5))
    x = np.linspace(span[0] + 0.8, span[1] - 0.8, count)
    size = np.column_stack(
        [
            rng.uniform(0.8, 1.2, count),
            rng.uniform(0.5, 0.85, count) * width,
            rng.uniform(0.3, 1.0, count) * high,
        ]
    )
    center = np.column_stack([x, np.zeros(count), deck + size[:, 2] / 2])
    return [boxes(center, size, int(rng.choice([Material.WOOD, Material.METAL])))]


def bus_mesh(rng: Generator, style: str | None = None) -> tuple[TriangleMesh, NDArray[np.float64]]:
    """A bus: as `truck_mesh`, with a style of `BUS_STYLES`."""
    style = style or str(rng.choice(BUS_STYLES, p=[0.55, 0.18, 0.15, 0.12]))
    models = {"city": CITY_BUS, "coach": COACH, "midi": MIDI_BUS, "articulated": ARTICULATED_BUS}
    size = models[style].draw(rng)
    length, width, height = (float(v) for v in size)
    axles = [2.75 / length, 1 - 3.35 / length]
    if style == "articulated":
        axles.insert(1, 0.47)
    low = 0.42 if style == "coach" else 0.33
    pillars = tuple(
        float(p) for p in np.arange(1.6, length - 0.8, rng.uniform(1.35, 1.8)) / length
    )
    seats = () if rng.random() < 0.1 else tuple(float(p) for p in np.linspace(0.22, 0.9, 7))
    shell = Shell(
        (0.002, 0.25 / length + 0.004), (1 - 0.16 / length, 0.9985), low, low + 0.01, low + 0.06,
        low + 0.04, axles=tuple(axles), clearance=rng.uniform(0.24, 0.34),
        wheel_radius=rng.uniform(0.46, 0.5), roof_width=rng.uniform(0.86, 0.95),
        corner=(rng.uniform(0.88, 0.96), 0.97), pillars=pillars, seats=seats,
    )  # fmt: skip
    paint = int(rng.choice([Material.PAINT_LIGHT, Material.PAINT_DARK], p=[0.6, 0.4]))
    parts = body_shell(shell, (length, width, height), paint, rng)
    if style != "coach":
        unit = (rng.uniform(-0.2, 0.2) * length, 0, height + 0.1)
        parts.append(box(unit, (rng.uniform(1.5, 3.5), 0.7 * width, 0.2), Material.PAINT_LIGHT))
    return fitted(TriangleMesh.join(parts), size), size
