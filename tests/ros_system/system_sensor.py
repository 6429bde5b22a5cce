"""A LiDAR driver that keeps count of every cloud."""

import threading
import time
from types import TracebackType

from sensor_msgs.msg import PointCloud2
from system_bench import Bench
from system_clouds import WireCloud

#: Of the stamps, whatever the machine is busy with: a rotating sensor stamps by its own motor.
PERIOD_NS = 100_000_000


class Sensor:
    """Publishes clouds whose stamps are exactly 0.1 s apart, so that a gap tells of a loss.

    Attributes:
        topic: Where to.
        stamps: Of all clouds published, in order [ns].
        next_stamp: Of the next one [ns].
    """

    def __init__(self, bench: Bench, topic: str) -> None:
        self.topic = topic
        self.stamps: list[int] = []
        self._bench = bench
        self.next_stamp = 0
        self.plug_in()

    @property
    def heard(self) -> bool:
        """Whether somebody subscribes."""
        return self._publisher.get_subscription_count() > 0

    def plug_in(self) -> None:
        """Switch it on: a new publisher, and stamps that go on now."""
        self._publisher = self._bench.node.create_publisher(PointCloud2, self.topic, 5)
        self.catch_up()

    def catch_up(self) -> None:
        """Let the stamps go on now; they leap so far that nobody takes the gap for lost clouds."""
        self.next_stamp = max(time.time_ns(), self.next_stamp + 10 * 10**9)

    def unplug(self) -> None:
        """Switch it off."""
        self._bench.node.destroy_publisher(self._publisher)

    def publish(self, cloud: WireCloud) -> int:
        """Publish with the next stamp, which is returned [ns]."""
        stamp, self.next_stamp = self.next_stamp, self.next_stamp + PERIOD_NS
        self.stamps.append(stamp)
        self._publisher.publish(cloud.stamped(stamp))
        return stamp

    def spin(self, cloud: WireCloud) -> "Spinning":
        """Publish this cloud at 10 Hz in a thread: `with sensor.spin(cloud) as running: ...`."""
        return Spinning(self, cloud)


class Spinning:
    """A sensor that runs while the `with` statement does.

    Attributes:
        published: How many clouds so far.
    """

    def __init__(self, sensor: Sensor, cloud: WireCloud) -> None:
        self._sensor = sensor
        self._cloud = cloud
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sensor", daemon=True)
        self._error: Exception | None = None
        self.published = 0

    def __enter__(self) -> "Spinning":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join(30)
        if error is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        start = time.monotonic()
        try:
            while not self._end.is_set():
                self._sensor.publish(self._cloud)
                self.published += 1
                due = start + self.published * 1e-9 * PERIOD_NS
                self._end.wait(max(0.0, due - time.monotonic()))
        except Exception as error:  # told to whoever waits for the clouds
            self._error = error
