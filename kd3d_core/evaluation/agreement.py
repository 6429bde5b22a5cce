"""How far two detectors agree over many frames, by class, by distance and by score."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

import numpy as np
from numpy.typing import NDArray

from kd3d_core.evaluation.agreement_result import ALL
from kd3d_core.evaluation.agreement_result import CENTRE
from kd3d_core.evaluation.agreement_result import EXTRA
from kd3d_core.evaluation.agreement_result import HEADING
from kd3d_core.evaluation.agreement_result import MISSED
from kd3d_core.evaluation.agreement_result import PAIRS
from kd3d_core.evaluation.agreement_result import SIZE
from kd3d_core.evaluation.agreement_result import VELOCITY
from kd3d_core.evaluation.agreement_result import WITH_VELOCITY
from kd3d_core.evaluation.agreement_result import Agreement
from kd3d_core.evaluation.agreement_result import CalibrationBin
from kd3d_core.evaluation.agreement_result import Cell
from kd3d_core.evaluation.agreement_result import calibration_of
from kd3d_core.evaluation.agreement_result import cell_of
from kd3d_core.evaluation.pairing import AgreementConfig
from kd3d_core.evaluation.pairing import Pairing
from kd3d_core.evaluation.pairing import ground_range
from kd3d_core.evaluation.pairing import middle_range
from kd3d_core.evaluation.pairing import pair_boxes
from kd3d_core.geometry.boxes import Boxes3D

__all__ = [
    "ALL",
    "Agreement",
    "AgreementConfig",
    "AgreementWindow",
    "CalibrationBin",
    "Cell",
    "FrameAgreement",
    "PairErrors",
    "Pairing",
    "compare",
    "pair_boxes",
    "pair_errors",
]


@dataclass(frozen=True, eq=False)
class FrameAgreement:
    """The boxes of two detectors on one cloud, and how they pair.

    Attributes:
        stamp: Of the cloud [s].
        source: Where the cloud came from.
        student: All boxes of the student.
        reference: All boxes of the reference, in the same frame.
        pairing: Indices into both.
        config: What they were paired by.
    """

    stamp: float
    source: str
    student: Boxes3D
    reference: Boxes3D
    pairing: Pairing
    config: AgreementConfig = field(default_factory=AgreementConfig)


def compare(
    student: Boxes3D,
    reference: Boxes3D,
    config: AgreementConfig | None = None,
    *,
    stamp: float = 0.0,
    source: str = "",
) -> FrameAgreement:
    """Pair the boxes of two detectors on one cloud; see `pair_boxes`."""
    config = config or AgreementConfig()
    pairing = pair_boxes(student, reference, config)
    return FrameAgreement(stamp, source, student, reference, pairing, config)


def pair_range(frame: FrameAgreement) -> NDArray[np.float64]:
    """(P,) float64 horizontal distance of each pair from the sensor [m]: of its middle."""
    pairs = np.stack([frame.pairing.student, frame.pairing.reference], axis=1)
    return middle_range(frame.student, frame.reference, pairs)


@dataclass(frozen=True, eq=False)
class PairErrors:
    """How far the two boxes of each pair differ.

    Attributes:
        centre: (P,) float64 horizontal distance of the centres [m].
        size: (P,) float64 mean difference of length, width and height [m].
        heading: (P,) float64 angle between the headings [rad], in [0, pi].
        velocity: (P,) float64 length of the difference [m/s]; NaN where one is unknown.
    """

    centre: NDArray[np.float64]
    size: NDArray[np.float64]
    heading: NDArray[np.float64]
    velocity: NDArray[np.float64]


def pair_errors(frame: FrameAgreement) -> PairErrors:
    """The errors of each pair of a frame, in the order of its pairing."""
    one, two = frame.student[frame.pairing.student], frame.reference[frame.pairing.reference]
    centre = one.center[:, :2].astype(np.float64) - two.center[:, :2]
    speed = one.velocity.astype(np.float64) - two.velocity
    turn = np.abs(one.yaw.astype(np.float64) - two.yaw)
    return PairErrors(
        centre=np.hypot(centre[:, 0], centre[:, 1]),
        size=np.abs(one.size.astype(np.float64) - two.size).mean(axis=1),
        heading=np.minimum(turn, np.maximum(2 * np.pi - turn, 0.0)),
        velocity=np.hypot(speed[:, 0], speed[:, 1]),
    )


class AgreementWindow:
    """Takes frames one by one; keeps sums and counts, never boxes or clouds.

    Not thread-safe. Pickles, so that processes can hand it to each other.
    """

    def __init__(
        self,
        classes: Sequence[str],
        config: AgreementConfig | None = None,
        frames: int | None = None,
    ) -> None:
        """Start empty.

        Args:
            classes: To tell apart; boxes of other classes are left out.
            config: What counts; the frames are to be compared by the same.
            frames: Only the last so many count; None counts all, in memory that does not grow.
        """
        if frames is not None and frames < 1:
            raise ValueError(f"AgreementWindow: frames is {frames}, not 1 or more")
        self.classes = tuple(classes)
        self.config = config = config or AgreementConfig()
        self._length = frames
        self._recent: deque[tuple[NDArray[np.float64], NDArray[np.float64]]] = deque(maxlen=frames)
        self._cells = np.zeros((len(self.classes), len(config.rings) - 1, 8))
        self._scores = np.zeros((config.calibration_bins, 3))
        self._frames = 0

    def __len__(self) -> int:
        """Frames that count."""
        return len(self._recent) if self._length else self._frames

    def add(self, frame: FrameAgreement) -> None:
        """Account for one frame; a frame without boxes counts as a frame."""
        cells, scores = self._cell_sums(frame), self._score_sums(frame)
        if self._length:
            self._recent.append((cells, scores))
        else:
            self._cells += cells
            self._scores += scores
            self._frames += 1

    def merge(self, other: "AgreementWindow") -> None:
        """Take in what another window has seen after this one.

        Raises:
            ValueError: The two tell other classes apart or count by other rules.
        """
        mine = (self.classes, self.config, self._length)
        if mine != (other.classes, other.config, other._length):
            raise ValueError("AgreementWindow.merge: the windows differ in classes or settings")
        self._recent.extend(other._recent)
        self._cells += other._cells
        self._scores += other._scores
        self._frames += other._frames

    def clear(self) -> None:
        """Forget everything."""
        self._recent.clear()
        self._cells[:] = 0
        self._scores[:] = 0
        self._frames = 0

    def result(self) -> Agreement:
        """Agreement over the frames that count."""
        cells, scores = self._cells.copy(), self._scores.copy()
        for more_cells, more_scores in self._recent:
            cells += more_cells
            scores += more_scores
        names = self.config.ring_names
        by_ring = {
            name: {ring: cell_of(cells[c, r]) for r, ring in enumerate(names)}
            for c, name in enumerate(self.classes)
        }
        by_ring[ALL] = {ring: cell_of(cells[:, r].sum(axis=0)) for r, ring in enumerate(names)}
        return Agreement(
            classes=self.classes,
            rings=tuple(self.config.rings),
            frames=len(self),
            total=cell_of(cells.sum(axis=(0, 1))),
            by_class={name: cell_of(cells[c].sum(axis=0)) for c, name in enumerate(self.classes)},
            by_ring=by_ring,
            calibration=calibration_of(scores),
        )

    def _cell_sums(self, frame: FrameAgreement) -> NDArray[np.float64]:
        """(classes, rings, 8) float64 counts and sums of one frame."""
        sums = np.zeros_like(self._cells)
        pairing, errors = frame.pairing, pair_errors(frame)
        known = np.isfinite(errors.velocity)
        table = np.zeros((len(pairing.student), 8))
        table[:, PAIRS] = 1
        table[:, CENTRE], table[:, SIZE] = errors.centre, errors.size
        table[:, HEADING] = errors.heading
        table[:, VELOCITY] = np.where(known, errors.velocity, 0.0)
        table[:, WITH_VELOCITY] = known
        self._scatter(sums, frame.student[pairing.student].names, pair_range(frame), table)
        for column, boxes in (
            (MISSED, frame.reference[pairing.missed]),
            (EXTRA, frame.student[pairing.extra]),
        ):
            ones = np.zeros((len(boxes), 8))
            ones[:, column] = 1
            self._scatter(sums, boxes.names, ground_range(boxes), ones)
        return sums

    def _scatter(
        self,
        sums: NDArray[np.float64],
        names: Sequence[str],
        distance: NDArray[np.float64],
        table: NDArray[np.float64],
    ) -> None:
        """Add the rows of (N, 8) `table` to (classes, rings, 8) `sums`, by name and distance."""
        index = {name: i for i, name in enumerate(self.classes)}
        label = np.array([index.get(name, -1) for name in names], np.int64)
        ring = self.config.ring(distance)
        kept = (label >= 0) & (ring >= 0)
        np.add.at(sums, (label[kept], ring[kept]), table[kept])

    def _score_sums(self, frame: FrameAgreement) -> NDArray[np.float64]:
        """(bins, 3) float64 count, sum of scores and confirmed boxes of the student."""
        bins, pairing = self.config.calibration_bins, frame.pairing
        index = np.concatenate([pairing.student, pairing.extra])
        confirmed = np.arange(len(index)) < len(pairing.student)
        kept = np.array([frame.student.classes[k] in self.classes for k in frame.student.label])
        kept = kept.astype(bool)[index]
        score = frame.student.score[index][kept].astype(np.float64)
        rows = np.stack([np.ones(len(score)), score, confirmed[kept]], axis=1)
        sums = np.zeros_like(self._scores)
        np.add.at(sums, np.clip((score * bins).astype(np.int64), 0, bins - 1), rows)
        return sums
