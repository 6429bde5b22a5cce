"""`encode`: one cloud to what the network takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.codec.bev_image import EXTRA_CHANNELS
from kd3d_core.codec.bev_image import make_bev_image
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import InputConfig
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.pillars import make_pillars


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """What one cloud gives the network.

    Attributes:
        arrays: The inputs by their names in the ONNX graph: `pillars` (P, max_points, 9) float32
            and `cells` (P,) int64, or `image` (slices + 4, rows, columns) float32.
        shape: (rows, columns) of the grid.
        dropped_cells: Occupied cells that found no place under `max_pillars`.
        points_in_range: Points inside the grid. Where it is 0 the arrays are valid still (one
            pillar of zeros in cell 0, or a zero image).
    """

    arrays: dict[str, NDArray[np.float32] | NDArray[np.int64]]
    shape: tuple[int, int]
    dropped_cells: int
    points_in_range: int


def encode(points: NDArray[np.float32], grid: BevGrid, config: InputConfig) -> NetworkInput:
    """Turn a cloud into the network's input.

    Args:
        points: (N, 4) float32: x, y, z [m] in the sensor's frame, intensity [0, 1]. Points that
            are not finite are outside every grid.
        grid: The bird's-eye-view grid of the model.
        config: The kind of input that the model takes, and its limits.
    """
    points = np.ascontiguousarray(points, np.float32)
    if points.ndim != 2 or points.shape[1] != 4:
        raise ValueError(f"points have shape {points.shape}, not (N, 4)")
    if isinstance(config, PillarInput):
        pillars, cells, dropped, inside = make_pillars(points, grid, config)
        return NetworkInput({"pillars": pillars, "cells": cells}, grid.shape, dropped, inside)
    image, inside = make_bev_image(points, grid, config)
    return NetworkInput({"image": image}, grid.shape, 0, inside)


def image_channels(config: InputConfig) -> int:
    """Channels of the `image` input of a config that makes one.

    Raises:
        ValueError: The config makes pillars.
    """
    if isinstance(config, PillarInput):
        raise ValueError("a pillar input has no image channels")
    return config.slices + EXTRA_CHANNELS
