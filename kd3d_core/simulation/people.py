"""Human figures from a few joints: walkers, children, people with bags, and riders."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike
from numpy.typing import NDArray

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.primitives import boxes
from kd3d_core.simulation.primitives import ellipsoid
from kd3d_core.simulation.primitives import extents
from kd3d_core.simulation.primitives import fitted
from kd3d_core.simulation.primitives import loft
from kd3d_core.simulation.primitives import tubes
from kd3d_core.simulation.sizes import PEDESTRIAN


@dataclass(frozen=True)
class Clothes:
    """Materials and girth of a figure."""

    top: int
    legs: int
    girth: float

    @classmethod
    def draw(cls, rng: Generator) -> "Clothes":
        """Mostly dark trousers, any top, slim to stout."""
        cloth = [Material.CLOTH_DARK, Material.CLOTH_LIGHT]
        return cls(
            int(rng.choice(cloth, p=[0.55, 0.45])),
            int(rng.choice(cloth, p=[0.75, 0.25])),
            float(np.clip(rng.normal(1.05, 0.12), 0.85, 1.4)),
        )


def bend(
    start: ArrayLike, end: ArrayLike, upper: float, lower: float, towards: ArrayLike
) -> NDArray[np.float64]:
    """(3,) knee or elbow between joints (3,) for two lengths [m], bent `towards` a direction."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    line = b - a
    reach = max(float(np.linalg.norm(line)), 1e-6)
    along = (reach**2 + upper**2 - lower**2) / (2 * reach)
    out = np.sqrt(max(upper**2 - along**2, 0.0))
    side = np.asarray(towards, np.float64)
    side = side - line * (side @ line) / reach**2
    return np.asarray(a + line * min(along / reach, 1.0) + side / np.linalg.norm(side) * out)


def figure(
    joints: Mapping[str, NDArray[np.float64]], height: float, clothes: Clothes
) -> list[TriangleMesh]:
    """Skin a skeleton.

    Args:
        joints: (3,) positions [m] of pelvis, chest (base of the neck), head, and as (2, 3) left
            and right hips, knees, ankles, shoulders, elbows and hands.
        height: Standing height [m], the measure of all thicknesses.
        clothes: Materials and girth.
    """
    k = height / 1.75
    g = clothes.girth * k
    parts = [
        tubes(joints["hips"], joints["knees"], 0.088 * g, clothes.legs, end_radius=0.062 * g),
        tubes(joints["knees"], joints["ankles"], 0.06 * g, clothes.legs, end_radius=0.045 * g),
        tubes(joints["shoulders"], joints["elbows"], 0.056 * g, clothes.top, end_radius=0.047 * g),
        tubes(joints["elbows"], joints["hands"], 0.046 * g, clothes.top, end_radius=0.04 * k),
        ellipsoid(joints["head"], (0.098 * k, 0.08 * k, 0.125 * k), Material.SKIN),
        tubes(joints["chest"], joints["head"], 0.055 * k, Material.SKIN),
        _torso(joints["pelvis"], joints["chest"], g, clothes.top),
    ]
    feet = joints["ankles"] + np.array([0.06 * k, 0, -0.035 * k])
    parts.append(boxes(feet, [[0.26 * k, 0.095 * k, 0.08 * k]] * 2, Material.CLOTH_DARK))
    return parts


def _torso(
    pelvis: NDArray[np.float64], chest: NDArray[np.float64], girth: float, material: int
) -> TriangleMesh:
    """Elliptic sections from the seat to the neck."""
    up = chest - pelvis
    forward = np.cross([0.0, 1.0, 0.0], up)
    forward /= np.linalg.norm(forward)
    level = np.array([-0.12, 0.08, 0.35, 0.7, 0.92, 1.04])
    wide = np.array([0.13, 0.17, 0.15, 0.18, 0.17, 0.06]) * girth
    deep = np.array([0.1, 0.12, 0.11, 0.125, 0.1, 0.055]) * girth
    angle = 2 * np.pi * np.arange(8) / 8
    rings = (
        (pelvis + level[:, None] * up)[:, None]
        + (deep[:, None] * np.cos(angle))[..., None] * forward
        + (wide[:, None] * np.sin(angle))[..., None] * np.array([0.0, 1.0, 0.0])
    )
    return loft(rings, material, caps=True)


def walking_joints(
    height: float, stride: float, spread: float, lean: float, rng: Generator
) -> dict[str, NDArray[np.float64]]:
    """Joints of a standing or walking figure, x forward, feet near z = 0.

    Args:
        height: [m].
        stride: Distance between the ankles along x [m]; 0 stands.
        spread: How far the hands are from the hips sideways [m].
        lean: The chest ahead of the pelvis [m].
        rng: Draws which leg leads and how the arms hang.
    """
    thigh, shank, upper, fore = 0.245 * height, 0.246 * height, 0.172 * height, 0.21 * height
    lead = np.array([1.0, -1.0]) * rng.choice([-1.0, 1.0])
    drop = np.sqrt(max((0.98 * (thigh + shank)) ** 2 - (stride / 2) ** 2, 0.01))
    pelvis = np.array([0.0, 0.0, drop + 0.045 * height])
    y = np.array([1.0, -1.0])
    hips = pelvis + np.stack([np.zeros(2), 0.052 * height * y, np.zeros(2)], 1)
    lift = np.where(lead < 0, 0.1 * stride, 0.0)
    ankle_z = 0.045 * height + lift
    ankles = np.stack([lead * stride / 2, 0.06 * height * y, ankle_z], 1)
    knees = np.stack([bend(hips[i], ankles[i], thigh, shank, (1, 0, 0.1)) for i in range(2)])
    chest = pelvis + np.array([lean, 0, 0.3 * height])
    shoulders = chest + np.stack([np.zeros(2), 0.115 * height * y, np.full(2, -0.025 * height)], 1)
    swing = -lead * stride * rng.uniform(0.3, 0.6) + rng.uniform(-0.05, 0.1)
    hands = shoulders + np.stack(
        [swing, y * spread, np.full(2, -0.9 * (upper + fore)) + 0.3 * np.abs(swing)], 1
    )
    if rng.random() < 0.2:  # one hand at the ear, in front of the body or in a pocket
        hands[rng.integers(2)] = shoulders[0] * [1, 0.5, 1] + [0.2, 0, -rng.uniform(0, 0.3)]
    elbows = np.stack([bend(shoulders[i], hands[i], upper, fore, (-1, 0.3, 0)) for i in range(2)])
    head = chest + np.array([0.03 + 0.3 * lean, 0, 0.125 * height])
    return {
        "pelvis": pelvis, "chest": chest, "head": head, "hips": hips, "knees": knees,
        "ankles": ankles, "shoulders": shoulders, "elbows": elbows, "hands": hands,
    }  # fmt: skip


def pedestrian_mesh(
    rng: Generator, kind: str | None = None
) -> tuple[TriangleMesh, NDArray[np.float64]]:
    """Somebody on foot, with what they carry.

    Args:
        rng: Draws pose, size and clothes.
        kind: adult, child, umbrella or stroller; drawn where left out.

    Returns:
        The mesh, centred on its box with x along the heading, and its (3,) size [m].
    """
    kind = kind or str(
        rng.choice(["adult", "child", "umbrella", "stroller"], p=[0.86, 0.08, 0.02, 0.04])
    )
    length, width, height = PEDESTRIAN.draw(rng)
    if kind == "child":
        share = rng.uniform(0.55, 0.8)
        length, width, height = share * length, share * width, share * height
    clothes = Clothes.draw(rng)
    stride = float(np.clip(length - 0.3 * height / 1.75, 0.0, 0.52 * height))
    spread = float(np.clip((width - 0.5 * height / 1.75) / 2, -0.02, 0.4))
    joints = walking_joints(height, stride, spread, rng.uniform(-0.02, 0.08) * height, rng)
    parts = figure(joints, height, clothes) + _extras(joints, height, rng)
    mesh = TriangleMesh.join(parts)
    # The pose came close to the drawn size; a mild stretch does the rest without odd proportions.
    own = extents(mesh)
    wanted = np.clip(np.array([length, width, height]) / own, [0.85, 0.85, 0.97], [1.2, 1.2, 1.03])
    body = TriangleMesh(mesh.vertices * wanted.astype(np.float32), mesh.faces, mesh.material)
    if kind == "umbrella":
        body = TriangleMesh.join([body, *_umbrella(height, rng)])
    elif kind == "stroller":
        body = TriangleMesh.join([body, *_stroller(0.45 + stride / 2)])
    return fitted(body), extents(body)


def _extras(
    joints: Mapping[str, NDArray[np.float64]], height: float, rng: Generator
) -> list[TriangleMesh]:
    """Backpack, handbag, skirt or coat, hat: some, or none."""
    parts = []
    k = height / 1.75
    pelvis, chest = joints["pelvis"], joints["chest"]
    cloth = int(rng.choice([Material.CLOTH_DARK, Material.CLOTH_LIGHT]))
    if rng.random() < 0.2:
        back = (pelvis + 2 * chest) / 3 + [-0.2 * k, 0, 0]
        parts.append(ellipsoid(back, (0.12 * k, 0.15 * k, 0.22 * k), cloth))
    if rng.random() < 0.25:
        hand = joints["hands"][rng.integers(2)]
        size = rng.uniform([0.2, 0.08, 0.2], [0.4, 0.16, 0.38]) * k
        low = [hand[0], hand[1], max(hand[2] - size[2] / 2, size[2] / 2 + 0.05)]
        parts.append(box(low, size, cloth))
    if rng.random() < 0.2:
        hem = pelvis - [0, 0, rng.uniform(0.18, 0.42) * height]
        parts.append(tubes(hem, pelvis, 0.19 * k, cloth, end_radius=0.15 * k, sides=8))
    if rng.random() < 0.35:  # hair or a cap widens the head upwards
        parts.append(
            ellipsoid(
                joints["head"] + [-0.02, 0, 0.03 * k], np.array([0.11, 0.095, 0.12]) * k, cloth
            )
        )
    return parts


def _umbrella(height: float, rng: Generator) -> list[TriangleMesh]:
    """An open umbrella over the head."""
    top = height + rng.uniform(0.15, 0.3)
    tip, rim = (0.1, 0.1, top), (0.1, 0.1, top - 0.22)
    wide = rng.uniform(0.42, 0.55)
    return [
        tubes((0.15, 0.2, 0.55 * height), tip, 0.01, Material.METAL, sides=3),
        tubes(rim, tip, wide, Material.CLOTH_DARK, end_radius=0.03, sides=8),
    ]


def _stroller(x: float) -> list[TriangleMesh]:
    """A pram pushed at distance x [m]."""
    wheels = np.array([[x + a, s * 0.25, 0.12] for a in (0, 0.55) for s in (1, -1)])
    hub = np.array([0, 0.02, 0])
    hood = (x + 0.15, 0, 0.7), (x + 0.25, 0, 1.0)
    bars = np.array([[x, s * 0.22, 0.6] for s in (1, -1)])
    tyre, cloth, metal = Material.RUBBER, Material.CLOTH_DARK, Material.METAL
    return [
        tubes(wheels - hub, wheels + hub, 0.12, tyre, sides=8, caps=True),
        box((x + 0.3, 0, 0.6), (0.7, 0.38, 0.28), cloth),
        tubes(*hood, 0.24, cloth, end_radius=0.1, sides=8, caps=True),
        tubes(bars, bars + np.array([-0.3, 0, 0.42]), 0.015, metal, sides=4),
        tubes(wheels[:2], wheels[2:] + np.array([0, 0, 0.4]), 0.015, metal, sides=4),
    ]
