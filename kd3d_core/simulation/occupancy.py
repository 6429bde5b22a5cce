"""Who stands where when: keeps actors out of each other and out of the street furniture."""

import numpy as np
from numpy.typing import ArrayLike
from numpy.typing import NDArray


def rectangles_overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether rectangles touch, by the separating axis theorem.

    Args:
        a: (P, 5) x, y, length, width [m], yaw [rad].
        b: (P, 5), pair by pair.

    Returns:
        (P,) bool.
    """
    delta = b[:, :2] - a[:, :2]
    touching = np.ones(len(a), bool)
    turn = b[:, 4] - a[:, 4]
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    for one, other in ((a, b), (b, a)):
        c, s = np.cos(one[:, 4]), np.sin(one[:, 4])
        along = np.abs(c * delta[:, 0] + s * delta[:, 1])
        across = np.abs(c * delta[:, 1] - s * delta[:, 0])
        long, wide = other[:, 2], other[:, 3]
        touching &= 2 * along <= one[:, 2] + long * cos + wide * sin
        touching &= 2 * across <= one[:, 3] + long * sin + wide * cos
    return touching


class Occupancy:
    """Rectangles on the ground over time.

    Attributes:
        times: (T,) the instants at which moving objects are compared [s].
    """

    def __init__(self, times: NDArray[np.float64]) -> None:
        self.times = times
        self._static: list[NDArray[np.float64]] = []
        self._moving: list[NDArray[np.float64]] = []

    def add(self, track: NDArray[np.float64], size: ArrayLike) -> None:
        """Take a place: `track` (T or 1, 3) x, y [m], yaw [rad]; `size` length, width, ..."""
        rows = self._rows(track, size, 0.0)
        if len(rows) == 1:
            self._static.append(rows[0])
        else:
            self._moving.append(rows)

    def is_free(self, track: NDArray[np.float64], size: ArrayLike, margin: float) -> bool:
        """Whether nobody comes within about half of `margin` [m] of the track at any time."""
        rows = self._rows(track, size, margin)
        if self._static and self._hits(rows[:, None], np.array(self._static)[None]):
            return False
        return not (self._moving and self._hits(rows[:, None], np.stack(self._moving, axis=1)))

    def _rows(
        self, track: NDArray[np.float64], size: ArrayLike, margin: float
    ) -> NDArray[np.float64]:
        """(T or 1, 5) rectangles; moving ones are longer by their way between two instants."""
        length, width = np.asarray(size, np.float64)[:2] + margin
        stretch = 0.0
        if len(track) > 1:
            stretch = float(np.linalg.norm(np.diff(track[:, :2], axis=0), axis=1).max()) * 0.7
        plain = np.tile([length + stretch, width], (len(track), 1))
        return np.concatenate([track[:, :2], plain, track[:, 2:3]], axis=1)

    @staticmethod
    def _hits(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
        """Whether any rectangle of a (T or 1, 1, 5) meets one of b (1 or T, N, 5)."""
        reach = (np.hypot(a[..., 2], a[..., 3]) + np.hypot(b[..., 2], b[..., 3])) / 2
        near = np.hypot(a[..., 0] - b[..., 0], a[..., 1] - b[..., 1]) <= reach
        if not near.any():
            return False
        shape = (*near.shape, 5)
        return bool(
            rectangles_overlap(
                np.broadcast_to(a, shape)[near], np.broadcast_to(b, shape)[near]
            ).any()
        )
