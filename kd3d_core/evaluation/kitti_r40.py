"""KITTI's average precision with 40 recall positions, seen from above and by volume.

The protocol of the 3D object benchmark, as its development kit computes it, in the rectified
camera frame of the labels. What one may not expect, and what is kept since published figures have
it:

* DontCare regions are image rectangles: in the metrics from above and by volume they excuse
  nothing. `dont_care="image"` excuses detections whose image box lies in one (not the
  benchmark's figures).
* A detection whose image box is lower than the difficulty's least height is ignored, whatever
  its class, and may take a ground truth, which then counts neither as found nor as missed.
* Thresholds are the scores at which recall comes nearest to 1/40 steps, each ground truth taking
  the overlapping detection of the best score; precision is then counted with each ground truth
  taking the largest overlap.
* With n < 40 ground truths there are at most n thresholds, and the remaining positions are 0: an
  AP of few frames is low even for a perfect detector ((n - 1) / 40).
* AP is the mean precision at positions 1/40 to 40/40; the one at 0 does not count.

Detections that the camera does not see are left out, as the labels cover its view alone; the
benchmark's result files cannot hold them.
"""

from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any
from typing import Literal

import numpy as np
from pydantic import Field
from rich.table import Table

from kd3d_core.config import Config
from kd3d_core.datasets.kitti_calibration import IMAGE_SIZE
from kd3d_core.datasets.kitti_calibration import Calibration
from kd3d_core.datasets.kitti_labels import KittiLabels
from kd3d_core.evaluation.kitti_frames import DIFFICULTIES
from kd3d_core.evaluation.kitti_frames import METRICS
from kd3d_core.evaluation.kitti_frames import ClassFrame
from kd3d_core.evaluation.kitti_frames import join
from kd3d_core.evaluation.kitti_frames import split_frame
from kd3d_core.evaluation.kitti_kernel import COUNTED
from kd3d_core.evaluation.kitti_kernel import count_outcomes
from kd3d_core.evaluation.kitti_kernel import found_scores
from kd3d_core.evaluation.kitti_kernel import recall_thresholds
from kd3d_core.geometry.boxes import Boxes3D


class KittiConfig(Config):
    """What counts.

    Attributes:
        strict: The benchmark's least overlap by type; the types that are evaluated.
        loose: The second row of many papers, by type.
        recall_positions: Into how many steps recall is divided; 40 since 2019.
        dont_care: "benchmark": DontCare regions excuse nothing; "image": see the module.
    """

    strict: dict[str, float] = Field(default={"Car": 0.7, "Pedestrian": 0.5, "Cyclist": 0.5})
    loose: dict[str, float] = Field(default={"Car": 0.5, "Pedestrian": 0.25, "Cyclist": 0.25})
    recall_positions: int = Field(default=40, gt=0)
    dont_care: Literal["benchmark", "image"] = "benchmark"

    def overlap(self, level: str) -> dict[str, float]:
        """The least overlaps of "strict" or "loose"."""
        return self.strict if level == "strict" else self.loose


@dataclass(frozen=True)
class KittiCurve:
    """One class at one difficulty.

    Attributes:
        truths: Ground truths that count.
        ap: Average precision in [0, 1], None without ground truth.
        precision: At recall 0, 1/40, ... 1, made non-rising; 0 where recall is not reached.
        recall: At each threshold that there is, as counted in the second pass.
        thresholds: The scores, falling; not more than precisions.
    """

    truths: int
    ap: float | None
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    thresholds: tuple[float, ...]


@dataclass(frozen=True)
class KittiResult:
    """All of KITTI's figures for a detector.

    Attributes:
        frames: How many frames were seen.
        config: What was counted.
        curves: curves[metric][level][type][difficulty], with metric "bev" or "3d", level "strict"
            or "loose" and difficulty "easy", "moderate" or "hard".
    """

    frames: int
    config: KittiConfig
    curves: dict[str, dict[str, dict[str, dict[str, KittiCurve]]]]

    def ap(
        self, kind: str, difficulty: str = "moderate", metric: str = "3d", level: str = "strict"
    ) -> float | None:
        """Average precision of a type in [0, 1], None without ground truth."""
        return self.curves[metric][level][kind][difficulty].ap

    def mean_ap(
        self, difficulty: str = "moderate", metric: str = "3d", level: str = "strict"
    ) -> float | None:
        """Mean over the types that have ground truth."""
        aps = [curves[difficulty].ap for curves in self.curves[metric][level].values()]
        values = [ap for ap in aps if ap is not None]
        return sum(values) / len(values) if values else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"config": self.config.model_dump(mode="json")}


class KittiAccumulator:
    """Takes frames one by one and keeps scores, overlaps and who counts; no boxes."""

    def __init__(self, config: KittiConfig | None = None) -> None:
        self.config = config or KittiConfig()
        self._frames: list[dict[str, ClassFrame]] = []

    def add(
        self,
        pred: Boxes3D,
        labels: KittiLabels,
        calibration: Calibration,
        image_size: tuple[int, int] = IMAGE_SIZE,
    ) -> None:
        """Account for one frame.

        Args:
            pred: N detections in the LiDAR frame, in any direction; with equal scores the
                first wins.
            labels: All labels of the frame, as `KittiDataset.labels` gives them.
            calibration: Of the frame.
            image_size: Width and height of its image [px].
        """
        types = tuple(self.config.strict)
        self._frames.append(split_frame(pred, labels, calibration, image_size, types))

    def result(self) -> KittiResult:
        """Figures of all frames so far."""
        curves = {
            metric: {
                level: {
                    name: self._curves(name, metric, self.config.overlap(level).get(name))
                    for name in self.config.strict
                }
                for level in ("strict", "loose")
            }
            for metric in METRICS
        }
        return KittiResult(len(self._frames), self.config, curves)

    def _curves(self, name: str, metric: str, least: float | None) -> dict[str, KittiCurve]:
        """The three difficulties of one type; empty curves where no overlap is set for it."""
        if not self._frames or least is None:
            return {key: KittiCurve(0, None, (), (), ()) for key in DIFFICULTIES}
        frames = [frame[name] for frame in self._frames]
        pairs, truth_kinds, pred_kinds = join(frames, metric, self.config.dont_care == "image")
        positions = self.config.recall_positions
        curves = {}
        for key, truth_kind, pred_kind in zip(DIFFICULTIES, truth_kinds, pred_kinds, strict=True):
            truths = int(np.count_nonzero(truth_kind == COUNTED))
            scores = found_scores(pairs, truth_kind, pred_kind, least)
            thresholds = recall_thresholds(scores, max(truths, 1), positions)
            counts = count_outcomes(pairs, truth_kind, pred_kind, least, thresholds)
            right, wrong, missed = counts.T
            precision = np.zeros(positions + 1)
            precision[: len(counts)] = right / np.maximum(right + wrong, 1)
            # Each position takes the best precision at its recall or a higher one.
            precision = np.maximum.accumulate(precision[::-1])[::-1]
            curves[key] = KittiCurve(
                truths,
                float(precision[1:].mean()) if truths else None,
                tuple(precision.tolist()),
                tuple((right / np.maximum(right + missed, 1)).tolist()),
                tuple(thresholds.tolist()),
            )
        return curves


def kitti_table(result: KittiResult, title: str = "KITTI") -> Table:
    """The figures as the benchmark prints them, in per cent."""
    table = Table(
        title=f"{title}: {result.frames} frames",
        caption=f"AP at {result.config.recall_positions} recall positions [%], "
        "easy / moderate / hard",
    )
    table.add_column("type")
    table.add_column("labels", justify="right")
    for level in ("strict", "loose"):
        for metric in METRICS:
            table.add_column(f"{metric} {level}", justify="right")
    for name, least in result.config.strict.items():
        first = result.curves["bev"]["strict"][name]
        cells = [
            _triple([curve.ap for curve in result.curves[metric][level][name].values()])
            for level in ("strict", "loose")
            for metric in METRICS
        ]
        overlaps = f"{name} ({least:g}, {result.config.loose.get(name, float('nan')):g})"
        table.add_row(overlaps, " / ".join(str(c.truths) for c in first.values()), *cells)
    return table


def _triple(values: Sequence[float | None]) -> str:
    """Shares in [0, 1] as per cent or dashes."""
    return " / ".join("-" if value is None else f"{100 * value:.2f}" for value in values)
