"""A yaw as four numbers that a network can learn, ambiguous headings included."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def encode_rotation(yaw: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """(N,) yaw [rad] to (N, 4) float32: sine and cosine of the yaw, then of twice the yaw.

    A sparse return often tells the axis of a car but not its front. Under an L1 loss the sine and
    cosine of such an object shrink to 0 and take the axis with them; twice the yaw is the same for
    both headings, so the axis, which overlap depends on, is learned first and on its own.
    """
    return np.stack([np.sin(yaw), np.cos(yaw), np.sin(2 * yaw), np.cos(2 * yaw)], axis=-1).astype(
        np.float32
    )


def decode_rotation(rotation: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(N, 4) as `encode_rotation` gives them, of any length, to (N,) yaw [rad].

    The axis comes from the last two numbers; of its two headings, the one that agrees with the
    first two is taken.
    """
    axis = np.arctan2(rotation[:, 2], rotation[:, 3]) / 2
    agreement = np.sin(axis) * rotation[:, 0] + np.cos(axis) * rotation[:, 1]
    return np.asarray(np.where(agreement < 0, axis + np.pi, axis), np.float64)
