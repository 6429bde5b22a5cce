"""What counts, and what counts as found."""

from typing import Literal

from pydantic import Field
from pydantic import NonNegativeInt
from pydantic import PositiveFloat
from pydantic import model_validator

from kd3d_core.config import Config


class EvalConfig(Config):
    """Settings of the detection metrics.

    Average precision is the area under the interpolated precision-recall curve over all points
    (PASCAL VOC 2010 and later), not over 11 or 40 sampled recalls.
    """

    criterion: Literal["bev_iou", "center_distance"] = "bev_iou"
    """What makes a match: rotated IoU seen from above, or distance of the centres (nuScenes)."""
    iou_thresholds: dict[str, float] = Field(
        default_factory=lambda: {
            "car": 0.5,
            "truck": 0.5,
            "bus": 0.5,
            "pedestrian": 0.3,
            "cyclist": 0.3,
            "motorcycle": 0.3,
        }
    )
    """Least IoU of a match, by class name."""
    default_iou: float = 0.5
    """Least IoU of a match for classes not named in `iou_thresholds`."""
    center_distance: PositiveFloat = 2.0
    """Largest distance of a match [m] under `center_distance`."""
    max_range: PositiveFloat = 50.0
    """Ground truth whose centre is farther than this on the ground [m] does not count."""
    min_points: NonNegativeInt = 5
    """Ground truth with fewer points than this does not count: neither found nor missed."""
    rings: tuple[tuple[float, float], ...] = ((0.0, 20.0), (20.0, 35.0), (35.0, 50.0))
    """Distance rings [m], [low, high), for which the metrics are told apart."""
    score_threshold: float = Field(default=0.3, ge=0, le=1)
    """Operating point at which precision and recall are reported."""

    @model_validator(mode="after")
    def _check(self) -> "EvalConfig":
        for low, high in self.rings:
            if not 0 <= low < high:
                raise ValueError(f"rings: {low}, {high} is not a ring (0 <= low < high)")
        return self

    def threshold(self, name: str) -> float:
        """Least similarity of a match of class `name`, in the terms of `matching.similarity`."""
        if self.criterion == "center_distance":
            return -self.center_distance
        return self.iou_thresholds.get(name, self.default_iou)

    def all_rings(self) -> dict[str, tuple[float, float]]:
        """Name and extent [m] of the whole range and then of every ring, cut off at its end."""
        rings = [(low, min(high, self.max_range)) for low, high in self.rings]
        named = {f"{low:g}-{high:g} m": (low, high) for low, high in rings if low < high}
        return {"all": (0.0, self.max_range)} | named
