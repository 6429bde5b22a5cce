"""What stands still along a street: buildings, gardens, trees, furniture."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.simulation.buildings import garage
from kd3d_core.simulation.buildings import house
from kd3d_core.simulation.furniture import FENCE_KINDS
from kd3d_core.simulation.furniture import PROPS
from kd3d_core.simulation.furniture import fence
from kd3d_core.simulation.furniture import guard_rail
from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.occupancy import Occupancy
from kd3d_core.simulation.plans import Plot
from kd3d_core.simulation.plans import Street
from kd3d_core.simulation.porches import pillar_fence
from kd3d_core.simulation.primitives import box
from kd3d_core.simulation.shopfronts import draw_ground_floor
from kd3d_core.simulation.vegetation import bush
from kd3d_core.simulation.vegetation import hedge
from kd3d_core.simulation.vegetation import tall_grass
from kd3d_core.simulation.vegetation import thicket
from kd3d_core.simulation.vegetation import tree

#: How often each thing stands on a pavement.
_PAVEMENT = {
    "lamp_post": 0.24, "sign": 0.2, "bin": 0.12, "bollard": 0.14, "cabinet": 0.06,
    "bicycles": 0.06, "bench": 0.03, "shelter": 0.02, "column": 0.02, "dumpster": 0.03,
    "stone": 0.04, "barrier": 0.02, "container": 0.01, "traffic_light": 0.01,
}  # fmt: skip
#: And in a garden or on a vacant plot.
_GARDEN = {
    "bin": 0.25, "shed": 0.25, "trailer": 0.12, "dumpster": 0.1, "stone": 0.14, "container": 0.08,
    "bench": 0.06,
}  # fmt: skip
_CITY_DEPTH = 3.0  # shallower front gardens than this [m] make a city street


class Layout:
    """Collects static meshes and the ground they take.

    Attributes:
        meshes: In the world frame.
        bays: (s, t, yaw relative to the road) of places to park away from the kerb.
    """

    def __init__(
        self, street: Street, occupancy: Occupancy, rng: Generator, near: tuple[float, float],
        vegetation: float, *, varied: bool = False,
    ) -> None:  # fmt: skip
        self.street = street
        self.road = street.road
        self.occupancy = occupancy
        self.rng = rng
        # Of its own, so that the rest of a street is the same with and without shops.
        self.front_rng = rng.spawn(1)[0]
        self.near = near
        self.vegetation = vegetation
        self.varied = varied
        self.meshes: list[TriangleMesh] = []
        self.bays: list[tuple[float, float, float]] = []

    def build(self) -> None:
        """Fill both sides of the street."""
        for plot in self.street.plots:
            self._plot(plot)
        for sign in (1, -1):
            self._kerbside(sign)
            self._background(sign)
        if self.street.kind == "highway":
            self._rails()
        self._grass()

    def put(
        self,
        mesh: TriangleMesh,
        s: float,
        out: float,
        sign: int,
        turn: float = 0.0,
        *,
        solid: bool = True,
        in_road: bool = False,
    ) -> bool:
        """Stand a mesh at `out` [m] from the centre line; its x runs along the road, y outwards.

        Returns:
            Whether there was room; without it nothing is placed.
        """
        base = self.road.world(s, sign * out)
        yaw = float(self.road.heading(s)) + (0.0 if sign > 0 else np.pi) + turn
        low = mesh.vertices[mesh.vertices[:, 2] < 2.2]
        if solid and len(low):
            lo, hi = low[:, :2].min(axis=0), low[:, :2].max(axis=0)
            mid, size = (lo + hi) / 2, np.maximum(hi - lo, 0.1)
            inward = abs(np.cos(turn)) * size[1] / 2 + abs(np.sin(turn)) * size[0] / 2
            middle = np.sin(turn) * mid[0] + np.cos(turn) * mid[1]
            if not in_road and out + middle - inward < self.road.kerb_at(sign) - 0.05:
                return False
            cos, sin = np.cos(yaw), np.sin(yaw)
            x = base[0] + cos * mid[0] - sin * mid[1]
            y = base[1] + sin * mid[0] + cos * mid[1]
            track = np.array([[x, y, yaw]])
            if not self.occupancy.is_free(track, size, 0.0):
                return False
            self.occupancy.add(track, size)
        self.meshes.append(mesh.moved(pose_matrix(base, yaw)))
        return True

    def _anchor(self, plot: Plot) -> float:
        """S of a mesh's x = 0 when it is to run over the plot."""
        return plot.s0 if plot.sign > 0 else plot.s1

    def _detail(self, s: float) -> float:
        """Leaves are fine near the ego vehicle's path and coarse far off."""
        return 1.0 if self.near[0] < s < self.near[1] else 0.45

    def _plot(self, plot: Plot) -> None:
        """Build on one plot."""
        rng, plan = self.rng, self.street.plan
        front = self.road.front(plot.sign)
        width = plot.s1 - plot.s0
        setback = rng.uniform(*plan.setback)
        if plot.kind == "house":
            self._house(plot, front + setback, width)
        elif plot.kind == "lot":
            self._lot(plot, front + 1.0)
            return
        elif plot.kind == "trees":
            for _ in range(int(rng.poisson(width / 5 * self.vegetation))):
                s, out = rng.uniform(plot.s0, plot.s1), front + rng.uniform(1.5, 16)
                self.put(tree(rng, detail=self._detail(s)), s, out, plot.sign)
        if plot.kind in ("trees", "field") and rng.random() < 0.55 * self.vegetation:
            self._wild(plot, front)
        if setback > 1.2:
            self._front(plot, front + 0.3)
            self._garden(plot, front, setback)

    def _wild(self, plot: Plot, front: float) -> None:
        """Strips of thicket over a vacant plot."""
        rng = self.rng
        s = plot.s0
        while s < plot.s1 - 2:
            length = min(rng.uniform(3, 9), plot.s1 - s)
            high, deep = rng.uniform(0.6, 4.5), rng.uniform(0.8, 3.5)
            mesh = thicket(length, high, deep, rng)
            at = s if plot.sign > 0 else s + length
            self.put(mesh, at, front + deep / 2 + rng.uniform(1, 6), plot.sign)
            s += length + rng.exponential(2.0)

    def _house(self, plot: Plot, out: float, width: float) -> None:
        """A building, perhaps beside a garage, with its driveway's parking place."""
        rng, plan = self.rng, self.street.plan
        floors = int(rng.integers(plan.floors[0], plan.floors[1] + 1))
        city = plan.setback[1] <= _CITY_DEPTH
        wide = width
        anchor = self._anchor(plot)
        if plot.driveway is not None:
            first = plot.driveway < (plot.s0 + plot.s1) / 2
            wide = width - 4.6
            along = plot.sign if (first == (plot.sign > 0)) else 0
            anchor += along * 4.6
            if rng.random() < 0.6:
                shut = self.front_rng.random() >= plan.ground_floors.open_garages
                mesh = garage(3.2, 6.0, rng, shut=bool(shut))
                self.put(mesh, plot.driveway - plot.sign * 1.6, out + rng.uniform(0, 4), plot.sign)
            turn = float(rng.choice([-np.pi / 2, np.pi / 2]))
            self.bays.append((plot.driveway, plot.sign * (out - 2.9), turn))
        if wide > 4:
            setback = out - self.road.front(plot.sign)
            ground = draw_ground_floor(plan.ground_floors, setback, self.front_rng)
            mesh = house(wide, rng.uniform(8, 13), floors, rng, flat=bool(rng.random() < 0.25),
                         shop=city and bool(rng.random() < 0.5), ground=ground)  # fmt: skip
            self.put(mesh, anchor, out, plot.sign)

    def _lot(self, plot: Plot, out: float) -> None:
        """A car park: two rows of bays across an aisle, and a hedge or wall behind it."""
        rng = self.rng
        pitch = rng.uniform(2.4, 2.8)
        taken = rng.uniform(0.1, 0.9)
        for depth in (out + 2.6, out + 13.0):
            for s in np.arange(plot.s0 + 1.5, plot.s1 - 1.4, pitch):
                blocked = plot.driveway is not None and abs(s - plot.driveway) < 3.2
                if rng.random() < taken and not (blocked and depth < out + 5):
                    self.bays.append(
                        (float(s), plot.sign * depth, float(rng.choice([-1, 1])) * np.pi / 2)
                    )
        self._edge(plot, out + 16.5, self._anchor(plot), plot.s1 - plot.s0)

    def _front(self, plot: Plot, out: float) -> None:
        """Hedge, fence, wall or bushes between pavement and garden, open at the driveway."""
        lo, hi = plot.s0, plot.s1
        if plot.driveway is not None:
            low_end = plot.driveway < (lo + hi) / 2
            lo, hi = (plot.driveway + 2.3, hi) if low_end else (lo, plot.driveway - 2.3)
        if hi - lo > 1.5:
            self._edge(plot, out, lo if plot.sign > 0 else hi, hi - lo)

    def _edge(self, plot: Plot, out: float, anchor: float, length: float) -> None:
        """One straight boundary along the road."""
        rng = self.rng
        kind = str(rng.choice(["hedge", "fence", "bushes", "none"], p=self.street.plan.fronts))
        if kind == "hedge":
            high, deep = rng.uniform(0.6, 2.2), rng.uniform(0.5, 1.3)
            mesh = hedge(length, high, deep, rng, bushy=self.varied)
            self.put(mesh, anchor, out + deep / 2, plot.sign)
        elif kind == "fence":
            style = str(rng.choice(FENCE_KINDS, p=[0.2, 0.2, 0.4, 0.2]))
            mesh = fence(length, style, rng)
            if self.front_rng.random() < self.street.plan.ground_floors.pillars:
                mesh = pillar_fence(length, self.front_rng)
            self.put(mesh, anchor, out, plot.sign)
        elif kind == "bushes":
            for x in np.arange(0.6, length, rng.uniform(1.2, 2.8)):
                mesh = bush(rng, bushy=self.varied)
                self.put(mesh, anchor + plot.sign * x, out + rng.uniform(0.6, 1.2), plot.sign)

    def _garden(self, plot: Plot, front: float, setback: float) -> None:
        """Trees, shrubs, sheds and bins in the front garden."""
        rng = self.rng
        area = (plot.s1 - plot.s0) * setback
        for _ in range(int(rng.poisson(area / 32 * self.vegetation))):
            s, out = rng.uniform(plot.s0 + 1, plot.s1 - 1), front + rng.uniform(1.2, setback)
            if rng.random() < 0.35:
                kind = str(rng.choice(["young", "conifer", "broad"], p=[0.6, 0.25, 0.15]))
                self.put(tree(rng, kind, self._detail(s)), s, out, plot.sign)
            else:
                self.put(bush(rng, bushy=self.varied), s, out, plot.sign)
        if rng.random() < 0.45:
            name = str(rng.choice(list(_GARDEN), p=list(_GARDEN.values())))
            s = rng.uniform(plot.s0 + 1, plot.s1 - 1)
            turn = float(rng.choice([0, np.pi / 2, rng.uniform(0, 6)]))
            self.put(
                PROPS[name](rng), s, front + rng.uniform(1.2, max(setback, 2)), plot.sign, turn
            )
        if rng.random() < 0.12 and setback > 3.5:  # a clipped hedge block of a car's size
            long, high, deep = rng.uniform([2.5, 1.2, 1.2], [5, 1.8, 2])
            mesh = hedge(long, high, deep, rng, bushy=self.varied)
            self.put(mesh, rng.uniform(plot.s0, plot.s1 - 3), front + 2.2, plot.sign)

    def _kerbside(self, sign: int) -> None:
        """Street trees, lamps, signs and other furniture between kerb and plots."""
        rng, road, plan = self.rng, self.road, self.street.plan
        kerb, front = road.kerb_at(sign), road.front(sign)
        length = road.end - road.start
        for _ in range(
            int(rng.poisson(plan.trees * length / 100 * self.vegetation * rng.uniform(0, 2)))
        ):
            s = rng.uniform(road.start, road.end)
            if not road.is_open(s, sign, 2.0):
                self.put(tree(rng, "young" if rng.random() < 0.6 else None, self._detail(s)), s,
                         kerb + 0.6, sign)  # fmt: skip
        names, weights = list(_PAVEMENT), np.array(list(_PAVEMENT.values()))
        for _ in range(int(rng.poisson(plan.props * length / 100))):
            s = rng.uniform(road.start, road.end)
            if road.is_open(s, sign, 1.0):
                continue
            name = str(rng.choice(names, p=weights / weights.sum()))
            at_back = name in (
                "shelter",
                "bench",
                "cabinet",
                "bin",
                "bicycles",
                "dumpster",
                "container",
            )
            out = front - 0.5 if at_back and rng.random() < 0.7 else kerb + 0.4
            turn = float(rng.choice([0, np.pi / 2, np.pi, -np.pi / 2]))
            if name in ("lamp_post", "traffic_light"):
                turn = np.pi
            self.put(PROPS[name](rng), s, out, sign, turn)

    def _background(self, sign: int) -> None:
        """Trees and further houses behind the first row."""
        rng, road, plan = self.rng, self.road, self.street.plan
        first = road.front(sign) + plan.setback[1] + 15
        for s in np.arange(road.start + 5, road.end - 25, 30.0):
            crossed = any(
                o.road and o.sign == sign and s - 6 < o.s < s + 28 for o in road.openings
            )
            if crossed:
                continue
            if rng.random() < 0.75 * plan.plots[0]:
                size = rng.uniform([10, 9, 4], [22, 14, 9])
                mesh = box((size[0] / 2, size[1] / 2, size[2] / 2 - 1), size, Material.FACADE)
                self.put(mesh, s if sign > 0 else s + 22, first + rng.uniform(3, 12), sign)
            for _ in range(int(rng.poisson(1.3 * self.vegetation))):
                self.put(
                    tree(rng, None, 0.45),
                    s + rng.uniform(0, 25),
                    first + rng.uniform(-2, 25),
                    sign,
                )

    def _rails(self) -> None:
        """Guard rails in the middle and along the edges of a highway."""
        road = self.road
        for s in np.arange(road.start, road.end - 12, 12.0):
            self.put(guard_rail(12.0), s, 0.0, 1, in_road=True)
            for sign in (1, -1):
                self.put(
                    guard_rail(12.0), s if sign > 0 else s + 12, road.kerb_at(sign) + 0.5, sign
                )

    def _grass(self) -> None:
        """Grass on verges, gardens and fields near the path: mown short, or high and rough."""
        rng, road = self.rng, self.road
        for sign in (1, -1):
            if road.side(sign).beyond != Material.GRASS:
                continue
            wild = rng.random() < (0.7 if self.street.kind in ("country", "highway") else 0.25)
            count = int(self.vegetation * (rng.uniform(2500, 6000) if wild else 700))
            s = rng.uniform(self.near[0] + 15, self.near[1] - 10, count)
            out = road.front(sign) + rng.exponential(5.0, count)
            clear = np.ones(count, bool)
            for opening in road.openings:
                if opening.sign == sign:
                    clear &= np.abs(s - opening.s) > opening.half_width + 0.3
            points: NDArray[np.float64] = road.world(s[clear], sign * out[clear])
            height = rng.uniform(0.25, 0.7) if wild else rng.uniform(0.08, 0.2)
            self.meshes.append(tall_grass(points, height, rng))
