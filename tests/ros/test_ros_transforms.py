"""`TransformListener`, live: real /tf and /tf_static messages into a tree."""

import sys
from typing import Any

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.transform_tree import TransformError
from kd3d_core.geometry.transform_tree import TransformTree
from kd3d_core.geometry.transforms import pose_matrix

MOUNT = pose_matrix((1.0, 0.0, 1.7), yaw=0.2)
START = 1000.0


def stamped(parent: str, child: str, pose: np.ndarray, stamp: float) -> Any:
    from std_msgs.msg import Header

    from kd3d_ros.common.conversions import to_time
    from kd3d_ros.common.conversions import to_transform

    return to_transform(pose, Header(frame_id=parent, stamp=to_time(stamp)), child)


class Robot:
    """Publishes /tf and /tf_static as a robot does, and listens to both."""

    def __init__(self, graph: Any) -> None:
        pytest.importorskip("tf2_msgs", reason="run python scripts/build_ros_messages.py first")
        from rclpy.qos import DurabilityPolicy
        from rclpy.qos import QoSProfile
        from tf2_msgs.msg import TFMessage

        from kd3d_ros.common.transforms import TransformListener

        self.graph, self.message = graph, TFMessage
        self.node = graph.node("robot")
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.dynamic = self.node.create_publisher(TFMessage, "/tf", 100)
        self.static = self.node.create_publisher(TFMessage, "/tf_static", latched)
        # Before anybody listens: latched messages reach those that come later.
        self.static.publish(TFMessage(transforms=[stamped("base_link", "lidar", MOUNT, 0.0)]))
        self.tree = TransformTree()
        self.user = graph.node("user")
        self.listener = TransformListener(self.user, self.tree)
        graph.until(lambda: self.dynamic.get_subscription_count() and "lidar" in self.tree.frames)

    def drive(self, *stamps: float) -> None:
        """Tell where the robot is, 10 m/s along x, and wait until that was heard."""
        before = self.listener.received
        for stamp in stamps:
            pose = pose_matrix((10 * stamp, 0, 0))
            transform = stamped("odom", "base_link", pose, START + stamp)
            self.dynamic.publish(self.message(transforms=[transform]))
        self.graph.until(lambda: self.listener.received >= before + len(stamps))


@pytest.fixture
def robot(graph: Any) -> Robot:
    return Robot(graph)


def test_hears_static_and_dynamic_transforms(robot: Robot) -> None:
    assert robot.listener.age(START) is None
    robot.drive(0.0, 0.1, 0.2)
    expected = pose_matrix((1.5, 0, 0)) @ MOUNT
    found = robot.tree.lookup("odom", "lidar", START + 0.15)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert robot.listener.age(START + 0.5) == pytest.approx(0.3, abs=1e-6)


def test_time_going_back_forgets_the_dynamic_part(robot: Robot) -> None:
    robot.drive(50.0, 50.1)
    robot.drive(49.9)  # late, but of the same time
    assert robot.listener.resets == 0
    robot.drive(0.0, 0.1)
    assert robot.listener.resets == 1
    np.testing.assert_allclose(
        robot.tree.lookup("odom", "lidar", START + 0.1), pose_matrix((1, 0, 0)) @ MOUNT, atol=1e-6
    )
    with pytest.raises(TransformError) as caught:
        robot.tree.lookup("odom", "lidar", START + 50.05)
    assert caught.value.kind == "future"


def test_simulated_clock_going_back_forgets_the_dynamic_part(graph: Any, robot: Robot) -> None:
    from rclpy.parameter import Parameter
    from rosgraph_msgs.msg import Clock

    from kd3d_ros.common.conversions import to_time

    robot.drive(0.0, 0.1)
    robot.user.set_parameters([Parameter("use_sim_time", value=True)])
    clock = robot.node.create_publisher(Clock, "/clock", 10)

    def tick(seconds: float) -> None:
        graph.until(lambda: clock.get_subscription_count())
        clock.publish(Clock(clock=to_time(seconds)))
        graph.until(lambda: robot.user.get_clock().now().nanoseconds == round(seconds * 1e9))

    tick(START + 60.0)
    robot.drive(59.9)
    resets = robot.listener.resets
    tick(START + 60.5)
    assert robot.listener.resets == resets
    tick(START)
    assert robot.listener.resets == resets + 1
    assert robot.tree.newest is None
    assert "lidar" in robot.tree.frames


def test_broken_transforms_do_not_stop_the_others(robot: Robot) -> None:
    broken = stamped("odom", "wheel", np.eye(4), START)
    broken.transform.rotation.w = 0.0
    good = stamped("odom", "base_link", np.eye(4), START)
    robot.dynamic.publish(robot.message(transforms=[broken, good]))
    robot.graph.until(lambda: robot.tree.can_answer("odom", "lidar", START))
    assert "odom -> wheel" in robot.listener.fault
    assert "wheel" not in robot.tree.frames


def test_destroyed_listeners_hear_nothing(robot: Robot) -> None:
    robot.listener.destroy()
    robot.graph.until(lambda: robot.dynamic.get_subscription_count() == 0)
    robot.listener.destroy()


def test_missing_messages_are_explained(graph: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from kd3d_ros.common.transforms import TransformListener

    monkeypatch.setitem(sys.modules, "tf2_msgs.msg", None)
    with pytest.raises(Kd3dError, match="build_ros_messages"):
        TransformListener(graph.node("lonely"), TransformTree())
