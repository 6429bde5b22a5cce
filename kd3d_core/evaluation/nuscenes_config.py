"""What the nuScenes detection metrics count."""

from typing import Literal
from typing import get_args

from pydantic import Field
from pydantic import model_validator

from kd3d_core.config import Config

#: The true-positive errors by their official names: centre distance [m], 1 - overlap of the
#: aligned boxes, heading [rad], velocity [m/s], share of wrong attributes.
ErrorName = Literal["trans_err", "scale_err", "orient_err", "vel_err", "attr_err"]
ERRORS: tuple[ErrorName, ...] = get_args(ErrorName)
#: How papers abbreviate their means over the classes.
MEAN_NAMES: dict[ErrorName, str] = {
    "trans_err": "mATE",
    "scale_err": "mASE",
    "orient_err": "mAOE",
    "vel_err": "mAVE",
    "attr_err": "mAAE",
}
_RANGES = {
    "car": 50.0,
    "truck": 50.0,
    "bus": 50.0,
    "trailer": 50.0,
    "construction_vehicle": 50.0,
    "pedestrian": 40.0,
    "motorcycle": 40.0,
    "bicycle": 40.0,
    "cyclist": 40.0,
    "traffic_cone": 30.0,
    "barrier": 30.0,
}
_UNDEFINED: dict[str, tuple[ErrorName, ...]] = {
    "traffic_cone": ("orient_err", "vel_err", "attr_err"),
    "barrier": ("vel_err", "attr_err"),
}


class NuScenesEvalConfig(Config):
    """The protocol; the defaults are the official `detection_cvpr_2019`.

    Attributes:
        class_range: Class -> boxes this far from the vehicle or farther do not count [m].
        default_range: Of classes not named there [m].
        thresholds: Largest centre distances of a match; AP is their mean [m].
        error_threshold: The one of them whose matches the errors are taken from [m].
        min_recall: AP and errors leave out recalls up to this.
        min_precision: AP counts precision above this only.
        max_boxes: Detections of a sample that count.
        mean_ap_weight: Weight of mAP in NDS; each error weighs 1.
        errors: Errors that enter NDS. Data without attributes makes `attr_err` 1 for everybody,
            as the protocol says; leaving it out gives the score of the other errors.
        undefined: Class -> errors that make no sense for it, left out of their means.
        half_turn: Classes whose front and rear look alike: a heading counts up to half a turn.
        rack_classes: Classes whose boxes inside a bicycle rack do not count.
    """

    class_range: dict[str, float] = _RANGES
    default_range: float = Field(default=50.0, gt=0)
    thresholds: tuple[float, ...] = Field(default=(0.5, 1.0, 2.0, 4.0), min_length=1)
    error_threshold: float = Field(default=2.0, gt=0)
    min_recall: float = Field(default=0.1, ge=0, lt=1)
    min_precision: float = Field(default=0.1, ge=0, lt=1)
    max_boxes: int = Field(default=500, gt=0)
    mean_ap_weight: float = Field(default=5.0, gt=0)
    errors: tuple[ErrorName, ...] = ERRORS
    undefined: dict[str, tuple[ErrorName, ...]] = _UNDEFINED
    half_turn: tuple[str, ...] = ("barrier",)
    rack_classes: tuple[str, ...] = ("bicycle", "motorcycle", "cyclist")

    @model_validator(mode="after")
    def _consistent(self) -> "NuScenesEvalConfig":
        """The errors come from one of the thresholds."""
        if self.error_threshold not in self.thresholds:
            raise ValueError("error_threshold must be one of thresholds")
        return self

    @classmethod
    def without_attributes(cls) -> "NuScenesEvalConfig":
        """The official protocol less the attribute error: NDS = (5 mAP + 4 scores) / 9."""
        return cls(errors=tuple(name for name in ERRORS if name != "attr_err"))

    def range_of(self, name: str) -> float:
        """How far boxes of a class count [m]."""
        return self.class_range.get(name, self.default_range)
