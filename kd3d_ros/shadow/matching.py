"""Clouds and the student's answers to them, brought together by their stamps. Free of ROS."""

import struct
import threading
from collections import OrderedDict
from dataclasses import dataclass

from kd3d_core.errors import Kd3dError


@dataclass(frozen=True)
class Match:
    """A cloud and what the student published about it, both as they came over the wire.

    Attributes:
        stamp_ns: Of both headers [ns].
        cloud: Serialized sensor_msgs/PointCloud2.
        answer: Serialized vision_msgs/Detection3DArray.
    """

    stamp_ns: int
    cloud: bytes
    answer: bytes


@dataclass(frozen=True)
class MatchCounts:
    """What became of clouds and answers.

    Attributes:
        clouds: Clouds that came.
        answers: Answers of the student that came.
        matched: Pairs found.
        unanswered: Clouds that the student passed over: it answered a later one.
        unmatched: Answers to a cloud that was never seen here.
        offset_ns: Stamp of the latest unmatched answer minus that of the nearest cloud [ns], None
            when there was no cloud.
    """

    clouds: int = 0
    answers: int = 0
    matched: int = 0
    unanswered: int = 0
    unmatched: int = 0
    offset_ns: int | None = None


def stamp_of(serialized: bytes) -> int:
    """The header's stamp [ns] of a serialized message whose first field is a std_msgs/Header.

    Deserialising a cloud only to learn its stamp would cost as much as using it; the stamp is the
    first eight bytes behind the four that tell the encoding.

    Raises:
        Kd3dError: The message is too short to have a stamp.
    """
    if len(serialized) < 12:
        raise Kd3dError(
            f"a message of {len(serialized)} bytes has no header: what is published on the topic "
            "is no cloud or no detections"
        )
    # OMG DDSI-RTPS 10.2: in every encoding the lowest bit of the identifier means little-endian.
    order = "<" if serialized[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(order + "iI", serialized, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


class Matcher:
    """Holds the latest clouds until the student has answered them; bounded and thread-safe.

    The teacher is asked only about clouds that the student has answered: not a cycle is spent on
    a cloud that the student dropped, and the teacher works when the student is done.
    """

    def __init__(self, capacity: int) -> None:
        """Start empty.

        Args:
            capacity: How many clouds, and how many answers, may wait; at least 1.
        """
        self._capacity = capacity
        self._clouds: OrderedDict[int, bytes] = OrderedDict()
        #: Stamp -> answer, and how far the nearest cloud was when it came [ns].
        self._answers: OrderedDict[int, tuple[bytes, int | None]] = OrderedDict()
        self._lock = threading.Lock()
        self._came = {"clouds": 0, "answers": 0}
        self._matched = self._unanswered = self._unmatched = 0
        self._offset: int | None = None

    def add_cloud(self, serialized: bytes) -> Match | None:
        """Take a cloud; the match, when its answer is already here.

        Raises:
            Kd3dError: The message has no header.
        """
        stamp = stamp_of(serialized)
        with self._lock:
            self._came["clouds"] += 1
            if stamp in self._answers:
                answer, _ = self._answers.pop(stamp)
                return self._match(stamp, serialized, answer)
            self._clouds.pop(stamp, None)  # so that a stamp that comes again is the newest
            self._clouds[stamp] = serialized
            if len(self._clouds) > self._capacity:
                self._clouds.popitem(last=False)
                self._unanswered += 1
            return None

    def add_answer(self, serialized: bytes) -> Match | None:
        """Take an answer of the student; the match, when its cloud is already here.

        Raises:
            Kd3dError: The message has no header.
        """
        stamp = stamp_of(serialized)
        with self._lock:
            self._came["answers"] += 1
            cloud = self._clouds.get(stamp)
            if cloud is not None:
                self._forget_until(stamp)
                return self._match(stamp, cloud, serialized)
            offsets = [stamp - other for other in self._clouds]
            self._answers[stamp] = serialized, min(offsets, key=abs, default=None)
            if len(self._answers) > self._capacity:
                _, (_, self._offset) = self._answers.popitem(last=False)
                self._unmatched += 1
            return None

    def clear(self) -> None:
        """Forget what waits; the counts stay."""
        with self._lock:
            self._clouds.clear()
            self._answers.clear()

    @property
    def counts(self) -> MatchCounts:
        """A consistent snapshot."""
        with self._lock:
            return MatchCounts(
                clouds=self._came["clouds"],
                answers=self._came["answers"],
                matched=self._matched,
                unanswered=self._unanswered,
                unmatched=self._unmatched,
                offset_ns=self._offset,
            )

    def _match(self, stamp: int, cloud: bytes, answer: bytes) -> Match:
        """Count a match."""
        self._matched += 1
        return Match(stamp, cloud, answer)

    def _forget_until(self, stamp: int) -> None:
        """Let go of a matched cloud and of those before it, which the student passed over.

        A detector answers in the order in which clouds came; the order of arrival, not of stamps,
        decides, so that a clock that jumps back (a bag that starts anew) does no harm.
        """
        while self._clouds:
            oldest, _ = self._clouds.popitem(last=False)
            if oldest == stamp:
                return
            self._unanswered += 1
