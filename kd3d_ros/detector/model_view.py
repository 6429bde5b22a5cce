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
from kd3d_core.runtime.levelling import Leveller
from kd3d_core.runtime.levelling import leveller_for_stream
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
        crops: The same detector for smaller ranges, from the largest to the smallest.
    """

    detector: Detector
    thresholds: filters.ScoreThresholds
    remap: filters.ClassRemap
    overlap: NDArray[np.float64]
    settings: DetectorSettings
    crops: tuple[Detector, ...] = ()

    @classmethod
    def make(
        cls,
        detector: Detector,
        settings: DetectorSettings,
        crops: Sequence[Detector] = (),
        before: "ModelView | None" = None,
    ) -> "ModelView":
        """Fit settings to a model.

        Args:
            detector: With the thresholds of its manifest.
            settings: Of the node.
            crops: The same model for smaller ranges.
            before: The view that this one replaces: what it knows of the ground stays known.

        Raises:
            Kd3dError: A setting names a class that the model does not have.
        """
        classes, decode = detector.manifest.classes, detector.manifest.decode
        base = settings.score_threshold or decode.score_threshold
        thresholds = filters.parse_thresholds(
            settings.score_thresholds, classes, per_class(base, classes, "score_threshold")
        )
        floor = tuple(thresholds.floor.tolist())
        fitted = detector.with_decode(score_threshold=floor)
        fitted = fitted.with_leveller(_leveller(detector, settings, before))
        return cls(
            fitted,
            thresholds,
            filters.parse_remap(settings.class_remap, classes),
            per_class(decode.nms_threshold, classes, "nms_threshold"),
            settings,
            # All of them follow one stream, so they share what is known of its ground.
            tuple(
                crop.with_decode(score_threshold=floor).with_leveller(fitted.leveller)
                for crop in crops
            ),
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

    def detect(self, cloud: PointCloud, extent: int = 0) -> tuple[Detection, Boxes3D]:
        """Detect in a cropped cloud.

        Args:
            cloud: In the frame the model looks in.
            extent: 0 for the whole range, else which of the smaller ones; the smallest there is
                for one that there is not.

        Returns:
            What the detector says, and the boxes that are published, in the cloud's frame.
        """
        extents = (self.detector, *self.crops)
        detection = extents[min(extent, len(self.crops))](cloud)
        boxes = detection.boxes
        keep = self.thresholds.keep(boxes)
        if self.settings.roi_crops != "points" and any(self.settings.roi):
            keep &= filters.boxes_within(boxes, self.settings.roi)
        return detection, self.remap.apply(boxes[keep], self.overlap)


def _leveller(
    detector: Detector, settings: DetectorSettings, before: ModelView | None
) -> Leveller | None:
    """How clouds are levelled: as before, where nothing changed that it depends on."""
    if not settings.levelling:
        return None
    if (
        before is not None
        and before.detector.manifest is detector.manifest
        and before.settings.levelling
        and before.settings.sensor_height == settings.sensor_height
    ):
        return before.detector.leveller
    height = settings.sensor_height
    # Between -1 and 0 as well: no sensor lies in the ground, and rounding is no wish.
    return leveller_for_stream(detector.manifest, None if height < 0 else height)
