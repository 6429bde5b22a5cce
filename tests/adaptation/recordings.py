"""Recordings of a made-up sensor for the tests of `adapt`."""

from pathlib import Path

import numpy as np

from kd3d_core.datasets.bag_writer import write_bag
from kd3d_core.datasets.bags import POINT_CLOUD
from kd3d_core.datasets.bags import cloud_to_cdr
from kd3d_core.pointcloud import PointCloud


def street(index, height=1.5, gain=1.0, count=4000):
    """A cloud on flat ground with a wall: points by azimuth and range, intensity 0 to `gain`."""
    rng = np.random.default_rng(index)
    azimuth = rng.uniform(-np.pi, np.pi, count)
    distance = rng.uniform(3, 24, count)
    xyz = np.column_stack([distance * np.cos(azimuth), distance * np.sin(azimuth)])
    z = np.where(rng.random(count) < 0.8, -height, rng.uniform(-height, 0.5, count))
    return PointCloud.from_arrays(np.column_stack([xyz, z]), gain * rng.random(count))


def cars(index, intensity=0.5, places=6):
    """Clumps of points where the handmade network sees cars, the same distance apart."""
    rng = np.random.default_rng(index)
    spots = [(x, y) for x in (-6.4, -1.28, 3.84) for y in (-6.4, -1.28, 3.84)]
    chosen = rng.permutation(len(spots))[:places]
    parts = []
    for x, y in (spots[i] for i in chosen):
        low, high = (x + 0.11, y + 0.11, -2.0), (x + 0.21, y + 0.21, 1.0)
        parts.append(rng.uniform(low, high, (60, 3)))
    xyz = np.concatenate(parts)
    return PointCloud.from_arrays(xyz, intensity * rng.uniform(0.8, 1.2, len(xyz)))


def write(folder: Path, clouds, period=0.1) -> Path:
    """The clouds as a bag."""
    with write_bag(folder) as bag:
        bag.add_topic("/points", POINT_CLOUD)
        for index, cloud in enumerate(clouds):
            stamp = 10**18 + round(index * period * 1e9)
            bag.write("/points", stamp, cloud_to_cdr(cloud, stamp, "lidar"))
    return folder
