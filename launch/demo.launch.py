"""A simulated LiDAR on a simulated street, the detector, and RViz.

ros2 launch kd3d_ros demo.launch.py
"""

from typing import Any

from kd3d_ros import launch_arguments
from kd3d_ros import launching
from kd3d_ros.launch_arguments import Argument
from kd3d_ros.launching import Given
from kd3d_ros.launching import Part
from launch import LaunchDescription

LIDAR = {
    "sensor": Argument("", "LiDAR model to simulate: hdl64e, vlp16 and others."),
    "seed": Argument("", "Of the street.", 0),
    "duration": Argument("", "Length of the drive, which is repeated [s].", 0.0),
}
ARGUMENTS = {
    **LIDAR,
    **launching.DETECTOR,
    **launch_arguments.USE_SIM_TIME,
    **launch_arguments.NAMESPACE,
    **launch_arguments.PARAMS_FILE,
    **launch_arguments.COMPOSE,
    **launch_arguments.rviz(True, "map"),
}


def generate_launch_description() -> LaunchDescription:
    """All nodes of the demo."""
    return launching.description(ARGUMENTS, actions)


def actions(given: Given) -> list[Any]:
    """What is started."""
    lidar = Part(
        "simulated_lidar_node",
        "simulated_lidar",
        launching.config("ros", "simulated_lidar.yaml"),
        given.parameters(LIDAR),
        {
            "~/points": "/points",
            "~/truth/detections": "/truth/detections",
            "~/truth/markers": "/truth/markers",
        },
    )
    detector = launching.detector(given, "/points")
    return [
        *launching.nodes(given, detector, lidar, compose=given.on("compose")),
        launching.rviz(given, "demo.rviz", {}),
    ]
