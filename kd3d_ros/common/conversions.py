"""Between the core's `Boxes3D` and `PointCloud` and ROS messages. Pure: no node, no clock."""

import array
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Duration
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from geometry_msgs.msg import Pose
from geometry_msgs.msg import Quaternion
from geometry_msgs.msg import TransformStamped
from geometry_msgs.msg import Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2
from sensor_msgs.msg import PointField
from std_msgs.msg import ColorRGBA
from std_msgs.msg import Header
from vision_msgs.msg import BoundingBox3D
from vision_msgs.msg import Detection3D
from vision_msgs.msg import Detection3DArray
from vision_msgs.msg import LabelInfo
from vision_msgs.msg import ObjectHypothesis
from vision_msgs.msg import ObjectHypothesisWithPose
from vision_msgs.msg import VisionClass
from visualization_msgs.msg import Marker
from visualization_msgs.msg import MarkerArray

from kd3d_core.datasets.pointcloud2 import encode_pointcloud2_arrays
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import quaternion_from_matrix
from kd3d_core.geometry.transforms import quaternion_from_yaw
from kd3d_core.pointcloud import PointCloud

if TYPE_CHECKING:  # at run time it would bring SciPy into the detector
    from kd3d_core.evaluation.agreement import FrameAgreement

#: Red, green, blue in [0, 1] by class; other classes take turns.
CLASS_COLORS = {
    "car": (0.12, 0.56, 1.0),
    "truck": (0.55, 0.36, 0.96),
    "bus": (0.96, 0.62, 0.04),
    "pedestrian": (0.94, 0.27, 0.27),
    "cyclist": (0.13, 0.77, 0.37),
    "motorcycle": (0.93, 0.28, 0.6),
}
TRUTH_COLOR = (0.85, 0.85, 0.85)
#: What student and teacher both see, what only the teacher sees, what only the student sees.
AGREED_COLOR = (0.13, 0.77, 0.37)
MISSED_COLOR = (0.94, 0.2, 0.2)
EXTRA_COLOR = (1.0, 0.65, 0.0)

#: Pairs of `Boxes3D.corners` that are joined by an edge: bottom, top, uprights.
_EDGES = (
    *((i, (i + 1) % 4) for i in range(4)),
    *((4 + i, 4 + (i + 1) % 4) for i in range(4)),
    *((i, 4 + i) for i in range(4)),
)


def to_time(seconds: float) -> Time:
    """Seconds since the epoch as a stamp, to the nanosecond that float64 can tell."""
    whole = math.floor(seconds)
    nanoseconds = round((seconds - whole) * 1e9)
    return Time(sec=whole + nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def nanoseconds(stamp: Time) -> int:
    """A stamp as whole nanoseconds since the epoch."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def to_detections(
    boxes: Boxes3D, header: Header, ids: Sequence[str] | None = None
) -> Detection3DArray:
    """Boxes as vision_msgs, the best class as the one hypothesis of each.

    Args:
        boxes: In the frame of the header.
        header: Given to the array and to each detection, unchanged.
        ids: A track id for each box, or None.

    Returns:
        Detections in the order of the boxes. `class_id` is the name of the class; the velocity
        has no field in Detection3D and is left out.
    """
    detections = []
    for i, name in enumerate(boxes.names):
        pose = _pose(boxes, i)
        hypothesis = ObjectHypothesisWithPose(
            hypothesis=ObjectHypothesis(class_id=name, score=float(boxes.score[i]))
        )
        hypothesis.pose.pose = pose
        length, width, height = (float(value) for value in boxes.size[i])
        detections.append(
            Detection3D(
                header=header,
                results=[hypothesis],
                bbox=BoundingBox3D(center=pose, size=Vector3(x=length, y=width, z=height)),
                id="" if ids is None else ids[i],
            )
        )
    return Detection3DArray(header=header, detections=detections)


def to_label_info(classes: Sequence[str], threshold: float, header: Header) -> LabelInfo:
    """The classes of a model, numbered as their labels."""
    names = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(classes)]
    return LabelInfo(header=header, class_map=names, threshold=threshold)


def to_markers(
    boxes: Boxes3D,
    header: Header,
    lifetime: float,
    *,
    color: tuple[float, float, float] | None = None,
    text: bool = True,
) -> MarkerArray:
    """Boxes as edges with an arrow along the heading and a text, for RViz and Foxglove.

    The first marker deletes all earlier ones of the topic and the others end by themselves, so
    that neither a box that vanished nor a node that died leaves boxes behind.

    Args:
        boxes: In the frame of the header.
        header: Given to every marker.
        lifetime: After which RViz forgets them [s].
        color: Of every box, red, green, blue in [0, 1]; None takes the colour of the class.
        text: Whether to write class and score above each box.

    Returns:
        DELETEALL; one LINE_LIST a class; one ARROW and, if wanted, one TEXT_VIEW_FACING a box.
    """
    duration = Duration(sec=int(lifetime), nanosec=round(lifetime % 1.0 * 1e9))
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    corners = boxes.corners().astype(np.float64)
    for label in sorted(set(boxes.label.tolist())):
        edges = Marker(header=header, ns="boxes", id=label, type=Marker.LINE_LIST)
        edges.scale.x = 0.06
        edges.color = _color(boxes.classes, label, color, 1.0)
        edges.points = [
            Point(x=corner[0], y=corner[1], z=corner[2])
            for box in corners[boxes.label == label].tolist()
            for corner in (box[k] for k in itertools.chain.from_iterable(_EDGES))
        ]
        markers.append(edges)
    for i, name in enumerate(boxes.names):
        arrow = Marker(header=header, ns="headings", id=i, type=Marker.ARROW)
        arrow.pose = _pose(boxes, i)
        arrow.scale = Vector3(x=float(boxes.size[i, 0]) / 2 + 0.8, y=0.12, z=0.12)
        arrow.color = _color(boxes.classes, int(boxes.label[i]), color, 1.0)
        markers.append(arrow)
        if text:
            label_text = Marker(header=header, ns="labels", id=i, type=Marker.TEXT_VIEW_FACING)
            label_text.pose.position = Point(
                x=float(boxes.center[i, 0]),
                y=float(boxes.center[i, 1]),
                z=float(boxes.center[i, 2] + boxes.size[i, 2] / 2) + 0.5,
            )
            label_text.scale.z = 0.6
            label_text.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=0.9)
            label_text.text = f"{name} {boxes.score[i]:.2f}"
            markers.append(label_text)
    for marker in markers[1:]:
        marker.lifetime = duration
    return MarkerArray(markers=markers)


def to_agreement_markers(frame: "FrameAgreement", header: Header, lifetime: float) -> MarkerArray:
    """What two detectors make of one cloud: agreed green, missed red, extra amber.

    Args:
        frame: Student and teacher with their pairing, in the frame of the header.
        header: Given to every marker.
        lifetime: After which RViz forgets them [s].

    Returns:
        DELETEALL, then the markers of `to_markers` in namespaces such as `missed/boxes`. An
        agreed box is drawn as the student sees it. Boxes that are not judged are not drawn.
    """
    pairing = frame.pairing
    groups = (
        ("agreed", frame.student[pairing.student], AGREED_COLOR),
        ("missed", frame.reference[pairing.missed], MISSED_COLOR),
        ("extra", frame.student[pairing.extra], EXTRA_COLOR),
    )
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for name, boxes, color in groups:
        for marker in to_markers(boxes, header, lifetime, color=color).markers[1:]:
            marker.ns = f"{name}/{marker.ns}"
            if marker.text and name != "agreed":
                marker.text = f"{name} {marker.text}"
            markers.append(marker)
    return MarkerArray(markers=markers)


def to_point_cloud2(cloud: PointCloud, header: Header) -> PointCloud2:
    """A cloud as an unorganised, little-endian message with x, y, z, intensity [, time, ring]."""
    fields, point_step, data = encode_pointcloud2_arrays(cloud)
    message = PointCloud2(
        header=header,
        height=1,
        width=len(cloud),
        fields=[
            PointField(name=name, offset=offset, datatype=datatype, count=count)
            for name, offset, datatype, count in fields
        ],
        is_bigendian=False,
        point_step=point_step,
        row_step=len(data),
        is_dense=True,
    )
    # rclpy checks every byte of anything but an array.array: 400 ms a cloud against 1.
    message.data = array.array("B", data)
    return message


def to_transform(pose: NDArray[np.floating], header: Header, child_frame: str) -> TransformStamped:
    """A (4, 4) pose parent_from_child as a transform from the header's frame to the child's."""
    message = TransformStamped(header=header, child_frame_id=child_frame)
    x, y, z = (float(value) for value in pose[:3, 3])
    message.transform.translation = Vector3(x=x, y=y, z=z)
    qx, qy, qz, qw = quaternion_from_matrix(pose[:3, :3])
    message.transform.rotation = Quaternion(x=qx, y=qy, z=qz, w=qw)
    return message


def _pose(boxes: Boxes3D, i: int) -> Pose:
    """Centre and heading of one box."""
    x, y, z = (float(value) for value in boxes.center[i])
    qx, qy, qz, qw = quaternion_from_yaw(float(boxes.yaw[i]))
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def _color(
    classes: Sequence[str],
    label: int,
    fixed: tuple[float, float, float] | None,
    alpha: float,
) -> ColorRGBA:
    """The colour of a class, or the fixed one."""
    palette = tuple(CLASS_COLORS.values())
    red, green, blue = fixed or CLASS_COLORS.get(classes[label], palette[label % len(palette)])
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)
