"""Waymo's AP and APH for LEVEL_1 and LEVEL_2, by type and range.

The definition is that of the Waymo Open Dataset (Sun et al., CVPR 2020, section 4) and of the
public configuration of its evaluator. What is known of the evaluator, and followed here:

* At each of 101 score cutoffs 0, 0.01, ... 1 the detections above it are assigned to ground truth
  of the same type so that the total overlap is largest (the Hungarian method, overlaps rounded to
  a millionth); pairs below the type's least 3D overlap (vehicle 0.7, others 0.5) cannot match.
  Scores decide nothing else.
* Ground truth without points is left out. It is LEVEL_2 when annotators said so or when it holds
  5 points or fewer, else LEVEL_1.
* The figure of LEVEL_1 forgives ground truth of LEVEL_2 that is missed, but counts it as found
  when it is; LEVEL_2 asks for both.
* By range, detections and ground truth are sorted by their own distances before they are matched:
  a pair across 30 m or 50 m is no match. Distance is that of the centre, in 3D, from the origin of
  the vehicle frame.
* A detection without a match is wrong unless it lies in a no-label zone.
* APH weights a match by 1 - |heading error| / pi in the precision, not in the recall.
* The area under the curve is `area_under_curve` with recall steps of 0.05.

Choices of our own: among assignments of exactly equal overlap the one with the best headings
counts (the official choice depends on the order of its input); where there is no ground truth the
figure is None instead of 0; sums are in float64.

The figures published with the evaluator for its example files come out to 1e-6 in 20 of 24 rows;
the other 4, which share one pair of practically identical boxes, do when that pair is missed, as
the official polygon code seems to do.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.evaluation.waymo_match import area_under_curve
from kd3d_core.evaluation.waymo_match import match_all
from kd3d_core.evaluation.waymo_result import LEVELS
from kd3d_core.evaluation.waymo_result import RANGES
from kd3d_core.evaluation.waymo_result import WaymoConfig
from kd3d_core.evaluation.waymo_result import WaymoResult
from kd3d_core.evaluation.waymo_result import WaymoScore
from kd3d_core.evaluation.waymo_result import waymo_table
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.iou import iou_3d

__all__ = ["WaymoAccumulator", "WaymoConfig", "WaymoResult", "WaymoScore", "waymo_table"]

#: A ground truth with more points is LEVEL_1.
LEVEL_2_POINTS = 5
#: Boxes with a smaller side overlap nothing [m].
_TINY = 0.01


class _Counts:
    """Sums over frames of one type and range, as differences between neighbouring cutoffs."""

    def __init__(self, cutoffs: int) -> None:
        self.truths = np.zeros(2, np.int64)
        #: Rows: detections outside no-label zones, matches, matches inside no-label zones, matches
        #: of LEVEL_1, sum of heading accuracies.
        self.steps = np.zeros((5, cutoffs + 1))

    def count(
        self,
        row: int,
        first: NDArray[np.int64],
        last: NDArray[np.int64],
        value: NDArray[np.float64] | float = 1.0,
    ) -> None:
        """Add `value` to a row from cutoff `first` to before `last`."""
        np.add.at(self.steps[row], first, value)
        np.subtract.at(self.steps[row], last, value)


class WaymoAccumulator:
    """Takes frames one by one and keeps counts at each cutoff only."""

    def __init__(self, config: WaymoConfig | None = None) -> None:
        self.config = config or WaymoConfig()
        #: float32, as scores are: 0.3 in a file must not fall below 0.3 here.
        self._cutoffs = np.linspace(0, 1, self.config.cutoffs).round(9).astype(np.float32)
        self._frames = 0
        self._counts = {
            name: {ring: _Counts(self.config.cutoffs) for ring in ("all", *RANGES)}
            for name in self.config.overlap
        }

    def add(
        self,
        pred: Boxes3D,
        truth: Boxes3D,
        num_points: NDArray[np.integer[Any]],
        difficulty: NDArray[np.integer[Any]] | None = None,
        in_no_label_zone: NDArray[np.bool_] | None = None,
    ) -> None:
        """Account for one frame.

        Args:
            pred: N detections in the vehicle frame.
            truth: M ground-truth boxes in the same frame.
            num_points: (M,) LiDAR points in each ground-truth box, as the labels say.
            difficulty: (M,) 1 or 2 as annotated, 0 where `num_points` decides; None: everywhere.
            in_no_label_zone: (N,) detections that lie in a no-label zone; none when None.
        """
        self._frames += 1
        points = np.asarray(num_points)
        marked = np.zeros(len(truth), np.int64) if difficulty is None else np.asarray(difficulty)
        level = np.where(marked > 0, marked, np.where(points <= LEVEL_2_POINTS, 2, 1))
        zone = np.zeros(len(pred), bool) if in_no_label_zone is None else in_no_label_zone
        pred_types, truth_types = (_types(boxes, self.config.types) for boxes in (pred, truth))
        for name, least in self.config.overlap.items():
            of_pred = pred_types == name
            of_truth = (truth_types == name) & (points > 0)
            if of_pred.any() or of_truth.any():
                self._add_type(
                    name, least, pred[of_pred], truth[of_truth], level[of_truth], zone[of_pred]
                )

    def _add_type(
        self,
        name: str,
        least: float,
        pred: Boxes3D,
        truth: Boxes3D,
        level: NDArray[np.int64],
        zone: NDArray[np.bool_],
    ) -> None:
        """Match the boxes of one type over all ranges, and then within each."""
        overlap = iou_3d(pred, truth)
        overlap[(pred.size <= _TINY).any(axis=1)] = 0
        overlap[:, (truth.size <= _TINY).any(axis=1)] = 0
        turn = np.abs(pred.yaw[:, None].astype(np.float64) - truth.yaw[None].astype(np.float64))
        heading = np.clip(1 - np.minimum(turn, 2 * np.pi - turn) / np.pi, 0.0, 1.0)
        alive = np.searchsorted(self._cutoffs, pred.score, side="right")
        allowed = overlap >= np.float32(least)
        pred_ring, truth_ring = _ring(pred), _ring(truth)
        matched = match_all(overlap, allowed, heading, alive)
        everything = np.ones(len(pred), bool), np.ones(len(truth), bool)
        parts = [("all", matched, *everything)]
        near = match_all(overlap, allowed & (pred_ring[:, None] == truth_ring), heading, alive)
        parts += [
            (ring, near, pred_ring == number, truth_ring == number)
            for number, ring in enumerate(RANGES)
        ]
        for ring, found, of_pred, of_truth in parts:
            counts = self._counts[name][ring]
            counts.truths += [(level[of_truth] == 1).sum(), of_truth.sum()]
            wrong = alive[of_pred & ~zone]
            counts.count(0, np.zeros(len(wrong), np.int64), wrong)
            keep = of_pred[found.pred]
            p, t, first, last = (
                column[keep] for column in (found.pred, found.truth, found.first, found.last)
            )
            counts.count(1, first, last)
            counts.count(2, first[zone[p]], last[zone[p]])
            easy = level[t] == 1
            counts.count(3, first[easy], last[easy])
            counts.count(4, first, last, heading[p, t])

    def result(self) -> WaymoResult:
        """Figures of all frames so far."""
        scores = {
            name: {
                ring: {level: self._score(counts, level) for level in LEVELS}
                for ring, counts in by_range.items()
            }
            for name, by_range in self._counts.items()
        }
        return WaymoResult(self._frames, self.config, scores)

    def _score(self, counts: _Counts, level: int) -> WaymoScore:
        """The curve and the areas of one level."""
        outside, right, right_in_zone, right_easy, heading = np.cumsum(counts.steps, axis=1)[
            :, :-1
        ]
        wrong = outside - (right - right_in_zone)
        of_level = right_easy if level == 1 else right
        missed = counts.truths[level - 1] - of_level
        said, there = np.maximum(right + wrong, 1), np.maximum(right + missed, 1)
        recall = right / there
        precision = np.where(recall > 0, right / said, 1.0)
        weighted = np.where(recall > 0, heading / said, 1.0)
        step = self.config.recall_step
        some = counts.truths[1] > 0
        return WaymoScore(
            int(counts.truths[level - 1]),
            area_under_curve(precision, recall, step) if some else None,
            area_under_curve(weighted, recall, step) if some else None,
            tuple(precision.tolist()),
            tuple(weighted.tolist()),
            tuple(recall.tolist()),
        )


def _types(boxes: Boxes3D, types: Mapping[str, str]) -> NDArray[np.object_]:
    """(N,) the Waymo type of each box, "" where it has none."""
    names = np.array([types.get(name, "") for name in boxes.classes], object)
    return names[boxes.label]


def _ring(boxes: Boxes3D) -> NDArray[np.int64]:
    """(N,) int64 index into `RANGES`, by the distance of the centre in 3D."""
    distance = np.linalg.norm(boxes.center.astype(np.float64), axis=1)
    return np.searchsorted(list(RANGES.values()), distance, side="right") - 1
