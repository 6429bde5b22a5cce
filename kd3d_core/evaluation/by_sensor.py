"""Average precision sensor by sensor, and how much of it is left on sensors never trained on."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kd3d_core.evaluation.ap import ApAccumulator
from kd3d_core.evaluation.ap import EvalConfig
from kd3d_core.evaluation.ap import EvalResult
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D


class SensorAccumulator:
    """Takes frames one by one, each for the sensor it names; a listener of `score.score`.

    Args:
        classes: To report.
        config: What counts; its rings are left out, because a sensor has few frames.
    """

    def __init__(self, classes: Sequence[str], config: EvalConfig | None = None) -> None:
        self.classes = tuple(classes)
        self.config = (config or EvalConfig()).model_copy(update={"rings": ()})
        self._of: dict[str, ApAccumulator] = {}

    def __call__(self, index: int, frame: Frame, pred: Boxes3D) -> None:
        """Account for one frame; one without ground truth is left out."""
        if frame.boxes is None:
            return
        if frame.sensor not in self._of:
            self._of[frame.sensor] = ApAccumulator(self.classes, self.config)
        self._of[frame.sensor].add(pred, frame.boxes, frame.num_points)

    def result(self) -> dict[str, EvalResult]:
        """The metrics of each sensor, by name."""
        return {name: self._of[name].result() for name in sorted(self._of)}


@dataclass(frozen=True)
class Transfer:
    """The average precision of one class on two sets of frames.

    Attributes:
        name: Of the class, or "mean".
        seen: On sensors of the training; None where there is no ground truth.
        unseen: On other sensors.
        kept: `unseen` as a share of `seen`; None where there is no such share.
    """

    name: str
    seen: float | None
    unseen: float | None
    kept: float | None


def transfers(
    seen: Mapping[str, float | None], unseen: Mapping[str, float | None]
) -> tuple[Transfer, ...]:
    """What is kept of each class's average precision, and of the mean of those in both.

    Args:
        seen: Average precision by class on sensors that were trained on.
        unseen: The same on sensors that were not.
    """
    both: list[tuple[float, float]] = []
    rows = []
    for name, before in seen.items():
        after = unseen.get(name)
        if before is not None and after is not None:
            both.append((before, after))
        rows.append(_transfer(name, before, after))
    if both:
        before, after = (sum(column) / len(both) for column in zip(*both, strict=True))
        rows.append(_transfer("mean", before, after))
    return tuple(rows)


def _transfer(name: str, seen: float | None, unseen: float | None) -> Transfer:
    """One row."""
    kept = unseen / seen if seen and unseen is not None else None
    return Transfer(name, seen, unseen, kept)


def plain(results: Mapping[str, EvalResult]) -> dict[str, Any]:
    """For JSON: frames, boxes and average precision by class of each sensor."""
    return {
        sensor: {
            "frames": result.frames,
            "mean_ap": result.mean_ap(),
            "boxes": {name: entry.truths for name, entry in result.metrics["all"].items()},
            "ap": {name: entry.ap for name, entry in result.metrics["all"].items()},
        }
        for sensor, result in results.items()
    }
