"""Recorded bags of every kind, read without any ROS: rosbag2 (sqlite3, mcap) and ROS 1."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from kd3d_core.datasets.detection3d import typestore
from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
from kd3d_core.datasets.pointcloud2 import encode_pointcloud2_arrays
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.pointcloud import PointCloud

if TYPE_CHECKING:
    from rosbags.highlevel import AnyReader

POINT_CLOUD = "sensor_msgs/msg/PointCloud2"


@dataclass(frozen=True, eq=False)
class BagMessage:
    """A message as it lies in a bag.

    Attributes:
        topic: Where it was published.
        index: Its number on its topic, from 0.
        log_ns: When it was recorded [ns since the epoch].
        raw: The recorded bytes: CDR, or ROS 1's own format.
        message: Unpacked; None when the bytes are no such message.
        error: Why `message` is None.
        source: "bag:topic#index".
        ros2: Whether `raw` is CDR.
    """

    topic: str
    index: int
    log_ns: int
    raw: bytes
    message: Any
    error: str
    source: str
    ros2: bool

    @property
    def stamp_ns(self) -> int:
        """The stamp of the header [ns]; the time of recording when it cannot be read."""
        if self.message is None:
            return self.log_ns
        stamp = self.message.header.stamp
        return int(stamp.sec) * 10**9 + int(stamp.nanosec)

    def cloud(self, intensity_scale: float | None = None) -> PointCloud:
        """The points of a PointCloud2; see `decode_pointcloud2`.

        Raises:
            Kd3dError: The message is malformed; the text names it.
        """
        if self.message is None:
            raise Kd3dError(f"{self.source}: {self.error}")
        try:
            return decode_pointcloud2(self.message, intensity_scale)
        except Kd3dError as error:
            raise Kd3dError(f"{self.source}: {error}") from error

    def cloud_cdr(self) -> bytes:
        """The CDR bytes of a PointCloud2: as recorded, or converted from ROS 1."""
        return self.raw if self.ros2 else _to_ros2(self.message)


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
        Kd3dError: The bag or a cloud cannot be read, or the topic is missing or not unique.
    """
    for item in iter_cloud_messages(path, topic):
        cloud = item.cloud(intensity_scale)
        yield Frame(cloud=cloud, source=item.source, stamp=seconds(item.stamp_ns))


def seconds(nanoseconds: int) -> float:
    """Nanoseconds as seconds, rounded once: float64 does not hold today's nanoseconds."""
    whole, rest = divmod(nanoseconds, 10**9)
    return whole + 1e-9 * rest


def iter_cloud_messages(path: Path | str, topic: str | None = None) -> Iterator[BagMessage]:
    """The PointCloud2 messages of one topic in the order of recording, malformed ones too.

    Args:
        path: See `iter_bag`.
        topic: The topic to read; None takes the only one with PointCloud2 messages.

    Raises:
        Kd3dError: The bag cannot be read, or the topic is missing or not unique.
    """
    path = Path(path)
    with open_bag(path) as reader:
        yield from _messages(reader, path, [_cloud_topic(reader, path, topic)])


def iter_messages(path: Path | str, topics: dict[str, str]) -> Iterator[BagMessage]:
    """The messages of some topics in the order of recording.

    Args:
        path: See `iter_bag`.
        topics: Topic -> the type it must have, such as `std_msgs/msg/String`.

    Raises:
        Kd3dError: The bag cannot be read, or a topic is missing or of another type.
    """
    path = Path(path)
    with open_bag(path) as reader:
        found = {c.topic: c.msgtype for c in reader.connections}
        for topic, kind in topics.items():
            if found.get(topic) != kind:
                others = ", ".join(f"{name} ({found[name]})" for name in sorted(found))
                raise Kd3dError(
                    f"{path} has no topic {topic} of type {kind}. Its topics: {others or 'none'}."
                )
        yield from _messages(reader, path, list(topics))


def count_clouds(path: Path | str, topic: str | None = None) -> int:
    """How many PointCloud2 messages `iter_cloud_messages` will give.

    Raises:
        Kd3dError: See `iter_cloud_messages`.
    """
    path = Path(path)
    with open_bag(path) as reader:
        name = _cloud_topic(reader, path, topic)
        return sum(c.msgcount for c in reader.connections if c.topic == name)


def cloud_to_cdr(cloud: PointCloud, stamp_ns: int, frame_id: str) -> bytes:
    """A cloud as the bytes of an unorganised PointCloud2.

    Args:
        cloud: The points.
        stamp_ns: For the header [ns since the epoch].
        frame_id: For the header.
    """
    store = typestore()
    of = store.types
    fields, step, data = encode_pointcloud2_arrays(cloud)
    whole, rest = divmod(int(stamp_ns), 10**9)
    stamp = of["builtin_interfaces/msg/Time"](sec=whole, nanosec=rest)
    message = of[POINT_CLOUD](
        header=of["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id),
        height=1,
        width=len(cloud),
        fields=[of["sensor_msgs/msg/PointField"](*field) for field in fields],
        is_bigendian=False,
        point_step=step,
        row_step=len(data),
        data=np.frombuffer(data, np.uint8),
        is_dense=True,
    )
    return bytes(store.serialize_cdr(message, POINT_CLOUD))


def cloud_from_cdr(data: bytes, intensity_scale: float | None = None) -> PointCloud:
    """The points of a serialised PointCloud2; see `decode_pointcloud2`."""
    message: Any = typestore().deserialize_cdr(data, POINT_CLOUD)
    return decode_pointcloud2(message, intensity_scale)


@contextlib.contextmanager
def open_bag(path: Path) -> Iterator["AnyReader"]:
    """A reader of the bag, for generators: what fails in it is the bag's fault.

    Raises:
        Kd3dError: There is no such bag, or it cannot be read.
    """
    from rosbags.highlevel import AnyReader

    if not path.exists():
        raise Kd3dError(f"{path} does not exist.")
    try:
        # Bags of sqlite3 may carry no definitions; these types are the same in all distributions.
        with AnyReader([path], default_typestore=typestore()) as reader:
            yield reader
    except Kd3dError:
        raise
    # Of damaged bags the library lets errors of sqlite, struct, yaml and assertions through.
    except Exception as error:
        raise Kd3dError(
            f"{path} is not a readable bag ({error or type(error).__name__}). A recording that "
            f"was cut off is often mended by {_mending(path)}."
        ) from error


def _mending(path: Path) -> str:
    """The program that repairs such a bag."""
    if path.suffix.lower() == ".bag":
        return "`rosbag reindex`"
    mcap = path.suffix.lower() == ".mcap" or any(path.glob("*.mcap"))
    return "`mcap recover`" if mcap else "`ros2 bag reindex`"


def _messages(reader: "AnyReader", path: Path, topics: list[str]) -> Iterator[BagMessage]:
    """The messages of some topics, numbered by topic."""
    connections = [c for c in reader.connections if c.topic in topics]
    counts = dict.fromkeys(topics, 0)
    for connection, log_ns, raw in reader.messages(connections) if connections else ():
        topic, message, why = connection.topic, None, ""
        try:
            message = reader.deserialize(raw, connection.msgtype)
        # The library lets whatever NumPy and struct say of bad bytes through.
        except Exception as error:
            why = f"not a readable {connection.msgtype} ({error or type(error).__name__})"
        source = f"{path}:{topic}#{counts[topic]}"
        yield BagMessage(
            topic, counts[topic], log_ns, bytes(raw), message, why, source, reader.is2
        )
        counts[topic] += 1


def _to_ros2(message: Any) -> bytes:
    """A ROS 1 PointCloud2 as CDR; the headers differ."""
    store = typestore()
    of = store.types
    stamp = message.header.stamp
    values = {name: getattr(message, name) for name in vars(message) if not name.startswith("_")}
    values["header"] = of["std_msgs/msg/Header"](
        stamp=of["builtin_interfaces/msg/Time"](sec=stamp.sec, nanosec=stamp.nanosec),
        frame_id=message.header.frame_id,
    )
    values["fields"] = [
        of["sensor_msgs/msg/PointField"](f.name, f.offset, f.datatype, f.count)
        for f in message.fields
    ]
    return bytes(store.serialize_cdr(of[POINT_CLOUD](**values), POINT_CLOUD))


def _cloud_topic(reader: "AnyReader", path: Path, topic: str | None) -> str:
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
