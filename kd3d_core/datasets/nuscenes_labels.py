"""The annotations of one nuScenes sample."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.nuscenes_annotations import Annotations
from kd3d_core.datasets.nuscenes_classes import RACK_CATEGORY


@dataclass(frozen=True, eq=False)
class NuScenesLabels:
    """Every annotation of a sample, upright in the world frame.

    Attributes:
        center: (N, 3) float64 [m].
        size: (N, 3) float64 length, width, height [m].
        yaw: (N,) float64 [rad].
        velocity: (N, 2) float64 [m/s]; NaN where unknown.
        label: (N,) int64, index into the classes; -1 where the category has none.
        categories: (N,) str, name of each one's category.
        attributes: (N,) str, name of each one's attribute, "" where there is none.
        tokens: Of each annotation.
        instance: (N,) int64, the same object keeps it over a scene.
        lidar_points: (N,) int64 points of the key frame inside.
        radar_points: (N,) int64 points of the radars inside.
    """

    center: NDArray[np.float64]
    size: NDArray[np.float64]
    yaw: NDArray[np.float64]
    velocity: NDArray[np.float64]
    label: NDArray[np.int64]
    categories: NDArray[np.str_]
    attributes: NDArray[np.str_]
    tokens: tuple[str, ...]
    instance: NDArray[np.int64]
    lidar_points: NDArray[np.int64]
    radar_points: NDArray[np.int64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N,) bool: the category has a class."""
        return np.asarray(self.label >= 0)

    @property
    def racks(self) -> NDArray[np.bool_]:
        """(N,) bool: bicycle racks."""
        return np.asarray(self.categories == RACK_CATEGORY)


def sample_labels(table: Annotations, number: int, label_of: NDArray[np.int64]) -> NuScenesLabels:
    """The annotations of a sample.

    Args:
        table: Of all samples.
        number: The sample.
        label_of: (C,) label of each category, -1 where it has none.
    """
    rows = slice(int(table.starts[number]), int(table.starts[number + 1]))
    return NuScenesLabels(
        center=table.center[rows],
        size=table.size[rows],
        yaw=table.yaw[rows],
        velocity=table.velocity[rows],
        label=label_of[table.category[rows]],
        categories=table.categories[table.category[rows]],
        attributes=table.attributes[table.attribute[rows]],
        tokens=tuple(table.tokens[rows]),
        instance=table.instance[rows],
        lidar_points=table.lidar_points[rows],
        radar_points=table.radar_points[rows],
    )
