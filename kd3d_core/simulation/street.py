"""One call from a seed to a street with its traffic."""

from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field

from kd3d_core.config import Config
from kd3d_core.simulation.layout import Layout
from kd3d_core.simulation.mesh import TriangleMesh
from kd3d_core.simulation.occupancy import Occupancy
from kd3d_core.simulation.plans import PLANS
from kd3d_core.simulation.plans import StreetKind
from kd3d_core.simulation.plans import draw_kind
from kd3d_core.simulation.plans import draw_street
from kd3d_core.simulation.road import REACH
from kd3d_core.simulation.road import Road
from kd3d_core.simulation.scene import Scene
from kd3d_core.simulation.scene import Trajectory
from kd3d_core.simulation.strewing import strew
from kd3d_core.simulation.strewing import strew_posts
from kd3d_core.simulation.traffic import Traffic
from kd3d_core.simulation.variety import VARIED_SHARES
from kd3d_core.simulation.variety import draw_micro_share
from kd3d_core.simulation.variety import draw_stretch
from kd3d_core.simulation.variety import vary_plan

#: Time between the samples of every moving path [s].
STEP = 0.2
#: The ego vehicle keeps this much ground free: length, width [m].
EGO_SIZE = (4.6, 2.0)


class SceneConfig(Config):
    """What a scene holds; densities are factors on what each kind of street has by itself.

    Attributes:
        duration: Length of the drive [s].
        street: Kind of street, or "mixed" for one drawn by its share.
        ego_speed: Slowest and fastest speed of the ego vehicle [m/s]; the street's own speeds
            limit it further.
        parked: Share of taken parking places.
        driving: Moving cars, lorries and buses.
        people: Pedestrians.
        riders: Cyclists and motorcyclists.
        vegetation: Trees, shrubs and grass.
        small_cars: Share of cars of at most 3.7 m, beside those that there are anyway.
        posts: Rows of posts, columns or shrubs as high as people, per 100 m and side.
    """

    duration: float = Field(default=8.0, gt=0, le=120)
    street: Literal["mixed"] | StreetKind = "mixed"
    ego_speed: tuple[float, float] = (0.0, 14.0)
    parked: float = Field(default=1.0, ge=0, le=3)
    driving: float = Field(default=1.0, ge=0, le=5)
    people: float = Field(default=1.0, ge=0, le=5)
    riders: float = Field(default=1.0, ge=0, le=5)
    vegetation: float = Field(default=1.0, ge=0, le=3)
    small_cars: float = Field(default=0.0, ge=0, le=1)
    posts: float = Field(default=0.0, ge=0, le=10)


_DEFAULT = SceneConfig()


def make_scene(seed: int, config: SceneConfig = _DEFAULT, *, varied: bool = False) -> Scene:
    """Build the street of a seed: the same seed and config give the same arrays.

    Args:
        seed: Any non-negative integer.
        config: Length, kind and densities.
        varied: Also vary what the kind of street is by itself: car parks, canyons, jams, crowds;
            and strew clutter, with bushier plants and rougher ground.
    """
    rng = np.random.default_rng(seed)
    chance = np.random.default_rng([seed, 0x5C31]) if varied else None
    if config.street != "mixed":
        kind = config.street
    else:
        kind = draw_kind(rng) if chance is None else draw_kind(chance, VARIED_SHARES)
    plan = PLANS[kind] if chance is None else vary_plan(PLANS[kind], kind, chance)
    low, high = config.ego_speed
    high = max(low, min(high, plan.speed[1]))
    speed = low + float(rng.beta(1.6, 1.4)) * (high - low)
    way = speed * config.duration
    street = draw_street(rng, kind, -REACH, way + REACH, plan)
    occupancy = Occupancy(np.arange(0, config.duration + STEP, STEP))
    ego = _ego_path(street.road, occupancy.times, speed, rng)
    occupancy.add(np.column_stack([ego.position[:, :2], ego.yaw]), EGO_SIZE)
    near = (-40.0, way + 40.0)
    layout = Layout(street, occupancy, rng, near, config.vegetation, varied=varied)
    layout.build()
    rough = 1.0 if chance is None else float(chance.uniform(0.7, 2.5))
    ground = street.road.surface(rng, rough)
    stretch = (1.0, 1.0, 1.0) if chance is None else draw_stretch(chance)
    micro = 0.0 if chance is None else draw_micro_share(chance)
    span = (-55.0, way + 55.0)
    traffic = Traffic(street, occupancy, rng, span, stretch, micro, config.small_cars)
    _populate(traffic, layout.bays, rng, config)
    if chance is not None:  # last, so that it takes nobody's way
        strew(layout, chance)
    if config.posts:
        strew_posts(layout, config.posts, np.random.default_rng([seed, 0x9057]))
    static = TriangleMesh.join([*ground, *layout.meshes])
    return Scene(static, tuple(traffic.actors), ego, config.duration)


def _ego_path(road: Road, times: NDArray[np.float64], speed: float, rng: Generator) -> Trajectory:
    """Along a right-hand lane at nearly constant `speed` [m/s], weaving by a few centimetres."""
    lanes = road.lanes
    lane = (int(rng.integers(lanes)) + 0.5) * road.half_lanes / lanes
    s = speed * times
    rate, phase = rng.uniform(0.2, 0.5), rng.uniform(0, 2 * np.pi)
    weave = rng.uniform(0, 0.2) * np.sin(rate * s / 4 + phase)
    t = -lane + weave
    slant = np.gradient(t) / np.maximum(np.gradient(s), 1e-3)
    return Trajectory(times, road.world(s, t), road.heading(s) + np.arctan(slant))


def _populate(
    traffic: Traffic, bays: list[tuple[float, float, float]], rng: Generator, config: SceneConfig
) -> None:
    """Add everybody: those who need most room first."""
    plan = traffic.street.plan
    hundreds = (traffic.span[1] - traffic.span[0]) / 100

    def draw(per_hundred: float, factor: float) -> int:
        # Streets of one kind differ from hour to hour by more than chance alone gives.
        return int(rng.poisson(per_hundred * factor * hundreds * rng.gamma(3, 1 / 3)))

    traffic.drive("bus", draw(plan.buses, config.driving))
    traffic.drive("truck", draw(plan.trucks, config.driving))
    traffic.side_roads(min(config.parked, 1.0))
    traffic.park_rows(plan.parked * config.parked)
    traffic.park_bays(bays, min(plan.parked * config.parked, 1.0))
    traffic.drive("car", draw(plan.moving, config.driving))
    motorcycles = draw(plan.motorcycles, config.riders)
    ridden = int(rng.binomial(motorcycles, 0.45))
    traffic.drive("motorcycle", ridden)
    traffic.park_motorcycles(motorcycles - ridden)
    cyclists = draw(plan.cyclists, config.riders)
    on_road = int(rng.binomial(cyclists, 0.6))
    traffic.drive("cyclist", on_road)
    traffic.ride_pavement(cyclists - on_road)
    traffic.walk(draw(plan.people, config.people))
