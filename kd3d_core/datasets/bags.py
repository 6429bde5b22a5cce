"""Point clouds out of recorded bags: rosbag2 (sqlite3, mcap) and ROS 1, without any ROS."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader

POINT_CLOUD = "sensor_msgs/msg/PointCloud2"


def iter_bag(
    path: Path | str, topic: str | None = None, intensity_scale: float | None = None
) -> Iterator[Frame]:
    """The clouds of one topic, in the order of recording.

    Args:
        path: A rosbag2 folder, a bare `.mcap` or `.db3` file, or a ROS 1 `.bag`.
        topic: The topic to read; None takes the only one with PointCloud2 messages.
        intensity_scale: See `decode_pointcloud2`.

    Yields:
        Frames with `source` "bag:topic#index" and `stamp` of the header [s].

    Raises:
        Kd3dError: The bag cannot be read, or the topic is missing or not unique.
    """
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores
    from rosbags.typesys import get_typestore

    path = Path(path)
    if not path.exists():
        raise Kd3dError(f"{path} does not exist.")
    # Bags of sqlite3 carry no definitions; PointCloud2 is the same in every distribution.
    typestore = get_typestore(Stores.ROS2_JAZZY)
    try:
        with AnyReader([path], default_typestore=typestore) as reader:
            name = _topic(reader, path, topic)
            connections = [c for c in reader.connections if c.topic == name]
            for index, (connection, _, raw) in enumerate(reader.messages(connections)):
                message: Any = reader.deserialize(raw, connection.msgtype)
                yield _frame(message, f"{path}:{name}#{index}", intensity_scale)
    except (Kd3dError, GeneratorExit):
        raise
    # Of damaged bags the library lets errors of sqlite, struct, yaml and assertions through.
    except Exception as error:
        raise Kd3dError(
            f"{path} is not a readable bag ({error or type(error).__name__})."
        ) from error


def _frame(message: Any, source: str, intensity_scale: float | None) -> Frame:
    """One PointCloud2 as a frame."""
    try:
        cloud = decode_pointcloud2(message, intensity_scale)
    except Kd3dError as error:
        raise Kd3dError(f"{source}: {error}") from error
    stamp = message.header.stamp
    return Frame(cloud=cloud, source=source, stamp=stamp.sec + 1e-9 * stamp.nanosec)


def _topic(reader: "AnyReader", path: Path, topic: str | None) -> str:
    """The topic to read, checked against what the bag holds."""
    clouds = sorted({c.topic for c in reader.connections if c.msgtype == POINT_CLOUD})
    if not clouds:
        others = ", ".join(sorted({f"{c.topic} ({c.msgtype})" for c in reader.connections}))
        raise Kd3dError(f"{path} has no PointCloud2 topic. Its topics: {others or 'none'}.")
    if topic is None and len(clouds) == 1:
        return clouds[0]
    if topic is None:
        raise Kd3dError(
            f"{path} has {len(clouds)} PointCloud2 topics; choose one with --topic: "
            f"{', '.join(clouds)}."
        )
    if topic not in clouds:
        raise Kd3dError(f"{path} has no PointCloud2 topic {topic}; it has: {', '.join(clouds)}.")
    return topic
