"""The body shell shared by cars, vans, lorry cabs and buses.

A shell is a lower body lofted along x through its side profile, and a glazed upper part lofted
likewise. Both are open where they meet, so a ray through a window reaches the seats.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.primitives import boxes
from kd3d_core.simulation.primitives import loft
from kd3d_core.simulation.primitives import tubes


@dataclass(frozen=True)
class Shell:
    """Proportions of a body: along x as shares of the length from the front, heights of H.

    Attributes:
        windscreen: Base and top of the windscreen.
        rear_window: Top (where the roof ends) and base of the rear window.
        nose: Height of the bonnet's front edge.
        cowl: Height of the bonnet at the windscreen's base.
        deck: Height at the rear window's base.
        tail: Height of the rear edge.
        axles: Positions of the axles.
        clearance: Height of the sill above the ground [m].
        wheel_radius: [m].
        roof_width: Width of the roof as a share of the body's width.
        corner: Width of the front and rear ends as shares of the body's width.
        pillars: Positions of the pillars between the side windows.
        glazed: Side windows reach from the windscreen to here.
        seats: Positions of the seat rows.
        open_deck: The deck behind the rear window is an open load bed.
    """

    windscreen: tuple[float, float]
    rear_window: tuple[float, float]
    nose: float
    cowl: float
    deck: float
    tail: float
    axles: tuple[float, ...] = (0.18, 0.81)
    clearance: float = 0.2
    wheel_radius: float = 0.31
    roof_width: float = 0.76
    corner: tuple[float, float] = (0.8, 0.86)
    pillars: tuple[float, ...] = (0.55, 0.76)
    glazed: float = 1.0
    seats: tuple[float, ...] = (0.5, 0.72)
    open_deck: bool = False


def body_shell(
    shell: Shell, size: Sequence[float], paint: int, rng: Generator
) -> list[TriangleMesh]:
    """The parts of a body in a frame with x forward, its middle at x = y = 0, ground at z = 0.

    Args:
        shell: Proportions.
        size: Length, width, height [m].
        paint: Material of the panels.
        rng: Draws small details.
    """
    parts = [_lower(shell, size, paint), _upper(shell, size, paint)]
    parts += _wheels(shell, size)
    parts += _inside(shell, size)
    parts += _front_and_rear(shell, size, rng)
    return parts


def _half_width(shell: Shell, f: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Half width as a share of W/2 at positions f: rounded in plan over the last 0.5 m."""
    reach = min(0.12, 0.5 / length)
    front = 1 - (1 - shell.corner[0]) * np.clip(1 - f / reach, 0, 1) ** 2
    rear = 1 - (1 - shell.corner[1]) * np.clip(1 - (1 - f) / reach, 0, 1) ** 2
    return np.minimum(front, rear)


def _belt(shell: Shell, f: NDArray[np.float64], height: float) -> NDArray[np.float64]:
    """Height of the lower body's upper edge at positions f [m]."""
    knots = [
        0.0,
        0.035,
        max(shell.windscreen[0], 0.04),
        min(shell.rear_window[1], 0.97),
        0.98,
        1.0,
    ]
    values = [shell.nose - 0.07, shell.nose, shell.cowl, shell.deck, shell.tail, shell.tail - 0.04]
    return np.interp(f, knots, values) * height


def _lower(shell: Shell, size: Sequence[float], paint: int) -> TriangleMesh:
    """Bonnet, flanks, boot and floor, cut out over the wheels."""
    length, width, height = size
    arch = 1.14 * shell.wheel_radius
    step = np.array([-1.001, -0.999, -0.55, 0.55, 0.999, 1.001]) * arch / length
    cuts = [axle + step for axle in shell.axles]
    ends = min(0.03, 0.12 / length)
    plain = [0.0, ends, 3 * ends, shell.windscreen[0], shell.rear_window[1], 1 - 3 * ends]
    f = np.unique(np.clip(np.concatenate([plain, [1 - ends, 1.0], *cuts]), 0, 1))
    top = _belt(shell, f, height)
    bottom = shell.clearance + 0.08 * (
        np.clip(1 - f / 0.08, 0, 1) + np.clip((f - 0.92) / 0.08, 0, 1)
    )
    for axle in shell.axles:
        away = np.abs(f - axle) * length
        raised = shell.wheel_radius + np.sqrt(np.clip(arch**2 - away**2, 0, None))
        bottom = np.where(away < arch, np.minimum(np.maximum(bottom, raised), top - 0.06), bottom)
    half = _half_width(shell, f, length) * width / 2
    depth = top - bottom
    across = np.array([0.92, 0.99, 1.0, 0.95, 0.55])
    heights = np.stack(
        [bottom, bottom + 0.3 * depth, bottom + 0.62 * depth, top - 0.02, top], axis=1
    )
    y = np.concatenate([across, -across[::-1]])[None] * half[:, None]
    z = np.concatenate([heights, heights[:, ::-1]], axis=1)
    x = np.broadcast_to((0.5 - f[:, None]) * length, y.shape)
    middle = (f[:-1] + f[1:]) / 2
    keep = np.ones((len(f) - 1, 10), bool)
    end = 0.985 if shell.open_deck else shell.rear_window[1]
    keep[np.ix_((middle > shell.windscreen[0]) & (middle < end), [3, 4, 5])] = False
    material = np.full((len(f) - 1, 10), paint, np.uint8)
    material[:, 9] = Material.PLASTIC
    return loft(np.stack([x, y, z], axis=-1), material, keep=keep, caps=True)


def _upper(shell: Shell, size: Sequence[float], paint: int) -> TriangleMesh:
    """Windscreen, roof, pillars, side windows and rear window."""
    length, width, height = size
    base, top = shell.windscreen
    end, foot = shell.rear_window
    post = 0.045 / length
    posts = [p + d for p in shell.pillars if top + 0.02 < p < end - 0.02 for d in (-post, post)]
    f = np.unique(
        [base, (base + top) / 2, top, (top + end) / 2, end, (end + foot) / 2, foot, *posts]
    )
    belt = _belt(shell, f, height)
    knots = [base, (base + top) / 2, top, (top + end) / 2, end, (end + foot) / 2, foot]
    lift = np.interp(f, knots, [0.0, 0.53, 0.955, 1.0, 0.955, 0.55, 0.0])
    roof = belt + lift * (height - belt)
    half = _half_width(shell, f, length) * width / 2 * 0.95
    rise = (roof - belt) / np.maximum(height - belt, 1e-6)
    edge = half * (1 - (1 - shell.roof_width / 0.95) * rise)
    shoulder = np.maximum(belt, roof - 0.05 * rise)
    y = np.stack([half, edge, 0.7 * edge, -0.7 * edge, -edge, -half], axis=1)
    z = np.stack([belt - 0.02, shoulder, roof, roof, shoulder, belt - 0.02], axis=1)
    x = np.broadcast_to((0.5 - f[:, None]) * length, y.shape)
    middle = (f[:-1] + f[1:]) / 2
    material = np.full((len(f) - 1, 6), paint, np.uint8)
    near_post = np.zeros(len(middle), bool)
    for pillar in shell.pillars:
        near_post |= np.abs(middle - pillar) < post
    side = (middle < min(end, shell.glazed)) & ~near_post
    material[np.ix_(side, [0, 4])] = Material.GLASS
    material[np.ix_(middle < top, [1, 2, 3])] = Material.GLASS
    if shell.glazed > end:
        material[np.ix_(middle > end, [1, 2, 3])] = Material.GLASS
    keep = np.ones((len(f) - 1, 6), bool)
    keep[:, 5] = False
    frame = loft(np.stack([x, y, z], axis=-1), material, keep=keep)
    at = [int(np.searchsorted(f, base)), int(np.searchsorted(f, top))]
    posts_at = np.stack([x, y, z], axis=-1)[:, [1, 4]]
    rails = tubes(posts_at[at[0]], posts_at[at[1]], 0.03, paint, sides=4)
    return TriangleMesh.join([frame, rails])


def _wheels(shell: Shell, size: Sequence[float]) -> list[TriangleMesh]:
    """Tyres as closed cylinders, with metal rims a little inside."""
    length, width, _ = size
    r = shell.wheel_radius
    tread = 0.2 if r < 0.4 else 0.3
    x = np.repeat([(0.5 - axle) * length for axle in shell.axles], 2)
    sign = np.tile([1.0, -1.0], len(shell.axles))
    outer = width / 2 - 0.02
    z = np.full_like(x, r)
    inner_points = np.stack([x, sign * (outer - tread), z], axis=1)
    outer_points = np.stack([x, sign * outer, z], axis=1)
    rim = np.stack([x, sign * (outer + 0.008), z], axis=1)
    return [
        tubes(inner_points, outer_points, r, Material.RUBBER, sides=10, caps=True),
        tubes(outer_points, rim, 0.62 * r, Material.METAL, sides=6, caps=True),
    ]


def _inside(shell: Shell, size: Sequence[float]) -> list[TriangleMesh]:
    """Underbody, dashboard and seats: what rays through gaps and windows hit."""
    length, width, height = size
    floor = shell.clearance + 0.15
    inner = width - 0.56
    parts = [
        box(
            (0, 0, (shell.clearance + 0.03 + floor + 0.1) / 2),
            (0.92 * length, inner, floor + 0.07 - shell.clearance),
            Material.PLASTIC,
        )
    ]
    belt = float(_belt(shell, np.array([shell.seats[0]]), height)[0]) if shell.seats else 0.0
    for row in shell.seats:
        x = (0.5 - row) * length
        back = min(belt + 0.12, 0.88 * height)
        y = np.array([-0.25, 0.25]) * width * 0.9
        center = np.column_stack([np.full(2, x - 0.2), y, np.full(2, (floor + back) / 2)])
        parts.append(boxes(center, [[0.16, 0.29 * width, back - floor]] * 2, Material.CLOTH_DARK))
        head = np.column_stack([np.full(2, x - 0.2), y, np.full(2, back + 0.1)])
        parts.append(boxes(head, [[0.1, 0.25, 0.17]] * 2, Material.CLOTH_DARK))
        cushion = (x + 0.1, 0.0, floor + 0.18)
        parts.append(box(cushion, (0.5, 0.8 * width, 0.2), Material.CLOTH_DARK))
    if shell.seats:
        x = (0.5 - shell.windscreen[0]) * length - 0.25
        parts.append(box((x, 0, belt - 0.1), (0.4, 0.8 * width, 0.16), Material.PLASTIC))
    return parts


def _front_and_rear(shell: Shell, size: Sequence[float], rng: Generator) -> list[TriangleMesh]:
    """Lamps and number plates at both ends, proud of the panels by a centimetre."""
    length, width, height = size
    nose = shell.nose * height - 0.12
    tail = shell.tail * height - 0.1
    front, rear = shell.corner[0] * width / 2, shell.corner[1] * width / 2
    lamp = rng.uniform(0.1, 0.2)
    x = length / 2
    lamps_front = [[x - 0.03, s * (front - 0.14), nose - 0.04] for s in (1, -1)]
    lamps_rear = [[0.03 - x, s * (rear - 0.1), tail - lamp / 2] for s in (1, -1)]
    plate_z = shell.clearance + rng.uniform(0.18, 0.26)
    plate_rear = plate_z if rng.random() < 0.4 else max(tail - 0.2, plate_z)
    return [
        boxes(lamps_front, [[0.08, 0.28, 0.13]] * 2, Material.LAMP),
        boxes(lamps_rear, [[0.08, 0.17, lamp]] * 2, Material.LAMP),
        box((x, 0, plate_z), (0.02, 0.52, 0.11), Material.PLATE),
        box((-x, 0, plate_rear), (0.02, 0.52, 0.11), Material.PLATE),
    ]
