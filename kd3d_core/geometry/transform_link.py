"""`Link`: one frame of a `TransformTree` in its parent, over time."""

import math
from bisect import bisect_left
from typing import Literal
from typing import NamedTuple

from kd3d_core.errors import Kd3dError

#: Stamps this close are one moment [s]: float64 seconds since 1970 are exact to 0.24 us.
SAME_TIME = 1e-6
#: Motion is extrapolated from samples that lie at least this far apart [s]: closer ones are noise.
_BASELINE = 0.05

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]


class TransformError(Kd3dError):
    """A transform that the tree cannot give.

    Attributes:
        kind: "unknown" (a frame nobody named), "disconnected" (no path between the frames),
            "too old" or "future" (the moment lies before or after what is known of a link).
    """

    def __init__(
        self, kind: Literal["unknown", "too old", "future", "disconnected"], message: str
    ) -> None:
        """Take the kind and a message that names frames, times and the remedy."""
        super().__init__(message)
        self.kind = kind


class Sample(NamedTuple):
    """parent_from_child at one moment.

    Attributes:
        stamp: The moment [s]; infinity for a static transform, which is as new as can be.
        parent: Name of the frame that it leads into.
        translation: x, y, z [m].
        rotation: Unit quaternion x, y, z, w.
    """

    stamp: float
    parent: str
    translation: Vector
    rotation: Quaternion


class Link:
    """What is known of one child frame: samples by rising stamp, or one static sample."""

    def __init__(self, child: str, static: bool) -> None:
        """Know nothing yet."""
        self.child = child
        self.static = static
        self.samples: list[Sample] = []
        self._stamps: list[float] = []

    def insert(self, sample: Sample, history: float) -> bool:
        """Take a sample in its place and forget old ones; False when it says nothing new."""
        if self.static:
            self.samples = [sample]
            return True
        if self._stamps and sample.stamp < self._stamps[-1] - history:
            return False
        index = bisect_left(self._stamps, sample.stamp)
        if index < len(self._stamps) and self._stamps[index] == sample.stamp:
            return False
        self._stamps.insert(index, sample.stamp)
        self.samples.insert(index, sample)
        old = bisect_left(self._stamps, self._stamps[-1] - history)
        del self._stamps[:old], self.samples[:old]
        return True

    def newest(self) -> Sample:
        """The sample with the highest stamp."""
        return self.samples[-1]

    def at(self, stamp: float, extrapolation: float) -> Sample:
        """The link at a moment.

        Args:
            stamp: The moment [s].
            extrapolation: How far outside the samples it may lie [s].

        Raises:
            TransformError: It lies farther outside.
        """
        if self.static:
            return self.samples[0]
        first, last = self.samples[0], self.samples[-1]
        outside = max(first.stamp - stamp, stamp - last.stamp)
        if outside > max(extrapolation, SAME_TIME):
            raise self._gap(stamp, outside)
        if abs(outside) <= SAME_TIME:
            return first if stamp <= first.stamp else last
        if outside > 0:
            return self._extrapolated(stamp, outside)
        index = bisect_left(self._stamps, stamp)
        before, after = self.samples[index - 1], self.samples[index]
        # As in tf2: a frame belongs to its old parent until the new one has spoken.
        return before if before.parent != after.parent else _between(before, after, stamp)

    def _extrapolated(self, stamp: float, outside: float) -> Sample:
        """Constant motion beyond the first or last sample, from a pair that lies far apart."""
        span = max(outside, _BASELINE)
        if stamp > self._stamps[-1]:
            end = self.samples[-1]
            other = self.samples[max(bisect_left(self._stamps, end.stamp - span) - 1, 0)]
        else:
            end = self.samples[0]
            index = bisect_left(self._stamps, end.stamp + span)
            other = self.samples[min(index, len(self.samples) - 1)]
        if other is end or other.parent != end.parent:
            return end
        return _between(other, end, stamp)

    def _gap(self, stamp: float, outside: float) -> TransformError:
        """Why there is no sample at `stamp`."""
        first, last = self.samples[0], self.samples[-1]
        link = f"the transform {last.parent} -> {self.child}"
        if stamp > last.stamp:
            return TransformError(
                "future",
                f"{link} is known until {last.stamp:.3f} s, but is asked for {outside:.3f} s "
                f"later, at {stamp:.3f} s: it arrives late (allow more waiting time), its "
                "publisher stopped, or the clocks of its publisher and the sensor differ "
                "(use_sim_time for a bag, time synchronisation otherwise)",
            )
        return TransformError(
            "too old",
            f"{link} is known from {first.stamp:.3f} s on, but is asked for {outside:.3f} s "
            f"earlier, at {stamp:.3f} s: the cloud is too old, the node has just started, or the "
            "clocks of the transform's publisher and the sensor differ",
        )


def _between(before: Sample, after: Sample, stamp: float) -> Sample:
    """Linear in place, slerp in rotation; outside the two samples the motion goes on."""
    share = (stamp - before.stamp) / (after.stamp - before.stamp)
    (x0, y0, z0), (x1, y1, z1) = before.translation, after.translation
    place = (x0 + share * (x1 - x0), y0 + share * (y1 - y0), z0 + share * (z1 - z0))
    return Sample(stamp, before.parent, place, slerp(before.rotation, after.rotation, share))


def slerp(start: Quaternion, end: Quaternion, share: float) -> Quaternion:
    """The unit quaternion a `share` of the shortest turn from `start` to `end`."""
    cosine = sum(a * b for a, b in zip(start, end, strict=True))
    sign = 1.0 if cosine >= 0 else -1.0  # q and -q are one rotation: take the shorter way
    angle = math.acos(min(abs(cosine), 1.0))
    if angle < 1e-6:
        first, second = 1.0 - share, share * sign
    else:
        sine = math.sin(angle)
        first = math.sin((1.0 - share) * angle) / sine
        second = sign * math.sin(share * angle) / sine
    x, y, z, w = (first * a + second * b for a, b in zip(start, end, strict=True))
    return x, y, z, w
