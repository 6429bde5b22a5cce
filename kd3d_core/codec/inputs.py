"""`encode`: one cloud to what the network takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.codec.bev_image import EXTRA_CHANNELS
from kd3d_core.codec.bev_image import BevCanvas
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import InputConfig
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.codec.pillars import make_pillars
from kd3d_core.codec.voxels import make_voxels
from kd3d_core.errors import Kd3dError


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """What one cloud gives the network.

    Attributes:
        arrays: The inputs by their names in the ONNX graph: `pillars` (P, max_points, features)
            float32 and `cells` (P,) int64, or `image` (slices + 4, rows, columns) float32, or, for
            networks without such a graph, `voxels` (V, features) float32 and `coordinates` (V, 3)
            int32.
        shape: (rows, columns) of the grid.
        dropped_cells: Occupied cells, or voxels, that found no place under `max_pillars` or
            `max_voxels`.
        points_in_range: Points inside the grid. Where it is 0 the arrays are valid still (one
            pillar of zeros in cell 0, one voxel of zeros in the lowest corner, or a zero image).
    """

    arrays: dict[str, NDArray[np.float32] | NDArray[np.int64] | NDArray[np.int32]]
    shape: tuple[int, int]
    dropped_cells: int
    points_in_range: int


def encode(
    points: NDArray[np.float32],
    grid: BevGrid,
    config: InputConfig,
    time: NDArray[np.float32] | None = None,
    canvas: BevCanvas | None = None,
    lift: float = 0.0,
) -> NetworkInput:
    """Turn a cloud into the network's input.

    Args:
        points: (N, 4) float32: x, y, z [m] in the sensor's frame, intensity [0, 1]. Points that
            are not finite are outside every grid.
        grid: The bird's-eye-view grid of the model.
        config: The kind of input that the model takes, and its limits.
        time: (N,) float32 seconds relative to the newest sweep, as in `PointCloud.time`; looked at
            only by an input that asks for times, for which None means zeros.
        canvas: Of the same grid and config, to draw an image input in; the image is then valid
            until the next one. None takes fresh memory.
        lift: How far the points are raised [m] before they are looked at.
    """
    points = np.ascontiguousarray(points, np.float32)
    if points.ndim != 2 or points.shape[1] != 4:
        raise ValueError(f"points have shape {points.shape}, not (N, 4)")
    if lift and not isinstance(config, BevImageInput):
        points = points.copy()
        points[:, 2] += np.float32(lift)
    if isinstance(config, PillarInput | VoxelInput) and config.time:
        times = np.zeros(len(points), np.float32) if time is None else time
        points = np.column_stack([points, times]).astype(np.float32, copy=False)
    if isinstance(config, PillarInput):
        pillars, cells, dropped, inside = make_pillars(points, grid, config)
        return NetworkInput({"pillars": pillars, "cells": cells}, grid.shape, dropped, inside)
    if isinstance(config, VoxelInput):
        voxels, places, dropped, inside = make_voxels(points, grid, config)
        return NetworkInput({"voxels": voxels, "coordinates": places}, grid.shape, dropped, inside)
    canvas = canvas or BevCanvas(grid, config, channels_last=False)
    image, inside = canvas.draw(points, lift)
    return NetworkInput({"image": image}, grid.shape, 0, inside)


def image_channels(config: InputConfig) -> int:
    """Channels of the `image` input of a config that makes one.

    Raises:
        ValueError: The config makes pillars or voxels.
    """
    if not isinstance(config, BevImageInput):
        raise ValueError(f"an input of type {config.type} has no image channels")
    return config.slices + EXTRA_CHANNELS


def graph_input(config: InputConfig, name: str) -> PillarInput | BevImageInput:
    """The input of a network that is to become an ONNX graph.

    Args:
        config: What the network takes.
        name: What it is called, for the error.

    Raises:
        Kd3dError: It takes voxels.
    """
    if isinstance(config, VoxelInput):
        raise Kd3dError(
            f"the model {name} takes voxels, and its sparse encoder has no ONNX operator: let it "
            "teach a student that takes pillars or a BEV image (`kd3d_core distill --teacher`, "
            "input: {type: pillars} or {type: bev_image}) and export the student."
        )
    return config
