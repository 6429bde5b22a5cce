"""`vision_msgs/Detection3DArray` to `Boxes3D` and back, without any ROS installation."""

import math
from collections.abc import Iterable
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import quaternion_from_yaw

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

DETECTIONS = "vision_msgs/msg/Detection3DArray"

#: The messages behind Detection3DArray as vision_msgs 4 has them, from Humble to Jazzy.
_VISION_MSGS = {
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "Detection3D": (
        "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox3D bbox\nstring id"
    ),
    "Detection3DArray": "std_msgs/Header header\nDetection3D[] detections",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": (
        "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose"
    ),
}


@cache
def typestore() -> "Typestore":
    """The types of ROS 2 Jazzy and those behind Detection3DArray, for `rosbags`."""
    from rosbags.typesys import Stores
    from rosbags.typesys import get_types_from_msg
    from rosbags.typesys import get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for name, fields in _VISION_MSGS.items():
        types |= get_types_from_msg(fields, f"vision_msgs/msg/{name}")
    store.register(types)
    return store


def to_message(
    boxes: Boxes3D, stamp_ns: int, frame_id: str, types: "Typestore | None" = None
) -> Any:
    """Boxes as a message of `rosbags`, the best class as the one hypothesis of each.

    Args:
        boxes: In the frame `frame_id`.
        stamp_ns: Of the cloud they were seen in [ns since the epoch].
        frame_id: Of the cloud.
        types: Holds the classes of the messages; `typestore()` when None.

    Returns:
        A Detection3DArray in the order of the boxes. `class_id` is the name of the class; the
        velocity has no field in Detection3D and is left out.
    """
    of = (types or typestore()).types
    pose_type, point = of["geometry_msgs/msg/Pose"], of["geometry_msgs/msg/Point"]
    turn, vector = of["geometry_msgs/msg/Quaternion"], of["geometry_msgs/msg/Vector3"]
    with_covariance = of["geometry_msgs/msg/PoseWithCovariance"]
    header = _header(of, stamp_ns, frame_id)
    detections = []
    for i, name in enumerate(boxes.names):
        x, y, z, length, width, height = (float(v) for v in (*boxes.center[i], *boxes.size[i]))
        qx, qy, qz, qw = quaternion_from_yaw(float(boxes.yaw[i]))
        pose = pose_type(position=point(x, y, z), orientation=turn(qx, qy, qz, qw))
        hypothesis = of["vision_msgs/msg/ObjectHypothesisWithPose"](
            hypothesis=of["vision_msgs/msg/ObjectHypothesis"](name, float(boxes.score[i])),
            pose=with_covariance(pose=pose, covariance=np.zeros(36)),
        )
        box = of["vision_msgs/msg/BoundingBox3D"](center=pose, size=vector(length, width, height))
        detections.append(
            of["vision_msgs/msg/Detection3D"](header=header, results=[hypothesis], bbox=box, id="")
        )
    return of[DETECTIONS](header=header, detections=detections)


def to_cdr(boxes: Boxes3D, stamp_ns: int, frame_id: str) -> bytes:
    """Boxes as the bytes of a Detection3DArray; see `to_message`."""
    store = typestore()
    message = to_message(boxes, stamp_ns, frame_id, store)
    return bytes(store.serialize_cdr(message, DETECTIONS))


def from_message(message: Any, classes: Sequence[str]) -> Boxes3D:
    """Boxes out of a Detection3DArray: the best hypothesis of each detection.

    Args:
        message: Of rclpy, of `rosbags`, or any object with the same attributes. The older layout,
            whose hypotheses have `id` and `score` themselves, is understood too.
        classes: For the labels. Detections without a hypothesis, or whose class is not among
            these, are left out.

    Returns:
        Boxes in the frame of the message, velocities unknown.
    """
    rows: list[tuple[float, ...]] = []
    index = {name: label for label, name in enumerate(classes)}
    for detection in message.detections:
        found = [_hypothesis(result) for result in detection.results]
        if not found:
            continue
        name, score = max(found, key=lambda item: item[1])
        if name not in index:
            continue
        center, size = detection.bbox.center, detection.bbox.size
        q, place = center.orientation, center.position
        yaw = math.atan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y * q.y + q.z * q.z))
        row = (place.x, place.y, place.z, size.x, size.y, size.z, yaw, score, index[name])
        rows.append(row)
    table = np.array(rows, np.float64).reshape(-1, 9)
    return Boxes3D.make(
        table[:, :3],
        table[:, 3:6],
        table[:, 6],
        table[:, 8].astype(np.int64),
        score=table[:, 7],
        classes=classes,
    )


def labels_in(messages: Iterable[Any]) -> set[str]:
    """Every class that the best hypotheses of some Detection3DArray messages name."""
    names = set()
    for message in messages:
        for detection in message.detections:
            found = [_hypothesis(result) for result in detection.results]
            if found:
                names.add(max(found, key=lambda item: item[1])[0])
    return names


def _hypothesis(result: Any) -> tuple[str, float]:
    """Class name and score of an ObjectHypothesisWithPose."""
    inner = getattr(result, "hypothesis", result)
    name = inner.class_id if hasattr(inner, "class_id") else inner.id
    return str(name), float(inner.score)


def _header(of: Any, stamp_ns: int, frame_id: str) -> Any:
    """std_msgs/Header."""
    seconds, nanoseconds = divmod(int(stamp_ns), 10**9)
    stamp = of["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return of["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)
