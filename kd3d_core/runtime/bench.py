"""How long each stage of a detector takes, cloud after cloud, as a robot would run it.

Several runners (backends, OpenVINO alone, other projects) take turns of a few clouds each, so that
what else the machine does disturbs all of them alike.
"""

import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from dataclasses import field
from typing import Any
from typing import Protocol

import numpy as np

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.bench_energy import EnergyMeter

#: The stages in their order; `total` is the whole way from message to boxes.
STAGES = ("read", "encode", "network", "decode", "total")
#: Memory that grows by no more than this between the first turn and the last is steady [MB].
_STEADY_MB = 2.0


@dataclass(frozen=True)
class StageTimes:
    """Percentiles of some times [ms], and the least, which other processes disturb least."""

    p50: float
    p90: float
    p99: float
    least: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> "StageTimes":
        """Take the percentiles of N times, at least one of them."""
        p50, p90, p99 = np.percentile(milliseconds, (50, 90, 99))
        return cls(float(p50), float(p90), float(p99), float(min(milliseconds)))


@dataclass(frozen=True)
class Pass:
    """One cloud.

    Attributes:
        stages: Wall time by stage [ms]; "total" among them.
        cpu_ms: CPU time of the process, all threads [ms].
        boxes: What came out.
    """

    stages: dict[str, float]
    cpu_ms: float
    boxes: int


class Runner(Protocol):
    """Something that can be timed on the clouds of a bench."""

    @property
    def name(self) -> str:
        """Such as "openvino" or "open3d-pointpillars"."""
        ...

    @property
    def about(self) -> dict[str, Any]:
        """What it is, for the record: model, precision, threads, versions."""
        ...

    def turn(self, clouds: Sequence[int]) -> list[Pass]:
        """Run clouds by their numbers, after one more that is not timed."""
        ...

    def memory_mb(self) -> float | None:
        """Of its process [MB]; None where the system does not tell."""
        ...


@dataclass
class Record:
    """What a runner did.

    Attributes:
        name: Of the runner.
        about: As it says itself.
        passes: All that were timed.
        seconds: Wall time of its turns, with the clouds that were not timed.
        memory: After each turn [MB].
        joules: Energy of the device by source during its turns; empty where none reports.
    """

    name: str
    about: dict[str, Any]
    passes: list[Pass] = field(default_factory=list)
    seconds: float = 0.0
    memory: list[float] = field(default_factory=list)
    joules: dict[str, float] = field(default_factory=dict)
    turned: int = 0

    def times(self, stage: str) -> StageTimes:
        """Wall times of a stage."""
        return StageTimes.of(self.values(stage))

    def values(self, stage: str) -> list[float]:
        """Wall time of a stage, pass by pass [ms]."""
        return [each.stages[stage] for each in self.passes]

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that it tells apart, in their order."""
        return tuple(self.passes[0].stages)

    @property
    def cpu(self) -> StageTimes:
        """CPU times of whole passes: what stays nearly the same on a busy machine."""
        return StageTimes.of([each.cpu_ms for each in self.passes])

    @property
    def rate(self) -> float:
        """Clouds a second, one after the other."""
        return 1e3 / float(np.mean(self.values("total")))

    @property
    def growth_mb(self) -> float | None:
        """By how much memory grew from the end of the first turn to the end of the last [MB]."""
        return self.memory[-1] - self.memory[0] if self.memory else None

    @property
    def steady(self) -> bool | None:
        """Whether memory stayed as it was; None where the system does not tell."""
        return None if self.growth_mb is None else self.growth_mb <= _STEADY_MB

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: the figures, not the passes."""
        return {
            "name": self.name,
            **self.about,
            "frames": len(self.passes),
            "boxes": float(np.mean([each.boxes for each in self.passes])),
            "stages": {stage: asdict(self.times(stage)) for stage in self.stages},
            "cpu_ms": asdict(self.cpu),
            "rate": self.rate,
            "memory_mb": self.memory[-1] if self.memory else None,
            "memory_growth_mb": self.growth_mb,
            "memory_steady": self.steady,
            # A turn has a cloud more than are timed; it costs as much as they do.
            "joules_per_cloud": {k: v / self.turned for k, v in self.joules.items()} or None,
        }


def race(
    runners: Sequence[tuple[Runner, int]],
    clouds: int,
    *,
    turns: int = 10,
    report: Callable[[str, int], None] = lambda name, count: None,
) -> list[Record]:
    """Let runners take turns on the same clouds.

    Args:
        runners: Each with the number of clouds it is timed on, spread evenly over its turns.
        clouds: How many there are; runners begin again with the first after the last.
        turns: Of each runner, at most. Who begins changes from turn to turn.
        report: Called after each turn with the runner's name and the clouds it did.

    Returns:
        A record for each runner, in their order.

    Raises:
        Kd3dError: There is no cloud.
    """
    if not clouds:
        raise Kd3dError("bench: there is no cloud to run on.")
    meter = EnergyMeter()
    records = [Record(runner.name, dict(runner.about)) for runner, _ in runners]
    for turn in range(turns):
        for place in range(len(runners)):
            at = (turn + place) % len(runners)
            (runner, frames), record = runners[at], records[at]
            begin, end = frames * turn // turns, frames * (turn + 1) // turns
            if begin == end:
                continue
            _take_turn(runner, record, [i % clouds for i in range(begin, end)], meter)
            report(runner.name, end - begin)
    return records


def _take_turn(runner: Runner, record: Record, clouds: list[int], meter: EnergyMeter) -> None:
    """One turn of one runner, noted in its record."""
    before, start = meter.read(), time.perf_counter()
    record.passes += runner.turn(clouds)
    record.seconds += time.perf_counter() - start
    for source, joules in meter.read().items():
        record.joules[source] = record.joules.get(source, 0.0) + joules - before[source]
    record.turned += len(clouds) + 1
    memory = runner.memory_mb()
    if memory is not None:
        record.memory.append(memory)
