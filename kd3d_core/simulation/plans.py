"""Kinds of streets: how wide, what stands along them, how busy they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from kd3d_core.simulation.mesh import Material
from kd3d_core.simulation.road import Opening
from kd3d_core.simulation.road import Road
from kd3d_core.simulation.road import Side
from kd3d_core.simulation.shopfronts import WALLED
from kd3d_core.simulation.shopfronts import FrontShares

StreetKind = Literal["residential", "suburban", "urban", "plaza", "country", "highway"]
STREET_KINDS: tuple[StreetKind, ...] = (
    "residential", "suburban", "urban", "plaza", "country", "highway",
)  # fmt: skip


@dataclass(frozen=True)
class StreetPlan:
    """Ranges from which a street of one kind is drawn; (low, high) in metres unless said.

    Attributes:
        share: How often this kind is drawn.
        half_lanes: Centre line to the outer edge of the lanes.
        parking: Chance of no, parallel, perpendicular and angled parking bays.
        verge: Chance and width of a verge.
        pavement: Width of the pavement.
        kerb: Height of the kerb.
        setback: Front gardens.
        house: Width of a building.
        floors: Fewest and most storeys.
        attached: Chance that a building joins the next.
        plots: Chance that a plot holds a house, trees, a car park, or nothing.
        fronts: Chance of hedge, fence or wall, bushes, nothing towards the pavement.
        driveway: Chance per house.
        side_roads: Mean number.
        trees: Street trees per 100 m and side.
        props: Things on the pavement per 100 m and side.
        parked: Mean share of taken bays.
        moving: Moving cars per 100 m.
        speed: Of traffic [m/s].
        people: Pedestrians per 100 m.
        cyclists: Per 100 m.
        motorcycles: Per 100 m.
        trucks: Per 100 m.
        buses: Per 100 m.
        curvature: Largest [1/m].
        ground_floors: Chances of shop windows, arcades, porches, pillars and open garages.
    """

    share: float
    half_lanes: tuple[float, float]
    parking: tuple[float, float, float, float]
    verge: tuple[float, float]
    pavement: tuple[float, float]
    kerb: tuple[float, float]
    setback: tuple[float, float]
    house: tuple[float, float]
    floors: tuple[int, int]
    attached: float
    plots: tuple[float, float, float, float]
    fronts: tuple[float, float, float, float]
    driveway: float
    side_roads: float
    trees: float
    props: float
    parked: float
    moving: float
    speed: tuple[float, float]
    people: float
    cyclists: float
    motorcycles: float
    trucks: float
    buses: float
    curvature: float
    ground_floors: FrontShares = WALLED


PLANS: dict[StreetKind, StreetPlan] = {
    "residential": StreetPlan(
        share=0.34, half_lanes=(2.4, 3.4), parking=(0.22, 0.6, 0.1, 0.08), verge=(0.3, 1.5),
        pavement=(1.3, 2.4), kerb=(0.05, 0.15), setback=(2, 7), house=(8, 18), floors=(1, 4),
        attached=0.35, plots=(0.77, 0.14, 0.03, 0.06), fronts=(0.38, 0.3, 0.17, 0.15),
        driveway=0.35, side_roads=1.3, trees=2.2, props=4.0, parked=0.55, moving=1.4,
        speed=(2, 11), people=4.48, cyclists=2.72, motorcycles=0.75, trucks=1.1, buses=0.29,
        curvature=0.005,
    ),
    "suburban": StreetPlan(
        share=0.18, half_lanes=(2.6, 3.6), parking=(0.45, 0.5, 0.03, 0.02), verge=(0.5, 2.5),
        pavement=(1.2, 2.2), kerb=(0.03, 0.13), setback=(4, 10), house=(9, 15), floors=(1, 2),
        attached=0.08, plots=(0.7, 0.22, 0.02, 0.06), fronts=(0.5, 0.25, 0.17, 0.08),
        driveway=0.6, side_roads=1.1, trees=3.0, props=3.0, parked=0.38, moving=1.2,
        speed=(3, 12), people=3.2, cyclists=2.56, motorcycles=0.6, trucks=1.02, buses=0.29,
        curvature=0.006,
    ),
    "urban": StreetPlan(
        share=0.24, half_lanes=(3.0, 7.0), parking=(0.2, 0.5, 0.18, 0.12), verge=(0.25, 2.0),
        pavement=(2.0, 4.5), kerb=(0.08, 0.16), setback=(0, 2), house=(10, 26), floors=(3, 6),
        attached=0.8, plots=(0.84, 0.07, 0.045, 0.045), fronts=(0.08, 0.12, 0.1, 0.7),
        driveway=0.08, side_roads=1.7, trees=2.2, props=8.0, parked=0.62, moving=2.3,
        speed=(0, 13), people=9.6, cyclists=4.16, motorcycles=1.2, trucks=1.53, buses=1.09,
        curvature=0.004,
    ),
    "plaza": StreetPlan(
        share=0.08, half_lanes=(2.8, 3.6), parking=(0.7, 0.2, 0.1, 0.0), verge=(0.0, 1.0),
        pavement=(4.0, 8.0), kerb=(0.01, 0.05), setback=(0, 3), house=(12, 30), floors=(3, 5),
        attached=0.8, plots=(0.8, 0.12, 0.03, 0.05), fronts=(0.04, 0.06, 0.1, 0.8),
        driveway=0.0, side_roads=1.2, trees=2.5, props=12.0, parked=0.5, moving=0.7,
        speed=(1, 6), people=27.2, cyclists=8.0, motorcycles=0.9, trucks=0.59, buses=0.57,
        curvature=0.003,
    ),
    "country": StreetPlan(
        share=0.1, half_lanes=(2.7, 3.8), parking=(0.97, 0.03, 0.0, 0.0), verge=(0.8, 3.0),
        pavement=(0.5, 2.0), kerb=(0.0, 0.0), setback=(4, 12), house=(9, 16), floors=(1, 2),
        attached=0.0, plots=(0.1, 0.4, 0.02, 0.48), fronts=(0.2, 0.15, 0.3, 0.35),
        driveway=0.5, side_roads=0.6, trees=3.5, props=1.6, parked=0.2, moving=2.0,
        speed=(8, 16), people=0.64, cyclists=1.44, motorcycles=0.6, trucks=1.53, buses=0.29,
        curvature=0.005,
    ),
    "highway": StreetPlan(
        share=0.06, half_lanes=(7.2, 11.5), parking=(1.0, 0.0, 0.0, 0.0), verge=(1.0, 2.0),
        pavement=(0.5, 1.0), kerb=(0.0, 0.0), setback=(8, 15), house=(15, 30), floors=(1, 3),
        attached=0.1, plots=(0.12, 0.5, 0.02, 0.36), fronts=(0.3, 0.3, 0.2, 0.2),
        driveway=0.0, side_roads=0.0, trees=3.0, props=1.5, parked=0.0, moving=6.5,
        speed=(9, 15), people=0.0, cyclists=0.0, motorcycles=0.7, trucks=1.9, buses=0.46,
        curvature=0.0015,
    ),
}  # fmt: skip

#: Depth of parking bays, by kind of parking [m].
BAYS = {"none": 0.0, "parallel": 2.15, "perpendicular": 4.9, "angled": 4.6}


@dataclass(frozen=True)
class Plot:
    """A piece of land along one side, from s0 to s1 [m]; kind: house, trees, lot or field."""

    s0: float
    s1: float
    sign: int
    kind: str
    driveway: float | None


@dataclass(frozen=True)
class Street:
    """A drawn street: its road, how cars park left and right, and its plots."""

    plan: StreetPlan
    kind: StreetKind
    road: Road
    parking: dict[int, str]
    plots: tuple[Plot, ...]


def draw_kind(rng: Generator, shares: Mapping[StreetKind, float] | None = None) -> StreetKind:
    """A kind of street, by `shares` or by those of the plans."""
    weights = np.array([shares[k] if shares else PLANS[k].share for k in STREET_KINDS])
    return STREET_KINDS[int(rng.choice(len(STREET_KINDS), p=weights / weights.sum()))]


def draw_street(
    rng: Generator, kind: StreetKind, start: float, end: float, plan: StreetPlan | None = None
) -> Street:
    """Draw a street of a kind from s = `start` to `end` [m]; `plan` instead of the kind's own."""
    plan = PLANS[kind] if plan is None else plan
    names = tuple(BAYS)
    parking = {sign: str(rng.choice(names, p=plan.parking)) for sign in (1, -1)}
    crossings = _side_roads(plan, rng, start, end)
    plots = tuple(
        plot for sign in (1, -1) for plot in _plots(plan, rng, sign, start, end, crossings)
    )
    drives = [
        Opening(plot.driveway, rng.uniform(1.5, 2.2), plot.sign, False)
        for plot in plots
        if plot.driveway is not None
    ]
    built = kind not in ("country", "highway")
    sides = {sign: _side(plan, rng, parking[sign], built) for sign in (1, -1)}
    road = Road(
        start=start,
        end=end,
        half_lanes=rng.uniform(*plan.half_lanes),
        curvature=float(
            np.clip(rng.normal(0, plan.curvature / 2), -plan.curvature, plan.curvature)
        ),
        slope=float(np.clip(rng.normal(0, 0.012), -0.03, 0.03)),
        wave=(rng.uniform(0, 0.35), rng.uniform(70, 140), rng.uniform(0, 2 * np.pi)),
        camber=rng.uniform(0.0, 0.025),
        left=sides[1],
        right=sides[-1],
        openings=tuple(crossings + drives),
        marked=bool(rng.random() < (0.35 if kind in ("residential", "plaza") else 0.85)),
    )
    return Street(plan, kind, road, parking, plots)


def _side(plan: StreetPlan, rng: Generator, parking: str, built: bool) -> Side:
    """One side of a street; land beyond towns slopes more."""
    verge = rng.uniform(*plan.verge) if rng.random() < 0.6 else 0.0
    beyond = [Material.GRASS, Material.CONCRETE, Material.SOIL]
    urban = plan.setback[1] <= 3
    return Side(
        parking=BAYS[parking],
        verge=max(verge, 0.7),
        pavement=rng.uniform(*plan.pavement),
        kerb=rng.uniform(*plan.kerb),
        beyond=int(rng.choice(beyond, p=[0.2, 0.8, 0.0] if urban else [0.75, 0.1, 0.15])),
        bank=float(rng.normal(0, 0.015 if built else 0.045)),
    )


def _side_roads(plan: StreetPlan, rng: Generator, start: float, end: float) -> list[Opening]:
    """Side roads, well apart; half of them cross the whole street."""
    openings: list[Opening] = []
    for _ in range(int(rng.poisson(plan.side_roads * (end - start) / 220))):
        s = rng.uniform(start + 15, end - 15)
        if any(abs(s - o.s) < 35 for o in openings):
            continue
        half = rng.uniform(2.6, 4.8)
        signs = [1, -1] if rng.random() < 0.5 else [int(rng.choice([1, -1]))]
        openings += [Opening(s, half, sign, True) for sign in signs]
    return openings


def _plots(
    plan: StreetPlan, rng: Generator, sign: int, start: float, end: float, roads: list[Opening]
) -> list[Plot]:
    """Plots along one side, leaving out the side roads."""
    plots: list[Plot] = []
    s = start + 2.0
    barred = sorted(
        (o.s - o.half_width - 2.5, o.s + o.half_width + 2.5) for o in roads if o.sign == sign
    )
    while s < end - 8:
        kind = str(rng.choice(["house", "trees", "lot", "field"], p=plan.plots))
        width = rng.uniform(*plan.house) * (1.0 if kind == "house" else 1.3)
        blocked = next((bar for bar in barred if s < bar[1] and s + width > bar[0]), None)
        if blocked is not None:
            room = blocked[0] - s
            if room < 7.5:
                s = blocked[1]
                continue
            width = room
        width = min(width, end - s)
        drive = None
        if kind == "house" and rng.random() < plan.driveway and width > 9:
            drive = s + width - 2.3 if rng.random() < 0.5 else s + 2.3
        elif kind == "lot" and width > 14:
            drive = s + width / 2
        plots.append(Plot(s, s + width, sign, kind, drive))
        s += width + (0.0 if rng.random() < plan.attached else rng.uniform(1.5, 6))
    return plots
