"""The metrics of the Argoverse 2 detection benchmark: AP, ATE, ASE, AOE and CDS, frame by frame.

As the published benchmark defines them (Wilson et al., NeurIPS Datasets and Benchmarks 2021,
section 4.1 and the benchmark's page), to the last tie:

* Boxes count within 150 m of the vehicle (3D distance of the centre), ground truth also needs a
  point inside; a frame has at most 100 detections of a class, those of the highest score.
* Each detection belongs to the nearest ground truth of its class (3D distance of the centres), and
  of those that belong to one ground truth the one of the highest score is right where it is nearer
  than 0.5, 1, 2 or 4 m. There is no second choice.
* AP is the mean of the interpolated precision at 101 recalls, and over the four distances.
* Errors of translation [m], scale (1 - IoU of the boxes put onto each other) and orientation [rad]
  are means over the right ones within 2 m.
* CDS = AP * mean(1 - ATE / 2 m, 1 - ASE, 1 - AOE / pi), for each class; a mean is over classes,
  and a class without ground truth counts with the worst values.
"""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.evaluation.argoverse2_match import assign
from kd3d_core.evaluation.argoverse2_result import Argoverse2Config
from kd3d_core.evaluation.argoverse2_result import Argoverse2Metrics
from kd3d_core.evaluation.argoverse2_result import Argoverse2Result
from kd3d_core.geometry.boxes import Boxes3D

__all__ = ["Argoverse2Accumulator", "Argoverse2Config", "Argoverse2Metrics", "Argoverse2Result"]

#: Tells which boxes lie in the region of interest, (N,) bool; see `RegionOfInterest`.
InRegion = Callable[[Boxes3D], NDArray[np.bool_]]


@dataclass
class _Class:
    """What is kept of a class: a score and a byte of outcomes a detection, and sums."""

    truths: int = 0
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    right: list[NDArray[np.uint8]] = field(default_factory=list)
    errors: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    matched: int = 0


class Argoverse2Accumulator:
    """Takes frames one by one. Where scores are equal, the earlier frame comes first.

    Args:
        classes: Names to report.
        config: What counts; the benchmark's own when None.
    """

    def __init__(self, classes: Sequence[str], config: Argoverse2Config | None = None) -> None:
        self.classes = tuple(classes)
        self.config = config or Argoverse2Config()
        self._frames = 0
        self._kept = {name: _Class() for name in self.classes}
        self._index = lru_cache(64)(self._labels_of)

    def add(
        self,
        pred: Boxes3D,
        truth: Boxes3D,
        num_points: NDArray[np.integer[Any]] | None = None,
        *,
        region: InRegion | None = None,
    ) -> None:
        """Account for one frame.

        Args:
            pred: Detections, in the frame of the vehicle.
            truth: Ground truth.
            num_points: (M,) points in each ground-truth box; None counts every box.
            region: Leaves out boxes outside of the region of interest; None takes all.
        """
        self._frames += 1
        config = self.config
        truth_in = _distance(truth) < config.max_range
        if num_points is not None:
            truth_in &= np.asarray(num_points) > 0
        pred_in = _distance(pred) < config.max_range
        pred_label = self._index(pred.classes)[pred.label]
        truth_label = self._index(truth.classes)[truth.label]
        # The limit counts what is in range, whether or not it is in the region.
        order = _by_class_and_score(pred, pred_label, len(self.classes))
        pred_label, pred_in = pred_label[order], pred_in[order]
        _limit(pred_in, pred_label, config.max_detections)
        if region is not None:
            truth_in &= region(truth)
            pred_in &= region(pred)[order]
        kept, found = order[pred_in], np.flatnonzero(truth_in)
        kept_label, truth, truth_label = pred_label[pred_in], truth[found], truth_label[found]
        gap, match = assign(
            pred.center[kept].astype(np.float64),
            kept_label,
            truth.center.astype(np.float64),
            truth_label,
        )
        # Where scores are equal, the curve takes detections in the order in which they came.
        back = np.lexsort((kept, kept_label))
        self._keep(pred[kept[back]], kept_label[back], gap[back], match[back], truth, truth_label)

    def _keep(
        self,
        pred: Boxes3D,
        pred_label: NDArray[np.int64],
        gap: NDArray[np.float64],
        match: NDArray[np.int64],
        truth: Boxes3D,
        truth_label: NDArray[np.int64],
    ) -> None:
        """Remember the outcomes of one frame; detections come class by class."""
        right = np.zeros(len(pred), np.uint8)
        for bit, threshold in enumerate(self.config.thresholds):
            right |= (gap < threshold).astype(np.uint8) << np.uint8(bit)
        close = np.flatnonzero(gap < self.config.error_threshold)
        errors = _errors(pred[close], truth[match[close]], gap[close])
        sums = np.zeros((len(self.classes), 3))
        np.add.at(sums, pred_label[close], errors)
        hits = np.bincount(pred_label[close], minlength=len(self.classes))
        wanted = np.bincount(truth_label[truth_label >= 0], minlength=len(self.classes))
        edges = np.searchsorted(pred_label, np.arange(len(self.classes) + 1))
        for i in np.flatnonzero((edges[1:] > edges[:-1]) | (wanted > 0)):
            kept = self._kept[self.classes[i]]
            part = slice(edges[i], edges[i + 1])
            kept.truths += int(wanted[i])
            kept.scores.append(pred.score[part])
            kept.right.append(right[part])
            kept.errors += sums[i]
            kept.matched += int(hits[i])

    def result(self) -> Argoverse2Result:
        """Metrics over all frames so far."""
        classes = {name: self._metrics(kept) for name, kept in self._kept.items()}
        return Argoverse2Result(
            self._frames, self.config, classes, _mean(list(classes.values()), self.config)
        )

    def _metrics(self, kept: _Class) -> Argoverse2Metrics:
        """Metrics of one class."""
        config = self.config
        errors = np.array(config.worst)
        precisions = np.zeros(len(config.thresholds))
        if kept.truths:
            scores = np.concatenate([np.zeros(0, np.float32), *kept.scores])
            right = np.concatenate([np.zeros(0, np.uint8), *kept.right])
            ranked = right[np.argsort(-scores, kind="stable")]
            if len(ranked):
                precisions = np.array(
                    [
                        _average_precision((ranked >> bit) & 1, kept.truths, config.recalls)
                        for bit in range(len(config.thresholds))
                    ]
                )
            if kept.matched:
                errors = kept.errors / kept.matched
        ap = float(precisions.mean())
        cds = ap * float(np.mean(1 - errors / config.worst)) if kept.truths else 0.0
        ate, ase, aoe = errors.tolist()
        return Argoverse2Metrics(kept.truths, tuple(precisions.tolist()), ap, ate, ase, aoe, cds)

    def _labels_of(self, names: tuple[str, ...]) -> NDArray[np.int64]:
        """(C + 1,) our label of each of C class names, -1 for those that are not reported."""
        ours = [self.classes.index(name) if name in self.classes else -1 for name in names]
        return np.array([*ours, -1], np.int64)


def _distance(boxes: Boxes3D) -> NDArray[np.float64]:
    """(N,) 3D distance of the centres from the origin [m]."""
    return np.linalg.norm(boxes.center.astype(np.float64), axis=1)


def _by_class_and_score(
    pred: Boxes3D, label: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """(M,) indices of the reported detections, class by class, each by falling score.

    Equal scores keep the order that NumPy's default (unstable) sort of the negated float64 scores
    gives them, because that is how the benchmark breaks ties.
    """
    groups = np.argsort(label, kind="stable")
    edges = np.searchsorted(label[groups], np.arange(classes + 1))
    minus = -pred.score.astype(np.float64)
    parts = []
    for start, end in pairwise(edges):
        if end > start:
            rows = groups[start:end]
            parts.append(rows[np.argsort(minus[rows])])
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _limit(inside: NDArray[np.bool_], label: NDArray[np.int64], most: int) -> None:
    """Leave only the first `most` of each class of (N,) `inside`, in place; classes are runs."""
    if len(label) <= most:
        return
    count = np.cumsum(inside)
    starts = np.searchsorted(label, label)
    before: NDArray[np.int64] = count[starts] - inside[starts]
    inside &= count - before <= most


def _errors(pred: Boxes3D, truth: Boxes3D, gap: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 3) translation [m], scale and orientation [rad] errors of N pairs."""
    sizes = pred.size.astype(np.float64), truth.size.astype(np.float64)
    overlap = np.minimum(*sizes).prod(axis=1) / np.maximum(*sizes).prod(axis=1)
    turn = np.abs(pred.yaw.astype(np.float64) - truth.yaw.astype(np.float64))
    turn = np.where(turn < np.pi, turn, 2 * np.pi - turn)
    return np.stack([gap, 1 - overlap, turn], axis=1)


def _average_precision(right: NDArray[np.integer[Any]], truths: int, samples: int) -> float:
    """AP from (N,) outcomes, 0 or 1, by falling score: the mean at evenly spaced recalls."""
    found = np.cumsum(right, dtype=np.int64)
    precision = found / (np.arange(1, len(right) + 1) + np.finfo(np.float64).eps)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.linspace(0, 1, samples, endpoint=True)
    return float(np.interp(at, found / truths, envelope, right=0).mean())


def _mean(entries: Sequence[Argoverse2Metrics], config: Argoverse2Config) -> Argoverse2Metrics:
    """The means over classes; the worst values when there is no class."""
    if not entries:
        return Argoverse2Metrics(0, (0.0,) * len(config.thresholds), 0.0, *config.worst, 0.0)
    at = np.mean([entry.ap_at for entry in entries], axis=0).tolist()
    names = ("ap", "ate", "ase", "aoe", "cds")
    means = [float(np.mean([getattr(e, name) for e in entries])) for name in names]
    return Argoverse2Metrics(sum(e.truths for e in entries), tuple(at), *means)
