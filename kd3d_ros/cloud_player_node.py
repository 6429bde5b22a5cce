"""`cloud_player_node`: files, folders and bags of point clouds as a topic."""

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import iter_clouds
from kd3d_core.errors import Kd3dError
from kd3d_ros import conversions
from kd3d_ros import parameters
from kd3d_ros.parameters import parameter
from kd3d_ros.source_node import SourceNode
from kd3d_ros.source_node import cloud_qos


@dataclass(frozen=True)
class CloudPlayerSettings:
    """Parameters of the node."""

    path: str = parameter("", "A cloud (.bin .npy .pcd .ply), a folder of clouds, or a bag.")
    rate: float = parameter(10.0, "Clouds a second.", low=0.1, high=100.0)
    loop: bool = parameter(True, "Start again after the last cloud.")
    frame_id: str = parameter("lidar", "Frame of the clouds.")
    intensity_scale: float = parameter(
        0.0, "The files' value for full intensity; 0.0 guesses it.", low=0.0, high=1e6
    )
    reliability: str = parameter(
        "reliable", "QoS reliability of the clouds.", choices=("reliable", "best_effort")
    )
    wait_for_subscribers: int = parameter(
        0, "Hold the first cloud until so many subscribe to it.", low=0, high=100
    )


class CloudPlayerNode(SourceNode[PointCloud2]):
    """Publishes `~/points`, stamped with the time of publication."""

    def __init__(self, **node_options: Any) -> None:
        """Declare parameters, start reading.

        Args:
            node_options: Of rclpy's Node.

        Raises:
            Kd3dError: A parameter is unknown or does not fit, or there is no such path.
        """
        super().__init__("cloud_player", **node_options)
        settings = parameters.declare(self, CloudPlayerSettings)
        if not settings.path or not Path(settings.path).exists():
            raise Kd3dError(
                f"cloud_player: the parameter path is '{settings.path}', which does not exist: "
                "give a cloud file, a folder of clouds or a bag"
            )
        self._clouds = self.create_publisher(
            PointCloud2, "~/points", cloud_qos(settings.reliability)
        )
        self.play(
            _messages(settings),
            settings.rate,
            max(1, round(settings.rate)),
            lambda: self._clouds.get_subscription_count() >= settings.wait_for_subscribers,
        )

    def publish_item(self, item: PointCloud2, stamp: Time) -> None:
        """Publish one cloud."""
        item.header.stamp = stamp
        self._clouds.publish(item)


def _messages(settings: CloudPlayerSettings) -> Iterator[PointCloud2]:
    """Every cloud of the path, once or for ever."""
    options = CloudOptions(intensity_scale=settings.intensity_scale or None)
    for _ in itertools.count() if settings.loop else range(1):
        for frame in iter_clouds([Path(settings.path)], options):
            yield conversions.to_point_cloud2(frame.cloud, Header(frame_id=settings.frame_id))


if __name__ == "__main__":
    from kd3d_ros.executables import cloud_player_node

    sys.exit(cloud_player_node())
