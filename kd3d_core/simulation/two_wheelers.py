"""Bicycles, motorcycles and scooters, with and without riders."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.people import Clothes
from kd3d_core.simulation.people import bend
from kd3d_core.simulation.people import figure
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.primitives import ellipsoid
from kd3d_core.simulation.primitives import extents
from kd3d_core.simulation.primitives import fitted
from kd3d_core.simulation.primitives import tubes
from kd3d_core.simulation.sizes import CYCLIST
from kd3d_core.simulation.sizes import MOTORCYCLE
from kd3d_core.simulation.sizes import SCOOTER


def _tyre(x: float, radius: float, tube: float, material: int, sides: int = 14) -> TriangleMesh:
    """A ring in the x-z plane round (x, 0, radius), as short tubes."""
    angle = 2 * np.pi * np.arange(sides) / sides
    inner = radius - tube
    ring = np.stack(
        [x + inner * np.cos(angle), np.zeros(sides), radius + inner * np.sin(angle)], axis=1
    )
    return tubes(ring, np.roll(ring, -1, axis=0), tube, material, sides=4)


def bicycle_parts(rng: Generator) -> list[TriangleMesh]:
    """A bicycle, x forward, bottom bracket near x = 0, ground at z = 0."""
    r = rng.uniform(0.32, 0.36)
    rear, front = -0.44, 0.6
    bracket, seat, head = [0.0, 0, 0.29], [-0.17, 0, 0.86], [0.43, 0, 0.82]
    hub_rear, hub_front = [rear, 0, r], [front, 0, r]
    low = rng.random() < 0.4  # a step-through frame
    top_start = [-0.08, 0, 0.5] if low else [-0.15, 0, 0.78]
    starts = [bracket, top_start, bracket, hub_rear, hub_rear, head, head]
    ends = [head, head, seat, bracket, seat, hub_front, [0.38, 0, 1.02]]
    spokes = 2 * np.pi * np.arange(5) / 5 + rng.uniform(0, 1)
    parts = [
        tubes(starts, ends, 0.018, Material.METAL, sides=4),
        _tyre(rear, r, 0.021, Material.RUBBER),
        _tyre(front, r, 0.021, Material.RUBBER),
        tubes([0.38, 0.26, 1.03], [0.38, -0.26, 1.03], 0.014, Material.METAL, sides=4),
        box((-0.19, 0, 0.89), (0.26, 0.15, 0.06), Material.RUBBER),
        box((0, 0, 0.29), (0.2, 0.06, 0.18), Material.METAL),
    ]
    for x in (rear, front):
        rim = np.stack([x + r * np.cos(spokes), 0 * spokes, r + r * np.sin(spokes)], 1)
        parts.append(tubes(np.tile([x, 0, r], (5, 1)), rim, 0.004, Material.METAL, sides=3))
    if rng.random() < 0.6:
        parts.append(box((rear - 0.02, 0, 2 * r + 0.04), (0.4, 0.12, 0.03), Material.METAL))
        if rng.random() < 0.4:
            parts.append(
                box((rear - 0.02, 0, 2 * r - 0.12), (0.3, 0.32, 0.28), Material.CLOTH_DARK)
            )
    if rng.random() < 0.2:
        parts.append(box((0.52, 0, 0.93), (0.26, 0.34, 0.22), Material.METAL))
    return parts


def bicycle_mesh(rng: Generator) -> TriangleMesh:
    """A bicycle on its own, as it is parked: ground at z = 0."""
    return TriangleMesh.join(bicycle_parts(rng))


def _rider(
    seat: NDArray[np.float64],
    pedals: NDArray[np.float64],
    grips: NDArray[np.float64],
    height: float,
    lean: float,
    clothes: Clothes,
) -> list[TriangleMesh]:
    """A figure on a saddle (3,) with feet on pedals and hands on grips, both (2, 3) [m]."""
    y = np.array([1.0, -1.0])
    pelvis = seat + np.array([0, 0, 0.08])
    chest = pelvis + 0.3 * height * np.array([np.sin(lean), 0, np.cos(lean)])
    hips = pelvis + np.stack([np.zeros(2), 0.05 * height * y, np.zeros(2)], 1)
    shoulders = chest + np.stack([np.zeros(2), 0.112 * height * y, np.full(2, -0.04)], 1)
    ankles = pedals + np.array([-0.05, 0, 0.09])
    thigh, shank, upper, fore = np.array([0.25, 0.255, 0.175, 0.19]) * height
    joints = {
        "pelvis": pelvis,
        "chest": chest,
        "head": chest + np.array([0.05 + 0.07 * np.sin(lean), 0, 0.125 * height]),
        "hips": hips,
        "knees": np.stack([bend(hips[i], ankles[i], thigh, shank, (1, 0, 0.3)) for i in (0, 1)]),
        "ankles": ankles,
        "shoulders": shoulders,
        "elbows": np.stack(
            [bend(shoulders[i], grips[i], upper, fore, (-0.2, y[i], -1)) for i in (0, 1)]
        ),
        "hands": grips,
    }
    return figure(joints, height, clothes)


def cyclist_mesh(rng: Generator) -> tuple[TriangleMesh, NDArray[np.float64]]:
    """A bicycle with its rider: the mesh, centred on its box, and its (3,) size [m]."""
    length, width, height = CYCLIST.draw(rng)
    turn = rng.uniform(0, 2 * np.pi)
    crank = 0.17 * np.array([[np.cos(turn), 0, np.sin(turn)], [-np.cos(turn), 0, -np.sin(turn)]])
    pedals = np.array([[0, 0.11, 0.29], [0, -0.11, 0.29]]) + crank
    grips = np.array([[0.36, 0.25, 1.04], [0.36, -0.25, 1.04]])
    clothes = Clothes.draw(rng)
    parts = bicycle_parts(rng)
    rider = rng.uniform(1.6, 1.85)
    parts += _rider(
        np.array([-0.2, 0, 0.9]), pedals, grips, rider, rng.uniform(0.15, 0.65), clothes
    )
    parts.append(tubes(pedals * [1, 0, 1], pedals, 0.012, Material.METAL, sides=3))
    if rng.random() < 0.25:
        chest = np.array([-0.2, 0, 1.3])
        parts.append(ellipsoid(chest, (0.13, 0.15, 0.2), Material.CLOTH_DARK))
    mesh = TriangleMesh.join(parts)
    own = extents(mesh)
    stretch = np.clip(np.array([length, width, height]) / own, [0.85, 0.7, 0.9], [1.12, 1.3, 1.1])
    size = own * stretch
    return fitted(mesh, size), size


def motorcycle_mesh(
    rng: Generator, rider: bool | None = None
) -> tuple[TriangleMesh, NDArray[np.float64]]:
    """A motorcycle or scooter, perhaps with a rider: the centred mesh and its (3,) size [m]."""
    scooter = bool(rng.random() < 0.4)
    length, width, height = (SCOOTER if scooter else MOTORCYCLE).draw(rng)
    parts = _scooter_parts(rng) if scooter else _motorcycle_parts(rng)
    mesh = TriangleMesh.join(parts)
    scale = np.array([length, width, height]) / extents(mesh)
    machine = TriangleMesh((mesh.vertices * scale).astype(np.float32), mesh.faces, mesh.material)
    ridden = bool(rng.random() < 0.5) if rider is None else rider
    if ridden:
        machine = TriangleMesh.join([machine, *_motorcyclist(scooter, scale, rng)])
    return fitted(machine), extents(machine)


def _motorcyclist(scooter: bool, scale: NDArray[np.float64], rng: Generator) -> list[TriangleMesh]:
    """The rider of a machine that was stretched by (3,) `scale`."""
    foot = [0.3, 0.12, 0.3] if scooter else [-0.05, 0.2, 0.36]
    pedals = np.array([foot, foot]) * scale * [[1, 1, 1], [1, -1, 1]]
    grip = np.array([0.42, 0.33, 1.0]) * scale
    grips = np.stack([grip, grip * [1, -1, 1]])
    seat = np.array([-0.25, 0, 0.8]) * scale
    tall = rng.uniform(1.65, 1.85)
    parts = _rider(seat, pedals, grips, tall, rng.uniform(0.0, 0.45), Clothes.draw(rng))
    head = parts[4].vertices.mean(axis=0)
    paint = int(rng.choice([Material.PAINT_DARK, Material.PAINT_LIGHT]))
    parts.append(ellipsoid(head, (0.145, 0.125, 0.145), paint))
    return parts


def _machine_wheels(front: float, rear: float, radius: float) -> list[TriangleMesh]:
    """Two fat tyres with discs."""
    x = np.array([[front, 0, radius], [rear, 0, radius]])
    half = np.array([0, 0.06, 0])
    return [
        _tyre(front, radius, 0.06, Material.RUBBER, 12),
        _tyre(rear, radius, 0.075, Material.RUBBER, 12),
        tubes(x - half, x + half, 0.62 * radius, Material.METAL, sides=8, caps=True),
    ]


def _motorcycle_parts(rng: Generator) -> list[TriangleMesh]:
    """A naked, faired or touring motorcycle, ground at z = 0."""
    paint = int(rng.choice([Material.PAINT_DARK, Material.PAINT_LIGHT]))
    forks = np.array([[0.72, s * 0.09, 0.31] for s in (1, -1)])
    parts = [
        *_machine_wheels(0.74, -0.7, 0.31),
        tubes(forks, forks + np.array([-0.27, 0, 0.62]), 0.03, Material.METAL, sides=5),
        tubes([0.42, 0.38, 1.02], [0.42, -0.38, 1.02], 0.018, Material.METAL, sides=4),
        ellipsoid((0.15, 0, 0.82), (0.3, 0.16, 0.15), paint),
        box((0.08, 0, 0.45), (0.5, 0.34, 0.4), Material.METAL),
        box((-0.32, 0, 0.76), (0.62, 0.26, 0.12), Material.RUBBER),
        box((-0.75, 0, 0.82), (0.3, 0.18, 0.14), paint),
        tubes([-0.05, -0.17, 0.3], [-0.75, -0.2, 0.42], 0.05, Material.METAL, sides=6, caps=True),
        tubes([-0.1, 0, 0.4], [-0.7, 0, 0.31], 0.06, Material.METAL, sides=4),
        ellipsoid((0.6, 0, 0.9), (0.1, 0.11, 0.11), Material.LAMP, 0),
        box((-0.93, 0, 0.62), (0.02, 0.2, 0.18), Material.PLATE),
        tubes([[0.42, s * 0.2, 1.02] for s in (1, -1)], [[0.4, s * 0.27, 1.16] for s in (1, -1)],
              0.03, Material.PLASTIC, sides=4),
    ]  # fmt: skip
    if rng.random() < 0.4:
        parts.append(ellipsoid((0.5, 0, 0.85), (0.24, 0.2, 0.32), paint))
    if rng.random() < 0.3:
        parts.append(box((-0.72, 0, 0.98), (0.4, 0.42, 0.3), Material.PLASTIC))
    return parts


def _scooter_parts(rng: Generator) -> list[TriangleMesh]:
    """A scooter with its leg shield, ground at z = 0."""
    paint = int(rng.choice([Material.PAINT_DARK, Material.PAINT_LIGHT]))
    parts = [
        *_machine_wheels(0.66, -0.6, 0.24),
        tubes([0.64, 0, 0.3], [0.42, 0, 1.0], 0.05, Material.METAL, sides=5),
        tubes([0.4, 0.34, 1.0], [0.4, -0.34, 1.0], 0.02, Material.METAL, sides=4),
        tubes([0.5, 0, 0.36], [0.42, 0, 0.92], 0.24, paint, end_radius=0.14, sides=6, caps=True),
        box((0.2, 0, 0.3), (0.5, 0.34, 0.1), Material.PLASTIC),
        ellipsoid((-0.4, 0, 0.55), (0.42, 0.2, 0.24), paint),
        box((-0.35, 0, 0.77), (0.62, 0.27, 0.09), Material.RUBBER),
        box((-0.84, 0, 0.5), (0.02, 0.2, 0.18), Material.PLATE),
        ellipsoid((0.5, 0, 0.95), (0.1, 0.1, 0.1), Material.LAMP, 0),
    ]
    if rng.random() < 0.4:
        parts.append(box((-0.72, 0, 0.95), (0.36, 0.4, 0.32), Material.PLASTIC))
    return parts
