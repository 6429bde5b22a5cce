"""Several clouds, and their targets, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from kd3d_core.codec.anchor_targets import AnchorTargets
from kd3d_core.codec.inputs import NetworkInput
from kd3d_core.codec.targets import CenterTargets


@dataclass(frozen=True, eq=False)
class NetworkBatch:
    """The input of a network: pillars with their cells, voxels with their places, or an image.

    Attributes:
        size: Number of clouds B.
        pillars: (P, max_points, features) float32 of all clouds together, or None.
        cells: (P,) int64: cloud * rows * columns + row * columns + column, or None.
        image: (B, slices + 4, rows, columns) float32, or None.
        shape: (rows, columns) of the grid that `cells` or `coordinates` count in; None for the
            network's own. A convolution does not mind the size of the map, so training may look
            at less.
        voxels: (V, features) float32 of all clouds together, or None.
        coordinates: (V, 4) int32 cloud, bin, row, column, or None.
    """

    size: int
    pillars: Tensor | None = None
    cells: Tensor | None = None
    image: Tensor | None = None
    shape: tuple[int, int] | None = None
    voxels: Tensor | None = None
    coordinates: Tensor | None = None

    def to(self, device: torch.device | str) -> "NetworkBatch":
        """The same batch on another device."""
        moved = {
            name: value.to(device, non_blocking=True)
            for name in ("pillars", "cells", "image", "voxels", "coordinates")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved)


def collate(inputs: Sequence[NetworkInput]) -> NetworkBatch:
    """Join the inputs of several clouds on one grid; there must be one at least."""
    if any(item.shape != inputs[0].shape for item in inputs):
        raise ValueError("collate: the inputs are on different grids")
    if "image" in inputs[0].arrays:
        image = np.stack([item.arrays["image"] for item in inputs])
        return NetworkBatch(size=len(inputs), image=torch.from_numpy(image))
    if "voxels" in inputs[0].arrays:
        return _collate_voxels(inputs)
    rows, columns = inputs[0].shape
    cells = [item.arrays["cells"] + i * rows * columns for i, item in enumerate(inputs)]
    pillars = [item.arrays["pillars"] for item in inputs]
    return NetworkBatch(
        size=len(inputs),
        shape=(rows, columns),
        pillars=torch.from_numpy(np.concatenate(pillars)),
        cells=torch.from_numpy(np.concatenate(cells)),
    )


def _collate_voxels(inputs: Sequence[NetworkInput]) -> NetworkBatch:
    """Join the voxels of several clouds, with the number of the cloud before each place."""
    places = [np.insert(item.arrays["coordinates"], 0, i, axis=1) for i, item in enumerate(inputs)]
    voxels = [item.arrays["voxels"] for item in inputs]
    return NetworkBatch(
        size=len(inputs),
        shape=inputs[0].shape,
        voxels=torch.from_numpy(np.concatenate(voxels)),
        coordinates=torch.from_numpy(np.concatenate(places)),
    )


@dataclass(frozen=True, eq=False)
class AnchorTargetBatch:
    """`AnchorTargets` of B frames: A slots of H rows and W columns, P positive in all frames.

    Attributes:
        label: (B, A, H, W) int8: the class that an anchor reports, `BACKGROUND` or `IGNORED`.
        frame: (P,) int64 frame of each anchor that reports.
        positive: (P,) int64 its number within the frame: (slot * H + row) * W + column.
        residual: (P, 7) float32 of its object.
        direction: (P,) int64 heading of its object, 0 or 1.
    """

    label: Tensor
    frame: Tensor
    positive: Tensor
    residual: Tensor
    direction: Tensor

    def to(self, device: torch.device | str) -> "AnchorTargetBatch":
        """The same targets on another device."""
        names = [field.name for field in fields(self)]
        return AnchorTargetBatch(
            **{name: getattr(self, name).to(device, non_blocking=True) for name in names}
        )


@dataclass(frozen=True, eq=False)
class TargetBatch:
    """`CenterTargets` of B frames, padded to the frame with the most objects M.

    Attributes:
        heatmap: (B, K, H, W) float32 in [0, 1].
        mask: (B, M) bool: True where there is an object; other rows hold zeros.
        cell: (B, M) int64 row * W + column within the frame's map.
        label: (B, M) int64 class.
        offset: (B, M, 2) float32, in output cells.
        height: (B, M, 1) float32 [m].
        size: (B, M, 3) float32 logarithms of metres.
        rotation: (B, M, 4) float32 sine, cosine of the yaw, then of twice the yaw.
        velocity: (B, M, 2) float32 [m/s]; NaN where unknown.
        anchors: What the anchors should say; None for a centre head.
    """

    heatmap: Tensor
    mask: Tensor
    cell: Tensor
    label: Tensor
    offset: Tensor
    height: Tensor
    size: Tensor
    rotation: Tensor
    velocity: Tensor
    anchors: AnchorTargetBatch | None = None

    def to(self, device: torch.device | str) -> "TargetBatch":
        """The same targets on another device."""
        names = [field.name for field in fields(self) if field.name != "anchors"]
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in names}
        return TargetBatch(
            **moved, anchors=None if self.anchors is None else self.anchors.to(device)
        )

    def gather(self, values: Tensor) -> Tensor:
        """Pick what a map says at the objects.

        Args:
            values: (B, C, H, W) on the grid of the heatmap.

        Returns:
            (B, M, C); rows without an object hold the values of cell 0.
        """
        columns = self.heatmap.shape[-1]
        rows = torch.div(self.cell, columns, rounding_mode="floor")
        frame = torch.arange(len(self.cell), device=self.cell.device)[:, None]
        return values[frame, :, rows, self.cell % columns]


def collate_targets(targets: Sequence[CenterTargets]) -> TargetBatch:
    """Stack the targets of several frames; there must be one at least."""
    most = max(len(item) for item in targets)
    mask = np.array([np.arange(most) < len(item) for item in targets]).reshape(len(targets), most)
    padded = {}
    for name in ("cell", "label", "offset", "height", "size", "rotation", "velocity"):
        first = getattr(targets[0], name)
        stacked = np.zeros((len(targets), most, *first.shape[1:]), first.dtype)
        for i, item in enumerate(targets):
            stacked[i, : len(item)] = getattr(item, name)
        padded[name] = torch.from_numpy(stacked)
    return TargetBatch(
        heatmap=torch.from_numpy(np.stack([item.heatmap for item in targets])),
        mask=torch.from_numpy(mask),
        anchors=_collate_anchors([item.anchors for item in targets if item.anchors is not None]),
        **padded,
    )


def _collate_anchors(targets: Sequence[AnchorTargets]) -> AnchorTargetBatch | None:
    """Join the anchors' targets of several frames; None when there are none."""
    if not targets:
        return None
    joined = {
        name: torch.from_numpy(np.concatenate([getattr(item, name) for item in targets]))
        for name in ("positive", "residual", "direction")
    }
    counts = [len(item.positive) for item in targets]
    frame = torch.from_numpy(np.repeat(np.arange(len(targets)), counts))
    label = torch.from_numpy(np.stack([item.label for item in targets]))
    return AnchorTargetBatch(label=label, frame=frame, **joined)
