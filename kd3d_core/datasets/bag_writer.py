"""Recording into mcap bags that Foxglove, Lichtblick and `ros2 bag` open, without any ROS."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd3d_core.datasets.detection3d import typestore
from kd3d_core.errors import Kd3dError


class BagWriter:
    """Writes serialised messages into a bag that `write_bag` opened."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._connections: dict[str, Any] = {}

    def add_topic(self, topic: str, message_type: str) -> None:
        """Announce a topic; `message_type` is such as `sensor_msgs/msg/PointCloud2`."""
        self._connections[topic] = self._writer.add_connection(
            topic, message_type, typestore=typestore()
        )

    def write(self, topic: str, log_ns: int, data: bytes) -> None:
        """Write a message.

        Args:
            topic: An announced one.
            log_ns: Time of recording [ns since the epoch].
            data: CDR.
        """
        self._writer.write(self._connections[topic], log_ns, data)


@contextlib.contextmanager
def write_bag(folder: Path | str) -> Iterator[BagWriter]:
    """Write a compressed mcap bag, which appears as `folder` when the block ends well.

    Equal messages give equal bytes. When the block raises, an earlier bag stays as it was.

    Args:
        folder: Of the bag; an earlier bag is replaced.

    Raises:
        Kd3dError: The bag cannot be written, or `folder` is something else.
    """
    from rosbags.rosbag2 import StoragePlugin
    from rosbags.rosbag2 import Writer
    from rosbags.rosbag2 import WriterError
    from rosbags.rosbag2.enums import CompressionFormat
    from rosbags.rosbag2.enums import CompressionMode

    folder = Path(folder)
    if folder.exists() and not (folder / "metadata.yaml").is_file():
        raise Kd3dError(f"{folder} exists and is no bag. Choose another folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            # The writer names the file after its folder, so only the parent may be temporary.
            made = Path(scratch) / folder.name
            writer = Writer(made, version=9, storage_plugin=StoragePlugin.MCAP)
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            with writer:
                yield BagWriter(writer)
            if folder.exists():
                shutil.rmtree(folder)
            made.rename(folder)
    except (OSError, WriterError) as error:
        raise Kd3dError(f"cannot write the bag {folder}: {error}.") from error
