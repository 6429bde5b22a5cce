"""What a detector gets wrong at its own thresholds: misses, mix-ups, inventions, worst frames."""

from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.evaluation.matching import FALSE_POSITIVE
from kd3d_core.evaluation.matching import TRUE_POSITIVE
from kd3d_core.evaluation.matching import match
from kd3d_core.evaluation.matching import similarity
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D

#: A missed object counts as mixed up with a detection of another class from this BEV IoU on.
MIXED_UP = 0.3
#: Objects with fewer points than this are seen badly.
FEW_POINTS = 20


@dataclass(frozen=True)
class ClassFailures:
    """One class over all frames.

    Attributes:
        truths: Ground truth that counts.
        found: Of it.
        mixed_up: Missed ones that were detected as another class, by that class.
        few_points: Missed ones with fewer than `FEW_POINTS` points that were not mixed up.
        false: Detections of the class that are wrong.
        detections: Detections of the class that count.
    """

    truths: int
    found: int
    mixed_up: dict[str, int]
    few_points: int
    false: int
    detections: int

    @property
    def recall(self) -> float | None:
        """Share found; None without ground truth."""
        return self.found / self.truths if self.truths else None

    @property
    def precision(self) -> float | None:
        """Share of the detections that are right; None without any."""
        return 1 - self.false / self.detections if self.detections else None


@dataclass(frozen=True)
class BadFrame:
    """A frame with many failures.

    Attributes:
        index: In its data set.
        sensor: Its name.
        missed: Objects with at least `FEW_POINTS` points that were not found.
        false: Wrong detections.
    """

    index: int
    sensor: str
    missed: int
    false: int


class FailureAccumulator:
    """Takes frames one by one and keeps counts; a listener of `score.score`.

    Args:
        classes: To report.
        thresholds: Least score of a detection, by class.
        config: What counts and what matches; its `score_threshold` is not used.
    """

    def __init__(
        self,
        classes: Sequence[str],
        thresholds: Mapping[str, float],
        config: EvalConfig | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self.config = config or EvalConfig()
        self._thresholds = dict(thresholds)
        self._counts = {name: Counter[str]() for name in self.classes}
        self._mixed = {name: Counter[str]() for name in self.classes}
        self._frames: list[BadFrame] = []

    def __call__(self, index: int, frame: Frame, pred: Boxes3D) -> None:
        """Account for one frame; one without ground truth is left out."""
        if frame.boxes is None:
            return
        truth = frame.boxes
        points = frame.num_points
        if points is None:
            points = truth.contains(frame.cloud.points).sum(axis=1)
        pred = at_thresholds(pred, self._thresholds)
        names = np.array(pred.names, dtype=object)
        alike = similarity(pred, truth, "bev_iou")
        missed_well = false = 0
        for name in self.classes:
            of_pred = np.flatnonzero(names == name)
            of_truth = np.flatnonzero(np.array(truth.names, dtype=object) == name)
            part = similarity(pred[of_pred], truth[of_truth], self.config.criterion)
            counts = self._counted(truth[of_truth], points[of_truth])
            near = _distance(pred[of_pred]) < self.config.max_range
            outcome, index_of = match(part, self.config.threshold(name), counts, near)
            missed = counts.copy()
            missed[index_of[outcome == TRUE_POSITIVE]] = False
            wrong = int((outcome == FALSE_POSITIVE).sum())
            tally = self._counts[name]
            tally["truths"] += int(counts.sum())
            tally["found"] += int((outcome == TRUE_POSITIVE).sum())
            tally["false"] += wrong
            tally["detections"] += int((outcome >= 0).sum())
            false += wrong
            for j in of_truth[missed]:
                other = _mixed_up(alike[:, j], names, name)
                if other is not None:
                    self._mixed[name][other] += 1
                elif points[j] < FEW_POINTS:
                    tally["few_points"] += 1
                missed_well += int(points[j] >= FEW_POINTS)
        self._frames.append(BadFrame(index, frame.sensor, missed_well, false))

    def result(self) -> dict[str, ClassFailures]:
        """The counts of each class."""
        return {
            name: ClassFailures(
                truths=tally["truths"],
                found=tally["found"],
                mixed_up=dict(self._mixed[name].most_common()),
                few_points=tally["few_points"],
                false=tally["false"],
                detections=tally["detections"],
            )
            for name, tally in self._counts.items()
        }

    def worst(self, count: int) -> list[BadFrame]:
        """The frames with the most misses and inventions, each of another sensor if it can be."""
        ranked = sorted(self._frames, key=lambda f: (-(f.missed + f.false), f.index))
        taken: list[BadFrame] = []
        for frame in ranked:
            if frame.sensor not in {other.sensor for other in taken}:
                taken.append(frame)
        rest = [frame for frame in ranked if frame not in taken]
        return [frame for frame in (taken + rest)[:count] if frame.missed + frame.false]

    def _counted(self, truth: Boxes3D, points: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which ground truth is to be found."""
        near = _distance(truth) < self.config.max_range
        return np.asarray(near & (points >= self.config.min_points), bool)


def at_thresholds(boxes: Boxes3D, thresholds: Mapping[str, float]) -> Boxes3D:
    """The boxes that reach the score of their class; classes without one keep theirs."""
    least = np.array([thresholds.get(name, 0.0) for name in boxes.names], np.float32)
    return boxes[boxes.score >= least]


def _mixed_up(alike: NDArray[np.float32], names: NDArray[np.object_], own: str) -> str | None:
    """The class of the detection of another class that lies best on an object; None for none."""
    other = np.where(names != own, alike, 0.0) if len(alike) else np.zeros(0)
    if not len(other) or other.max() < MIXED_UP:
        return None
    return str(names[other.argmax()])


def _distance(boxes: Boxes3D) -> NDArray[np.float32]:
    """(N,) distance of the centres on the ground [m]."""
    return np.hypot(boxes.center[:, 0], boxes.center[:, 1])
