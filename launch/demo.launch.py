"""A simulated LiDAR on a simulated street, the detector, and RViz.

ros2 launch kd3d_ros demo.launch.py
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument
from launch.actions import SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

SHARE = Path(__file__).resolve().parents[1]
CONFIG = SHARE / "config"

#: Argument -> (default, description).
ARGUMENTS = {
    "model": ("", "Path of a bundle (*.kd3d); empty takes the one that comes with the package."),
    "backend": ("auto", "What runs the network: auto, openvino or onnxruntime."),
    "sensor": ("hdl64e", "LiDAR model to simulate."),
    "seed": ("7", "Of the street."),
    "rviz": ("true", "Open RViz with clouds, boxes and ground truth."),
}


def generate_launch_description() -> LaunchDescription:
    """All nodes of the demo."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    profile = str(CONFIG / "fastdds" / "large_clouds.xml")
    lidar = Node(
        package="kd3d_ros",
        executable="simulated_lidar_node",
        name="simulated_lidar",
        parameters=[
            str(CONFIG / "ros" / "simulated_lidar.yaml"),
            {
                "sensor": ParameterValue(LaunchConfiguration("sensor"), value_type=str),
                "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
            },
        ],
        remappings=[
            ("~/points", "/points"),
            ("~/truth/detections", "/truth/detections"),
            ("~/truth/markers", "/truth/markers"),
        ],
        output="screen",
    )
    detector = Node(
        package="kd3d_ros",
        executable="detector_node",
        name="kd3d_detector",
        parameters=[
            str(CONFIG / "ros" / "detector.yaml"),
            {
                "model": ParameterValue(LaunchConfiguration("model"), value_type=str),
                "backend": ParameterValue(LaunchConfiguration("backend"), value_type=str),
            },
        ],
        remappings=[("~/input/points", "/points")],
        output="screen",
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(CONFIG / "rviz" / "demo.rviz"), "-f", "map"],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription(
        [
            *arguments,
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", profile),
            SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", profile),
            lidar,
            detector,
            rviz,
        ]
    )
