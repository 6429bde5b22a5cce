"""The clouds that `kd3d_core bench` and `kd3d_core compile` time on."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from kd3d_core.codec.grid import BevGrid
from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
from kd3d_core.datasets.pointcloud2 import encode_pointcloud2_arrays
from kd3d_core.pointcloud import PointCloud

#: So many clouds are kept in memory; they take turns.
KEPT = 32
#: Points of a synthetic cloud: those of a sensor with 64 beams.
_POINTS = 120_000


def synthetic(grid: BevGrid) -> list[PointCloud]:
    """Four clouds of noise with the density of a real sweep, between the heights of the grid."""
    low, high = grid.z
    generator = np.random.default_rng(0)
    clouds = []
    for _ in range(4):
        # Beams hit evenly by angle and mostly near by, as on a street.
        angle = generator.uniform(-np.pi, np.pi, _POINTS)
        reach = 3.0 + generator.exponential(12.0, _POINTS)
        columns = (
            reach * np.cos(angle),
            reach * np.sin(angle),
            generator.uniform(low, high, _POINTS),
            generator.uniform(0, 1, _POINTS),
        )
        clouds.append(PointCloud(np.column_stack(columns).astype(np.float32)))
    return clouds


def reader(cloud: PointCloud) -> Callable[[], PointCloud]:
    """What a node does with the message that held this cloud."""
    fields, step, data = encode_pointcloud2_arrays(cloud)
    names = ("name", "offset", "datatype", "count")
    message = SimpleNamespace(
        height=1,
        width=len(cloud),
        fields=[SimpleNamespace(**dict(zip(names, field, strict=True))) for field in fields],
        is_bigendian=False,
        point_step=step,
        row_step=len(data),
        data=data,
        header=None,
    )
    return lambda: decode_pointcloud2(message)
