"""Curves and shares of a detector, as `breakdown.py` counts them."""

from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

from kd3d_core.evaluation.config import EvalConfig


@dataclass(frozen=True)
class Curve:
    """Precision over recall, by falling score threshold.

    Attributes:
        score: Of each step.
        recall, precision: In [0, 1].
        ap: Area under the interpolated curve, of all steps, not of those kept here.
    """

    score: tuple[float, ...]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    ap: float


@dataclass(frozen=True)
class Share:
    """How much of the ground truth of one bin is found.

    Attributes:
        bin: In words: "10-20 m".
        truths: Ground-truth boxes.
        recall: Share found at the score threshold; None without any.
        precision: Share of the detections there that are right; None without any, and for bins
            that detections do not have.
    """

    bin: str
    truths: int
    recall: float | None
    precision: float | None = None


@dataclass(frozen=True)
class ClassBreakdown:
    """One class, or all.

    Attributes:
        truths: Ground-truth boxes that count.
        detections: Detections that count, of any score.
        curve: None without ground truth.
        by_range, by_points, by_occlusion: Shares at the score threshold.
    """

    truths: int
    detections: int
    curve: Curve | None
    by_range: tuple[Share, ...]
    by_points: tuple[Share, ...]
    by_occlusion: tuple[Share, ...]


@dataclass(frozen=True)
class Breakdown:
    """A detector on a set of frames.

    Attributes:
        frames: How many.
        config: What counted; its `score_threshold` is where the shares are read off.
        classes: By name, "all" first.
    """

    frames: int
    config: EvalConfig
    classes: dict[str, ClassBreakdown]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "frames": self.frames,
            "config": self.config.model_dump(mode="json"),
            "classes": {name: asdict(entry) for name, entry in self.classes.items()},
        }
