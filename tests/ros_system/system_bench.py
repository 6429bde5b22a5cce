"""The test's side of a robot: a sensor, somebody who listens, and an operator."""

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from system_process import NodeProcess

from kd3d_ros.environment import local_environment

#: Long enough for a machine that has better things to do; nothing waits for it on a good day.
PATIENCE = 300.0


class Bench:
    """A ROS node of the test process, spun by a thread, and the processes under test.

    Attributes:
        node: For publishers, subscriptions and clients.
        processes: Whose logs a failure shows.
        environment: For the processes.
    """

    def __init__(self, domain: int) -> None:
        # The middleware reads these from the process, not from a context.
        os.environ.update(local_environment(domain))
        self.environment = dict(os.environ)
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context, domain_id=domain)
        self.node = Node("system_test", context=self._context)
        self.processes: dict[str, NodeProcess] = {}
        self._statuses: dict[str, DiagnosticStatus] = {}
        self._heard: dict[str, int] = {}
        self._times: dict[str, float] = {}
        self._clients: dict[str, Any] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnosed, 100)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._spin, name="bench", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every process and the node."""
        for process in self.processes.values():
            process.stop()
        self._end.set()
        self._thread.join(10)
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    def until(self, done: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
        """Wait until `done` gives something true, and return that.

        Args:
            done: Asked again and again.
            what: Is awaited; for the message.
            timeout: [s].
        """
        end = time.monotonic() + timeout
        while not (result := done()):
            # What has ended by itself will not do what is awaited.
            dead = [p for p in self.processes.values() if p.expected and not p.running]
            for process in dead:
                process.expected = False  # one test fails for it, not all that follow
            assert not dead, f"{dead[0].name} died while the test waited for {what}"
            assert time.monotonic() < end, f"never came: {what}"
            time.sleep(0.005)
        return result

    def status(self, name: str) -> DiagnosticStatus | None:
        """The latest diagnostics of that name, such as "main: input"."""
        return self._statuses.get(name)

    def heard(self, node: str) -> int:
        """How many diagnostics a node has sent."""
        return self._heard.get(node, 0)

    def node_time(self, node: str) -> float:
        """What a node's clock said at its latest diagnostics [s]."""
        return self._times.get(node, -1.0)

    def ask(self, kind: Any, name: str, request: Any) -> Any:
        """Call a service; the future of its answer."""
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        client = self._clients[name]
        self.until(client.service_is_ready, f"the service {name}")
        return client.call_async(request)

    def call(self, kind: Any, name: str, request: Any) -> Any:
        """The answer of a service."""
        future = self.ask(kind, name, request)
        self.until(future.done, f"the answer of {name}")
        return future.result()

    def report(self) -> str:
        """Diagnostics and logs, which are shown with every failure."""
        lines = [
            f"[{status.level[0]}] {name}: {status.message}\n      "
            + ", ".join(f"{pair.key}={pair.value}" for pair in status.values)
            for name, status in sorted(self._statuses.items())
        ]
        logs = [process.report() for process in self.processes.values()]
        return "\n".join(["latest diagnostics:", *lines, *logs])

    def _spin(self) -> None:
        while not self._end.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _diagnosed(self, message: DiagnosticArray) -> None:
        node = ""
        for status in message.status:
            self._statuses[status.name] = status
            node = status.name.split(":")[0]
        # Last: whoever waits for the number finds the statuses there.
        self._times[node] = message.header.stamp.sec + 1e-9 * message.header.stamp.nanosec
        self._heard[node] = self._heard.get(node, 0) + 1
