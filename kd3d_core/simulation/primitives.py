"""Building blocks of every shape: boxes, tubes, lofts, ellipsoids and clouds of leaves."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike
from numpy.typing import NDArray

from kd3d_core.simulation.mesh import TriangleMesh

_BOX = np.array([[x, y, z] for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
_BOX_FACES = np.array(
    [
        [0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4],
        [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5],
    ],
    np.int32,
)  # fmt: skip


def triangles(vertices: ArrayLike, faces: ArrayLike, material: ArrayLike) -> TriangleMesh:
    """A mesh of (V, 3) vertices [m], (F, 3) indices and one material, or (F,) materials."""
    faces = np.asarray(faces, np.int32).reshape(-1, 3)
    return TriangleMesh(
        np.ascontiguousarray(vertices, np.float32).reshape(-1, 3),
        faces,
        np.broadcast_to(np.asarray(material, np.uint8), (len(faces),)).copy(),
    )


def box(center: ArrayLike, size: ArrayLike, material: int, yaw: float = 0.0) -> TriangleMesh:
    """A box of `size` (3,) [m] around `center` (3,) [m], turned by `yaw` [rad] about z."""
    return boxes(np.reshape(center, (1, 3)), np.reshape(size, (1, 3)), material, yaw)


def boxes(
    centers: ArrayLike, sizes: ArrayLike, material: int, yaw: ArrayLike = 0.0
) -> TriangleMesh:
    """N boxes at once: (N, 3) centres and sizes [m], yaw of shape () or (N,) [rad]."""
    centers = np.asarray(centers, np.float64).reshape(-1, 3)
    local = _BOX[None] * np.asarray(sizes, np.float64).reshape(-1, 1, 3)
    yaws = np.broadcast_to(np.asarray(yaw, np.float64), (len(centers),))[:, None]
    cos, sin = np.cos(yaws), np.sin(yaws)
    x, y = local[..., 0], local[..., 1]
    turned = np.stack([cos * x - sin * y, sin * x + cos * y, local[..., 2]], axis=-1)
    faces = _BOX_FACES[None] + 8 * np.arange(len(centers), dtype=np.int32)[:, None, None]
    return triangles(turned + centers[:, None], faces, material)


def tubes(
    starts: ArrayLike,
    ends: ArrayLike,
    radius: ArrayLike,
    material: int,
    *,
    end_radius: ArrayLike | None = None,
    sides: int = 6,
    caps: bool = False,
) -> TriangleMesh:
    """N straight tubes, cones or cylinders at once.

    Args:
        starts: (N, 3) or (3,) [m].
        ends: The same shape [m].
        radius: At the start, () or (N,) [m].
        material: Of every face.
        end_radius: At the end, `radius` where left out [m].
        sides: Of the polygon that stands for the circle.
        caps: Whether the ends are closed.
    """
    a = np.asarray(starts, np.float64).reshape(-1, 3)
    b = np.asarray(ends, np.float64).reshape(-1, 3)
    count = len(a)
    r0 = np.broadcast_to(np.asarray(radius, np.float64), (count,))
    r1 = r0 if end_radius is None else np.broadcast_to(np.asarray(end_radius, float), (count,))
    axis = b - a
    axis = axis / np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    # Any direction away from the axis will do to span its plane; np.cross is slow on few rows.
    ax, ay, az = axis.T
    steep = np.abs(az) > 0.9
    zero = np.zeros(count)
    u = np.stack([np.where(steep, zero, -ay), np.where(steep, -az, ax), np.where(steep, ay, 0)], 1)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    ux, uy, uz = u.T
    v = np.stack([ay * uz - az * uy, az * ux - ax * uz, ax * uy - ay * ux], axis=1)
    angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    circle = np.cos(angle)[:, None] * u[:, None] + np.sin(angle)[:, None] * v[:, None]
    low = a[:, None] + r0[:, None, None] * circle
    high = b[:, None] + r1[:, None, None] * circle
    i = np.arange(sides)
    j = (i + 1) % sides
    quad = np.concatenate([np.stack([i, j, i + sides], 1), np.stack([j, j + sides, i + sides], 1)])
    if caps:
        fan = np.stack([np.zeros(sides - 2, int), i[1:-1], i[2:]], 1)
        quad = np.concatenate([quad, fan[:, ::-1], fan + sides])
    faces = quad[None] + 2 * sides * np.arange(count)[:, None, None]
    return triangles(np.concatenate([low, high], axis=1), faces, material)


def loft(
    rings: NDArray[np.float64],
    material: ArrayLike,
    *,
    keep: NDArray[np.bool_] | None = None,
    caps: bool = False,
) -> TriangleMesh:
    """Skin a row of closed rings.

    Args:
        rings: (S, K, 3) [m], S sections of K corners each.
        material: One material, or (S - 1, K), one for the quad between sections i and i + 1 and
            corners k and k + 1.
        keep: (S - 1, K) bool; quads to leave out are False.
        caps: Whether the first and last ring are closed with a fan.
    """
    sections, corners = rings.shape[:2]
    s, k = np.meshgrid(np.arange(sections - 1), np.arange(corners), indexing="ij")
    n = (k + 1) % corners
    a, b, c, d = s * corners + k, s * corners + n, (s + 1) * corners + n, (s + 1) * corners + k
    quads = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], axis=2)
    kinds = np.broadcast_to(np.asarray(material, np.uint8), (sections - 1, corners))
    kept = np.ones((sections - 1, corners), bool) if keep is None else keep
    faces = quads[kept].reshape(-1, 3)
    kind = np.repeat(kinds[kept], 2)
    if caps:
        fan = np.stack(
            [np.zeros(corners - 2, int), np.arange(1, corners - 1), np.arange(2, corners)], 1
        )
        faces = np.concatenate([faces, fan[:, ::-1], fan + (sections - 1) * corners])
        kind = np.concatenate(
            [kind, np.repeat([kinds[0, 0], kinds[-1, 0]], corners - 2).astype(np.uint8)]
        )
    return triangles(rings, faces, kind)


def grid(points: NDArray[np.float64], material: ArrayLike) -> TriangleMesh:
    """A surface through an (R, C, 3) grid of points [m]; material () or (R - 1, C - 1)."""
    rows, columns = points.shape[:2]
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    i = r * columns + c
    faces = np.stack(
        [
            np.stack([i, i + 1, i + columns], -1),
            np.stack([i + 1, i + columns + 1, i + columns], -1),
        ],
        axis=2,
    )
    kinds = np.broadcast_to(np.asarray(material, np.uint8), (rows - 1, columns - 1))
    return triangles(points, faces, np.repeat(kinds.reshape(-1), 2))


def quads(corners: ArrayLike, material: ArrayLike) -> TriangleMesh:
    """N free quads of (N, 4, 3) corners [m] in order round the edge; material () or (N,)."""
    points = np.asarray(corners, np.float64).reshape(-1, 4, 3)
    faces = np.array([[0, 1, 2], [0, 2, 3]])[None] + 4 * np.arange(len(points))[:, None, None]
    kind = np.broadcast_to(np.asarray(material, np.uint8), (len(points),))
    return triangles(points, faces, np.repeat(kind, 2))


def upright(rows: NDArray[np.float64], y: float) -> NDArray[np.float64]:
    """(N, 4, 3) corners of (N, 4) rectangles x0, x1, z0, z1 at depth y [m], for `quads`."""
    x0, x1, z0, z1 = rows.T
    deep = np.full(len(rows), y)
    corners = [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
    return np.stack([np.stack([x, deep, z], axis=1) for x, z in corners], axis=1)


@lru_cache(maxsize=4)
def _icosphere(detail: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Unit sphere: (V, 3) vertices and (20 * 4^detail, 3) faces."""
    g = (1 + 5**0.5) / 2
    base = [(-1, g, 0), (1, g, 0), (-1, -g, 0), (1, -g, 0)]
    points = np.array(
        base + [(c, a, b) for a, b, c in base] + [(b, c, a) for a, b, c in base], np.float64
    )
    points /= np.linalg.norm(points[0])
    # Twelve points 1.05 apart: each face is a triple of mutual neighbours.
    near = np.linalg.norm(points[:, None] - points[None], axis=2) < 1.1
    faces = [
        (i, j, k)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(j + 1, 12)
        if near[i, j] and near[j, k] and near[i, k]
    ]
    corners = points[np.array(faces)]
    for _ in range(detail):
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        ab, bc, ca = a + b, b + c, c + a
        parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        corners = np.concatenate([np.stack(part, axis=1) for part in parts])
        corners /= np.linalg.norm(corners, axis=2, keepdims=True)
    return corners.reshape(-1, 3), np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)


def ellipsoid(center: ArrayLike, radii: ArrayLike, material: int, detail: int = 1) -> TriangleMesh:
    """An ellipsoid of 20 * 4^detail triangles; centre and radii (3,) [m], axes along x, y, z."""
    vertices, faces = _icosphere(detail)
    return triangles(vertices * np.asarray(radii) + np.asarray(center), faces, material)


def leaves(
    centers: NDArray[np.float64], size: ArrayLike, rng: Generator, material: int
) -> TriangleMesh:
    """A triangle of random orientation at each of (N, 3) centres [m].

    Args:
        centers: Where they hang [m].
        size: Circumradius, () or (N,) [m].
        rng: Draws the orientations.
        material: Of all of them.
    """
    count = len(centers)
    corner = rng.normal(size=(count, 3, 3))
    corner -= corner.mean(axis=1, keepdims=True)
    corner /= np.maximum(np.linalg.norm(corner, axis=2, keepdims=True), 1e-6)
    radius = np.broadcast_to(np.asarray(size, np.float64), (count,))
    points = centers[:, None] + radius[:, None, None] * corner
    return triangles(points, np.arange(3 * count), material)


def fitted(mesh: TriangleMesh, size: ArrayLike | None = None) -> TriangleMesh:
    """Centre a mesh on its extents and, with `size` (3,) [m], stretch it to exactly that size."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    scale = 1.0 if size is None else np.asarray(size, np.float64) / np.maximum(high - low, 1e-6)
    vertices = (mesh.vertices - (low + high) / 2) * scale
    return TriangleMesh(vertices.astype(np.float32), mesh.faces, mesh.material)


def extents(mesh: TriangleMesh) -> NDArray[np.float64]:
    """(3,) extents along x, y, z [m]."""
    spread = mesh.vertices.max(axis=0) - mesh.vertices.min(axis=0)
    return np.asarray(spread, np.float64)
