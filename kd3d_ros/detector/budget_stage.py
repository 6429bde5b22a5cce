"""The latency budget of the detector node: what clouds took, and what is given up for it."""

import json
import time
from collections.abc import Callable

from kd3d_core.codec.grid import BevGrid
from kd3d_core.runtime.budget import CloudTimes
from kd3d_core.runtime.budget import LatencyBudget
from kd3d_core.runtime.budget import Standing
from kd3d_core.runtime.steps import Step
from kd3d_core.runtime.steps import make_steps
from kd3d_ros.detector.model_swap import LoadedModel
from kd3d_ros.detector.settings import DetectorSettings

#: Ages outside this range [ms] are of two clocks that differ, not of clouds.
_PLAUSIBLE = (0.0, 10_000.0)


class BudgetStage:
    """Tells a `LatencyBudget` of a node's clouds, and the world of its steps; for any thread."""

    def __init__(self, tell: Callable[[str], None], log: Callable[[str], None]) -> None:
        """Begin without a model.

        Args:
            tell: Publishes a JSON text whenever the step, or what it means, is another one.
            log: Takes a line whenever the step changes.
        """
        self._tell = tell
        self._log = log
        self._told = ""
        self._loaded: LoadedModel | None = None
        self._budget = LatencyBudget(make_steps(1, [BevGrid()]))

    def use(self, loaded: LoadedModel, settings: DetectorSettings) -> None:
        """Take another model or other settings; what is as before forgets nothing."""
        grids = [detector.manifest.grid for detector in loaded.extents]
        steps = make_steps(settings.sweeps, grids)
        self._loaded = loaded
        self._budget.configure(steps, settings.latency_budget_ms)
        self._publish()

    @property
    def step(self) -> Step:
        """How much of the next cloud is looked at."""
        return self._budget.step

    def admit(self) -> bool:
        """Whether a cloud that has just come is worked on."""
        return self._budget.admit(time.monotonic())

    def drop(self) -> None:
        """Note that a cloud was dropped, because the one before was not done."""
        self._budget.drop()

    def observe(self, arrival_ms: float | None, waiting_ms: float, work_ms: float) -> None:
        """Learn from a cloud whose boxes have just been published.

        Args:
            arrival_ms: From its stamp to its arrival; None where no clock says it.
            waiting_ms: From there to the beginning of the work.
            work_ms: Until its boxes were published.
        """
        low, high = _PLAUSIBLE
        known = arrival_ms is not None and low < arrival_ms < high
        arrival = arrival_ms if known and arrival_ms is not None else 0.0
        if self._budget.observe(CloudTimes(time.monotonic(), arrival, waiting_ms, work_ms)):
            standing = self.standing
            self._log(f"latency budget: now {standing.step.name}, because {standing.why}")
            self._publish()

    @property
    def standing(self) -> Standing:
        """How it stands."""
        return self._budget.standing(time.monotonic())

    def _publish(self) -> None:
        """Tell of the step, if it is not what was told before."""
        assert self._loaded is not None
        standing, extents = self.standing, self._loaded.extents
        step = standing.step
        grid = extents[min(step.extent, len(extents) - 1)].manifest.grid
        text = json.dumps(
            {
                "latency_budget_ms": standing.limit_ms,
                "step": standing.index,
                "last_step": len(standing.steps) - 1,
                "name": step.name,
                "sweeps": step.sweeps,
                "x": list(grid.x),
                "y": list(grid.y),
                "every": step.every,
                "why": standing.why,
            }
        )
        if text != self._told:
            self._told = text
            self._tell(text)
