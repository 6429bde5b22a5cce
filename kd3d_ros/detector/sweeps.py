"""The last few clouds as one, with the robot's own motion taken out. Pure: no node, no clock."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.transform_tree import TransformError
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.pointcloud import PointCloud
from kd3d_core.pointcloud import merge_sweeps

#: (target frame, source frame, stamp [s]) -> (4, 4) target_from_source; `TransformTree.lookup`.
Lookup = Callable[[str, str, float], NDArray[Any]]


class Merged(NamedTuple):
    """What the buffer makes of its sweeps.

    Attributes:
        cloud: In the newest sweep's frame; `time` is relative to its stamp [s].
        sweeps: How many sweeps are in it, at least the newest.
        reason: Why others are not, with the remedy; empty while the buffer only fills up.
    """

    cloud: PointCloud
    sweeps: int
    reason: str


@dataclass(eq=False)
class _Sweep:
    """A cloud, when it was taken [ns], and its (4, 4) fixed_from_sensor once that is known."""

    cloud: PointCloud
    stamp_ns: int
    pose: NDArray[np.float64] | None = None


class SweepBuffer:
    """Keeps the last sweeps and merges them; for one thread.

    Poses are kept relative to a frame that does not move with the robot. Points are moved when
    they are merged, straight from their own sweep's frame into the newest one's: to keep them in
    the fixed frame would cost as many multiplications, and float32 would lose the centimetres of
    a map that is kilometres wide.
    """

    def __init__(self, count: int, fixed_frame: str = "odom", max_age: float = 1.0) -> None:
        """Start empty.

        Args:
            count: Sweeps to merge, the newest included.
            fixed_frame: The tf frame in which the world stands still.
            max_age: Sweeps this much older than the newest are left out [s].
        """
        self._fixed_frame = fixed_frame
        self._max_age_ns = round(max_age * 1e9)
        self._frame_id = ""
        self._sweeps: deque[_Sweep] = deque(maxlen=count)
        self._expired = 0

    def __len__(self) -> int:
        return len(self._sweeps)

    def clear(self) -> None:
        """Forget all sweeps."""
        self._sweeps.clear()
        self._expired = 0

    def add(self, cloud: PointCloud, stamp_ns: int, frame_id: str) -> None:
        """Take a sweep; another frame, or a stamp that goes back, starts anew.

        Args:
            cloud: In `frame_id`; kept as it is, not copied.
            stamp_ns: Of its header [ns].
            frame_id: Of its header.
        """
        if frame_id != self._frame_id or (self._sweeps and stamp_ns < self._sweeps[-1].stamp_ns):
            self.clear()
        self._frame_id = frame_id
        if self._sweeps and stamp_ns == self._sweeps[-1].stamp_ns:
            self._sweeps.pop()  # sent twice
        self._sweeps.append(_Sweep(cloud, stamp_ns))
        before = len(self._sweeps)
        while stamp_ns - self._sweeps[0].stamp_ns > self._max_age_ns:
            self._sweeps.popleft()
        self._expired = before - len(self._sweeps)

    def merged(self, lookup: Lookup, most: int | None = None) -> Merged:
        """The newest sweep together with those before it that can be placed.

        Args:
            lookup: Gives transforms; asked once for each sweep, and not at all while there is
                only one.
            most: At most so many sweeps, the newest ones; None takes all.

        Returns:
            The cloud; it is the newest one itself, not a copy, when nothing can be added.

        Raises:
            ValueError: Nothing has been added.
        """
        if not self._sweeps:
            raise ValueError("SweepBuffer.merged: add a cloud first")
        *earlier, newest = self._sweeps
        if most is not None:
            earlier = earlier[max(len(earlier) - most + 1, 0) :]
        reason = ""
        if self._expired:
            reason = (
                f"{self._expired} earlier sweeps are more than {self._max_age_ns * 1e-9:g} s "
                "older than the newest and left out: clouds get lost, come too slowly, or the "
                "detector drops them"
            )
        fault: TransformError | None = None
        placed: list[tuple[PointCloud, NDArray[np.float64], float]] = []
        try:
            here = invert_pose(self._place(newest, lookup)) if earlier else np.eye(4)
        except TransformError as error:
            return Merged(newest.cloud, 1, self._complaint(len(earlier), error))
        for sweep in reversed(earlier):
            try:
                pose = here @ self._place(sweep, lookup)
            except TransformError as error:
                fault = error
                continue
            placed.append((sweep.cloud, pose, 1e-9 * (newest.stamp_ns - sweep.stamp_ns)))
        if fault is not None:
            reason = self._complaint(len(earlier) - len(placed), fault)
        if not placed:
            return Merged(newest.cloud, 1, reason)
        return Merged(merge_sweeps(newest.cloud, placed), 1 + len(placed), reason)

    def _place(self, sweep: _Sweep, lookup: Lookup) -> NDArray[np.float64]:
        """(4, 4) fixed_from_sensor at the sweep's stamp, looked up once.

        Raises:
            TransformError: It is not known.
        """
        if sweep.pose is None:
            sweep.pose = np.asarray(
                lookup(self._fixed_frame, self._frame_id, sweep.stamp_ns * 1e-9), np.float64
            )
        return sweep.pose

    def _complaint(self, missing: int, error: TransformError) -> str:
        """Why sweeps are missing."""
        return f"{missing} of {len(self._sweeps)} sweeps cannot be placed: {error}"
