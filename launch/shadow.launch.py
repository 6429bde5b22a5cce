"""A detector, and a bigger teacher in its shadow that says where the two disagree.

    ros2 launch kd3d_ros shadow.launch.py input_topic:=/ouster/points

With `detector:=false` it watches a detector that runs already. Every parameter of detector_node
and shadow_node is an argument; a name that both have goes to both, but for `teacher_backend` and
`teacher_threads`.
"""

from typing import Any

from kd3d_ros import launch_arguments
from kd3d_ros import launching
from kd3d_ros.launch_arguments import Argument
from kd3d_ros.launching import Given
from kd3d_ros.launching import Part
from kd3d_ros.shadow.settings import ShadowSettings
from launch import LaunchDescription

SHADOW = launch_arguments.of_settings(ShadowSettings)
#: What the two nodes must not share.
TEACHER = {f"teacher_{name}": SHADOW.pop(name) for name in ("backend", "threads")}
ARGUMENTS = {
    **launch_arguments.INPUT_TOPIC,
    "detections_topic": Argument(
        "kd3d_detector/output/detections", "Topic of the boxes that the teacher is compared with."
    ),
    "detector": Argument("true", "Start the detector; false watches one that runs already."),
    **SHADOW,
    **TEACHER,
    **launching.DETECTOR,
    **launch_arguments.USE_SIM_TIME,
    **launch_arguments.NAMESPACE,
    **launch_arguments.PARAMS_FILE,
    "shadow_params_file": Argument("", "YAML file of parameters instead of shadow.yaml."),
    **launch_arguments.rviz(False, "lidar"),
}


def generate_launch_description() -> LaunchDescription:
    """The detector, its shadow, and RViz if wanted."""
    return launching.description(ARGUMENTS, actions)


def actions(given: Given) -> list[Any]:
    """What is started."""
    topic = given["input_topic"]
    shadow = Part(
        "shadow_node",
        "kd3d_shadow",
        launching.parameter_file(given["shadow_params_file"], "shadow"),
        given.parameters(SHADOW | launch_arguments.USE_SIM_TIME)
        | given.parameters(TEACHER, prefix="teacher_"),
        {"~/input/points": topic, "~/input/detections": given["detections_topic"]},
    )
    parts = [shadow]
    if given.on("detector"):
        parts.insert(0, launching.detector(given, topic))
    return [
        *launching.nodes(given, *parts),
        launching.rviz(given, "shadow.rviz", {"/points": topic}),
    ]
