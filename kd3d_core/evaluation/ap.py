"""Average precision of detections, by class and by distance."""

from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.evaluation.matching import IGNORED
from kd3d_core.evaluation.matching import TRUE_POSITIVE
from kd3d_core.evaluation.matching import match
from kd3d_core.evaluation.matching import similarity
from kd3d_core.geometry.boxes import Boxes3D

__all__ = ["ApAccumulator", "ClassMetrics", "EvalConfig", "EvalResult", "evaluate"]

#: See `ClassMetrics.recall_threshold`.
F1_SLACK = 0.01


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class in one ring; None where there is no ground truth to find.

    Attributes:
        truths: Ground-truth boxes that count.
        ap: Average precision in [0, 1].
        precision: Share of right detections at the configured score threshold, None without any.
        recall: Share of found ground truth at the configured score threshold.
        best_f1: Largest harmonic mean of precision and recall over all thresholds.
        best_threshold: The score threshold of `best_f1`.
        recall_threshold: The lowest one whose F1 is at most `F1_SLACK` below the best: it costs
            next to nothing on these frames, and finds more where scores are lower than on them.
    """

    truths: int
    ap: float | None
    precision: float | None
    recall: float | None
    best_f1: float | None
    best_threshold: float | None
    recall_threshold: float | None = None


@dataclass(frozen=True)
class EvalResult:
    """Metrics of a detector on a set of frames.

    Attributes:
        frames: How many frames were seen.
        config: What was counted.
        metrics: metrics[ring][class], ring "all" first.
    """

    frames: int
    config: EvalConfig
    metrics: dict[str, dict[str, ClassMetrics]]

    def ap(self, name: str, ring: str = "all") -> float | None:
        """Average precision of class `name`, None without ground truth."""
        return self.metrics[ring][name].ap

    def mean_ap(self, ring: str = "all") -> float | None:
        """Mean of the average precisions of the classes that have ground truth."""
        values = [entry.ap for entry in self.metrics[ring].values() if entry.ap is not None]
        return sum(values) / len(values) if values else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "frames": self.frames,
            "config": self.config.model_dump(mode="json"),
            "mean_ap": {ring: self.mean_ap(ring) for ring in self.metrics},
            "metrics": {
                ring: {name: asdict(entry) for name, entry in classes.items()}
                for ring, classes in self.metrics.items()
            },
        }


class ApAccumulator:
    """Takes frames one by one and keeps only scores and outcomes."""

    def __init__(self, classes: Sequence[str], config: EvalConfig | None = None) -> None:
        self.classes = tuple(classes)
        self.config = config or EvalConfig()
        self._rings = self.config.all_rings()
        self._frames = 0
        keys = [(ring, name) for ring in self._rings for name in self.classes]
        self._truths = dict.fromkeys(keys, 0)
        self._scores: dict[tuple[str, str], list[NDArray[np.float32]]] = {k: [] for k in keys}
        self._right: dict[tuple[str, str], list[NDArray[np.bool_]]] = {k: [] for k in keys}

    def add(
        self, pred: Boxes3D, truth: Boxes3D, num_points: NDArray[np.integer[Any]] | None = None
    ) -> None:
        """Account for one frame.

        Args:
            pred: Detections, in any order; their class names may be ordered differently.
            truth: Ground truth in the same frame of reference.
            num_points: (M,) points in each ground-truth box; None counts every box.
        """
        self._frames += 1
        enough = (
            np.ones(len(truth), bool)
            if num_points is None
            else np.asarray(num_points) >= self.config.min_points
        )
        pred = pred[np.argsort(-pred.score, kind="stable")]
        pred_names, truth_names = np.array(pred.names), np.array(truth.names)
        for name in self.classes:
            of_pred = pred_names == name if len(pred) else np.zeros(0, bool)
            of_truth = truth_names == name if len(truth) else np.zeros(0, bool)
            if of_pred.any() or of_truth.any():
                self._add_class(name, pred[of_pred], truth[of_truth], enough[of_truth])

    def _add_class(
        self, name: str, pred: Boxes3D, truth: Boxes3D, enough: NDArray[np.bool_]
    ) -> None:
        """Match the boxes of one class in every ring; `pred` is sorted by falling score."""
        alike = similarity(pred, truth, self.config.criterion)
        pred_range = np.hypot(pred.center[:, 0], pred.center[:, 1])
        truth_range = np.hypot(truth.center[:, 0], truth.center[:, 1])
        for ring, (low, high) in self._rings.items():
            counts = enough & (truth_range >= low) & (truth_range < high)
            inside = (pred_range >= low) & (pred_range < high)
            outcome, _ = match(alike, self.config.threshold(name), counts, inside)
            kept = outcome != IGNORED
            self._truths[ring, name] += int(counts.sum())
            self._scores[ring, name].append(pred.score[kept])
            self._right[ring, name].append(outcome[kept] == TRUE_POSITIVE)

    def result(self) -> EvalResult:
        """Metrics over all frames so far."""
        metrics = {
            ring: {
                name: _metrics(
                    self._truths[ring, name],
                    np.concatenate([np.zeros(0, np.float32), *self._scores[ring, name]]),
                    np.concatenate([np.zeros(0, bool), *self._right[ring, name]]),
                    self.config.score_threshold,
                )
                for name in self.classes
            }
            for ring in self._rings
        }
        return EvalResult(frames=self._frames, config=self.config, metrics=metrics)


def evaluate(
    pairs: Iterable[tuple[Boxes3D, Boxes3D, NDArray[np.integer[Any]] | None]],
    config: EvalConfig | None = None,
    classes: Sequence[str] | None = None,
) -> EvalResult:
    """Metrics of (detections, ground truth, points in each ground-truth box) over frames.

    Args:
        pairs: One triple a frame.
        config: What counts; the defaults when None.
        classes: Classes to report; those of the first frame's ground truth when None.
    """
    accumulator = None if classes is None else ApAccumulator(classes, config)
    for pred, truth, num_points in pairs:
        if accumulator is None:
            accumulator = ApAccumulator(truth.classes, config)
        accumulator.add(pred, truth, num_points)
    return (accumulator or ApAccumulator((), config)).result()


def average_precision(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """Area under the interpolated precision-recall curve, over all points.

    Args:
        recall: (N,) rising, one entry a detection in order of falling score.
        precision: (N,) at the same detections.
    """
    if not len(recall):
        return 0.0
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def _metrics(
    truths: int, score: NDArray[np.float32], right: NDArray[np.bool_], threshold: float
) -> ClassMetrics:
    """Metrics from the (N,) scores and outcomes of the detections that count."""
    if not truths:
        return ClassMetrics(0, None, None, None, None, None)
    order = np.argsort(-score, kind="stable")
    score, right = score[order], right[order]
    found = np.cumsum(right, dtype=np.float64)
    # Equal scores cannot be told apart by a threshold: only the last of a tie is an operating
    # point, which also makes the result independent of the order of the frames.
    last = np.append(score[1:] != score[:-1], True) if len(score) else np.zeros(0, bool)
    recall = found[last] / truths
    precision = found[last] / (np.flatnonzero(last) + 1)
    if not len(score):
        return ClassMetrics(truths, 0.0, None, 0.0, 0.0, None)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
    best = int(np.argmax(f1))
    taken = score >= threshold
    return ClassMetrics(
        truths=truths,
        ap=average_precision(recall, precision),
        precision=float(right[taken].mean()) if taken.any() else None,
        recall=float(right[taken].sum() / truths),
        best_f1=float(f1[best]),
        best_threshold=float(score[last][best]),
        recall_threshold=float(score[last][f1 >= f1[best] - F1_SLACK].min()),
    )
