"""Which box of one detector is which box of another: the optimal assignment, class by class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic import NonNegativeFloat
from pydantic import PositiveFloat
from pydantic import PositiveInt
from pydantic import model_validator
from scipy.optimize import linear_sum_assignment

from kd3d_core.config import Config
from kd3d_core.geometry.boxes import Boxes3D

#: Classes of small objects, which stand close together: their pairs must be closer.
_SMALL = frozenset(
    {"pedestrian", "person", "cyclist", "bicycle", "motorcycle", "motorcyclist", "traffic_cone"}
)
_SMALL_DISTANCE, _LARGE_DISTANCE = 1.0, 2.0
#: Farther than any gate [m]: the assignment takes such a pair only when nothing else is left.
_NEVER = 1e6


class AgreementConfig(Config):
    """What counts when two detectors are compared, and what counts as the same object."""

    match_distance: dict[str, PositiveFloat] = Field(default_factory=dict)
    """Largest horizontal distance of the centres of a pair [m], by class name. Classes that are
    not named: 1 m for people and two-wheelers, 2 m for everything else."""
    rings: tuple[NonNegativeFloat, ...] = (0.0, 20.0, 35.0, 50.0)
    """Edges of the distance rings [m]; what lies outside them all is not judged."""
    student_threshold: float | None = Field(default=None, ge=0, le=1)
    """Student's boxes below this score are left out; None takes all that are given."""
    reference_threshold: float | None = Field(default=None, ge=0, le=1)
    """Reference's boxes below this score are left out; None takes all that are given."""
    calibration_bins: PositiveInt = 10
    """Bins of equal width in which the student's scores are compared with what is confirmed."""

    @model_validator(mode="after")
    def _check(self) -> "AgreementConfig":
        if len(self.rings) < 2 or any(np.diff(self.rings) <= 0):
            raise ValueError(f"rings: {self.rings} are not two or more rising distances")
        return self

    def gate(self, name: str) -> float:
        """Largest distance of a pair of class `name` [m]."""
        default = _SMALL_DISTANCE if name in _SMALL else _LARGE_DISTANCE
        return self.match_distance.get(name, default)

    @property
    def ring_names(self) -> tuple[str, ...]:
        """Names of the rings, such as "0-20"."""
        edges = zip(self.rings, self.rings[1:], strict=False)
        return tuple(f"{low:g}-{high:g}" for low, high in edges)

    def ring(self, distance: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """(N,) int64 index of the ring of each distance [m], (N,); -1 outside them all."""
        index = np.searchsorted(np.asarray(self.rings), distance, side="right") - 1
        return np.where(index < len(self.rings) - 1, index, -1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Pairing:
    """Who is who. Boxes that are not judged (see `pair_boxes`) appear nowhere.

    Attributes:
        student: (P,) int64, indices of matched student boxes, rising.
        reference: (P,) int64, the reference box of each.
        missed: (M,) int64, reference boxes that no student box matches.
        extra: (E,) int64, student boxes that match nothing.
        confused: (C, 2) int64, [student, reference] at the same place with different classes;
            these boxes are among `extra` and `missed` too.
    """

    student: NDArray[np.int64]
    reference: NDArray[np.int64]
    missed: NDArray[np.int64]
    extra: NDArray[np.int64]
    confused: NDArray[np.int64]


def pair_boxes(
    student: Boxes3D, reference: Boxes3D, config: AgreementConfig | None = None
) -> Pairing:
    """The assignment with the most pairs and, among those, the least sum of distances.

    Pairs have one class (by name) and lie within its gate. Not judged are boxes below the score
    thresholds, boxes outside the rings, and boxes of classes that the other detector does not
    know. The place of a pair is the middle of its two centres, so that neither role decides
    which ring it belongs to, and swapping the roles swaps missed and extra.

    Args:
        student: N boxes.
        reference: M boxes in the same frame.
        config: What counts; the defaults when None.
    """
    config = config or AgreementConfig()
    shared = set(student.classes) & set(reference.classes)
    mine = _candidates(student, config.student_threshold, shared)
    theirs = _candidates(reference, config.reference_threshold, shared)
    names_mine, names_theirs = np.array(student.names), np.array(reference.names)
    pairs = []
    for name in sorted(shared):
        i, j = mine[names_mine[mine] == name], theirs[names_theirs[theirs] == name]
        pairs.append(_assign(student, reference, i, j, config.gate(name)))
    paired = np.concatenate([np.zeros((0, 2), np.int64), *pairs])
    extra, missed = np.setdiff1d(mine, paired[:, 0]), np.setdiff1d(theirs, paired[:, 1])

    paired = paired[np.argsort(paired[:, 0], kind="stable")]
    paired = paired[config.ring(middle_range(student, reference, paired)) >= 0]
    extra = extra[config.ring(ground_range(student)[extra]) >= 0]
    missed = missed[config.ring(ground_range(reference)[missed]) >= 0]
    return Pairing(
        student=paired[:, 0],
        reference=paired[:, 1],
        missed=missed,
        extra=extra,
        confused=_confusions(student, reference, extra, missed, config),
    )


def ground_range(boxes: Boxes3D) -> NDArray[np.float64]:
    """(N,) float64 horizontal distance of the centres from the sensor [m]."""
    return np.hypot(*boxes.center[:, :2].astype(np.float64).T)


def middle_range(
    student: Boxes3D, reference: Boxes3D, pairs: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(P,) float64 distance of the middles of (P, 2) pairs from the sensor [m]."""
    one = student.center[pairs[:, 0], :2].astype(np.float64)
    two = reference.center[pairs[:, 1], :2].astype(np.float64)
    return np.hypot(*((one + two) / 2).T)


def _candidates(boxes: Boxes3D, threshold: float | None, classes: set[str]) -> NDArray[np.int64]:
    """(K,) int64 boxes that take part."""
    keep = np.isin(boxes.label, [i for i, name in enumerate(boxes.classes) if name in classes])
    if threshold is not None:
        keep &= boxes.score >= threshold
    return np.flatnonzero(keep)


def _assign(
    student: Boxes3D,
    reference: Boxes3D,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    gate: float | NDArray[np.float64],
) -> NDArray[np.int64]:
    """(P, 2) pairs of the student's boxes `i` (N,) with the reference's `j` (M,).

    Args:
        student: All boxes of the student.
        reference: All boxes of the reference.
        i: Boxes of the student that may pair.
        j: Boxes of the reference that may pair.
        gate: Largest distance [m], one for all or (N, M); a negative one forbids the pair.
    """
    if not (len(i) and len(j)):
        return np.zeros((0, 2), np.int64)
    delta = student.center[i, None, :2].astype(np.float64) - reference.center[None, j, :2]
    distance = np.hypot(delta[..., 0], delta[..., 1])
    allowed = distance <= gate
    rows, columns = linear_sum_assignment(np.where(allowed, distance, _NEVER))
    kept = allowed[rows, columns]
    return np.stack([i[rows[kept]], j[columns[kept]]], axis=1)


def _confusions(
    student: Boxes3D,
    reference: Boxes3D,
    extra: NDArray[np.int64],
    missed: NDArray[np.int64],
    config: AgreementConfig,
) -> NDArray[np.int64]:
    """(C, 2) extra and missed boxes at one place; of two gates the closer one holds."""
    mine = np.array([config.gate(student.classes[k]) for k in student.label[extra]])
    theirs = np.array([config.gate(reference.classes[k]) for k in reference.label[missed]])
    return _assign(student, reference, extra, missed, np.minimum.outer(mine, theirs))
