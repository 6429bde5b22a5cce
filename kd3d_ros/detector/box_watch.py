"""Whether the published boxes are turned and sized as boxes of moving things are. Free of ROS."""

from collections import deque

import numpy as np

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.boxes import wrap_angle

#: A judgement needs so many boxes.
_ENOUGH = 50
#: Boxes longer than this [m] have a clear direction.
_LONG = 2.5
#: Things faster than this [m/s] move along their heading.
_FAST = 2.0


class BoxWatch:
    """Keeps the shape and motion of the latest boxes; written by one thread, read by any."""

    def __init__(self, window: int = 300) -> None:
        """Know nothing yet.

        Args:
            window: How many of the latest boxes are judged.
        """
        self._wide: deque[bool] = deque(maxlen=window)
        self._drift: deque[float] = deque(maxlen=window)

    def add(self, boxes: Boxes3D, *, has_velocity: bool) -> None:
        """Look at the boxes of a cloud.

        Args:
            boxes: As detected.
            has_velocity: Whether the model can see motion, which takes several sweeps.
        """
        length, width = boxes.size[:, 0], boxes.size[:, 1]
        large = np.maximum(length, width) > _LONG
        self._wide.extend((width > length)[large].tolist())
        if has_velocity:
            vx, vy = boxes.velocity[:, 0], boxes.velocity[:, 1]
            fast = large & (np.hypot(vx, vy) > _FAST)
            drift = wrap_angle(np.arctan2(vy, vx) - boxes.yaw)[fast]
            self._drift.extend(np.degrees(np.abs(drift)).tolist())

    def complaint(self) -> str:
        """What is wrong with the boxes and what to do, or empty."""
        wide, drift = list(self._wide), list(self._drift)
        if len(wide) >= _ENOUGH and 2 * sum(wide) > len(wide):
            return (
                "most large boxes are wider than long: the bundle was trained on boxes whose "
                "sizes are in another order; length lies along the heading, export it again"
            )
        if len(drift) >= _ENOUGH and (angle := float(np.median(drift))) > 45.0:
            return (
                f"headings are {angle:.0f} degrees off the motion of the boxes: the bundle was "
                "trained with another yaw convention (counter-clockwise from +x), or the clouds' "
                "axes are not x forward, y left"
            )
        return ""
