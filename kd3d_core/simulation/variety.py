"""How streets of one kind differ when they are to be various rather than typical."""

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from kd3d_core.simulation.plans import StreetKind
from kd3d_core.simulation.plans import StreetPlan
from kd3d_core.simulation.shopfronts import draw_shares

#: Shares of the kinds of streets where they are varied: more of the rare ones.
VARIED_SHARES: dict[StreetKind, float] = {
    "residential": 0.25, "suburban": 0.13, "urban": 0.27, "plaza": 0.11, "country": 0.1,
    "highway": 0.14,
}  # fmt: skip


def vary_plan(plan: StreetPlan, kind: StreetKind, rng: Generator) -> StreetPlan:
    """Another plan of the same kind: other traffic, at times a car park, canyon or jam."""
    jam, lots, bays, canyon, wide, crowd = rng.random(6) < [0.12, 0.15, 0.25, 0.2, 0.2, 0.12]
    factor = np.exp(rng.uniform(np.log([0.35, 0.5, 0.8]), np.log([1.4, 2.2, 4.0])))
    plan = replace(
        plan,
        trucks=plan.trucks * float(factor[0]),
        buses=plan.buses * float(factor[1]),
        motorcycles=plan.motorcycles * float(factor[2]),
        # Chance of its own: all else stays what it is without shops.
        ground_floors=draw_shares(kind, rng.spawn(1)[0]),
    )
    if jam:
        plan = replace(plan, speed=(0.0, 4.0), moving=plan.moving * 3)
    if kind == "highway":
        return replace(plan, half_lanes=(7.2, 15.0))
    if lots:
        plan = replace(plan, plots=(0.3, 0.1, 0.5, 0.1), parked=max(plan.parked, 0.6))
    if bays:
        plan = replace(plan, parking=(0.05, 0.15, 0.45, 0.35))
    if crowd:
        plan = replace(plan, people=max(plan.people * 3, 8.0), cyclists=plan.cyclists * 2)
    if kind in ("urban", "plaza") and canyon:
        plan = replace(plan, setback=(0.0, 0.5), floors=(5, 14), attached=1.0)
    if kind in ("urban", "suburban") and wide:
        low, high = plan.half_lanes
        plan = replace(plan, half_lanes=(low * 1.6, high * 1.9))
    return plan


def draw_stretch(rng: Generator) -> tuple[float, float, float]:
    """How much larger cars are here than in KITTI: length, width, height."""
    # From Japan's kei cars and old towns (3.5 x 1.5 x 1.55 m) over KITTI's 3.9 x 1.6 x 1.5 m to
    # 4.9 x 2.0 x 1.8 m in North America; small cars are narrow, but no lower.
    share = rng.triangular(-0.32, 0.0, 1.0)
    span = np.array([0.26, 0.22, 0.2 if share > 0 else -0.05])
    length, width, height = np.maximum(1 + share * span + rng.normal(0, 0.02, 3), 0.89)
    return float(length), float(width), float(height)


def draw_micro_share(rng: Generator) -> float:
    """Share of cars under 2.9 m: none in many places, a twentieth and more in old towns."""
    return float(0.09 * rng.beta(0.8, 2.4))
