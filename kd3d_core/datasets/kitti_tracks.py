"""Boxes that keep their identity over a drive, and how fast they move."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.boxes import Boxes3D


@dataclass(frozen=True, eq=False)
class TrackedBoxes:
    """The boxes of one frame.

    Attributes:
        boxes: N boxes in the LiDAR frame.
        track_id: (N,) int64.
    """

    boxes: Boxes3D
    track_id: NDArray[np.int64]


def with_velocities(
    frames: Mapping[int, TrackedBoxes],
    poses: Mapping[int, NDArray[np.float64]],
    stamps: Mapping[int, float],
) -> dict[int, TrackedBoxes]:
    """Give boxes the velocity that their tracks imply.

    It is the difference of the places in the world one frame before and one after, or of one of
    them and here where the other is missing; unknown (NaN) without either.

    Args:
        frames: Boxes by number of the frame.
        poses: (4, 4) world_from_lidar by number; frames without one keep unknown velocities.
        stamps: [s] by number.
    """
    places: dict[int, dict[int, NDArray[np.float64]]] = defaultdict(dict)
    for number, tracked in frames.items():
        if number in poses:
            center = tracked.boxes.center.astype(np.float64)
            world = center @ poses[number][:3, :3].T + poses[number][:3, 3]
            for track, place in zip(tracked.track_id.tolist(), world, strict=True):
                places[track][number] = place
    result = {}
    for number, tracked in frames.items():
        velocity = np.full((len(tracked.boxes), 2), np.nan, np.float32)
        for i, track in enumerate(tracked.track_id.tolist()):
            seen = [n for n in (number - 1, number, number + 1) if n in places[track]]
            if len(seen) < 2 or number not in poses:
                continue
            first, last = seen[0], seen[-1]
            moved = (places[track][last] - places[track][first]) / (stamps[last] - stamps[first])
            velocity[i] = (poses[number][:3, :3].T @ moved)[:2]
        result[number] = replace(tracked, boxes=replace(tracked.boxes, velocity=velocity))
    return result
