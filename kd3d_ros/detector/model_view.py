"""A detector as the node's settings want it: thresholds, names, regions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.codec.decode import per_class
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.detector import Detection
from kd3d_core.runtime.detector import Detector
from kd3d_ros.common import filters
from kd3d_ros.detector.settings import DetectorSettings


@dataclass(frozen=True, eq=False)
class ModelView:
    """What is applied to every cloud and its boxes; made anew when a setting changes.

    Attributes:
        detector: Decodes from the least threshold of each class on.
        thresholds: By class of the model and distance.
        remap: From the model's classes to the published ones.
        overlap: (K,) float64: the IoU above which boxes of a class are one object.
        settings: What it was made from.
    """

    detector: Detector
    thresholds: filters.ScoreThresholds
    remap: filters.ClassRemap
    overlap: NDArray[np.float64]
    settings: DetectorSettings

    @classmethod
    def make(cls, detector: Detector, settings: DetectorSettings) -> "ModelView":
        """Fit settings to a model.

        Args:
            detector: With the thresholds of its manifest.
            settings: Of the node.

        Raises:
            Kd3dError: A setting names a class that the model does not have.
        """
        classes, decode = detector.manifest.classes, detector.manifest.decode
        base = settings.score_threshold or decode.score_threshold
        thresholds = filters.parse_thresholds(
            settings.score_thresholds, classes, per_class(base, classes, "score_threshold")
        )
        return cls(
            detector.with_decode(score_threshold=tuple(thresholds.floor.tolist())),
            thresholds,
            filters.parse_remap(settings.class_remap, classes),
            per_class(decode.nms_threshold, classes, "nms_threshold"),
            settings,
        )

    @property
    def classes(self) -> Sequence[str]:
        """The names that are published."""
        return self.remap.classes

    @property
    def least_score(self) -> float:
        """The least score that may be published."""
        return float(self.thresholds.floor[self.remap.labels >= 0].min())

    def crop(self, cloud: PointCloud) -> PointCloud:
        """Leave out points on the own vehicle and, if so set, outside the region."""
        roi = () if self.settings.roi_crops == "boxes" else self.settings.roi
        return filters.crop_points(cloud, roi, self.settings.ego_box)

    def detect(self, cloud: PointCloud) -> tuple[Detection, Boxes3D]:
        """Detect in a cropped cloud.

        Returns:
            What the detector says, and the boxes that are published, in the cloud's frame.
        """
        detection = self.detector(cloud)
        boxes = detection.boxes
        keep = self.thresholds.keep(boxes)
        if self.settings.roi_crops != "points" and any(self.settings.roi):
            keep &= filters.boxes_within(boxes, self.settings.roi)
        return detection, self.remap.apply(boxes[keep], self.overlap)
