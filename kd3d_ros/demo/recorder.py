"""Serialised messages into an MCAP bag that Foxglove, Lichtblick and `ros2 bag` open."""

import contextlib
import queue
import threading
from pathlib import Path

from rosbags.rosbag2 import WriterError

from kd3d_core.datasets.bag_writer import write_bag
from kd3d_core.errors import Kd3dError


class Recorder:
    """Writes a compressed MCAP bag; the folder appears under its name only when complete.

    A thread compresses and writes, so that whoever hands messages over is not held up.
    """

    def __init__(self, folder: Path) -> None:
        """Open a new bag beside `folder`.

        Args:
            folder: Of the bag; an earlier one is replaced when this one is closed.

        Raises:
            Kd3dError: It cannot be written.
        """
        self._target = folder
        self._stack = contextlib.ExitStack()
        self._bag = self._stack.enter_context(write_bag(folder))
        self._queue: queue.SimpleQueue[tuple[str, int, bytes] | None] = queue.SimpleQueue()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def add_topic(self, topic: str, message_type: str) -> None:
        """Announce a topic; `message_type` is such as `sensor_msgs/msg/PointCloud2`."""
        self._bag.add_topic(topic, message_type)

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
            self.discard()
            raise Kd3dError(f"cannot write the recording {self._target}: {self._error}")
        self._stack.close()
        return self._target

    def discard(self) -> None:
        """Close and delete an unfinished bag; after `close` it does nothing."""
        self._finish()
        with contextlib.suppress(_DiscardedError), self._stack:
            raise _DiscardedError

    def _finish(self) -> None:
        """Join the thread; the second time does nothing."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        """The thread."""
        while (item := self._queue.get()) is not None:
            topic, nanoseconds, data = item
            try:
                if self._error is None:
                    self._bag.write(topic, nanoseconds, data)
            except (OSError, WriterError) as error:
                self._error = error


class _DiscardedError(Exception):
    """Ends the writing of a bag that nobody wants."""
