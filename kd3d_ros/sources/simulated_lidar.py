"""`simulated_lidar_node`: a drive through a street, as a LiDAR sees it, with its ground truth."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from kd3d_core.frame import Frame
from kd3d_core.simulation.drives import SimulationConfig
from kd3d_core.simulation.drives import simulate_drive
from kd3d_core.simulation.sensors import SENSORS
from kd3d_ros.common import conversions
from kd3d_ros.common import parameters
from kd3d_ros.common.parameters import parameter
from kd3d_ros.sources.source_node import SourceNode
from kd3d_ros.sources.source_node import cloud_qos


@dataclass(frozen=True)
class SimulatedLidarSettings:
    """Parameters of the node."""

    seed: int = parameter(0, "Of the streets and of the sensor's noise.", low=0, high=2**31 - 1)
    sensor: str = parameter("hdl64e", "LiDAR model.", choices=tuple(sorted(SENSORS)))
    height: float = parameter(
        1.73, "Height of the sensor above the ground [m].", low=0.3, high=5.0
    )
    rate: float = parameter(10.0, "Sweeps a second.", low=0.1, high=30.0)
    duration: float = parameter(8.0, "Length of the drive [s].", low=0.1, high=600.0)
    loop: bool = parameter(
        True,
        "Keep the sweeps (2 MB each) and start the drive again at its end; the later rounds cost "
        "no simulation.",
    )
    ahead: float = parameter(
        3.0,
        "Seconds of the drive to simulate before the first sweep is published.",
        low=0.1,
        high=600.0,
    )
    frame_id: str = parameter("lidar", "Frame of the clouds and boxes.")
    world_frame_id: str = parameter("map", "Fixed frame of /tf; empty publishes no /tf.")
    reliability: str = parameter(
        "reliable", "QoS reliability of the clouds.", choices=("reliable", "best_effort")
    )
    wait_for_subscribers: int = parameter(
        0, "Hold the first cloud until so many subscribe to it.", low=0, high=100
    )


@dataclass(frozen=True)
class _Item:
    """Messages of one sweep; they share one header, whose stamp is set at publication."""

    header: Header
    cloud: PointCloud2
    truth: Detection3DArray
    markers: MarkerArray
    transform: TransformStamped | None
    transform_header: Header


class SimulatedLidarNode(SourceNode[_Item]):
    """Publishes `~/points`, `~/truth/detections`, `~/truth/markers` and /tf.

    The truth holds every object with at least one point; `id` is the track. The street is
    simulated in a thread ahead of time, so that the rate holds.
    """

    def __init__(self, **node_options: Any) -> None:
        """Declare parameters, start simulating.

        Args:
            node_options: Of rclpy's Node.

        Raises:
            Kd3dError: A parameter is unknown or does not fit.
        """
        super().__init__("simulated_lidar", **node_options)
        settings = parameters.declare(self, SimulatedLidarSettings)
        self._clouds = self.create_publisher(
            PointCloud2, "~/points", cloud_qos(settings.reliability)
        )
        self._truth = self.create_publisher(Detection3DArray, "~/truth/detections", 10)
        self._markers = self.create_publisher(MarkerArray, "~/truth/markers", 10)
        self._transforms = self.create_publisher(TFMessage, "/tf", 100)
        ahead = min(_sweeps(settings), max(1, round(settings.ahead * settings.rate)))
        self.play(
            _items(settings),
            settings.rate,
            ahead,
            lambda: self._clouds.get_subscription_count() >= settings.wait_for_subscribers,
        )

    def publish_item(self, item: _Item, stamp: Time) -> None:
        """Publish one sweep; the transform first, because the boxes need it."""
        item.header.stamp = stamp
        item.transform_header.stamp = stamp
        if item.transform is not None:
            self._transforms.publish(TFMessage(transforms=[item.transform]))
        self._clouds.publish(item.cloud)
        self._truth.publish(item.truth)
        if self._markers.get_subscription_count():
            self._markers.publish(item.markers)


def _items(settings: SimulatedLidarSettings) -> Iterator[_Item]:
    """The sweeps of one drive, once or for ever."""
    kept = []
    for frame in _frames(settings):
        item = _item(frame, settings)
        if settings.loop:
            kept.append(item)
        yield item
    # A street takes longer to simulate than to drive through on a small machine: repeating what
    # is there leaves the processor to the detector.
    while settings.loop:
        yield from kept


def _frames(settings: SimulatedLidarSettings) -> Iterator[Frame]:
    """Simulate the drive."""
    config = SimulationConfig(
        drives=1,
        frames_per_drive=_sweeps(settings),
        interval=1.0 / settings.rate,
        sensors=(settings.sensor,),
        seed=settings.seed,
        height=settings.height,
        height_jitter=0.0,
    )
    for _, frame in simulate_drive(config, 0):
        yield frame


def _sweeps(settings: SimulatedLidarSettings) -> int:
    """Number of sweeps in the drive."""
    return max(1, round(settings.duration * settings.rate))


def _item(frame: Frame, settings: SimulatedLidarSettings) -> _Item:
    """The messages of a simulated frame."""
    assert frame.boxes is not None
    assert frame.num_points is not None
    assert frame.track_id is not None
    header = Header(frame_id=settings.frame_id)
    seen = frame.num_points > 0
    boxes = frame.boxes[seen]
    ids = [str(track) for track in frame.track_id[seen]]
    world = Header(frame_id=settings.world_frame_id)
    transform = (
        conversions.to_transform(frame.pose, world, settings.frame_id)
        if settings.world_frame_id and frame.pose is not None
        else None
    )
    return _Item(
        header,
        conversions.to_point_cloud2(frame.cloud, header),
        conversions.to_detections(boxes, header, ids),
        conversions.to_markers(boxes, header, 0.5, color=conversions.TRUTH_COLOR, text=False),
        transform,
        world,
    )


if __name__ == "__main__":
    from kd3d_ros.executables import simulated_lidar_node

    sys.exit(simulated_lidar_node())
