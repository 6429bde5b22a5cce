"""What one cloud says about its sensor: mount, axes, intensity, losses. Pure: no ROS."""

import math
from dataclasses import dataclass

import numpy as np

from kd3d_core.geometry.transforms import transform_points
from kd3d_core.ground import GroundEstimate
from kd3d_core.ground import estimate_ground
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.levelling import Levelling
from kd3d_core.runtime.manifest import Manifest

_SAMPLE = 20_000


@dataclass(frozen=True)
class CloudFacts:
    """What one cloud says about its sensor.

    Attributes:
        points: Points with a return.
        no_return_share: Share of the message's points that had none (NaN, or at the origin).
        points_in_range: Points in the model's grid.
        dropped_cells: Occupied cells for which the model had no room.
        has_intensity: Whether the cloud carries intensity.
        intensity_median: Of the decoded values, [0, 1].
        intensity_high: Their 99th percentile.
        saturated_share: Share of the points at full intensity.
        ground: Mount and axes, or None when no ground is in sight.
        levelling: What was done to the cloud before the model saw it, or None where nothing ever
            is: it takes clouds as they come.
    """

    points: int
    no_return_share: float
    points_in_range: int
    dropped_cells: int
    has_intensity: bool
    intensity_median: float
    intensity_high: float
    saturated_share: float
    ground: GroundEstimate | None
    levelling: Levelling | None = None

    @property
    def share_in_range(self) -> float:
        """Share of the points that are in the model's grid."""
        return self.points_in_range / max(self.points, 1)

    def values(self) -> dict[str, str]:
        """The facts as text, by the names that the diagnostics show."""
        found = {
            "points": str(self.points),
            "points without return [%]": f"{100 * self.no_return_share:.1f}",
            "points in range [%]": f"{100 * self.share_in_range:.1f}",
            "dropped cells": str(self.dropped_cells),
            "intensity": "missing",
        }
        if self.has_intensity:
            found["intensity"] = (
                f"median {self.intensity_median:.3f}, 99 % below {self.intensity_high:.3f}, "
                f"{100 * self.saturated_share:.1f} % saturated"
            )
        if self.ground is None:
            found["ground"] = "not in sight"
        else:
            found["sensor height [m]"] = f"{self.ground.height:.2f}"
            found["sensor pitch, roll [deg]"] = (
                f"{math.degrees(self.ground.pitch):.1f}, {math.degrees(self.ground.roll):.1f}"
            )
            found["axis that points up"] = self.ground.up
            found["ground share [%]"] = f"{100 * self.ground.share:.0f}"
        if self.levelling is not None:
            found["levelling"] = self.levelling.words
        return found


def inspect(
    cloud: PointCloud,
    manifest: Manifest,
    *,
    points_in_range: int | None = None,
    dropped_cells: int = 0,
    levelling: Levelling | None = None,
) -> CloudFacts:
    """Look at one cloud; takes some milliseconds, so once a second is enough.

    Args:
        cloud: One sweep in the frame in which the model sees it.
        manifest: Of the model.
        points_in_range: From `Detection`; None counts them here, by a sample.
        dropped_cells: From `Detection`.
        levelling: From `Detection`.
    """
    sample = cloud.points
    if len(sample) > _SAMPLE:
        sample = sample[np.random.default_rng(0).integers(0, len(sample), _SAMPLE)]
    if points_in_range is None:
        grid = manifest.grid
        seen = sample if levelling is None else transform_points(levelling.pose, sample)
        low, high = np.array([grid.x, grid.y, grid.z], np.float32).T
        inside = ((seen[:, :3] >= low) & (seen[:, :3] < high)).all(axis=1)
        points_in_range = round(len(cloud) * float(inside.mean())) if len(sample) else 0
    intensity = sample[:, 3]
    median, top = np.percentile(intensity, [50, 99]) if len(sample) else (0.0, 0.0)
    return CloudFacts(
        points=len(cloud),
        no_return_share=cloud.dropped / max(len(cloud) + cloud.dropped, 1),
        points_in_range=points_in_range,
        dropped_cells=dropped_cells,
        has_intensity=cloud.has_intensity,
        intensity_median=float(median),
        intensity_high=float(top),
        saturated_share=float(np.mean(intensity >= 0.999)) if len(sample) else 0.0,
        ground=estimate_ground(cloud),
        levelling=levelling,
    )
