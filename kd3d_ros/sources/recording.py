"""A bag's clouds and transforms as they were recorded: bytes in, bytes out, no decoding."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd3d_core.datasets.bags import POINT_CLOUD
from kd3d_core.datasets.bags import open_bag
from kd3d_core.datasets.clouds import BAG_SUFFIXES
from kd3d_core.errors import Kd3dError

_TRANSFORMS = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")
#: Seconds and nanoseconds of the header that every stamped message starts with, after the four
#: bytes that name the encoding.
_STAMP_OFFSET = 4
_FRAME_OFFSET = 12


@dataclass(frozen=True)
class Recorded:
    """One message of a bag.

    Attributes:
        kind: "points", "tf" or "tf_static".
        time_ns: When it was recorded [ns since the epoch].
        data: The message as CDR, as it goes over the wire.
        index: Position among those that are played, from 0; 0 starts a round.
    """

    kind: str
    time_ns: int
    data: bytes
    index: int


def is_bag(path: Path) -> bool:
    """Whether a path is one bag, and not a cloud or a folder of clouds or bags."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file()
    return path.suffix.lower() in BAG_SUFFIXES


def iter_recording(path: Path, topic: str = "") -> Iterator[Recorded]:
    """The clouds of one topic and all transforms, in the order of recording.

    Args:
        path: A rosbag2 folder, a `.mcap` or `.db3` file, or a ROS 1 `.bag`.
        topic: The topic of the clouds; empty takes the only one with PointCloud2 messages.

    Raises:
        Kd3dError: The bag cannot be read, or the topic is missing or not unique.
    """
    with open_bag(path) as reader:
        name = _cloud_topic(reader, path, topic)
        kinds = {name: "points", "/tf": "tf", "/tf_static": "tf_static"}
        wanted = [
            connection
            for connection in reader.connections
            if connection.topic in kinds
            and (connection.topic == name or connection.msgtype in _TRANSFORMS)
        ]
        for index, (connection, time_ns, raw) in enumerate(reader.messages(wanted)):
            if not reader.is2:
                raw = reader.typestore.ros1_to_cdr(raw, connection.msgtype)
            yield Recorded(kinds[connection.topic], time_ns, bytes(raw), index)


def cloud_frame(path: Path, topic: str = "") -> str:
    """The frame_id of the first cloud.

    Args:
        path: See `iter_recording`.
        topic: See `iter_recording`.

    Raises:
        Kd3dError: See `iter_recording`; or there is no cloud.
    """
    if not path.exists():
        raise Kd3dError(f"the bag {path} does not exist")
    for message in iter_recording(path, topic):
        if message.kind == "points":
            order = "<I" if message.data[1] & 1 else ">I"
            (length,) = struct.unpack_from(order, message.data, _FRAME_OFFSET)
            text = message.data[_FRAME_OFFSET + 4 : _FRAME_OFFSET + 4 + length]
            return text.rstrip(b"\0").decode()
    raise Kd3dError(f"{path} has no clouds")


def header_stamp(data: bytes) -> int:
    """The stamp of a serialised message that starts with a header [ns since the epoch]."""
    seconds, nanoseconds = _stamp(data).unpack_from(data, _STAMP_OFFSET)
    return int(seconds) * 10**9 + int(nanoseconds)


def with_header_stamp(data: bytes, stamp_ns: int) -> bytes:
    """Replace the stamp of a serialised message that starts with a header.

    Args:
        data: CDR.
        stamp_ns: The new stamp [ns since the epoch].

    Returns:
        The message with all other bytes unchanged.
    """
    changed = bytearray(data)
    _stamp(data).pack_into(changed, _STAMP_OFFSET, stamp_ns // 10**9, stamp_ns % 10**9)
    return bytes(changed)


def _stamp(data: bytes) -> struct.Struct:
    """The layout of a stamp; the second byte of CDR tells the byte order."""
    return struct.Struct("<iI" if data[1] & 1 else ">iI")


def _cloud_topic(reader: Any, path: Path, topic: str) -> str:
    """The topic to play, checked against what the bag holds.

    Raises:
        Kd3dError: It is not there, or none was named and there are several.
    """
    clouds = sorted({c.topic for c in reader.connections if c.msgtype == POINT_CLOUD})
    if not clouds:
        raise Kd3dError(f"{path} has no PointCloud2 topic")
    if topic in clouds:
        return topic
    if topic:
        raise Kd3dError(f"{path} has no PointCloud2 topic {topic}; it has: {', '.join(clouds)}")
    if len(clouds) > 1:
        raise Kd3dError(
            f"{path} has {len(clouds)} PointCloud2 topics; set the parameter topic to one of: "
            f"{', '.join(clouds)}"
        )
    return clouds[0]
