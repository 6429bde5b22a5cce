"""nuScenes detection metrics: mAP, five true-positive errors and NDS; streaming, any classes.

Equal to nuscenes-devkit to rounding (the tests run both), and faster: samples are matched in
batches by a compiled loop, and only scores, outcomes and the errors of the matched pairs are kept.

Distances are horizontal and ranges are measured from the vehicle. In a sensor frame both depend
on the tilt and place of the mount, so official figures need `world_from_boxes` and `ego`; see
`kd3d_core.evaluation.nuscenes_submission` for a whole data set or a submission file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray

from kd3d_core.datasets.nuscenes_classes import NUSCENES_CLASSES
from kd3d_core.evaluation.nuscenes_boxes import LevelBoxes
from kd3d_core.evaluation.nuscenes_boxes import level_boxes
from kd3d_core.evaluation.nuscenes_config import ERRORS
from kd3d_core.evaluation.nuscenes_config import ErrorName
from kd3d_core.evaluation.nuscenes_config import NuScenesEvalConfig
from kd3d_core.evaluation.nuscenes_curves import average_precision
from kd3d_core.evaluation.nuscenes_curves import make_curve
from kd3d_core.evaluation.nuscenes_curves import mean_error
from kd3d_core.evaluation.nuscenes_matching import Batch
from kd3d_core.evaluation.nuscenes_matching import Sample
from kd3d_core.evaluation.nuscenes_matching import falling
from kd3d_core.evaluation.nuscenes_matching import match_batch
from kd3d_core.evaluation.nuscenes_matching import pair_errors
from kd3d_core.evaluation.nuscenes_result import NuScenesClassResult
from kd3d_core.evaluation.nuscenes_result import NuScenesResult
from kd3d_core.evaluation.nuscenes_result import nuscenes_table
from kd3d_core.geometry.boxes import Boxes3D

__all__ = [
    "NuScenesAccumulator",
    "NuScenesEvalConfig",
    "NuScenesResult",
    "nuscenes_table",
]

#: Samples that are matched together.
BATCH = 256


@dataclass(frozen=True, eq=False)
class _Outcomes:
    """What is kept of N detections, in the order in which they came.

    Attributes:
        score: (N,) float64.
        label: (N,) int64.
        right: (T, N) bool: matched, at each distance.
        error: (K, 5) float64 of the K matched at the distance of the errors, in the same order.
    """

    score: NDArray[np.float64]
    label: NDArray[np.int64]
    right: NDArray[np.bool_]
    error: NDArray[np.float64]


class NuScenesAccumulator:
    """Takes samples one by one.

    The order of the samples matters where scores are equal across them: the official rule ranks
    the later one first.
    """

    def __init__(
        self,
        classes: Sequence[str] = NUSCENES_CLASSES,
        config: NuScenesEvalConfig | None = None,
    ) -> None:
        """Start with no samples.

        Args:
            classes: Classes to report; boxes of others are left out.
            config: What counts; the official protocol when None.

        Raises:
            ValueError: There are no classes.
        """
        if not classes:
            raise ValueError("NuScenesAccumulator: there are no classes to evaluate")
        self.classes = tuple(classes)
        self.config = config or NuScenesEvalConfig()
        self._thresholds = np.array(self.config.thresholds)
        self._range = np.array([self.config.range_of(name) for name in self.classes])
        self._half_turn = np.isin(self.classes, self.config.half_turn)
        self._in_racks = np.isin(self.classes, self.config.rack_classes)
        self._truths = np.zeros(len(self.classes), np.int64)
        none = np.zeros(0)
        self._parts = [
            _Outcomes(
                none,
                none.astype(np.int64),
                np.zeros((len(self._thresholds), 0), bool),
                np.zeros((0, len(ERRORS))),
            )
        ]
        self._waiting: list[Sample] = []
        self._frames = 0
        self._dropped = 0

    def add(
        self,
        pred: Boxes3D,
        truth: Boxes3D,
        *,
        num_points: NDArray[np.integer[Any]] | None = None,
        pred_attributes: Sequence[str] | None = None,
        truth_attributes: Sequence[str] | None = None,
        world_from_boxes: NDArray[np.floating[Any]] | None = None,
        ego: ArrayLike = (0.0, 0.0, 0.0),
        racks: Boxes3D | None = None,
    ) -> None:
        """Account for one sample.

        Args:
            pred: Detections; their class names may be ordered differently.
            truth: Ground truth in the same frame.
            num_points: (M,) points in each ground-truth box: those without any do not count;
                None counts every box.
            pred_attributes: Name of each detection's attribute, "" for none.
            truth_attributes: Likewise of the ground truth; "" is left out of the attribute error.
            world_from_boxes: (4, 4) pose of the boxes' frame in a level one, in which they are
                compared; None compares them as they are.
            ego: (3,) the vehicle, from which ranges are measured, in the boxes' frame [m].
            racks: Bicycle racks in the boxes' frame, of any class.
        """
        detections, _ = level_boxes(pred, self.classes, pred_attributes, world_from_boxes)
        boxes, known = level_boxes(truth, self.classes, truth_attributes, world_from_boxes)
        origin = np.asarray(ego, np.float64)
        if world_from_boxes is not None:
            origin = world_from_boxes[:3, :3] @ origin + world_from_boxes[:3, 3]
        self.add_level(
            detections,
            boxes,
            num_points=None if num_points is None else np.asarray(num_points)[known],
            ego=origin,
            racks=None
            if racks is None
            else level_boxes(racks, racks.classes, None, world_from_boxes)[0],
        )

    def add_level(
        self,
        pred: LevelBoxes,
        truth: LevelBoxes,
        *,
        num_points: NDArray[np.integer[Any]] | None = None,
        ego: ArrayLike = (0.0, 0.0),
        racks: LevelBoxes | None = None,
    ) -> None:
        """Account for one sample whose boxes are level already; arguments as in `add`."""
        self._frames += 1
        if len(pred) > self.config.max_boxes:
            self._dropped += len(pred) - self.config.max_boxes
            # The best ones, in the order in which they came: it decides between equal scores.
            pred = pred[np.sort(falling(pred.score)[: self.config.max_boxes])]
        points = np.ones(len(truth), np.int64) if num_points is None else np.asarray(num_points)
        place = np.asarray(ego, np.float64)[:2]
        self._waiting.append(Sample(pred, truth, points, place, racks))
        if len(self._waiting) == BATCH:
            self._match_waiting()

    def _match_waiting(self) -> None:
        """Match the samples in hand, all at once: a compiled pass instead of many small steps."""
        if not self._waiting:
            return
        batch = Batch.of(self._waiting, self._range, self._in_racks)
        self._waiting = []
        pred, truth = batch.pred, batch.truth
        self._truths += np.bincount(truth.label, minlength=len(self.classes))
        index = match_batch(batch, self._thresholds)
        at_errors = index[self.config.thresholds.index(self.config.error_threshold)]
        found = at_errors >= 0
        self._parts.append(
            _Outcomes(
                score=pred.score,
                label=pred.label,
                right=index >= 0,
                error=pair_errors(
                    pred[found], truth[at_errors[found]], self._half_turn[pred.label[found]]
                ),
            )
        )

    def result(self) -> NuScenesResult:
        """Metrics over all samples so far."""
        self._match_waiting()
        every = _Outcomes(
            score=np.concatenate([part.score for part in self._parts]),
            label=np.concatenate([part.label for part in self._parts]),
            right=np.concatenate([part.right for part in self._parts], axis=1),
            error=np.concatenate([part.error for part in self._parts]),
        )
        self._parts = [every]
        return NuScenesResult(
            frames=self._frames,
            config=self.config,
            classes={name: self._of_class(i, every) for i, name in enumerate(self.classes)},
            dropped=self._dropped,
        )

    def _of_class(self, label: int, every: _Outcomes) -> NuScenesClassResult:
        """Metrics of the class with index `label`."""
        config, truths = self.config, int(self._truths[label])
        chosen = np.flatnonzero(every.label == label)
        chosen = chosen[falling(every.score[chosen])]
        score = every.score[chosen]
        curves = {
            distance: make_curve(score, every.right[i, chosen], truths)
            for i, distance in enumerate(config.thresholds)
        }
        at_errors = every.right[config.thresholds.index(config.error_threshold)]
        found = at_errors[chosen]
        # The rows of `error` are numbered through the matched detections, as they came.
        rows = np.cumsum(at_errors)[chosen[found]] - 1
        skipped = config.undefined.get(self.classes[label], ())
        errors: dict[ErrorName, float | None] = {
            name: None
            if name in skipped
            else mean_error(
                curves[config.error_threshold],
                score[found],
                every.error[rows, ERRORS.index(name)],
                config.min_recall,
            )
            for name in config.errors
        }
        return NuScenesClassResult(
            truths=truths,
            detections=len(chosen),
            ap={
                distance: average_precision(curve, config.min_recall, config.min_precision)
                for distance, curve in curves.items()
            },
            errors=errors,
            curves=curves,
        )
