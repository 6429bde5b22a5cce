"""A simulated world: /clock, /tf and clouds, step by step, each step waiting for its answer.

The robot goes to and fro along x, one output cell a step; the object stands still. The stamps of
clouds and transforms lie a little before the clock, as those of a simulator do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from typing import Literal

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Transform
from geometry_msgs.msg import TransformStamped
from geometry_msgs.msg import Vector3
from rclpy.qos import DurabilityPolicy
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Header
from system_bench import Bench
from system_clouds import CELL
from system_clouds import PLACE
from system_clouds import WireCloud
from system_clouds import scene
from system_clouds import wire
from system_detector import Detector
from tf2_msgs.msg import TFMessage

#: Start of simulated time [ns].
BEGINNING = 1_000 * 10**9
#: The lidar in base_link [m].
MOUNT = (2 * CELL, 0.0, 1.7)
#: The object in odom, x and y [m].
OBJECT = (PLACE[0] + MOUNT[0], PLACE[1])
_BEHIND = 80_000_000


class World:
    """Time, motion and the sensor of one detector, which has use_sim_time set.

    Attributes:
        now: Simulated time [ns].
    """

    def __init__(self, bench: Bench, detector: Detector) -> None:
        self.now = BEGINNING
        self.detector = detector
        self._bench = bench
        self._step = 0
        self._clock = bench.node.create_publisher(Clock, "/clock", 10)
        self._tf = bench.node.create_publisher(TFMessage, "/tf", 100)
        self._latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

    @property
    def ego(self) -> float:
        """Where the robot is in odom, along x [m]."""
        return CELL * (self._step % 4)

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Publish where the lidar is mounted, on /tf_static."""
        publisher = self._bench.node.create_publisher(TFMessage, "/tf_static", self._latched)
        publisher.publish(TFMessage(transforms=[_transform("base_link", "lidar", MOUNT, 0)]))
        yield
        self._bench.node.destroy_publisher(publisher)

    def tick(self, seconds: float = 0.0) -> None:
        """Let simulated time pass and say so."""
        self.now += round(seconds * 1e9)
        self._clock.publish(Clock(clock=_time(self.now)))

    def reset(self, to: int = BEGINNING) -> None:
        """Set simulated time [ns], and wait until the detector knows."""
        self.now = to

        def knows() -> bool:
            self.tick()
            return abs(self._bench.node_time(self.detector.name) - 1e-9 * to) < 1e-3

        self._bench.until(knows, f"{self.detector.name}'s clock at {1e-9 * to} s")

    def step(self, tf: Literal["before", "after", "never"] = "never", seconds: float = 0.1) -> Any:
        """Time passes, the robot moves, a cloud is taken; the answer to that.

        Args:
            tf: When odom -> base_link is published: before the cloud, after it, or never.
            seconds: Of simulated time.
        """
        self._step += 1
        self.tick(seconds)
        stamp = self.now - _BEHIND
        moved = _transform("odom", "base_link", (self.ego, 0.0, 0.0), stamp)
        if tf == "before":
            self._tf.publish(TFMessage(transforms=[moved]))
        self.detector.sensor.next_stamp = stamp
        late = None if tf != "after" else TFMessage(transforms=[moved])
        return self.detector.detect(self._view(), late and (lambda: self._tf.publish(late)))

    def begin(self) -> None:
        """Wait until the detector answers, at the time and place of now."""
        self.detector.sensor.next_stamp = self.now - _BEHIND
        self.detector.wait_for_answer(self._view())

    def _view(self) -> WireCloud:
        """What the sensor sees from here."""
        return wire(scene(2000, (PLACE[0] - self.ego, PLACE[1])))

    def until_right(self, count: int = 5, **how: Any) -> None:
        """Step until so many answers in a row have the object in odom, at its place.

        A transform may arrive later than the detector waits for it on a machine that is busy
        enough, so one answer proves nothing; without transforms none would be right.
        """
        right = 0

        def step() -> bool:
            nonlocal right
            right = right + 1 if self.is_right(self.step(**how)) else 0
            return right >= count

        self._bench.until(step, f"{count} answers in odom at {OBJECT}")

    def is_right(self, answer: Any) -> bool:
        """Whether an answer is in odom and has the one object at its place."""
        centers = [found.bbox.center.position for found in answer.detections]
        return answer.header.frame_id == "odom" and [
            (round(center.x, 2), round(center.y, 2)) for center in centers
        ] == [(round(OBJECT[0], 2), round(OBJECT[1], 2))]


def _time(nanoseconds: int) -> Time:
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def _transform(
    parent: str, child: str, move: tuple[float, float, float], stamp: int
) -> TransformStamped:
    header = Header(frame_id=parent, stamp=_time(stamp))
    x, y, z = move
    transform = Transform(translation=Vector3(x=x, y=y, z=z))
    return TransformStamped(header=header, child_frame_id=child, transform=transform)
