"""Street furniture and the boxy things that a detector must not take for vehicles."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.primitives import boxes
from kd3d_core.simulation.primitives import quads
from kd3d_core.simulation.primitives import tubes
from kd3d_core.simulation.two_wheelers import bicycle_mesh

FENCE_KINDS = ("picket", "railing", "wall", "mesh")


def lamp_post(rng: Generator) -> TriangleMesh:
    """A lamp on an arm over +y."""
    height = rng.uniform(4.5, 9)
    arm = rng.uniform(0, 1.8)
    return TriangleMesh.join(
        [
            tubes((0, 0, -0.2), (0, 0, height), 0.09, Material.METAL, end_radius=0.05),
            tubes((0, 0, height), (0, arm + 0.01, height + 0.2), 0.04, Material.METAL, sides=4),
            box((0, arm, height + 0.2), (0.25, 0.6, 0.12), Material.PLASTIC),
            box((0, 0, 0.5), (0.2, 0.2, 1.0), Material.METAL),
        ]
    )


def sign(rng: Generator) -> TriangleMesh:
    """One or two plates on a pole, facing -x."""
    height = rng.uniform(2.1, 3.0)
    parts = [tubes((0, 0, -0.2), (0, 0, height), 0.035, Material.METAL)]
    for level in range(int(rng.integers(1, 3))):
        z = height - 0.3 - 0.65 * level
        if rng.random() < 0.5:
            plate = tubes((-0.05, 0, z), (-0.04, 0, z), 0.3, Material.SIGN, sides=10, caps=True)
        else:
            plate = box(
                (-0.05, 0, z), (0.01, rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.6)), Material.SIGN
            )
        parts.append(plate)
    return TriangleMesh.join(parts)


def traffic_light(rng: Generator) -> TriangleMesh:
    """A signal head on a pole, sometimes with a second one over the road (+y)."""
    parts = [
        tubes((0, 0, -0.2), (0, 0, 3.4), 0.07, Material.METAL),
        box((-0.15, 0, 2.7), (0.25, 0.32, 0.9), Material.PLASTIC),
    ]
    if rng.random() < 0.4:
        parts.append(tubes((0, 0, 3.3), (0, 3.5, 5.2), 0.06, Material.METAL))
        parts.append(box((-0.15, 3.5, 5.0), (0.25, 0.32, 0.9), Material.PLASTIC))
    return TriangleMesh.join(parts)


def wheelie_bin(rng: Generator) -> TriangleMesh:
    """One to three household bins side by side."""
    count = int(rng.integers(1, 4))
    y = np.arange(count) * 0.65
    center = np.column_stack([rng.normal(0, 0.05, count), y, np.full(count, 0.55)])
    lid = center + np.array([0, 0, 0.5])
    return TriangleMesh.join(
        [
            boxes(center, [[0.6, 0.52, 0.95]] * count, Material.PLASTIC),
            boxes(lid, [[0.7, 0.57, 0.08]] * count, Material.PLASTIC),
        ]
    )


def dumpster(rng: Generator) -> TriangleMesh:
    """A wheeled container or a skip; as long as half a car to a whole one."""
    if rng.random() < 0.5:
        return TriangleMesh.join(
            [
                box((0, 0, 0.72), (1.35, 1.0, 1.05), Material.METAL),
                box((0, 0, 1.3), (1.4, 1.05, 0.15), Material.PLASTIC),
            ]
        )
    long = rng.uniform(2.6, 3.8)
    floor = [
        [-0.3 * long, -0.85, 0.1],
        [0.3 * long, -0.85, 0.1],
        [0.3 * long, 0.85, 0.1],
        [-0.3 * long, 0.85, 0.1],
    ]
    rim = [
        [-long / 2, -0.9, 1.4],
        [long / 2, -0.9, 1.4],
        [long / 2, 0.9, 1.4],
        [-long / 2, 0.9, 1.4],
    ]
    sides = [[floor[i], floor[(i + 1) % 4], rim[(i + 1) % 4], rim[i]] for i in range(4)]
    heap = box((0, 0, 0.7), (0.65 * long, 1.5, 0.8), Material.SOIL)
    return TriangleMesh.join([quads(np.array([floor, *sides]), Material.PAINT_DARK), heap])


def bollard(rng: Generator) -> TriangleMesh:
    """A post as high as a child's waist."""
    return tubes(
        (0, 0, -0.1),
        (0, 0, rng.uniform(0.7, 1.1)),
        rng.uniform(0.04, 0.1),
        Material.METAL,
        caps=True,
    )


def advertising_column(rng: Generator) -> TriangleMesh:
    """A Litfass column."""
    high = rng.uniform(2.6, 3.6)
    return tubes(
        (0, 0, -0.1), (0, 0, high), rng.uniform(0.5, 0.7), Material.FACADE, sides=14, caps=True
    )


def cabinet(rng: Generator) -> TriangleMesh:
    """A cabinet of the telephone or power company."""
    size = rng.uniform([0.3, 0.7, 0.9], [0.45, 1.7, 1.5])
    return box((0, 0, size[2] / 2), size, Material.PLASTIC)


def bench(rng: Generator) -> TriangleMesh:
    """A bench with its back to +x."""
    wide = rng.uniform(1.4, 2.0)
    return TriangleMesh.join(
        [
            box((0, 0, 0.45), (0.45, wide, 0.06), Material.WOOD),
            box((0.22, 0, 0.7), (0.05, wide, 0.35), Material.WOOD),
            boxes(
                [[0, s * 0.4 * wide, 0.22] for s in (1, -1)],
                [[0.4, 0.06, 0.45]] * 2,
                Material.METAL,
            ),
        ]
    )


def bus_shelter(rng: Generator) -> TriangleMesh:
    """Glass walls under a roof, open to -x."""
    wide = rng.uniform(2.8, 4.2)
    posts = [[x, s * wide / 2, 1.2] for x in (-0.6, 0.6) for s in (1, -1)]
    return TriangleMesh.join(
        [
            box((0, 0, 2.45), (1.5, wide + 0.3, 0.12), Material.METAL),
            box((0.6, 0, 1.3), (0.02, wide, 1.9), Material.GLASS),
            box((0, wide / 2, 1.3), (1.0, 0.1, 1.8), Material.SIGN),
            box((0.35, 0, 0.45), (0.35, 0.7 * wide, 0.06), Material.METAL),
            boxes(posts, [[0.08, 0.08, 2.4]] * 4, Material.METAL),
        ]
    )


def trailer(rng: Generator) -> TriangleMesh:
    """A small trailer or a caravan: on wheels, and no car."""
    long, wide, high = rng.uniform([1.6, 1.1, 0.9], [2.8, 1.7, 1.4])
    if rng.random() < 0.35:
        long, wide, high = rng.uniform([4.2, 2.0, 2.4], [5.8, 2.3, 2.7])
    floor = 0.45
    y = wide / 2
    wheel = np.array([[0.0, s * y, 0.3] for s in (1, -1)])
    hub = np.array([0, 0.1, 0])
    return TriangleMesh.join(
        [
            box((0, 0, (floor + high) / 2), (long, wide, high - floor), Material.PAINT_LIGHT),
            tubes(wheel - hub, wheel + hub, 0.3, Material.RUBBER, sides=10, caps=True),
            tubes((long / 2, 0, 0.5), (long / 2 + 1.2, 0, 0.45), 0.04, Material.METAL, sides=4),
        ]
    )


def shed(rng: Generator) -> TriangleMesh:
    """A garden shed with a sloping roof."""
    long, wide, high = rng.uniform([1.8, 1.6, 1.8], [4.0, 2.6, 2.3])
    y, x = wide / 2, long / 2
    roof = [
        [
            [-x - 0.2, -y - 0.2, high + 0.35],
            [x + 0.2, -y - 0.2, high + 0.35],
            [x + 0.2, y + 0.2, high],
            [-x - 0.2, y + 0.2, high],
        ]
    ]
    return TriangleMesh.join(
        [box((0, 0, high / 2), (long, wide, high), Material.WOOD), quads(roof, Material.WOOD)]
    )


def container(rng: Generator) -> TriangleMesh:
    """A building site's cabin or a recycling container."""
    size = rng.uniform([1.6, 1.5, 1.5], [2.2, 2.0, 2.0])
    if rng.random() < 0.4:
        size = np.array([rng.choice([3.0, 6.0]), 2.4, 2.5])
    ribs = np.linspace(-0.46, 0.46, 9)[:, None] * [size[0], 0, 0] + [0, 0, size[2] / 2]
    return TriangleMesh.join(
        [
            box((0, 0, size[2] / 2), size, Material.METAL),
            boxes(ribs, [[0.08, size[1] + 0.06, size[2] - 0.2]] * 9, Material.METAL),
        ]
    )


def stone(rng: Generator) -> TriangleMesh:
    """A planter or a boulder."""
    size = rng.uniform([0.5, 0.5, 0.4], [1.6, 1.0, 0.8])
    return box((0, 0, size[2] / 2 - 0.05), size, Material.CONCRETE, float(rng.uniform(0, 3)))


def bicycle_rack(rng: Generator) -> TriangleMesh:
    """Parked bicycles side by side, nobody on them."""
    parts = []
    for i in range(int(rng.integers(1, 6))):
        mesh = bicycle_mesh(rng)
        mesh.vertices[:, 1] += 0.6 * i + rng.normal(0, 0.05)
        mesh.vertices[:, 0] += rng.normal(0, 0.05)
        parts.append(mesh)
    return TriangleMesh.join(parts)


def barrier(rng: Generator) -> TriangleMesh:
    """A road works barrier across x."""
    wide = rng.uniform(1.5, 2.5)
    posts = [[0, s * 0.4 * wide, 0.5] for s in (1, -1)]
    return TriangleMesh.join(
        [
            box((0, 0, 0.95), (0.05, wide, 0.25), Material.SIGN),
            boxes(posts, [[0.06, 0.06, 1.0]] * 2, Material.PLASTIC),
            boxes([[0, p[1], 0.05] for p in posts], [[0.8, 0.35, 0.1]] * 2, Material.RUBBER),
        ]
    )


#: What stands on pavements and in front gardens, by name.
PROPS: dict[str, Callable[[Generator], TriangleMesh]] = {
    "lamp_post": lamp_post, "sign": sign, "traffic_light": traffic_light, "bin": wheelie_bin,
    "dumpster": dumpster, "bollard": bollard, "column": advertising_column, "cabinet": cabinet,
    "bench": bench, "shelter": bus_shelter, "trailer": trailer, "shed": shed,
    "container": container, "stone": stone, "bicycles": bicycle_rack, "barrier": barrier,
}  # fmt: skip


def fence(length: float, kind: str, rng: Generator) -> TriangleMesh:
    """A fence of `FENCE_KINDS` along x from 0 to `length` at y = 0, on z = 0."""
    if kind == "wall":
        high = rng.uniform(0.4, 2.0)
        stone_kind = int(rng.choice([Material.CONCRETE, Material.BRICK, Material.FACADE]))
        return TriangleMesh.join(
            [
                box((length / 2, 0, high / 2 - 0.15), (length, 0.24, high + 0.3), stone_kind),
                box((length / 2, 0, high + 0.03), (length, 0.3, 0.06), Material.CONCRETE),
            ]
        )
    high = rng.uniform(0.8, 1.3) if kind != "mesh" else rng.uniform(1.0, 2.0)
    posts = np.arange(0, length + 0.1, 2.2)
    at = np.column_stack([posts, np.zeros_like(posts), np.full_like(posts, high / 2 - 0.1)])
    material = Material.WOOD if kind == "picket" else Material.METAL
    rails = [0.2 * high, 0.85 * high] if kind != "mesh" else np.linspace(0.05, high, 7)
    width = {"picket": 0.08, "railing": 0.018, "mesh": 0.005}[kind]
    pitch = {"picket": 0.13, "railing": 0.12, "mesh": 0.22}[kind]
    thick = 0.035 if kind != "mesh" else 0.004
    bars = np.arange(0.05, length, pitch)
    x0, x1 = bars - width / 2, bars + width / 2
    corners = [(x0, 0.06), (x1, 0.06), (x1, high), (x0, high)]
    upright = np.stack([np.column_stack([x, 0 * x, 0 * x + z]) for x, z in corners], axis=1)
    lines = [
        [
            [0, 0.01, z - thick],
            [length, 0.01, z - thick],
            [length, 0.01, z + thick],
            [0, 0.01, z + thick],
        ]
        for z in rails
    ]
    return TriangleMesh.join(
        [
            boxes(at, [[0.07, 0.07, high + 0.2]] * len(at), material),
            quads(upright, material),
            quads(np.array(lines), material),
        ]
    )


def guard_rail(length: float) -> TriangleMesh:
    """A crash barrier along x from 0 to `length` at y = 0."""
    posts = np.arange(0.5, length, 2.0)
    at = np.column_stack([posts, 0 * posts, 0 * posts + 0.3])
    return TriangleMesh.join(
        [
            box((length / 2, 0, 0.62), (length, 0.08, 0.3), Material.METAL),
            boxes(at, [[0.1, 0.06, 0.8]] * len(at), Material.METAL),
        ]
    )
