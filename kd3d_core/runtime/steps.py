"""What a detector gives up, in this order, when its clouds take longer than they may."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kd3d_core.codec.grid import BevGrid
from kd3d_core.runtime.cropping import reach_of

#: Share of a cloud's work that does not shrink with the area of the grid (messages, points outside
#: of it), and that which does not shrink with the number of sweeps (the network). The shipped
#: student takes 48, 33 and 19 ms of one thread for 100, 64 and 36 % of its area, without messages.
#: Only the choice of the next step leans on this, and the clouds after it correct what it says.
_FIXED, _OF_ONE_SWEEP = 0.15, 0.5
#: The last steps work on every n-th cloud.
_EVERY = (2, 3, 4)


@dataclass(frozen=True)
class Step:
    """How much is detected.

    Attributes:
        name: In words: "everything", or all that is given up.
        sweeps: At most so many sweeps are merged.
        extent: Which of the grids is looked at; 0 is the whole one.
        every: Every n-th cloud is worked on.
        cost: Expected work of a cloud, relative to the first step.
    """

    name: str
    sweeps: int
    extent: int
    every: int
    cost: float


def make_steps(sweeps: int, grids: Sequence[BevGrid]) -> tuple[Step, ...]:
    """The steps of a detector: fewer sweeps first, then less range, then fewer clouds.

    Args:
        sweeps: How many are merged when there is time.
        grids: That its network can look at, from the whole one to the smallest; at least one.

    Returns:
        From everything to the least.
    """
    fewer = sorted({sweeps, math.ceil(sweeps / 2), 1}, reverse=True)
    least = len(grids) - 1
    places = [(count, 0, 1) for count in fewer]
    places += [(1, extent, 1) for extent in range(1, len(grids))]
    places += [(1, least, every) for every in _EVERY]
    return tuple(
        Step(
            _name(count, sweeps, extent, grids, every),
            count,
            extent,
            every,
            _cost(count / sweeps, _area(grids[extent]) / _area(grids[0])),
        )
        for count, extent, every in places
    )


def _name(count: int, sweeps: int, extent: int, grids: Sequence[BevGrid], every: int) -> str:
    """What is given up, in words."""
    parts = []
    if count < sweeps:
        parts.append(f"{count} of {sweeps} sweeps")
    if extent:
        parts.append(f"up to {reach_of(grids[extent]):.0f} m")
    if every > 1:
        parts.append(f"every {every}{'nd' if every == 2 else 'rd' if every == 3 else 'th'} cloud")
    return ", ".join(parts) or "everything"


def _cost(sweeps: float, area: float) -> float:
    """Expected work of a share of the sweeps on a share of the area."""
    return (_OF_ONE_SWEEP + (1 - _OF_ONE_SWEEP) * sweeps) * (_FIXED + (1 - _FIXED) * area)


def _area(grid: BevGrid) -> int:
    """Cells of a grid."""
    return math.prod(grid.shape)
