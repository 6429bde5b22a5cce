"""Who is parked, walks, rides and drives in a street."""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike
from numpy.typing import NDArray

from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.simulation.heavy import bus_mesh
from kd3d_core.simulation.heavy import truck_mesh
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.occupancy import Occupancy
from kd3d_core.simulation.people import pedestrian_mesh
from kd3d_core.simulation.plans import Street
from kd3d_core.simulation.road import Opening
from kd3d_core.simulation.scene import Actor
from kd3d_core.simulation.scene import Trajectory
from kd3d_core.simulation.two_wheelers import cyclist_mesh
from kd3d_core.simulation.two_wheelers import motorcycle_mesh
from kd3d_core.simulation.vehicles import car_mesh
from kd3d_core.simulation.vehicles import microcar_mesh
from kd3d_core.simulation.vehicles import small_car_mesh
from kd3d_core.simulation.vehicles import van_mesh

Maker = Callable[[Generator], tuple[TriangleMesh, NDArray[np.float64]]]

#: Vans among cars, from KITTI's counts of both labels.
VAN_SHARE = 0.092
#: No car or van is longer, wider or higher [m], wherever it is.
LARGEST = (7.2, 2.5, 3.0)


def any_car(rng: Generator) -> tuple[TriangleMesh, NDArray[np.float64]]:
    """A car or, as often as in KITTI, a van: both are class "car"."""
    return van_mesh(rng) if rng.random() < VAN_SHARE else car_mesh(rng)


MAKERS: dict[str, Maker] = {
    "car": any_car,
    "truck": truck_mesh,
    "bus": bus_mesh,
    "pedestrian": pedestrian_mesh,
    "cyclist": cyclist_mesh,
    "motorcycle": motorcycle_mesh,
}


class Traffic:
    """Adds actors one by one wherever there is room for their whole way.

    Attributes:
        actors: Those added so far.
        stretch: (3,) factors on length, width and height of cars: KITTI's are small German ones.
        micro: Share of cars with two seats, which are as long everywhere.
        small: Share of cars of at most 3.7 m among the others; as long everywhere, too.
    """

    def __init__(
        self,
        street: Street,
        occupancy: Occupancy,
        rng: Generator,
        span: tuple[float, float],
        stretch: tuple[float, float, float] = (1.0, 1.0, 1.0),
        micro: float = 0.0,
        small: float = 0.0,
    ) -> None:
        self.street = street
        self.road = street.road
        self.occupancy = occupancy
        self.rng = rng
        self.span = span
        self.stretch = np.array(stretch)
        self.micro = micro
        self.small = small
        self.actors: list[Actor] = []

    def _make(self, name: str) -> tuple[TriangleMesh, NDArray[np.float64]]:
        """A mesh of the class and the size of its box."""
        if name == "car" and self.micro and self.rng.random() < self.micro:
            return microcar_mesh(self.rng)
        if name == "car" and self.small and self.rng.random() < self.small:
            return small_car_mesh(self.rng)
        mesh, size = MAKERS[name](self.rng)
        if name != "car" or (self.stretch == 1).all():
            return mesh, size
        large = np.minimum(size * self.stretch, LARGEST)
        vertices = (mesh.vertices * (large / size)).astype(np.float32)
        return TriangleMesh(vertices, mesh.faces, mesh.material), large

    def parked(self, name: str, s: float, t: float, turn: float, margin: float = 0.3) -> bool:
        """Stand an actor at (s, t) [m], turned against the road by `turn` [rad]."""
        mesh, size = self._make(name)
        at = self.road.world(s, t)
        yaw = float(self.road.heading(s)) + turn
        track = np.array([[at[0], at[1], yaw]])
        if not self.occupancy.is_free(track, size, margin):
            return False
        self.occupancy.add(track, size)
        path = Trajectory.parked((at[0], at[1], at[2] + size[2] / 2), yaw)
        self._append(name, mesh, size, path)
        return True

    def moving(self, name: str, s: ArrayLike, t: ArrayLike, margin: float = 0.6) -> bool:
        """Move an actor through (T,) road coordinates [m], one for each instant."""
        s, t = np.asarray(s, np.float64), np.asarray(t, np.float64)
        low, high = self.road.start + 3, self.road.end - 3
        if s.min() < low or s.max() > high or np.abs(t).max() > 80:
            return False
        mesh, size = self._make(name)
        at = self.road.world(s, t)
        # Twice the way ahead and behind: the heading of a chord through the neighbours.
        yaw = np.unwrap(np.arctan2(np.gradient(at[:, 1]), np.gradient(at[:, 0])))
        track = np.column_stack([at[:, :2], yaw])
        if not self.occupancy.is_free(track, size, margin):
            return False
        self.occupancy.add(track, size)
        at[:, 2] += size[2] / 2
        self._append(name, mesh, size, Trajectory(self.occupancy.times, at, yaw))
        return True

    def _append(
        self, name: str, mesh: TriangleMesh, size: NDArray[np.float64], path: Trajectory
    ) -> None:
        """Register an actor that has found its place."""
        label = DEFAULT_CLASSES.index(name)
        length, width, height = (float(v) for v in size)
        self.actors.append(Actor(mesh, (length, width, height), label, len(self.actors), path))

    def park_rows(self, share: float) -> None:
        """Fill the bays along both kerbs: parallel, perpendicular or angled."""
        rng, road = self.rng, self.road
        for sign in (1, -1):
            kind = self.street.parking[sign]
            taken = float(np.clip(rng.beta(2.2, 2.2) * 2 * share, 0, 0.97))
            kerb = road.kerb_at(sign)
            s = self.span[0]
            while kind != "none" and s < self.span[1]:
                gap = rng.uniform(0.45, 1.4)
                pitch = {"parallel": 4.2 + gap, "perpendicular": 2.45, "angled": 3.0}[kind]
                s += pitch
                if rng.random() > taken or road.is_open(s, sign, 3.0):
                    continue
                name = "car"
                if rng.random() < 0.035:  # a lorry would reach out of any other bay
                    name = "truck" if kind == "parallel" else "motorcycle"
                # Most face the way their lane goes, and right-hand traffic goes +s at t < 0.
                along = 0.0 if (sign < 0) == (rng.random() < 0.86) else np.pi
                if kind == "parallel":
                    out, turn = kerb - 1.1 + rng.normal(0, 0.1), along + rng.normal(0, 0.03)
                elif kind == "perpendicular":
                    out, turn = kerb - 2.4, rng.choice([-1, 1]) * np.pi / 2 + rng.normal(0, 0.03)
                else:
                    out, turn = kerb - 2.3, sign * 0.87 + along + rng.normal(0, 0.04)
                self.parked(name, s, sign * out, float(turn))

    def park_bays(self, bays: list[tuple[float, float, float]], share: float) -> None:
        """Fill driveways and car parks."""
        low, high = self.span
        for s, t, turn in bays:
            if low < s < high and self.rng.random() < share:
                jitter = self.rng.normal(0, [0.12, 0.25, 0.03])
                self.parked("car", s + jitter[0], t + jitter[1], turn + jitter[2], 0.15)

    def drive(self, name: str, count: int) -> None:
        """Vehicles in the lanes, both ways; some stand in a queue."""
        rng, road = self.rng, self.road
        for _ in range(count):
            for _ in range(4):
                direction = int(rng.choice([-1, 1]))
                lane = (int(rng.integers(road.lanes)) + 0.5) * road.half_lanes / road.lanes
                if name in ("cyclist",):
                    lane = road.half_lanes - rng.uniform(0.4, 0.9)
                speed = self._speed(name)
                start = rng.uniform(*self.span)
                s = start + direction * self._way(speed)
                t = -direction * lane + rng.normal(0, 0.15) + self._wobble()
                if speed < 0.3:
                    turn = 0.0 if direction > 0 else np.pi
                    done = self.parked(name, start, float(t[0]), turn, 0.6)
                else:
                    done = self.moving(name, s, t)
                if done:
                    break

    def _speed(self, name: str) -> float:
        """Speed along a lane [m/s]; one in ten stands."""
        rng = self.rng
        if name == "cyclist":
            return float(rng.uniform(2.5, 7))
        low, high = self.street.plan.speed
        return 0.0 if rng.random() < 0.1 and low < 5 else float(rng.uniform(max(low, 1), high))

    def _way(self, speed: float) -> NDArray[np.float64]:
        """(T,) way [m] at a speed that changes gently and never turns back."""
        times = self.occupancy.times
        change = float(self.rng.normal(0, 0.06)) * speed
        way = speed * times + change * times**2 / 2 / max(float(times[-1]), 1.0)
        return np.maximum.accumulate(way)

    def _wobble(self) -> NDArray[np.float64]:
        """(T,) sideways drift in the lane [m]."""
        rate, phase = self.rng.uniform(0.2, 0.5), self.rng.uniform(0, 2 * np.pi)
        return np.asarray(self.rng.uniform(0, 0.15) * np.sin(rate * self.occupancy.times + phase))

    def walk(self, count: int) -> None:
        """Pedestrians: along the pavement, in groups, standing, or across the road."""
        rng, road = self.rng, self.road
        left = count
        tries = 0
        while left > 0 and tries < 6 * count + 6:
            tries += 1
            sign = int(rng.choice([-1, 1]))
            start = rng.uniform(*self.span)
            low, high = (
                road.kerb_at(sign) + 0.7,
                max(road.front(sign) - 0.2, road.kerb_at(sign) + 1),
            )
            out = rng.uniform(low, high)
            group = int(min(left, rng.choice([1, 1, 1, 2, 2, 3])))
            mode = rng.choice(["along", "stand", "cross"], p=[0.6, 0.3, 0.1])
            speed = rng.uniform(0.8, 1.7) * rng.choice([-1, 1])
            for _ in range(group):
                s, t = start + rng.normal(0, 0.7), sign * (out + rng.normal(0, 0.45))
                if mode == "stand":
                    left -= self.parked("pedestrian", s, t, rng.uniform(-np.pi, np.pi), 0.15)
                elif mode == "along":
                    drift = t + self._wobble()
                    left -= self.moving(
                        "pedestrian", s + speed * self.occupancy.times, drift, 0.15
                    )
                else:
                    begin = rng.uniform(-3, road.half_lanes)
                    way = t - sign * abs(speed) * (self.occupancy.times + begin)
                    left -= self.moving("pedestrian", s + 0 * way, way, 0.3)

    def ride_pavement(self, count: int) -> None:
        """Cyclists on the pavement and motorcycles parked at the kerb have their own ways."""
        rng, road = self.rng, self.road
        for _ in range(count):
            sign = int(rng.choice([-1, 1]))
            out = rng.uniform(
                road.kerb_at(sign) + 0.7, max(road.front(sign), road.kerb_at(sign) + 1.2)
            )
            way = rng.uniform(2, 5.5) * rng.choice([-1, 1]) * self.occupancy.times
            self.moving("cyclist", rng.uniform(*self.span) + way, sign * out + self._wobble(), 0.3)

    def park_motorcycles(self, count: int) -> None:
        """Motorcycles stand at the kerb, often askew."""
        rng, road = self.rng, self.road
        for _ in range(count):
            for _ in range(3):
                sign = int(rng.choice([-1, 1]))
                out = road.kerb_at(sign) + rng.choice([-0.8, 1.2])
                if self.parked(
                    "motorcycle", rng.uniform(*self.span), sign * out, rng.uniform(-3, 3)
                ):
                    break

    def side_roads(self, share: float) -> None:
        """Cars that cross, turn in from a side road, wait there, or are parked in it."""
        rng, road = self.rng, self.road
        low, high = self.span
        for opening in road.openings:
            if not opening.road or not low < opening.s < high:
                continue
            through = any(
                o.road and o.sign == -opening.sign and o.s == opening.s for o in road.openings
            )
            for _ in range(int(rng.poisson(0.9 * share))):
                self._enter(opening, through)
            for out in np.arange(road.front(opening.sign) + 6, 45, 6.2):
                if opening.half_width > 3.3 and rng.random() < 0.35 * share:
                    edge = rng.choice([-1, 1])
                    s = opening.s + edge * (opening.half_width - 1.0)
                    self.parked("car", s, opening.sign * out, rng.choice([-1, 1]) * np.pi / 2)

    def _enter(self, opening: Opening, through: bool) -> None:
        """One car on a side road, towards the main road."""
        rng, road = self.rng, self.road
        sign = opening.sign
        # Coming down from t > 0 the driver's right is -s, from t < 0 it is +s.
        s = opening.s - sign * opening.half_width * 0.45
        stop = road.kerb_at(sign) + rng.uniform(3.0, 4.5)
        mode = rng.choice(["wait", "cross", "turn", "leave"], p=[0.35, 0.25, 0.25, 0.15])
        speed = rng.uniform(3, 8)
        start = stop + rng.uniform(0, 35)
        way = speed * self.occupancy.times
        if mode == "wait":
            self.parked("car", s, sign * stop, -sign * np.pi / 2)
        elif mode == "cross" and through:
            self.moving("car", s + 0 * way, sign * (start - way))
        elif mode == "leave":
            away = opening.s + sign * opening.half_width * 0.45
            self.moving("car", away + 0 * way, sign * (stop + way + rng.uniform(0, 15)))
        else:
            self._turn_right(s, sign, start, way)

    def _turn_right(self, s: float, sign: int, start: float, way: NDArray[np.float64]) -> None:
        """From the side road round the corner into the nearer lane."""
        radius = 5.0
        lane = self.road.half_lanes / self.road.lanes / 2
        straight = start - (lane + radius)
        if straight < 0:
            return
        angle = np.clip((way - straight) / radius, 0, np.pi / 2)
        beyond = np.clip(way - straight - radius * np.pi / 2, 0, None)
        out = start - np.minimum(way, straight) - radius * np.sin(angle)
        along = radius * (1 - np.cos(angle)) + beyond
        self.moving("car", s - sign * along, sign * out)
