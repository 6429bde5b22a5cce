"""`cloud_player_node`: files, folders and bags of point clouds as a topic, with their own time."""

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import iter_clouds
from kd3d_core.errors import Kd3dError
from kd3d_ros.common import conversions
from kd3d_ros.common import parameters
from kd3d_ros.common.parameters import parameter
from kd3d_ros.sources import recording
from kd3d_ros.sources.recording import Recorded
from kd3d_ros.sources.source_node import SourceNode
from kd3d_ros.sources.source_node import cloud_qos

#: Time between two messages on /clock [s].
_CLOCK_PERIOD = 0.02
#: Between the last message of a bag and the first of its next round [s].
_ROUND_GAP = 0.1
#: Messages of a bag to read ahead.
_BAG_AHEAD = 20


@dataclass(frozen=True)
class CloudPlayerSettings:
    """Parameters of the node."""

    path: str = parameter("", "A cloud (.bin .npy .pcd .ply), a folder of clouds, or a bag.")
    topic: str = parameter("", "Topic of the clouds in the bag; empty takes the only one.")
    rate: float = parameter(
        10.0, "Clouds a second, of files; a bag keeps its own pace.", low=0.1, high=100.0
    )
    speed: float = parameter(
        1.0, "Pace of a bag: 2.0 is twice as fast as recorded.", low=0.01, high=100.0
    )
    clock: bool = parameter(
        False,
        "Publish /clock with the times of the bag and keep its stamps; the other nodes then need "
        "use_sim_time. false moves the stamps of each round to now.",
    )
    loop: bool = parameter(True, "Start again after the last cloud.")
    frame_id: str = parameter("lidar", "Frame of clouds from files; a bag keeps its own.")
    intensity_scale: float = parameter(
        0.0, "The files' value for full intensity; 0.0 guesses it.", low=0.0, high=1e6
    )
    reliability: str = parameter(
        "reliable", "QoS reliability of the clouds.", choices=("reliable", "best_effort")
    )
    wait_for_subscribers: int = parameter(
        0, "Hold the first cloud until so many subscribe to it.", low=0, high=100
    )


@dataclass(frozen=True)
class _BagItem:
    """A message of a bag and its place in the play.

    Attributes:
        message: As recorded.
        due: Seconds after the first message of the first round.
    """

    message: Recorded
    due: float


class CloudPlayerNode(SourceNode[PointCloud2 | _BagItem]):
    """Publishes `~/points`; of a bag also /tf, /tf_static and, if wanted, /clock.

    Clouds of files are stamped with the time of publication. Clouds of a bag are sent byte for
    byte as they were recorded, but for the stamps when `clock` is off.
    """

    def __init__(self, **node_options: Any) -> None:
        """Declare parameters, start reading.

        Args:
            node_options: Of rclpy's Node.

        Raises:
            Kd3dError: A parameter is unknown or does not fit, or there is no such path.
        """
        super().__init__("cloud_player", **node_options)
        settings = self._settings = parameters.declare(self, CloudPlayerSettings)
        path = Path(settings.path)
        if not settings.path or not path.exists():
            raise Kd3dError(
                f"cloud_player: the parameter path is '{settings.path}', which does not exist: "
                "give a cloud file, a folder of clouds or a bag"
            )
        from_bag = recording.is_bag(path)
        if settings.clock and not from_bag:
            raise Kd3dError(
                f"cloud_player: {path} is not a bag, so it has no times to publish on /clock: "
                "leave the parameter clock at false"
            )
        self._clouds = self.create_publisher(
            PointCloud2, "~/points", cloud_qos(settings.reliability)
        )
        if from_bag:
            self._make_bag_publishers()
        self.play(
            _bag_items(settings) if from_bag else _messages(settings),
            settings.rate,
            _BAG_AHEAD if from_bag else max(1, round(settings.rate)),
            lambda: self._clouds.get_subscription_count() >= settings.wait_for_subscribers,
        )

    def due(self, item: PointCloud2 | _BagItem) -> float:
        """A bag's messages keep their distance in time; files come at the rate."""
        return item.due if isinstance(item, _BagItem) else super().due(item)

    def publish_item(self, item: PointCloud2 | _BagItem, stamp: Time) -> None:
        """Publish one cloud or transform."""
        if isinstance(item, _BagItem):
            self._publish_recorded(item, conversions.nanoseconds(stamp))
        else:
            item.header.stamp = stamp
            self._clouds.publish(item)

    def _make_bag_publishers(self) -> None:
        """Transforms, and the clock if wanted."""
        self._clock_ns = 0  # the latest time that was published
        self._latest: _BagItem | None = None
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._transforms = {
            "tf": self.create_publisher(TFMessage, "/tf", 100),
            "tf_static": self.create_publisher(TFMessage, "/tf_static", latched),
        }
        if self._settings.clock:
            self._clock_publisher = self.create_publisher(Clock, "/clock", 10)
            self._clock_timer = self.create_timer(
                _CLOCK_PERIOD, self._publish_clock, clock=self._steady
            )

    def _publish_recorded(self, item: _BagItem, now_ns: int) -> None:
        """Publish a message of the bag with its own stamps, or moved to now."""
        message, data = item.message, item.message.data
        if message.index == 0:
            self._clock_ns = 0  # a round begins: the clock jumps back
        self._latest = item
        if self._settings.clock:
            self._publish_clock()
        elif message.kind == "points":
            stamp = self._moved(recording.header_stamp(data), item, now_ns)
            data = recording.with_header_stamp(data, stamp)
        if message.kind == "points":
            self._clouds.publish(data)
        elif self._settings.clock:
            self._transforms[message.kind].publish(data)
        else:
            transforms = deserialize_message(data, TFMessage)
            for transform in transforms.transforms:
                stamp = conversions.nanoseconds(transform.header.stamp)
                transform.header.stamp = _time(self._moved(stamp, item, now_ns))
            self._transforms[message.kind].publish(transforms)

    def _moved(self, stamp_ns: int, item: _BagItem, now_ns: int) -> int:
        """A recorded stamp in the time of this play; what was simultaneous stays so [ns]."""
        due_ns = now_ns - round(1e9 * (self.elapsed - item.due))
        return max(0, due_ns + round((stamp_ns - item.message.time_ns) / self._settings.speed))

    def _publish_clock(self) -> None:
        """Publish the time of the bag; it goes back only where a round begins."""
        if self._latest is None:
            return
        since = max(0.0, self.elapsed - self._latest.due) * self._settings.speed
        self._clock_ns = max(self._clock_ns, self._latest.message.time_ns + round(1e9 * since))
        self._clock_publisher.publish(Clock(clock=_time(self._clock_ns)))


def _time(nanoseconds: int) -> Time:
    """Nanoseconds since the epoch as a stamp."""
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def _messages(settings: CloudPlayerSettings) -> Iterator[PointCloud2]:
    """Every cloud of the path, once or for ever."""
    options = CloudOptions(settings.intensity_scale or None, topic=settings.topic or None)
    for _ in itertools.count() if settings.loop else range(1):
        for frame in iter_clouds([Path(settings.path)], options):
            yield conversions.to_point_cloud2(frame.cloud, Header(frame_id=settings.frame_id))


def _bag_items(settings: CloudPlayerSettings) -> Iterator[_BagItem]:
    """Every message of the bag and when it is due, once or for ever.

    Raises:
        Kd3dError: The bag cannot be read, or there is no cloud in it.
    """
    begin = due = 0.0
    for _ in itertools.count() if settings.loop else range(1):
        first: int | None = None
        clouds = 0
        for message in recording.iter_recording(Path(settings.path), settings.topic):
            first = message.time_ns if first is None else first
            due = begin + 1e-9 * (message.time_ns - first) / settings.speed
            clouds += message.kind == "points"
            yield _BagItem(message, due)
        if not clouds:
            raise Kd3dError(f"{settings.path} has no clouds to play")
        begin = due + _ROUND_GAP / settings.speed


if __name__ == "__main__":
    from kd3d_ros.executables import cloud_player_node

    sys.exit(cloud_player_node())
