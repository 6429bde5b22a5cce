"""Detections against the simulator's truth, frame by frame."""

from collections import Counter
from dataclasses import dataclass
from dataclasses import field

import numpy as np
from numpy.typing import NDArray

from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.evaluation.matching import FALSE_POSITIVE
from kd3d_core.evaluation.matching import TRUE_POSITIVE
from kd3d_core.evaluation.matching import match
from kd3d_core.evaluation.matching import similarity
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud


@dataclass
class Score:
    """Found, missed and invented objects over frames.

    What counts, and how alike a detection must be, says the `EvalConfig`; every detection that
    was published is scored.

    Attributes:
        config: The rules.
        frames: How many were added.
        found: Class -> true positives.
        truths: Class -> ground-truth boxes that count.
        wrong: Class -> false positives.
        latest: (found, truths) of the latest frame.
    """

    config: EvalConfig = field(default_factory=EvalConfig)
    frames: int = 0
    found: Counter[str] = field(default_factory=Counter)
    truths: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    latest: tuple[int, int] = (0, 0)

    def add(self, cloud: PointCloud, pred: Boxes3D, truth: Boxes3D) -> None:
        """Score one frame; all three are in the sensor's frame."""
        enough = truth.contains(cloud.points, 0.05).sum(axis=1) >= self.config.min_points
        truth_counts = enough & (_distance(truth) <= self.config.max_range)
        pred_counts = _distance(pred) <= self.config.max_range
        pred_names, truth_names = np.array(pred.names, str), np.array(truth.names, str)
        before = self.found.total(), self.truths.total()
        for name in sorted({*pred.names, *truth.names}):
            of_pred, of_truth = pred_names == name, truth_names == name
            order = np.flatnonzero(of_pred)[np.argsort(-pred.score[of_pred], kind="stable")]
            alike = similarity(pred[order], truth[of_truth], self.config.criterion)
            outcome, _ = match(
                alike, self.config.threshold(name), truth_counts[of_truth], pred_counts[order]
            )
            self.found[name] += int(np.count_nonzero(outcome == TRUE_POSITIVE))
            self.wrong[name] += int(np.count_nonzero(outcome == FALSE_POSITIVE))
            self.truths[name] += int(np.count_nonzero(truth_counts[of_truth]))
        self.frames += 1
        self.latest = self.found.total() - before[0], self.truths.total() - before[1]

    def precision(self, name: str | None = None) -> float | None:
        """Share of right detections, of a class or of all; None without any detection."""
        found, wrong = _of(self.found, name), _of(self.wrong, name)
        return found / (found + wrong) if found + wrong else None

    def recall(self, name: str | None = None) -> float | None:
        """Share of found objects, of a class or of all; None without any object."""
        truths = _of(self.truths, name)
        return _of(self.found, name) / truths if truths else None


def _distance(boxes: Boxes3D) -> NDArray[np.float32]:
    """(N,) float32 distance of the centres from the sensor on the ground [m]."""
    distance: NDArray[np.float32] = np.hypot(boxes.center[:, 0], boxes.center[:, 1])
    return distance


def _of(counter: Counter[str], name: str | None) -> int:
    """The count of a class, or of all."""
    return counter.total() if name is None else counter[name]
