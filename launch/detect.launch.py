"""Detect objects in the clouds of a LiDAR.

    ros2 launch kd3d_ros detect.launch.py input_topic:=/ouster/points rviz:=true

`ros2 launch kd3d_ros detect.launch.py --show-args` lists all arguments.
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument
from launch.actions import OpaqueFunction
from launch.actions import SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext
from launch import LaunchDescription

SHARE = Path(__file__).resolve().parents[1]
CONFIG = SHARE / "config"

#: Arguments that set the parameter of the same name, when given: type and description.
PARAMETERS = {
    "model": (str, "Path of a bundle (*.kd3d); the one that comes with the package if not given."),
    "backend": (str, "What runs the network: auto, openvino or onnxruntime."),
    "threads": (int, "CPU threads of the network; 0 is the backend's choice."),
    "score_threshold": (float, "Leave out boxes below this; 0.0 takes the model's thresholds."),
    "intensity_scale": (float, "The sensor's value for full intensity; 0.0 guesses it."),
    "reliability": (str, "QoS of the cloud subscription: best_effort or reliable."),
    "autostart": (bool, "false waits for lifecycle transitions."),
    "use_sim_time": (bool, "Take the time from /clock, as when a bag is played."),
}
#: The other arguments: default and description.
ARGUMENTS = {
    "input_topic": ("/points", "Topic of the clouds (sensor_msgs/PointCloud2)."),
    "namespace": ("", "Namespace of the node."),
    "params_file": (
        str(CONFIG / "ros" / "detector.yaml"),
        "YAML file of parameters; arguments that are given overrule it.",
    ),
    "rviz": ("false", "Open RViz with clouds and boxes."),
    "rviz_frame": ("lidar", "Fixed frame of RViz: the frame_id of the clouds, or one of /tf."),
}


def generate_launch_description() -> LaunchDescription:
    """The detector, and RViz if wanted."""
    declared = {name: ("", text) for name, (_, text) in PARAMETERS.items()} | ARGUMENTS
    # Fast DDS loses large clouds with its default shared memory; see the file.
    profile = str(CONFIG / "fastdds" / "large_clouds.xml")
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, description=description)
                for name, (default, description) in declared.items()
            ),
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", profile),
            SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", profile),
            OpaqueFunction(function=detector),
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=[
                    "-d",
                    str(CONFIG / "rviz" / "detect.rviz"),
                    "-f",
                    LaunchConfiguration("rviz_frame"),
                ],
                namespace=LaunchConfiguration("namespace"),
                remappings=[("/points", LaunchConfiguration("input_topic"))],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )


def detector(context: LaunchContext) -> list[Node]:
    """The detector node: what was not given on the command line is left to the parameter file."""
    given = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (kind, _) in PARAMETERS.items()
        if LaunchConfiguration(name).perform(context)
    }
    return [
        Node(
            package="kd3d_ros",
            executable="detector_node",
            name="kd3d_detector",
            namespace=LaunchConfiguration("namespace"),
            parameters=[LaunchConfiguration("params_file"), given],
            remappings=[("~/input/points", LaunchConfiguration("input_topic"))],
            output="screen",
        )
    ]
