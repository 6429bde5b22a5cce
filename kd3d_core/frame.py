"""`Frame`: a cloud with what is known about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud


@dataclass(frozen=True, eq=False)
class Frame:
    """One sweep, its ground truth and its place in the world.

    Attributes:
        cloud: The points, in the sensor's frame at `stamp`.
        source: Where it came from (a path, or `bag:topic#index`), for messages and results.
        stamp: Time of the sweep [s].
        boxes: Ground truth in the same frame as the cloud, or None when there is none.
        num_points: (N,) int64, points of `cloud` inside each ground-truth box; None without boxes.
        track_id: (N,) int64, the same object keeps its id over a drive; None when unknown.
        pose: (4, 4) float64 world_from_sensor at `stamp`, or None when unknown.
        sensor: Name of the LiDAR model, or "unknown".
        sensor_height: Height of the sensor above the ground [m], or None when unknown.
    """

    cloud: PointCloud
    source: str
    stamp: float = 0.0
    boxes: Boxes3D | None = None
    num_points: NDArray[np.int64] | None = None
    track_id: NDArray[np.int64] | None = None
    pose: NDArray[np.floating[Any]] | None = None
    sensor: str = "unknown"
    sensor_height: float | None = None


class FrameDataset(Protocol):
    """What every reader gives: frames by index, and the classes their labels point into."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names, in the order of the labels."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Frame: ...
