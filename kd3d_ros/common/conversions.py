"""Between the core's `Boxes3D` and `PointCloud` and ROS messages. Pure: no node, no clock."""

import array
import copy
import math
from collections.abc import Iterator
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

#: Pairs of `Boxes3D.corners` that are joined by an edge, one after the other.
_EDGES = (0, 1, 1, 2, 2, 3, 3, 0, 4, 5, 5, 6, 6, 7, 7, 4, 0, 4, 1, 5, 2, 6, 3, 7)

# A message makes all of its parts when it is made, which takes 20 times as long as a copy that
# shares them. Parts are replaced as a whole, never written to, so that these stay as they are.
_DETECTION, _BOX, _HYPOTHESIS = Detection3D(), BoundingBox3D(), ObjectHypothesisWithPose()
_MARKER, _POSE = Marker(), Pose()


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
    rows = zip(boxes.names, boxes.score.tolist(), boxes.size.tolist(), _poses(boxes), strict=True)
    for i, (name, score, (length, width, height), pose) in enumerate(rows):
        hypothesis = copy.copy(_HYPOTHESIS)
        hypothesis.hypothesis = ObjectHypothesis(class_id=name, score=score)
        hypothesis.pose = copy.copy(_HYPOTHESIS.pose)
        hypothesis.pose.pose = pose
        box = copy.copy(_BOX)
        box.center = pose
        box.size = Vector3(x=length, y=width, z=height)
        detection = copy.copy(_DETECTION)
        detection.header = header
        detection.results = [hypothesis]
        detection.bbox = box
        detection.id = "" if ids is None else ids[i]
        detections.append(detection)
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
    base = copy.copy(_MARKER)
    base.header = header
    base.lifetime = Duration(sec=int(lifetime), nanosec=round(lifetime % 1.0 * 1e9))
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    colors = {
        label: _color(boxes.classes, label, color, 1.0) for label in set(boxes.label.tolist())
    }
    corners = boxes.corners()
    for label in sorted(colors):
        edges = _marker(base, "boxes", label, Marker.LINE_LIST, colors[label])
        edges.scale = Vector3(x=0.06)
        edges.points = [
            point for box in corners[boxes.label == label].tolist() for point in _edge_points(box)
        ]
        markers.append(edges)
    white = ColorRGBA(r=1.0, g=1.0, b=1.0, a=0.9)
    letters = Vector3(z=0.6)
    rows = zip(boxes.names, boxes.score, boxes.label.tolist(), boxes.size.tolist(), strict=True)
    for i, ((name, score, label, size), pose) in enumerate(zip(rows, _poses(boxes), strict=True)):
        arrow = _marker(base, "headings", i, Marker.ARROW, colors[label])
        arrow.pose = pose
        arrow.scale = Vector3(x=size[0] / 2 + 0.8, y=0.12, z=0.12)
        markers.append(arrow)
        if text:
            sign = _marker(base, "labels", i, Marker.TEXT_VIEW_FACING, white)
            sign.pose = copy.copy(_POSE)
            at = pose.position
            sign.pose.position = Point(x=at.x, y=at.y, z=at.z + size[2] / 2 + 0.5)
            sign.scale = letters
            sign.text = f"{name} {score:.2f}"
            markers.append(sign)
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


def _poses(boxes: Boxes3D) -> Iterator[Pose]:
    """Centre and heading of each box."""
    for (x, y, z), yaw in zip(boxes.center.tolist(), boxes.yaw.tolist(), strict=True):
        qx, qy, qz, qw = quaternion_from_yaw(yaw)
        pose = copy.copy(_POSE)
        pose.position = Point(x=x, y=y, z=z)
        pose.orientation = Quaternion(x=qx, y=qy, z=qz, w=qw)
        yield pose


def _edge_points(corners: Sequence[Sequence[float]]) -> list[Point]:
    """The ends of the edges of a box, from its (8, 3) corners; each corner ends three edges."""
    points = [Point(x=x, y=y, z=z) for x, y, z in corners]
    return [points[k] for k in _EDGES]


def _marker(base: Marker, namespace: str, number: int, kind: int, color: ColorRGBA) -> Marker:
    """A marker with the header and the lifetime of another."""
    marker = copy.copy(base)
    marker.ns = namespace
    marker.id = number
    marker.type = kind
    marker.color = color
    return marker


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
