"""The ground: a road with kerbs, pavements, side roads and gentle hills.

Everything is laid out in road coordinates: `s` along the centre line, `t` to its left [m].
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike
from numpy.typing import NDArray

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.primitives import grid
from kd3d_core.simulation.primitives import quads

#: The ground goes on this far around the ego vehicle's path [m].
REACH = 85.0


@dataclass(frozen=True)
class Side:
    """One side of the road, outwards from the lanes; all widths in metres, 0 leaves it out.

    Attributes:
        parking: Depth of the parking bays.
        verge: Grass between kerb and pavement.
        pavement: Width of the pavement.
        kerb: Height of the kerb.
        beyond: Material behind the pavement.
        bank: Slope of the land behind the pavement (rise per metre).
    """

    parking: float
    verge: float
    pavement: float
    kerb: float
    beyond: int
    bank: float


@dataclass(frozen=True)
class Opening:
    """Where the kerb is interrupted: a side road or a driveway.

    Attributes:
        s: Position along the road [m].
        half_width: [m].
        sign: +1 on the left, -1 on the right.
        road: A side road reaches to the edge of the world, a driveway to the front garden.
    """

    s: float
    half_width: float
    sign: int
    road: bool


@dataclass(frozen=True)
class Road:
    """A stretch of street.

    Attributes:
        start: First s of the ground [m].
        end: Last s of the ground [m].
        half_lanes: From the centre line to the outer edge of the lanes [m].
        curvature: Of the centre line [1/m].
        slope: Rise along s (rise per metre).
        wave: Height [m], length [m] and phase [rad] of the undulation along s.
        camber: Fall across the lanes from the centre line outwards (per metre).
        left: The side at t > 0.
        right: The side at t < 0.
        openings: Side roads and driveways.
        marked: Whether there are lane marks.
    """

    start: float
    end: float
    half_lanes: float
    curvature: float
    slope: float
    wave: tuple[float, float, float]
    camber: float
    left: Side
    right: Side
    openings: tuple[Opening, ...]
    marked: bool

    @property
    def lanes(self) -> int:
        """Lanes in each direction."""
        return max(int(self.half_lanes / 3.2), 1)

    def side(self, sign: int) -> Side:
        """The left side for +1, the right one for -1."""
        return self.left if sign > 0 else self.right

    def kerb_at(self, sign: int) -> float:
        """Distance of the kerb from the centre line [m]."""
        return self.half_lanes + self.side(sign).parking

    def front(self, sign: int) -> float:
        """Distance of the back of the pavement, where plots begin, from the centre line [m]."""
        side = self.side(sign)
        return self.kerb_at(sign) + side.verge + side.pavement

    def heading(self, s: ArrayLike) -> NDArray[np.float64]:
        """Heading of the centre line [rad], the shape of `s` [m]."""
        return np.asarray(s, np.float64) * self.curvature

    def height(self, s: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
        """Height of the ground [m] at broadcastable `s` and `t` [m]."""
        s, t = np.broadcast_arrays(np.asarray(s, np.float64), np.asarray(t, np.float64))
        rise, length, phase = self.wave
        z = self.slope * s + rise * np.sin(2 * np.pi * s / length + phase)
        z = z - self.camber * np.minimum(np.abs(t), self.half_lanes)
        for sign in (1, -1):
            side = self.side(sign)
            out = sign * t
            kerb = np.where(out > self.kerb_at(sign) + 0.01, side.kerb, 0.0)
            for opening in self.openings:
                if opening.sign == sign:
                    inside = np.abs(s - opening.s) < opening.half_width
                    if not opening.road:  # a dropped kerb, and a ramp up to the garden's level
                        inside &= out < self.kerb_at(sign) + 0.6
                    kerb = np.where(inside, 0.03 if not opening.road else 0.0, kerb)
            z = z + np.where(out > 0, kerb, 0.0)
            away = np.clip(out - self.front(sign) - 1.0, 0, None)
            z = z + side.bank * away
        return z

    def world(self, s: ArrayLike, t: ArrayLike, above: ArrayLike = 0.0) -> NDArray[np.float64]:
        """(..., 3) float64 world positions [m] `above` [m] the ground."""
        s, t = np.broadcast_arrays(np.asarray(s, np.float64), np.asarray(t, np.float64))
        if abs(self.curvature) < 1e-7:
            x, y = s, t
        else:
            radius = 1 / self.curvature
            angle = s * self.curvature
            x = (radius - t) * np.sin(angle)
            y = radius - (radius - t) * np.cos(angle)
        return np.stack([x, y, self.height(s, t) + np.asarray(above, np.float64)], axis=-1)

    def is_open(self, s: float, sign: int, margin: float) -> bool:
        """Whether `s` is within `margin` [m] of a side road or driveway on that side."""
        return any(o.sign == sign and abs(s - o.s) < o.half_width + margin for o in self.openings)

    def surface(self, rng: Generator, rough: float = 1.0) -> list[TriangleMesh]:
        """The ground, `rough` times as uneven as a good road, and the lane marks."""
        s = np.arange(self.start, self.end + 1e-6, 3.0)
        edges = [
            o.s + k * (o.half_width + e)
            for o in self.openings
            for k in (-1, 1)
            for e in (-0.02, 0.02)
        ]
        s = np.unique(np.clip(np.concatenate([s, edges]), self.start, self.end))
        columns: list[float] = [0.0]
        for sign in (1, -1):
            kerb, front = self.kerb_at(sign), self.front(sign)
            side = self.side(sign)
            outs = [
                self.half_lanes,
                kerb,
                kerb + 0.02,
                kerb + 0.55,
                kerb + 0.65,
                kerb + side.verge,
            ]
            outs += [front, front + 1.0, front + 4, front + 10, front + 20, front + 40, REACH + 5]
            columns += [sign * out for out in outs]
        t = np.unique(np.round(columns, 4))
        points = self.world(s[:, None], t[None])
        # Unevenness that the eye hardly sees: the sensor's rings on real ground are not circles.
        uneven = np.where(np.abs(t) > max(self.front(1), self.front(-1)), 0.02, 0.004) * rough
        points[..., 2] += rng.normal(0, 1, points.shape[:2]) * uneven
        return [grid(points, self._materials(s, t)), *self._marks()]

    def _materials(self, s: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Material of the cells between lines s (S,) and t (T,): (S - 1, T - 1) uint8."""
        sm, tm = np.meshgrid((s[:-1] + s[1:]) / 2, (t[:-1] + t[1:]) / 2, indexing="ij")
        kind = np.full(sm.shape, Material.ASPHALT, np.uint8)
        for sign in (1, -1):
            side, out = self.side(sign), sign * tm
            kerb, front = self.kerb_at(sign), self.front(sign)
            kind[out > kerb] = Material.CONCRETE if side.kerb > 0 else Material.GRASS
            kind[(out > kerb + 0.3) & (out < kerb + side.verge)] = Material.GRASS
            kind[out > front] = side.beyond
            for opening in self.openings:
                inside = (np.abs(sm - opening.s) < opening.half_width) & (opening.sign == sign)
                limit = np.inf if opening.road else front + 9
                kind[inside & (out > self.half_lanes) & (out < limit)] = Material.ASPHALT
        return kind

    def _marks(self) -> list[TriangleMesh]:
        """Dashes along the centre and lines along the edges, just above the asphalt."""
        if not self.marked:
            return []
        dash = np.arange(self.start, self.end - 4, 9.0)
        ends = [(dash, dash + 4.0, 0.0)]
        line = np.arange(self.start, self.end - 6, 6.0)
        for sign in (1, -1):
            ends.append((line, line + 6.0, sign * (self.half_lanes - 0.15)))
        strips = []
        for first, last, t in ends:
            lo, hi = t - 0.06, t + 0.06
            corners = [
                self.world(a, b, 0.008)
                for a, b in ((first, lo), (last, lo), (last, hi), (first, hi))
            ]
            strips.append(quads(np.stack(corners, axis=1), Material.LANE_MARK))
        return strips
