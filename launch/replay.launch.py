"""Watch the detector work on a recorded bag, in the bag's own time.

    ros2 launch kd3d_ros replay.launch.py bag:=path/to/bag rviz:=true

The clouds go out as they were recorded, with /clock, /tf and /tf_static. To evaluate a bag use
`kd3d_core replay`, which misses no cloud.
"""

from pathlib import Path
from typing import Any

from kd3d_ros import launch_arguments
from kd3d_ros import launching
from kd3d_ros.launch_arguments import Argument
from kd3d_ros.launching import Given
from kd3d_ros.launching import Part
from kd3d_ros.sources import recording
from launch import LaunchDescription

PLAYER = {
    "topic": Argument("", "Topic of the clouds in the bag; the only one if not given."),
    "speed": Argument("", "Pace of the bag: 2.0 is twice as fast as recorded.", 1.0),
    "loop": Argument("", "Start again at the end of the bag; false ends everything.", True),
}
ARGUMENTS = {
    "bag": Argument(None, "A rosbag2 folder, .mcap or .db3, or a ROS 1 .bag."),
    **PLAYER,
    **launching.DETECTOR,
    **launch_arguments.NAMESPACE,
    **launch_arguments.PARAMS_FILE,
    **launch_arguments.COMPOSE,
    **launch_arguments.rviz(False, ""),
}


def generate_launch_description() -> LaunchDescription:
    """The player, the detector, and RViz if wanted."""
    return launching.description(ARGUMENTS, actions)


def actions(given: Given) -> list[Any]:
    """What is started."""
    bag = Path(given["bag"]).expanduser().resolve()
    frame = recording.cloud_frame(bag, given["topic"])
    player = Part(
        "cloud_player_node",
        "cloud_player",
        launching.config("ros", "cloud_player.yaml"),
        {
            **given.parameters(PLAYER),
            "path": str(bag),
            "clock": True,
            "wait_for_subscribers": 1,
        },
        {"~/points": "/points"},
    )
    detector = launching.detector(given, "/points", use_sim_time=True)
    return [
        *launching.nodes(given, detector, player, compose=given.on("compose")),
        launching.rviz(given, "detect.rviz", {}, frame=frame, use_sim_time=True),
    ]
