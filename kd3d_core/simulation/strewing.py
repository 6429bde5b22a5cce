"""Where clutter stands: at the kerb, on the pavement, before facades, in the road, in gardens."""

import numpy as np
from numpy.random import Generator

from kd3d_core.simulation.clutter import CLUTTER
from kd3d_core.simulation.clutter import ROWS
from kd3d_core.simulation.clutter import narrow_shrub
from kd3d_core.simulation.layout import Layout
from kd3d_core.simulation.posts import short_column
from kd3d_core.simulation.vegetation import bush

#: Things, or rows of them, per 100 m and side, beside a quarter of what the plan has of props.
_PER_HUNDRED = 6.0
#: Low bushes per 100 m and side.
_BUSHES = 4.0
#: What may also stand in the road.
_IN_ROAD = ("cone", "low_sign", "bollard", "barrier")


def strew(layout: Layout, rng: Generator) -> None:
    """Stand clutter wherever layout and traffic leave room; how much differs by street."""
    road, plan = layout.road, layout.street.plan
    names = list(CLUTTER)
    weight = np.array([share for _, share in CLUTTER.values()])
    # Streets have their own taste: one has rows of bollards, the next has none.
    weight = weight * np.exp(rng.normal(0, 0.8, len(names)))
    weight /= weight.sum()
    rows = rng.uniform(0.05, 0.35)
    low, high = layout.near[0] - 15, layout.near[1] + 15
    density = (_PER_HUNDRED + plan.props / 4) * float(np.exp(rng.uniform(np.log(0.2), np.log(3))))
    for sign in (1, -1):
        for _ in range(int(rng.poisson(density * (high - low) / 100))):
            name = str(rng.choice(names, p=weight))
            in_road = name in _IN_ROAD and bool(rng.random() < 0.15)
            out = rng.uniform(0, road.half_lanes) if in_road else _place(layout, sign, rng)
            s = rng.uniform(low, high)
            count, pitch = 1, 0.0
            if name in ROWS and rng.random() < rows:
                count, pitch = int(rng.integers(3, 10)), rng.uniform(*ROWS[name])
            mesh = CLUTTER[name][0](rng)
            turn = float(rng.choice([0, np.pi / 2, np.pi, -np.pi / 2]) + rng.normal(0, 0.08))
            for i in range(count):
                at = s + pitch * i
                if at < road.end - 3 and (in_road or not road.is_open(at, sign, 0.5)):
                    layout.put(mesh, at, out, sign, turn, in_road=in_road)
        for _ in range(int(rng.poisson(_BUSHES * layout.vegetation * (high - low) / 100))):
            mesh = bush(rng, rng.uniform(0.25, 1.3), bushy=True)
            s, out = rng.uniform(low, high), _verge(layout, sign, rng)
            if not road.is_open(s, sign, 0.8):
                layout.put(mesh, s, out, sign)


def strew_posts(layout: Layout, density: float, rng: Generator) -> None:
    """Stand rows of what is as high and as thick as people: they are in a row and never walk.

    Args:
        layout: Of the street.
        density: Rows per 100 m and side.
        rng: Draws where, what and how close.
    """
    road = layout.road
    low, high = layout.near[0] - 15, layout.near[1] + 15
    for sign in (1, -1):
        for _ in range(int(rng.poisson(density * (high - low) / 100))):
            maker = short_column if rng.random() < 0.7 else narrow_shrub
            same = maker(rng) if rng.random() < 0.7 else None
            start, out = rng.uniform(low, high), _place(layout, sign, rng)
            pitch, loose = rng.uniform(0.7, 3.0), rng.uniform(0, 0.2)
            for i in range(int(rng.integers(4, 17))):
                s = start + i * pitch + rng.normal(0, loose)
                if s < road.end - 3 and not road.is_open(s, sign, 0.5):
                    mesh = same or maker(rng)
                    layout.put(mesh, s, out + rng.normal(0, loose), sign, rng.normal(0, 0.05))


def _place(layout: Layout, sign: int, rng: Generator) -> float:
    """Distance from the centre line [m]: mostly at the kerb or at the back of the pavement."""
    kerb, front = layout.road.kerb_at(sign), layout.road.front(sign)
    where = rng.choice(4, p=[0.4, 0.25, 0.2, 0.15])
    if where == 0:
        return float(kerb + rng.uniform(0.3, 0.7))
    if where == 1:
        return float(front - rng.uniform(-0.2, 0.5))
    if where == 2:
        return float(rng.uniform(kerb + 0.3, front + 0.5))
    return float(front + rng.uniform(0.2, 6.0))


def _verge(layout: Layout, sign: int, rng: Generator) -> float:
    """Where low bushes grow [m from the centre line]: on the verge or behind the pavement."""
    side, kerb = layout.road.side(sign), layout.road.kerb_at(sign)
    if side.verge > 0.8 and rng.random() < 0.4:
        return float(kerb + rng.uniform(0.4, side.verge))
    return float(layout.road.front(sign) + rng.uniform(0.4, 7.0))
