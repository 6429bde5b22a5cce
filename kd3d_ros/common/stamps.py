"""What the stamps of a stream of clouds tell: gaps, and time that went back. Free of ROS."""

import statistics
from collections import deque

#: Stamps that go back by more than this [s] mean that time was set back; less is disorder.
BACK = 1.0
#: A distance of stamps above this many usual ones is a gap.
_GAP = 1.6
#: A pause longer than this [s] is a source that was stopped, not clouds that were lost.
_PAUSE = 5.0


class StampWatch:
    """Looks at every stamp once, in the order of arrival; for one thread."""

    def __init__(self, window: int = 50) -> None:
        """Know nothing yet.

        Args:
            window: How many of the latest distances the usual one is the median of.
        """
        self._last: int | None = None
        self._steps: deque[float] = deque(maxlen=window)

    @property
    def period(self) -> float | None:
        """The usual time between clouds [s], or None before there were five."""
        return statistics.median(self._steps) if len(self._steps) >= 5 else None

    def reset(self) -> None:
        """Begin anew, as after a jump of the clock."""
        self._last = None
        self._steps.clear()

    def observe(self, stamp_ns: int) -> tuple[int, float]:
        """Take the next stamp.

        Args:
            stamp_ns: Of the cloud's header [ns].

        Returns:
            How many clouds seem to be missing before this one, and how far time went back [s],
            0.0 when it did not.
        """
        last, self._last = self._last, stamp_ns
        if last is None:
            return 0, 0.0
        step = 1e-9 * (stamp_ns - last)
        if step < -BACK:
            self._steps.clear()
            return 0, -step
        usual = self.period
        if step > 0:
            self._steps.append(step)
        if usual is None or not _GAP * usual < step < _PAUSE:
            return 0, 0.0
        return round(step / usual) - 1, 0.0
