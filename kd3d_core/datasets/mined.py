"""Mined frames: the clouds on which two detectors disagree most, kept for distillation."""

import bisect
import json
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from kd3d_core.datasets.bag_writer import write_bag
from kd3d_core.datasets.bags import POINT_CLOUD
from kd3d_core.datasets.bags import BagMessage
from kd3d_core.datasets.bags import iter_messages
from kd3d_core.datasets.bags import seconds
from kd3d_core.datasets.detection3d import DETECTIONS
from kd3d_core.datasets.detection3d import from_message
from kd3d_core.datasets.detection3d import to_cdr
from kd3d_core.datasets.detection3d import typestore
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D

if TYPE_CHECKING:
    from collections.abc import Mapping

STRING = "std_msgs/msg/String"
POINTS, STUDENT, TEACHER = "/points", "/student/detections", "/teacher/detections"
DISAGREEMENT = "/disagreement"
#: Topic -> type of what a mined bag holds, one message of each a frame.
TOPICS = {POINTS: POINT_CLOUD, STUDENT: DETECTIONS, TEACHER: DETECTIONS, DISAGREEMENT: STRING}


@dataclass(frozen=True)
class Disagreement:
    """The verdict on one frame.

    Attributes:
        score: Weighted sum of the faults, 0 when there are none; larger is worse.
        reasons: The worst faults in words, worst first.
    """

    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class MinedFrame:
    """A frame worth keeping, with the cloud still packed.

    Attributes:
        stamp_ns: Of the cloud's header [ns since the epoch].
        frame_id: Of the cloud's header.
        cloud_cdr: The cloud as a serialised PointCloud2.
        student: What the student sees.
        teacher: What the teacher sees.
        disagreement: How bad it is, and why.
        source: Where the cloud came from, for messages.
    """

    stamp_ns: int
    frame_id: str
    cloud_cdr: bytes
    student: Boxes3D
    teacher: Boxes3D
    disagreement: Disagreement
    source: str = ""

    @property
    def size(self) -> int:
        """Bytes it takes, about."""
        return len(self.cloud_cdr) + 400 * (len(self.student) + len(self.teacher)) + 1000


@dataclass(frozen=True, eq=False)
class MinedRecord:
    """A frame out of a mined bag.

    Attributes:
        frame: The cloud, decoded; it has no ground truth.
        student: What the student saw.
        teacher: What the teacher saw.
        disagreement: How bad it was, and why.
    """

    frame: Frame
    student: Boxes3D
    teacher: Boxes3D
    disagreement: Disagreement


class WorstFrames:
    """Keeps the worst frames within bounds of number, memory and closeness in time.

    Of frames closer together than `min_gap` only the worst stays, so that one bad moment does
    not fill it. Frames without any disagreement are never kept. Not thread-safe.
    """

    def __init__(
        self, max_frames: int = 100, max_bytes: int = 512 * 2**20, min_gap: float = 1.0
    ) -> None:
        """Start empty.

        Args:
            max_frames: At most so many frames.
            max_bytes: At most so much memory, about.
            min_gap: Least time between the stamps of two frames [s].
        """
        self.max_frames = max_frames
        self.max_bytes = max_bytes
        self.min_gap = min_gap
        self._frames: list[MinedFrame] = []

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def frames(self) -> tuple[MinedFrame, ...]:
        """What is kept, by time."""
        return tuple(self._frames)

    @property
    def worst(self) -> tuple[MinedFrame, ...]:
        """What is kept, the worst first."""
        return tuple(sorted(self._frames, key=_badness))

    @property
    def bytes(self) -> int:
        """Memory taken, about."""
        return sum(frame.size for frame in self._frames)

    def wants(self, score: float, stamp_ns: int) -> bool:
        """Whether a frame with this score and stamp may be kept: asked before it is packed."""
        if score <= 0 or self.max_frames < 1:
            return False
        if any(near.disagreement.score >= score for near in self._near(stamp_ns)):
            return False
        full = len(self._frames) >= self.max_frames and not self._near(stamp_ns)
        return not full or score > min(frame.disagreement.score for frame in self._frames)

    def offer(self, frame: MinedFrame) -> bool:
        """Keep a frame if it is among the worst.

        Returns:
            Whether it is kept; others may have gone for it.
        """
        if not self.wants(frame.disagreement.score, frame.stamp_ns) or frame.size > self.max_bytes:
            return False
        near = self._near(frame.stamp_ns)
        kept = [item for item in self._frames if item not in near]
        bisect.insort(kept, frame, key=lambda item: item.stamp_ns)
        while len(kept) > self.max_frames or sum(item.size for item in kept) > self.max_bytes:
            least = max(kept, key=_badness)
            if least is frame:
                return False
            kept.remove(least)
        self._frames = kept
        return True

    def clear(self) -> None:
        """Forget all frames, for instance after they were written."""
        self._frames = []

    def _near(self, stamp_ns: int) -> list[MinedFrame]:
        """Kept frames closer in time than the gap."""
        gap = self.min_gap * 1e9
        return [item for item in self._frames if abs(item.stamp_ns - stamp_ns) < gap]


def _badness(frame: MinedFrame) -> tuple[float, int]:
    """Sorts the worst first, of equals the earlier."""
    return -frame.disagreement.score, frame.stamp_ns


def write_mined(
    path: Path | str, frames: Sequence[MinedFrame], student: str = "", teacher: str = ""
) -> Path:
    """Write frames into a new mcap bag, atomically and reproducibly, by time.

    Args:
        path: Folder of the bag; an earlier bag there is replaced.
        frames: One or more.
        student: Name of the student, for whoever reads the bag.
        teacher: Name of the teacher.

    Returns:
        The folder.

    Raises:
        Kd3dError: It cannot be written.
        ValueError: There are no frames.
    """
    if not frames:
        raise ValueError("write_mined: there are no frames")
    store = typestore()
    with write_bag(path) as bag:
        for topic, kind in TOPICS.items():
            bag.add_topic(topic, kind)
        for frame in sorted(frames, key=lambda item: item.stamp_ns):
            text = store.types[STRING](data=json.dumps(_verdict(frame, student, teacher)))
            verdict = bytes(store.serialize_cdr(text, STRING))
            bag.write(POINTS, frame.stamp_ns, frame.cloud_cdr)
            for topic, boxes in ((STUDENT, frame.student), (TEACHER, frame.teacher)):
                bag.write(topic, frame.stamp_ns, to_cdr(boxes, frame.stamp_ns, frame.frame_id))
            bag.write(DISAGREEMENT, frame.stamp_ns, verdict)
    return Path(path)


def read_mined(path: Path | str, intensity_scale: float | None = None) -> Iterator[MinedRecord]:
    """The frames of a mined bag, by time.

    Args:
        path: The bag's folder, or its bare `.mcap` file.
        intensity_scale: See `decode_pointcloud2`.

    Raises:
        Kd3dError: It is no mined bag, or is damaged.
    """
    pending: dict[int, dict[str, BagMessage]] = {}
    for item in iter_messages(path, TOPICS):
        if item.message is None:
            raise Kd3dError(f"{item.source}: {item.error}")
        # By number, not by stamp: two bags that were mined together may share stamps.
        parts = pending.setdefault(item.index, {})
        parts[item.topic] = item
        if len(parts) == len(TOPICS):
            yield _record(pending.pop(item.index), intensity_scale)
    for index, parts in pending.items():
        absent = ", ".join(topic for topic in TOPICS if topic not in parts)
        raise Kd3dError(f"{path}: frame {index} has no {absent}.")


def _verdict(frame: MinedFrame, student: str, teacher: str) -> dict[str, Any]:
    """What the other topics have no field for, as plain data."""
    sides = {
        key: {"model": name, "classes": list(boxes.classes), "velocity": _velocity(boxes)}
        for key, name, boxes in (
            ("student", student, frame.student),
            ("teacher", teacher, frame.teacher),
        )
    }
    verdict = frame.disagreement
    head = {"score": verdict.score, "reasons": list(verdict.reasons), "source": frame.source}
    return head | sides


def _velocity(boxes: Boxes3D) -> list[list[float] | None]:
    """vx, vy of each box [m/s], None where unknown."""
    return [row if np.isfinite(row).all() else None for row in boxes.velocity.tolist()]


def _record(parts: "Mapping[str, BagMessage]", intensity_scale: float | None) -> MinedRecord:
    """A frame of its four messages."""
    text, points = parts[DISAGREEMENT], parts[POINTS]
    try:
        data = json.loads(text.message.data)
        verdict = Disagreement(float(data["score"]), tuple(str(item) for item in data["reasons"]))
        student = _boxes(parts[STUDENT], data["student"])
        teacher = _boxes(parts[TEACHER], data["teacher"])
    except (KeyError, TypeError, ValueError) as error:
        raise Kd3dError(f"{text.source} is not what a mined bag holds there ({error}).") from error
    stamp = seconds(points.stamp_ns)
    frame = Frame(cloud=points.cloud(intensity_scale), source=points.source, stamp=stamp)
    return MinedRecord(frame, student, teacher, verdict)


def _boxes(item: BagMessage, side: dict[str, Any]) -> Boxes3D:
    """The boxes of a detector, with the velocities that the message has no field for."""
    boxes = from_message(item.message, [str(name) for name in side["classes"]])
    velocity = [(np.nan, np.nan) if row is None else row for row in side["velocity"]]
    return replace(boxes, velocity=np.array(velocity, np.float32).reshape(-1, 2))
