"""What `latency_budget_ms` does on a machine that is too busy: three sides, in turns.

    python benchmarks/latency_budget.py --clouds ../shared/data/kitti_odometry_00 --budget 80

A detector node in a process of its own gets the clouds of a folder again and again, 10 a second.
Its sides are an idle machine without a budget, a busy machine without one, and a busy machine with
one: the budget is a parameter that changes while the node runs, and what keeps the machine busy is
some processes that do nothing but count. Nothing is measured within 3 s after a change of sides.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from kd3d_core.runtime.default import bundle_path
from kd3d_ros import environment
from kd3d_ros.demo.processes import Processes

NODE = "/kd3d_detector"
SETTLE = 3.0
COUNTERS = ("received", "processed", "dropped", "skipped")


@dataclass
class Side:
    """What was measured on one side.

    Attributes:
        latency: From the stamp of each cloud to its boxes [ms].
        counts: Counter of the node -> how much it grew.
        steps: Step of the budget -> boxes' messages that were made in it.
    """

    latency: list[float] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    steps: dict[str, int] = field(default_factory=dict)


class Sensor:
    """Publishes the clouds of a folder in turns, and hears what the node says."""

    def __init__(self, folder: Path, rate: float) -> None:
        """Read the clouds and begin to publish them."""
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy
        from rclpy.qos import QoSProfile
        from sensor_msgs.msg import PointCloud2
        from std_msgs.msg import Float32
        from std_msgs.msg import Header
        from std_msgs.msg import String

        from kd3d_core.datasets.clouds import read_cloud
        from kd3d_ros.common.conversions import to_point_cloud2
        from kd3d_ros.sources.source_node import cloud_qos

        rclpy.init(args=[])
        self.node = rclpy.create_node("latency_budget")
        self.side: Side | None = None
        self.step = ""
        self.counts = dict.fromkeys(COUNTERS, 0)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        header = Header(frame_id="lidar")
        self._messages = [
            to_point_cloud2(read_cloud(path), header) for path in sorted(folder.glob("*.bin"))
        ]
        self._publisher = self.node.create_publisher(
            PointCloud2, f"{NODE}/input/points", cloud_qos("reliable")
        )
        self.node.create_subscription(
            Float32, f"{NODE}/debug/pipeline_latency_ms", self._latency, 100
        )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 100)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(String, f"{NODE}/budget", self._budget, latched)
        self._rate = rate
        threading.Thread(target=self._publish, name="sensor", daemon=True).start()

    def spin(self, seconds: float, until: Any = lambda: False) -> bool:
        """Listen for a while; whether `until` came true before it was over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if until():
                return True
            self._executor.spin_once(timeout_sec=0.1)
        return bool(until())

    def measure(self, side: Side, seconds: float) -> None:
        """Add a stretch of time to a side."""
        self.spin(SETTLE)
        before, self.side = dict(self.counts), side
        self.spin(seconds)
        self.side = None
        self.spin(1.2)  # the next diagnostics
        for name in COUNTERS:
            side.counts[name] += self.counts[name] - before[name]

    def set_budget(self, milliseconds: float) -> None:
        """Change the node's parameter."""
        from rcl_interfaces.srv import SetParametersAtomically
        from rclpy.parameter import Parameter

        client = self.node.create_client(
            SetParametersAtomically, f"{NODE}/set_parameters_atomically"
        )
        if not self.spin(10, client.service_is_ready):
            raise SystemExit("the detector does not answer")
        value = Parameter("latency_budget_ms", value=milliseconds).to_parameter_msg()
        future = client.call_async(SetParametersAtomically.Request(parameters=[value]))
        self.spin(10, future.done)
        self.node.destroy_client(client)

    def _publish(self) -> None:
        """In a thread: clouds that are stamped when they are sent."""
        start, number = time.monotonic(), 0
        while True:
            message = self._messages[number % len(self._messages)]
            message.header.stamp = self.node.get_clock().now().to_msg()
            self._publisher.publish(message)
            number += 1
            time.sleep(max(start + number / self._rate - time.monotonic(), 0.0))

    def _latency(self, message: Any) -> None:
        """The boxes of a cloud are out."""
        if self.side is not None:
            self.side.latency.append(message.data)
            self.side.steps[self.step] = self.side.steps.get(self.step, 0) + 1

    def _budget(self, message: Any) -> None:
        """The step has changed."""
        said = json.loads(message.data)
        self.step = said["name"]

    def _diagnostics(self, message: Any) -> None:
        """Take the counters."""
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            for name in COUNTERS:
                self.counts[name] = int(values.get(name, self.counts[name]))


def main() -> None:
    """Alternate and print."""
    options = arguments()
    environment.prepare()
    os.environ.update(environment.local_environment(environment.free_domain(os.getpid())))
    hogs: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(Path(folder), os.environ)
        try:
            sides = alternate(processes, options, hogs)
        finally:
            stop(hogs)
            processes.stop_all()
    show(sides, options)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clouds", type=Path, required=True, help="folder of KITTI's *.bin")
    parser.add_argument("--model", type=Path, default=bundle_path())
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--threads", type=int, default=0, help="of the detector")
    parser.add_argument("--budget", type=float, default=80.0, help="latency_budget_ms")
    parser.add_argument("--hogs", type=int, default=2, help="processes that keep it busy")
    parser.add_argument("--rate", type=float, default=10.0, help="clouds a second")
    parser.add_argument("--rounds", type=int, default=3, help="of all sides")
    parser.add_argument("--seconds", type=float, default=15.0, help="a side in each round")
    parser.add_argument("--json", type=Path, default=None, help="where the figures go as well")
    return parser.parse_args()


def alternate(
    processes: Processes, options: argparse.Namespace, hogs: list[subprocess.Popen[bytes]]
) -> dict[str, Side]:
    """Measure the sides in turns."""
    given = {
        "model": options.model,
        "backend": options.backend,
        "threads": options.threads,
        "latency_budget_ms": options.budget,
        "publish_markers": "false",
    }
    parameters = [part for name, value in given.items() for part in ("-p", f"{name}:={value}")]
    processes.start("detector", "kd3d_ros.detector.node", ["--ros-args", *parameters])
    sensor = Sensor(options.clouds, options.rate)
    first = sensor.side = Side()
    if not sensor.spin(120, lambda: len(first.latency) > 5):
        processes.check()
        raise SystemExit("no detections came")
    sides = {"idle": Side(), "busy": Side(), "busy, budget": Side()}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", flush=True)
        for name, side in sides.items():
            sensor.set_budget(options.budget if name == "busy, budget" else 0.0)
            stop(hogs)
            if name != "idle":
                count = [sys.executable, "-c", "while True: pass"]
                hogs += [subprocess.Popen(count) for _ in range(options.hogs)]
            sensor.measure(side, options.seconds)
            processes.check()
    return sides


def stop(hogs: list[subprocess.Popen[bytes]]) -> None:
    """End them."""
    for hog in hogs:
        hog.kill()
        hog.wait()
    hogs.clear()


def show(sides: dict[str, Side], options: argparse.Namespace) -> None:
    """Print the figures side by side."""
    print(
        f"{options.model.name}, {options.backend}, {options.threads} threads, {options.rate:g} Hz,"
        f" budget {options.budget:g} ms, {options.hogs} busy processes, {os.cpu_count()} CPUs"
    )
    figures: dict[str, dict[str, Any]] = {}
    for name, side in sides.items():
        latency = np.array(side.latency or [np.nan])
        figures[name] = {
            **{f"p{share} [ms]": float(np.percentile(latency, share)) for share in (50, 90, 99)},
            "longest [ms]": float(latency.max()),
            "over the budget [%]": float(100 * np.mean(latency > options.budget)),
            **side.counts,
        }
    print(f"{'stamp to detections':24}" + "".join(f"{name:>16}" for name in figures))
    for row in next(iter(figures.values())):
        print(f"{row:24}" + "".join(f"{values[row]:>16.4g}" for values in figures.values()))
    steps = sides["busy, budget"].steps
    for step, count in sorted(steps.items(), key=lambda item: -item[1]):
        share = 100 * count / max(sum(steps.values()), 1)
        print(f"with the budget, {share:.0f} % of the boxes were of: {step}")
    if options.json is not None:
        options.json.write_text(json.dumps({"sides": figures, "steps": steps}, indent=2) + "\n")


if __name__ == "__main__":
    main()
