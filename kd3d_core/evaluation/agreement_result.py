"""What is told about the agreement of two detectors: rates, errors and calibration."""

from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The key of all classes together, and of all rings together.
ALL = "all"

#: Columns of the statistics of a class in a ring: counts, then sums over the pairs.
PAIRS, MISSED, EXTRA, CENTRE, SIZE, HEADING, VELOCITY, WITH_VELOCITY = range(8)
#: Columns of the statistics of a bin of scores.
COUNT, SCORE, CONFIRMED = range(3)


@dataclass(frozen=True)
class Cell:
    """Agreement in one class and ring; None where there is nothing to average.

    Attributes:
        pairs: Objects that both see.
        missed: Objects that only the reference sees.
        extra: Objects that only the student sees.
        recall: Share of the reference's objects that the student sees.
        precision: Share of the student's objects that the reference sees.
        centre_error: Mean horizontal distance of the centres of a pair [m].
        size_error: Mean difference of length, width and height of a pair [m].
        heading_error: Mean angle between the headings of a pair [rad], each in [0, pi].
        velocity_error: Mean length of the difference of the velocities [m/s], over pairs whose
            velocities are both known.
    """

    pairs: int
    missed: int
    extra: int
    recall: float | None
    precision: float | None
    centre_error: float | None
    size_error: float | None
    heading_error: float | None
    velocity_error: float | None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of recall and precision; None without any object."""
        total = 2 * self.pairs + self.missed + self.extra
        return 2 * self.pairs / total if total else None


@dataclass(frozen=True)
class CalibrationBin:
    """The student's boxes whose score lies in [low, high).

    Attributes:
        low: Lower edge of the score.
        high: Upper edge; the last bin holds 1.0 too.
        count: Boxes in the bin.
        mean_score: Of these boxes, None without any.
        share_confirmed: Share of them that the reference sees too, None without any.
    """

    low: float
    high: float
    count: int
    mean_score: float | None
    share_confirmed: float | None


@dataclass(frozen=True)
class Agreement:
    """Agreement of a student with a reference over frames.

    Attributes:
        classes: That are judged.
        rings: Edges of the distance rings [m].
        frames: How many frames went in.
        total: All classes in all rings.
        by_class: Class -> all rings.
        by_ring: Class or "all" -> ring, such as "0-20" -> cell.
        calibration: How often the reference confirms the student's boxes, by their score.
    """

    classes: tuple[str, ...]
    rings: tuple[float, ...]
    frames: int
    total: Cell
    by_class: dict[str, Cell]
    by_ring: dict[str, dict[str, Cell]]
    calibration: tuple[CalibrationBin, ...]

    @property
    def calibration_error(self) -> float | None:
        """Mean distance of the scores from the share confirmed (ECE); None without boxes."""
        filled = [b for b in self.calibration if b.mean_score is not None]
        count = sum(b.count for b in filled)
        gaps = (b.count * abs((b.mean_score or 0) - (b.share_confirmed or 0)) for b in filled)
        return sum(gaps) / count if count else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "classes": list(self.classes),
            "rings": list(self.rings),
            "frames": self.frames,
            "total": _cell_dict(self.total),
            "by_class": {name: _cell_dict(cell) for name, cell in self.by_class.items()},
            "by_ring": {
                name: {ring: _cell_dict(cell) for ring, cell in rings.items()}
                for name, rings in self.by_ring.items()
            },
            "calibration": [asdict(item) for item in self.calibration],
            "calibration_error": self.calibration_error,
        }


def cell_of(sums: NDArray[np.float64]) -> Cell:
    """The cell of (8,) counts and sums."""
    pairs, missed, extra = (int(sums[k]) for k in (PAIRS, MISSED, EXTRA))

    def mean(column: int, count: float) -> float | None:
        return float(sums[column] / count) if count else None

    return Cell(
        pairs=pairs,
        missed=missed,
        extra=extra,
        recall=mean(PAIRS, pairs + missed),
        precision=mean(PAIRS, pairs + extra),
        centre_error=mean(CENTRE, pairs),
        size_error=mean(SIZE, pairs),
        heading_error=mean(HEADING, pairs),
        velocity_error=mean(VELOCITY, float(sums[WITH_VELOCITY])),
    )


def calibration_of(sums: NDArray[np.float64]) -> tuple[CalibrationBin, ...]:
    """The bins of (bins, 3) count, sum of scores and confirmed."""
    edges = np.linspace(0.0, 1.0, len(sums) + 1)
    return tuple(
        CalibrationBin(
            low=float(edges[k]),
            high=float(edges[k + 1]),
            count=int(row[COUNT]),
            mean_score=float(row[SCORE] / row[COUNT]) if row[COUNT] else None,
            share_confirmed=float(row[CONFIRMED] / row[COUNT]) if row[COUNT] else None,
        )
        for k, row in enumerate(sums)
    )


def _cell_dict(cell: Cell) -> dict[str, Any]:
    """A cell as plain data, F1 with it."""
    return asdict(cell) | {"f1": cell.f1}
