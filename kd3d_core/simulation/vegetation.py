"""Trees, bushes, hedges and tall grass, made of leaves that rays pass between."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.primitives import ellipsoid
from kd3d_core.simulation.primitives import leaves
from kd3d_core.simulation.primitives import loft
from kd3d_core.simulation.primitives import tubes

TREE_KINDS = ("broad", "young", "conifer", "column", "bare")


def _directions(count: int, rng: Generator) -> NDArray[np.float64]:
    """(count, 3) random unit vectors."""
    v = rng.normal(size=(count, 3))
    return np.asarray(v / np.linalg.norm(v, axis=1, keepdims=True))


def _crown(
    center: NDArray[np.float64],
    radii: NDArray[np.float64],
    count: int,
    leaf: float,
    rng: Generator,
) -> TriangleMesh:
    """Leaves in clumps spread through an ellipsoid, denser towards its skin."""
    clumps = max(count // 35, 4)
    at = _directions(clumps, rng) * rng.uniform(0.35, 0.92, (clumps, 1)) * radii
    owner = rng.integers(clumps, size=count)
    spread = 0.3 * float(np.mean(radii))
    points = (
        center + at[owner] + _directions(count, rng) * rng.uniform(0.3, 1, (count, 1)) * spread
    )
    return leaves(points, leaf * rng.uniform(0.6, 1.4, count), rng, Material.FOLIAGE)


def _branches(
    root: NDArray[np.float64], center: NDArray[np.float64], radii: NDArray[np.float64],
    count: int, radius: float, rng: Generator,
) -> TriangleMesh:  # fmt: skip
    """Limbs from the trunk's top into the crown."""
    ends = center + _directions(count, rng) * radii * rng.uniform(0.5, 0.9, (count, 1))
    ends[:, 2] = np.maximum(ends[:, 2], root[2] + 0.1)
    start = np.repeat(root[None], count, axis=0)
    return tubes(start, ends, radius, Material.BARK, end_radius=0.25 * radius, sides=4)


def tree(rng: Generator, kind: str | None = None, detail: float = 1.0) -> TriangleMesh:
    """A tree on z = 0.

    Args:
        rng: Draws the shape.
        kind: One of `TREE_KINDS`; drawn where left out.
        detail: Scales the number of leaves; far trees need fewer, and then larger ones.
    """
    kind = kind or str(rng.choice(TREE_KINDS, p=[0.42, 0.25, 0.15, 0.08, 0.1]))
    if kind == "conifer":
        return _conifer(rng, detail)
    low, high = {"broad": (7, 15), "young": (4, 7), "column": (7, 13), "bare": (5, 11)}[kind]
    height = rng.uniform(low, high)
    trunk = height * rng.uniform(0.2, 0.34) if kind != "column" else 0.12 * height
    wide = height * (0.12 if kind == "column" else rng.uniform(0.24, 0.36))
    radii = np.array([wide, wide, (height - trunk) / 2])
    center = np.array([*rng.normal(0, 0.2, 2), trunk + radii[2]])
    stem = max(0.013 * height * rng.uniform(0.8, 1.5), 0.05)
    root = np.array([0.3 * center[0], 0.3 * center[1], trunk])
    parts = [
        tubes((0, 0, -0.3), root, 1.15 * stem, Material.BARK, end_radius=0.85 * stem, sides=7),
        tubes(root, center, 0.85 * stem, Material.BARK, end_radius=0.3 * stem, sides=5),
    ]
    if kind == "bare":
        parts.append(_branches(root, center, radii, int(60 * detail) + 8, 0.3 * stem, rng))
        return TriangleMesh.join(parts)
    parts.append(_branches(root, center, radii, 7, 0.4 * stem, rng))
    count = int(np.clip(110 * wide * radii[2], 250, 1100) * detail)
    parts.append(_crown(center, radii, count, 0.24 / np.sqrt(detail), rng))
    return TriangleMesh.join(parts)


def _conifer(rng: Generator, detail: float) -> TriangleMesh:
    """A fir: whorls of leaves that narrow upwards."""
    height = rng.uniform(4, 13)
    base = rng.uniform(0.2, 1.4)
    wide = height * rng.uniform(0.16, 0.26)
    count = int(np.clip(45 * height, 150, 500) * detail)
    up = 1 - np.sqrt(rng.uniform(0, 1, count))
    angle = rng.uniform(0, 2 * np.pi, count)
    r = wide * (1 - up) * rng.uniform(0.4, 1.0, count) ** 0.5
    z = base + up * (height - base) - 0.15 * r
    points = np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)
    trunk = tubes((0, 0, -0.3), (0, 0, height), 0.014 * height, Material.BARK, end_radius=0.01)
    return TriangleMesh.join(
        [trunk, leaves(points, rng.uniform(0.15, 0.35, count), rng, Material.FOLIAGE)]
    )


def bush(rng: Generator, height: float | None = None, *, bushy: bool = False) -> TriangleMesh:
    """A shrub on z = 0: an opaque core with leaves round it; `bushy`: leaves all through it."""
    height = height or rng.uniform(0.5, 2.2)
    radii = np.array([rng.uniform(0.45, 0.9), rng.uniform(0.45, 0.9), 0.55]) * height
    center = np.array([0, 0, 0.45 * height])
    count = int(np.clip(90 * height, 60, 220))
    if bushy:
        at = _directions(count, rng) * rng.uniform(0.15, 1.08, (count, 1)) ** 0.5 * radii + center
        size = (0.11 + 0.05 * height) * rng.uniform(0.5, 1.4, count)
        crown = leaves(at, size, rng, Material.FOLIAGE)
        stems = _branches(np.array([0, 0, -0.05]), center, 0.8 * radii, 4, 0.02, rng)
        return TriangleMesh.join([stems, crown])
    return TriangleMesh.join(
        [
            ellipsoid(center, 0.62 * radii, Material.FOLIAGE),
            _crown(center, 0.75 * radii, count, 0.1 + 0.04 * height, rng),
        ]
    )


def hedge(
    length: float, height: float, depth: float, rng: Generator, *, bushy: bool = False
) -> TriangleMesh:
    """A clipped hedge along x from 0 to `length`, centred on y = 0, on z = 0.

    A `bushy` one lets rays some way in: its body is thin, and the leaves before it stand deep.
    """
    count = max(int(length / 0.45), 3)
    x = np.linspace(0, length, count + 1)
    half = depth / 2
    if bushy:
        return _bushy_hedge(length, height, half, rng)
    y = np.array([half, half, 0.8 * half, -0.8 * half, -half, -half])
    z = np.array([-0.3, 0.6 * height, 0.97 * height, 0.97 * height, 0.6 * height, -0.3])
    rings = np.empty((len(x), 6, 3))
    rings[..., 0] = x[:, None]
    rings[..., 1], rings[..., 2] = y, z
    rings[..., 1:] += rng.normal(0, 0.045, (len(x), 6, 2))
    body = loft(rings, Material.FOLIAGE, caps=True)
    total = int(min(length * (2 * height + depth) * 11, 700))
    at = rng.uniform(size=(total, 3)) * [length, depth, height] - [0, half, 0]
    # Push every sprig to the flank or the top, whichever is drawn.
    flank = rng.random(total) < 0.7
    at[flank, 1] = np.where(at[flank, 1] > 0, half, -half) + rng.normal(0, 0.04, flank.sum())
    at[~flank, 2] = height + rng.normal(0, 0.05, (~flank).sum())
    return TriangleMesh.join(
        [body, leaves(at, rng.uniform(0.06, 0.14, total), rng, Material.FOLIAGE)]
    )


def _bushy_hedge(length: float, height: float, half: float, rng: Generator) -> TriangleMesh:
    """A narrow core, and leaves through the outer 0.35 m on both flanks and on top."""
    deep = min(0.35, 0.8 * half)
    count = int(min(length * (2 * height + 2 * half) * 30, 1100))
    # Long hedges have fewer leaves a metre than they would need: larger ones make up for it.
    size = min(0.2 * np.sqrt(max(length * (2 * height + 2 * half) * 30 / 1100, 1.0)), 0.3)
    at = rng.uniform([0, -half, 0], [length, half, height], (count, 3))
    inward = deep * rng.uniform(0, 1, count) ** 1.5
    flank = rng.random(count) < 2 * height / (2 * height + 2 * half)
    at[flank, 1] = np.sign(at[flank, 1]) * (half - inward[flank])
    at[~flank, 2] = height - inward[~flank]
    core = half - 0.8 * deep
    body = np.array([length, 2 * core, max(height - 0.8 * deep, 0.2)])
    return TriangleMesh.join(
        [
            box(
                (length / 2, 0, body[2] / 2 - 0.15), body + np.array([0, 0, 0.3]), Material.FOLIAGE
            ),
            leaves(at, size * rng.uniform(0.6, 1.4, count), rng, Material.FOLIAGE),
        ]
    )


def thicket(length: float, height: float, depth: float, rng: Generator) -> TriangleMesh:
    """Wild growth along x from 0 to `length`, centred on y = 0, ragged and thinner upwards [m]."""
    count = int(min(30 * length * (height + depth) / 2, 1300))
    clumps = max(int(length * depth / 1.2), 3)
    at = rng.uniform([0, -depth / 2, 0], [length, depth / 2, 0], (clumps, 3))
    tall = height * rng.beta(2, 1.6, clumps)
    owner = rng.integers(clumps, size=count)
    points = at[owner] + rng.normal(0, 0.42, (count, 3)) * [1, 1, 0]
    points[:, 2] = tall[owner] * rng.uniform(0, 1, count) ** 0.8
    size = rng.uniform(0.08, 0.26, count)
    return leaves(points, size, rng, Material.FOLIAGE)


def tall_grass(points: NDArray[np.float64], height: float, rng: Generator) -> TriangleMesh:
    """Blades at (N, 3) points on the ground [m], up to `height` [m] high."""
    count = len(points)
    at = points + np.array([0, 0, height]) * rng.uniform(0.2, 0.9, (count, 1))
    return leaves(at, 0.35 * height * rng.uniform(0.5, 1.2, count), rng, Material.FOLIAGE)
