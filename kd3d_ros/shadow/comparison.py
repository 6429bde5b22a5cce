"""From a cloud and the student's answer to what the teacher says about both. Free of rclpy."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from pydantic import ValidationError

from kd3d_core.codec.decode import per_class
from kd3d_core.datasets.bags import POINT_CLOUD
from kd3d_core.datasets.bags import seconds
from kd3d_core.datasets.detection3d import DETECTIONS
from kd3d_core.datasets.detection3d import from_message
from kd3d_core.datasets.detection3d import typestore
from kd3d_core.datasets.mined import MinedFrame
from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.agreement import Agreement
from kd3d_core.evaluation.agreement import AgreementConfig
from kd3d_core.evaluation.agreement import AgreementWindow
from kd3d_core.evaluation.agreement import FrameAgreement
from kd3d_core.evaluation.agreement import compare
from kd3d_core.evaluation.disagreement import Disagreement
from kd3d_core.evaluation.disagreement import judge
from kd3d_core.evaluation.drift import Alarm
from kd3d_core.evaluation.drift import DriftConfig
from kd3d_core.evaluation.drift import alarms
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.runtime.detector import Detector
from kd3d_ros.common.filters import boxes_within
from kd3d_ros.shadow.classes import CommonClasses
from kd3d_ros.shadow.matching import Match
from kd3d_ros.shadow.settings import ShadowSettings

#: Answers in another frame: (frame of the cloud, frame of the boxes, stamp [s]) -> (4, 4).
Lookup = Callable[[str, str, float], NDArray[np.floating[Any]]]


@dataclass(frozen=True, eq=False)
class Compared:
    """What came of one match.

    Attributes:
        frame_id: Of the cloud and of all boxes.
        frame: Student and teacher, paired.
        disagreement: How bad it is, and why.
        teacher_ms: What the teacher took.
        strangers: Classes of the student that the teacher does not have.
        mined: What to keep of it.
    """

    frame_id: str
    frame: FrameAgreement
    disagreement: Disagreement
    teacher_ms: float
    strangers: set[str]
    mined: MinedFrame


@dataclass(frozen=True)
class Verdict:
    """How things stand over the window.

    Attributes:
        agreement: Over the latest compared clouds.
        alarms: Limits that it breaks.
    """

    agreement: Agreement
    alarms: tuple[Alarm, ...]


class Comparison:
    """A teacher, and the window over what it thinks of the student. `verdict` is thread-safe."""

    def __init__(self, detector: Detector, settings: ShadowSettings, lookup: Lookup) -> None:
        """Start with an empty window.

        Args:
            detector: The teacher.
            settings: Of the node; those that may change while it works are given with each match.
            lookup: Asked when an answer is not in the frame of its cloud.

        Raises:
            Kd3dError: A setting does not fit the teacher, or the baseline cannot be read.
        """
        threshold = settings.teacher_threshold
        self.teacher = detector.with_decode(score_threshold=threshold) if threshold else detector
        names, decode = detector.manifest.classes, detector.manifest.decode
        self._classes = CommonClasses(names, settings.class_remap)
        self._overlap = per_class(decode.nms_threshold, names, "nms_threshold")
        self._config = AgreementConfig(
            rings=tuple(settings.rings), student_threshold=settings.student_threshold or None
        )
        self._drift = DriftConfig(
            min_frames=settings.min_frames,
            min_recall=settings.min_recall or None,
            min_precision=settings.min_precision or None,
            max_centre_error=settings.max_centre_error or None,
            max_recall_drop=settings.max_drop or None,
            max_precision_drop=settings.max_drop or None,
        )
        self._baseline = read_agreement(Path(settings.baseline)) if settings.baseline else None
        self._roi = settings.roi
        self._lookup = lookup
        self._types = typestore()
        self._window = AgreementWindow(self._classes.names, self._config, settings.window)
        self._lock = threading.Lock()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that are compared."""
        return self._classes.names

    def compare(self, match: Match, intensity_scale: float) -> Compared:
        """Run the teacher on a cloud and compare its boxes with the student's.

        Args:
            match: The cloud and the answer.
            intensity_scale: The sensor's value for full intensity; 0 guesses it.

        Raises:
            Kd3dError: The cloud is malformed, or the answer is in a frame that cannot be reached.
        """
        # rosbags views the bytes where rclpy copies them, and reads both messages the same way.
        cloud: Any = self._types.deserialize_cdr(match.cloud, POINT_CLOUD)
        answer: Any = self._types.deserialize_cdr(match.answer, DETECTIONS)
        student, strangers = self._student(answer, cloud.header.frame_id, seconds(match.stamp_ns))
        points = decode_pointcloud2(cloud, intensity_scale or None)
        detection = self.teacher(points)
        teacher = self._within(self._classes.of_teacher(detection.boxes, self._overlap))
        frame = compare(student, teacher, self._config, stamp=seconds(match.stamp_ns))
        disagreement = judge(frame)
        with self._lock:
            self._window.add(frame)
        mined = MinedFrame(
            stamp_ns=match.stamp_ns,
            frame_id=cloud.header.frame_id,
            cloud_cdr=match.cloud,
            student=student,
            teacher=teacher,
            disagreement=disagreement,
        )
        return Compared(mined.frame_id, frame, disagreement, detection.total_ms, strangers, mined)

    def verdict(self) -> Verdict:
        """How things stand now."""
        with self._lock:
            agreement = self._window.result()
        return Verdict(agreement, alarms(agreement, self._drift, self._baseline))

    def _student(self, answer: Any, frame_id: str, stamp: float) -> tuple[Boxes3D, set[str]]:
        """The student's boxes, with common classes and in the frame of the cloud."""
        # All names that occur, so that nothing is left out before it is known to be unknown.
        names = {
            result.hypothesis.class_id
            for detection in answer.detections
            for result in detection.results
        }
        boxes, strangers = self._classes.of_student(from_message(answer, tuple(sorted(names))))
        if answer.header.frame_id != frame_id:
            boxes = boxes.transformed(self._lookup(frame_id, answer.header.frame_id, stamp))
        return self._within(boxes), strangers

    def _within(self, boxes: Boxes3D) -> Boxes3D:
        """The boxes in the region that the student looks at."""
        return boxes[boxes_within(boxes, self._roi)] if any(self._roi) else boxes


def read_agreement(path: Path) -> Agreement:
    """The agreement in a JSON file: that of `kd3d_core shadow`, or a saved `~/agreement`.

    Raises:
        Kd3dError: The file cannot be read or holds no agreement.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and "agreement" in data:
            data = data["agreement"]
        return TypeAdapter(Agreement).validate_python(data)
    except OSError as error:
        raise Kd3dError(f"cannot read baseline {path}: {error.strerror or error}") from error
    except (ValueError, ValidationError) as error:
        raise Kd3dError(
            f"{path} holds no agreement: give the parameter baseline the agreement.json that "
            f"`kd3d_core shadow` writes, or a saved message of ~/agreement ({error})"
        ) from error
