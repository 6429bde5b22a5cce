"""Detect objects in the clouds of a LiDAR.

    ros2 launch kd3d_ros detect.launch.py input_topic:=/ouster/points rviz:=true

Every parameter of detector_node is an argument as well; `--show-args` lists all of them.
"""

from typing import Any

from kd3d_ros import launch_arguments
from kd3d_ros import launching
from kd3d_ros.launching import Given
from launch import LaunchDescription

ARGUMENTS = {
    **launch_arguments.INPUT_TOPIC,
    **launching.DETECTOR,
    **launch_arguments.USE_SIM_TIME,
    **launch_arguments.NAMESPACE,
    **launch_arguments.PARAMS_FILE,
    **launch_arguments.rviz(False, "lidar"),
}


def generate_launch_description() -> LaunchDescription:
    """The detector, and RViz if wanted."""
    return launching.description(ARGUMENTS, actions)


def actions(given: Given) -> list[Any]:
    """What is started."""
    topic = given["input_topic"]
    return [
        *launching.nodes(given, launching.detector(given, topic)),
        launching.rviz(given, "detect.rviz", {"/points": topic}),
    ]
