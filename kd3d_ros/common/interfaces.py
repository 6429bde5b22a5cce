"""Whether the message packages that this package publishes are there, and have the fields it uses.

vision_msgs changed between ROS distributions: class ids were numbers once, and LabelInfo is new.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from kd3d_core.errors import Kd3dError

#: Message -> the fields that are used and their types.
VISION_FIELDS: Mapping[str, Mapping[str, str]] = {
    "Detection3D": {
        "results": "sequence<vision_msgs/ObjectHypothesisWithPose>",
        "bbox": "vision_msgs/BoundingBox3D",
        "id": "string",
    },
    "ObjectHypothesisWithPose": {"hypothesis": "vision_msgs/ObjectHypothesis"},
    "ObjectHypothesis": {"class_id": "string", "score": "double"},
    "BoundingBox3D": {"center": "geometry_msgs/Pose", "size": "geometry_msgs/Vector3"},
    "LabelInfo": {"class_map": "sequence<vision_msgs/VisionClass>", "threshold": "float"},
}


def require_vision_messages() -> None:
    """Refuse to go on without the messages that are published.

    Raises:
        Kd3dError: A package is missing, or is of a distribution whose fields differ.
    """
    for package in ("vision_msgs", "visualization_msgs"):
        try:
            module = importlib.import_module(f"{package}.msg")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] != package:
                raise
            raise Kd3dError(
                f"{package} is not installed: apt install ros-$ROS_DISTRO-"
                f"{package.replace('_', '-')}, or, in a pip environment, "
                "python scripts/build_ros_messages.py"
            ) from error
        if package == "vision_msgs":
            difference = field_difference(module)
            if difference:
                raise Kd3dError(
                    f"the installed vision_msgs is of another ROS distribution: {difference}. "
                    "Install version 4 or newer (ROS 2 Humble and later)."
                )


def field_difference(messages: Any) -> str:
    """What a `vision_msgs.msg` lacks, or empty.

    Args:
        messages: A module, or anything with the message classes as attributes.
    """
    for name, fields in VISION_FIELDS.items():
        kind = getattr(messages, name, None)
        if kind is None:
            return f"it has no {name}"
        found = kind.get_fields_and_field_types()
        for field, wanted in fields.items():
            if found.get(field) != wanted:
                return f"{name}.{field} is {found.get(field, 'missing')}, not {wanted}"
    return ""
