"""Serialised messages into an MCAP bag that Foxglove, Lichtblick and `ros2 bag` open."""

import queue
import shutil
import threading
from pathlib import Path
from typing import Any

from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
from rosbags.rosbag2 import WriterError
from rosbags.rosbag2.enums import CompressionFormat
from rosbags.rosbag2.enums import CompressionMode
from rosbags.typesys import Stores
from rosbags.typesys import get_types_from_msg
from rosbags.typesys import get_typestore
from rosbags.typesys.store import Typestore

from kd3d_core.errors import Kd3dError


def make_typestore() -> Typestore:
    """The types of ROS 2 Jazzy, and vision_msgs as installed."""
    import vision_msgs
    from ament_index_python.packages import get_package_share_directory

    store = get_typestore(Stores.ROS2_JAZZY)
    package = vision_msgs.__name__
    types: dict[str, Any] = {}
    for path in sorted((Path(get_package_share_directory(package)) / "msg").glob("*.msg")):
        types |= get_types_from_msg(path.read_text(), f"{package}/msg/{path.stem}")
    store.register({name: fields for name, fields in types.items() if name not in store.types})
    return store


class Recorder:
    """Writes a compressed MCAP bag; the folder appears under its name only when complete.

    A thread compresses and writes, so that whoever hands messages over is not held up.
    """

    def __init__(self, folder: Path) -> None:
        """Open a new bag beside `folder`.

        Args:
            folder: Of the bag; an earlier one is replaced when this one is closed.
        """
        self._target = folder
        # The writer names the file after its folder, so only the parent may be temporary.
        self._scratch = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._folder = self._scratch / folder.name
        self._store = make_typestore()
        self._writer = Writer(self._folder, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        self._connections: dict[str, Any] = {}
        self._queue: queue.SimpleQueue[tuple[str, int, bytes] | None] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def add_topic(self, topic: str, message_type: str) -> None:
        """Announce a topic; `message_type` is such as `sensor_msgs/msg/PointCloud2`."""
        self._connections[topic] = self._writer.add_connection(
            topic, message_type, typestore=self._store
        )

    def write(self, topic: str, nanoseconds: int, data: bytes) -> None:
        """Write a message as it came off the wire (CDR), soon."""
        self._queue.put((topic, nanoseconds, data))

    def close(self) -> Path:
        """Write what waits and finish the bag.

        Returns:
            The bag's folder.

        Raises:
            Kd3dError: Something could not be written.
        """
        self._finish()
        if self._error is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise Kd3dError(f"cannot write the recording {self._target}: {self._error}")
        shutil.rmtree(self._target, ignore_errors=True)
        self._folder.rename(self._target)
        self._scratch.rmdir()
        return self._target

    def discard(self) -> None:
        """Close and delete an unfinished bag."""
        self._finish()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _finish(self) -> None:
        """Join the thread and close the file; the second time does nothing."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
            self._writer.close()

    def _run(self) -> None:
        """The thread."""
        while (item := self._queue.get()) is not None:
            topic, nanoseconds, data = item
            try:
                if self._error is None:
                    self._writer.write(self._connections[topic], nanoseconds, data)
            except (OSError, WriterError) as error:
                self._error = error
