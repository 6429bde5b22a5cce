"""From the results of cells to one row a student and method."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kd3d_core.arena.config import BASELINE
from kd3d_core.arena.result import CellResult
from kd3d_core.arena.result import TeacherResult
from kd3d_core.arena.statistics import Interval
from kd3d_core.arena.statistics import gap_closed
from kd3d_core.arena.statistics import interval


@dataclass(frozen=True)
class Relative:
    """The cost of a method as multiples of the student alone; means over seeds.

    Attributes:
        train_time: Of the wall time of a training.
        step_time: Of the median time of a step.
        memory: Of the largest memory.
    """

    train_time: float
    step_time: float
    memory: float


@dataclass(frozen=True)
class Row:
    """A student taught by a method; what nothing is known of is None.

    Attributes:
        student: Its name.
        method: Its name.
        seeds: Seeds that are done.
        ap: Mean average precision.
        nds: nuScenes detection score.
        class_ap: Mean over seeds of the average precision, by class.
        gain: Mean average precision over the student alone with the same seed, paired.
        gap: Share of the gap between student alone and teacher that is closed, in mean average
            precision, over the seeds that both have.
        nds_gap: The same in NDS.
        cost: Relative to the student alone.
        step_seconds: Mean over seeds [s].
        peak_memory_mb: Mean over seeds [MiB].
    """

    student: str
    method: str
    seeds: tuple[int, ...]
    ap: Interval | None
    nds: Interval | None
    class_ap: dict[str, float | None]
    gain: Interval | None
    gap: float | None
    nds_gap: float | None
    cost: Relative | None
    step_seconds: float | None
    peak_memory_mb: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def summarize(
    results: Sequence[CellResult],
    teacher: TeacherResult | None,
    students: Sequence[str],
    methods: Sequence[str],
) -> list[Row]:
    """A row for each student and method that has a result, in the order given.

    Args:
        results: Of the cells that are done.
        teacher: On the same frames, or None while it is not evaluated.
        students: Their names.
        methods: Their names.
    """
    rows = []
    for student in students:
        of = {
            method: {r.seed: r for r in results if (r.student, r.method) == (student, method)}
            for method in methods
        }
        alone = of.get(BASELINE, {})
        rows += [_row(student, m, of[m], alone, teacher) for m in methods if of[m]]
    return rows


def _row(
    student: str,
    method: str,
    own: dict[int, CellResult],
    alone: dict[int, CellResult],
    teacher: TeacherResult | None,
) -> Row:
    """One row; `own` and `alone` are by seed."""
    results = list(own.values())
    pairs = [(own[seed], alone[seed]) for seed in own if seed in alone]
    told = method != BASELINE and bool(pairs)
    gains = [g for a, b in pairs if (g := _difference(a, b)) is not None]
    names = list(results[0].scores.ap)
    return Row(
        student=student,
        method=method,
        seeds=tuple(sorted(own)),
        ap=interval(_known(results, _ap)),
        nds=interval(_known(results, _nds)),
        class_ap={name: _mean([r.scores.ap.get(name) for r in results]) for name in names},
        gain=interval(gains) if told else None,
        gap=_gap(pairs, teacher, _ap) if told else None,
        nds_gap=_gap(pairs, teacher, _nds) if told else None,
        cost=_relative(pairs) if told else None,
        step_seconds=_mean([r.cost.step_seconds for r in results]),
        peak_memory_mb=_mean([_memory(r) for r in results]),
    )


def _ap(result: CellResult | TeacherResult) -> float | None:
    """Mean average precision."""
    return result.scores.mean_ap


def _nds(result: CellResult | TeacherResult) -> float | None:
    """NuScenes detection score."""
    return result.scores.nds


def _memory(result: CellResult) -> float:
    """Largest memory, of the GPU where one was used [MiB]."""
    cost = result.cost
    return cost.peak_memory_mb if cost.peak_gpu_mb is None else cost.peak_gpu_mb


def _difference(own: CellResult, alone: CellResult) -> float | None:
    """Gain in mean average precision."""
    mine, theirs = _ap(own), _ap(alone)
    return None if mine is None or theirs is None else mine - theirs


def _known(
    results: Sequence[CellResult], measure: Callable[[CellResult], float | None]
) -> list[float]:
    """The values that there are."""
    return [value for result in results if (value := measure(result)) is not None]


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values that there are."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _gap(
    pairs: Sequence[tuple[CellResult, CellResult]],
    teacher: TeacherResult | None,
    measure: Callable[[CellResult | TeacherResult], float | None],
) -> float | None:
    """Share of the gap that the method of the first of each pair closes."""
    best = None if teacher is None else measure(teacher)
    own = _mean([measure(a) for a, _ in pairs])
    alone = _mean([measure(b) for _, b in pairs])
    if best is None or own is None or alone is None:
        return None
    return gap_closed(own, alone, best)


def _relative(pairs: Sequence[tuple[CellResult, CellResult]]) -> Relative | None:
    """Cost of the first of each pair over that of the second."""

    def ratio(measure: Callable[[CellResult], float]) -> float:
        below = fmean([measure(b) for _, b in pairs])
        return fmean([measure(a) for a, _ in pairs]) / below if below else 1.0

    return Relative(
        train_time=ratio(lambda r: r.cost.train_seconds),
        step_time=ratio(lambda r: r.cost.step_seconds),
        memory=ratio(_memory),
    )
