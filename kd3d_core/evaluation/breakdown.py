"""What a detector finds and what it makes up: curves, and shares by distance, points, occlusion.

Boxes match as `EvalConfig` says. A detection that lies on ground truth that does not count is left
out, as in `ap.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.evaluation.ap import average_precision
from kd3d_core.evaluation.breakdown_result import Breakdown
from kd3d_core.evaluation.breakdown_result import ClassBreakdown
from kd3d_core.evaluation.breakdown_result import Curve
from kd3d_core.evaluation.breakdown_result import Share
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.evaluation.matching import IGNORED
from kd3d_core.evaluation.matching import TRUE_POSITIVE
from kd3d_core.evaluation.matching import match
from kd3d_core.evaluation.matching import similarity
from kd3d_core.geometry.boxes import Boxes3D

#: Edges of the bins of distance [m] and of points inside a box.
RANGE_EDGES = (0, 10, 20, 30, 40, 50, 60, 80, 100, 150)
POINT_EDGES = (1, 5, 10, 20, 50, 100, 500, 1_000_000_000)
#: Steps of a curve that is written: enough for any screen.
_STEPS = 200


@dataclass
class _Kept:
    """Of one class: scores, outcomes and places of detections; what became of ground truth."""

    score: list[NDArray[np.float32]] = field(default_factory=list)
    right: list[NDArray[np.bool_]] = field(default_factory=list)
    distance: list[NDArray[np.float32]] = field(default_factory=list)
    found: list[NDArray[np.float32]] = field(default_factory=list)
    truth_distance: list[NDArray[np.float32]] = field(default_factory=list)
    points: list[NDArray[np.int64]] = field(default_factory=list)
    occlusion: list[NDArray[np.int64]] = field(default_factory=list)


class BreakdownAccumulator:
    """Takes frames one by one; keeps a few numbers a box, no clouds.

    Args:
        classes: To report.
        config: What counts, and the score threshold of the shares.
    """

    def __init__(self, classes: Sequence[str], config: EvalConfig | None = None) -> None:
        self.classes = tuple(classes)
        self.config = config or EvalConfig()
        self._frames = 0
        self._kept = {name: _Kept() for name in self.classes}

    def add(
        self,
        pred: Boxes3D,
        truth: Boxes3D,
        num_points: NDArray[np.integer[Any]] | None = None,
        occlusion: NDArray[np.integer[Any]] | None = None,
    ) -> None:
        """Account for one frame.

        Args:
            pred: Detections.
            truth: M ground-truth boxes.
            num_points: (M,) points inside each; None: unknown, and all count.
            occlusion: (M,) KITTI's levels 0 visible, 1 partly, 2 largely, 3 unknown; or None.
        """
        self._frames += 1
        unknown = np.full(len(truth), -1, np.int64)
        points = unknown if num_points is None else np.asarray(num_points, np.int64)
        hidden = unknown if occlusion is None else np.asarray(occlusion, np.int64)
        pred = pred[np.argsort(-pred.score, kind="stable")]
        pred_names, truth_names = np.array(pred.names), np.array(truth.names)
        for name in self.classes:
            of_pred = np.flatnonzero(pred_names == name) if len(pred) else np.zeros(0, int)
            of_truth = np.flatnonzero(truth_names == name) if len(truth) else np.zeros(0, int)
            if len(of_pred) or len(of_truth):
                self._add_class(
                    name, pred[of_pred], truth[of_truth], points[of_truth], hidden[of_truth]
                )

    def _add_class(
        self,
        name: str,
        pred: Boxes3D,
        truth: Boxes3D,
        points: NDArray[np.int64],
        occlusion: NDArray[np.int64],
    ) -> None:
        """Match the boxes of one class; `pred` is sorted by falling score."""
        config, kept = self.config, self._kept[name]
        far, truth_far = _distance(pred), _distance(truth)
        counts = ((points < 0) | (points >= config.min_points)) & (truth_far < config.max_range)
        alike = similarity(pred, truth, config.criterion)
        outcome, index = match(alike, config.threshold(name), counts, far < config.max_range)
        valid, right = outcome != IGNORED, outcome == TRUE_POSITIVE
        found = np.full(len(truth), -1.0, np.float32)
        found[index[right]] = pred.score[right]
        kept.score.append(pred.score[valid])
        kept.right.append(right[valid])
        kept.distance.append(far[valid])
        kept.found.append(found[counts])
        kept.truth_distance.append(truth_far[counts])
        kept.points.append(points[counts])
        kept.occlusion.append(occlusion[counts])

    def result(self) -> Breakdown:
        """Everything over all frames so far."""
        joined = {name: _join([kept]) for name, kept in self._kept.items()}
        everything = {"all": _join(list(self._kept.values())), **joined}
        classes = {name: self._of(kept) for name, kept in everything.items()}
        return Breakdown(self._frames, self.config, classes)

    def _of(self, kept: _Kept) -> ClassBreakdown:
        """One class whose lists hold one array each."""
        score, right, distance = kept.score[0], kept.right[0], kept.distance[0]
        taken = score >= self.config.score_threshold
        found = kept.found[0] >= self.config.score_threshold
        ranges = [edge for edge in RANGE_EDGES if edge < self.config.max_range]
        ranges.append(int(np.ceil(self.config.max_range)))
        return ClassBreakdown(
            truths=len(found),
            detections=len(score),
            curve=_curve(score, right, len(found)),
            by_range=_shares(
                ranges, " m", kept.truth_distance[0], found, distance[taken], right[taken]
            ),
            by_points=_shares(POINT_EDGES, "", kept.points[0], found),
            by_occlusion=_occlusion(kept.occlusion[0], found),
        )


def _distance(boxes: Boxes3D) -> NDArray[np.float32]:
    """(N,) horizontal distance of the centres [m]."""
    return np.hypot(boxes.center[:, 0], boxes.center[:, 1])


def _join(parts: Sequence[_Kept]) -> _Kept:
    """Several classes as one, each list joined to one array."""

    def join(name: str, kind: type) -> list[Any]:
        arrays = [array for part in parts for array in getattr(part, name)]
        return [np.concatenate([np.zeros(0, kind), *arrays])]

    return _Kept(
        score=join("score", np.float32),
        right=join("right", np.bool_),
        distance=join("distance", np.float32),
        found=join("found", np.float32),
        truth_distance=join("truth_distance", np.float32),
        points=join("points", np.int64),
        occlusion=join("occlusion", np.int64),
    )


def _curve(score: NDArray[np.float32], right: NDArray[np.bool_], truths: int) -> Curve | None:
    """The curve of (N,) detections; equal scores are one step."""
    if not truths:
        return None
    order = np.argsort(-score, kind="stable")
    score, right = score[order], right[order]
    last = np.append(score[1:] != score[:-1], True) if len(score) else np.zeros(0, bool)
    found = np.cumsum(right, dtype=np.float64)[last]
    recall, precision = found / truths, found / (np.flatnonzero(last) + 1)
    steps = np.unique(np.linspace(0, max(len(recall) - 1, 0), _STEPS).astype(int))
    steps = steps[: len(recall)]
    return Curve(
        score=tuple(score[last][steps].astype(float).round(6).tolist()),
        recall=tuple(recall[steps].round(6).tolist()),
        precision=tuple(precision[steps].round(6).tolist()),
        ap=average_precision(recall, precision),
    )


def _shares(
    edges: Sequence[int],
    unit: str,
    value: NDArray[Any],
    found: NDArray[np.bool_],
    pred_value: NDArray[np.float32] | None = None,
    right: NDArray[np.bool_] | None = None,
) -> tuple[Share, ...]:
    """Shares between edges: of (M,) ground truth found, and of (N,) detections right."""
    shares: list[Share] = []
    if not (value >= 0).any():
        return ()
    for low, high in pairwise(edges):
        inside = (value >= low) & (value < high)
        precision = None
        if pred_value is not None and right is not None:
            there = (pred_value >= low) & (pred_value < high)
            precision = float(right[there].mean()) if there.any() else None
        words = f"{low}+{unit}" if high >= POINT_EDGES[-1] else f"{low}-{high}{unit}"
        recall = float(found[inside].mean()) if inside.any() else None
        shares.append(Share(words, int(inside.sum()), recall, precision))
    return tuple(shares)


def _occlusion(level: NDArray[np.int64], found: NDArray[np.bool_]) -> tuple[Share, ...]:
    """Shares by KITTI's levels of occlusion; none where it is not known."""
    if not (level >= 0).any():
        return ()
    names = {0: "visible", 1: "partly hidden", 2: "largely hidden", 3: "unknown"}
    shares = []
    for value, words in names.items():
        inside = level == value
        recall = float(found[inside].mean()) if inside.any() else None
        shares.append(Share(words, int(inside.sum()), recall))
    return tuple(shares)
