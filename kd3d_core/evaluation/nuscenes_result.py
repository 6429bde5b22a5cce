"""What the nuScenes metrics came to: numbers, plain data, a table."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from kd3d_core.evaluation.nuscenes_config import MEAN_NAMES
from kd3d_core.evaluation.nuscenes_config import ErrorName
from kd3d_core.evaluation.nuscenes_config import NuScenesEvalConfig
from kd3d_core.evaluation.nuscenes_curves import Curve


@dataclass(frozen=True, eq=False)
class NuScenesClassResult:
    """Metrics of one class.

    Attributes:
        truths: Ground-truth boxes that count.
        detections: Detections that count.
        ap: Distance [m] -> average precision in [0, 1]; 0 without ground truth, as the protocol
            has it.
        errors: Name -> error; None where the protocol leaves it undefined for the class; 1 where
            too little was found to tell.
        curves: Distance [m] -> precision and confidence over recall.
    """

    truths: int
    detections: int
    ap: dict[float, float]
    errors: dict[ErrorName, float | None]
    curves: dict[float, Curve]

    @property
    def mean_ap(self) -> float:
        """Mean over the distances."""
        return float(np.mean(list(self.ap.values())))


@dataclass(frozen=True, eq=False)
class NuScenesResult:
    """Metrics of a detector.

    Attributes:
        frames: Samples seen.
        config: What was counted.
        classes: Class -> its metrics.
        dropped: Detections beyond the most that a sample may have.
    """

    frames: int
    config: NuScenesEvalConfig
    classes: dict[str, NuScenesClassResult]
    dropped: int

    @property
    def mean_ap(self) -> float:
        """mAP: mean over classes and distances."""
        return float(np.mean([entry.mean_ap for entry in self.classes.values()]))

    @property
    def errors(self) -> dict[ErrorName, float | None]:
        """Each error's mean over the classes that define it (mATE ...); None where none does."""
        means: dict[ErrorName, float | None] = {}
        for name in self.config.errors:
            values = [entry.errors[name] for entry in self.classes.values()]
            known = [value for value in values if value is not None]
            means[name] = float(np.mean(known)) if known else None
        return means

    @property
    def scores(self) -> dict[ErrorName, float]:
        """1 - error, at least 0, of each error that is defined."""
        return {
            name: max(0.0, 1.0 - value) for name, value in self.errors.items() if value is not None
        }

    @property
    def nds(self) -> float:
        """NuScenes detection score: weighted mean of mAP and the scores (CVPR 2020, eq. 3)."""
        weight, scores = self.config.mean_ap_weight, self.scores
        total = weight * self.mean_ap + sum(scores.values())
        return float(total / (weight + len(scores)))

    def to_dict(self, *, curves: bool = False) -> dict[str, Any]:
        """Plain data for JSON, under the names of the official summary.

        Args:
            curves: Include the precision and the confidence over recall.
        """
        result: dict[str, Any] = {
            "frames": self.frames,
            "dropped": self.dropped,
            "mean_ap": self.mean_ap,
            "nd_score": self.nds,
            "tp_errors": dict(self.errors),
            "tp_scores": dict(self.scores),
            "mean_dist_aps": {name: entry.mean_ap for name, entry in self.classes.items()},
            "label_aps": {
                name: {str(distance): ap for distance, ap in entry.ap.items()}
                for name, entry in self.classes.items()
            },
            "label_tp_errors": {name: dict(entry.errors) for name, entry in self.classes.items()},
            "truths": {name: entry.truths for name, entry in self.classes.items()},
            "detections": {name: entry.detections for name, entry in self.classes.items()},
            "config": self.config.model_dump(mode="json"),
        }
        if curves:
            result["curves"] = {
                name: {
                    str(distance): {
                        "precision": _rounded(curve.precision),
                        "confidence": _rounded(curve.confidence),
                    }
                    for distance, curve in entry.curves.items()
                }
                for name, entry in self.classes.items()
            }
        return result


def nuscenes_table(result: NuScenesResult, title: str = "nuScenes detection") -> Table:
    """A rich table: one row a class, AP and the errors; the means below."""
    config = result.config
    means = {
        f"{distance:g} m": np.mean([entry.ap[distance] for entry in result.classes.values()])
        for distance in config.thresholds
    }
    table = Table(
        title=f"{title}: {result.frames} frames, NDS {result.nds:.4f}, mAP {result.mean_ap:.4f}",
        caption=f"AP within {', '.join(f'{name} {ap:.3f}' for name, ap in means.items())}; errors "
        f"of matches within {config.error_threshold:g} m: centre ATE (m), size ASE (1 - IoU), "
        "heading AOE (rad), velocity AVE (m/s), attribute AAE; - is undefined",
        show_footer=True,
    )
    table.add_column("class", "mean", no_wrap=True)
    boxes = sum(entry.truths for entry in result.classes.values())
    table.add_column("boxes", str(boxes), justify="right")
    table.add_column("AP", f"{result.mean_ap:.3f}", justify="right")
    for name, value in result.errors.items():
        table.add_column(MEAN_NAMES[name][1:], _shown(value), justify="right")
    for label, entry in result.classes.items():
        table.add_row(
            label,
            str(entry.truths),
            f"{entry.mean_ap:.3f}",
            *(_shown(entry.errors[name]) for name in config.errors),
        )
    return table


def _shown(value: float | None) -> str:
    """An error in a cell."""
    return "-" if value is None else f"{value:.3f}"


def _rounded(values: NDArray[np.float64]) -> list[float]:
    """Plain numbers, short enough for a page of curves."""
    return [round(float(value), 6) for value in values]
