"""What the shadow node costs the detector: latency and drops with and without it, side by side.

    python benchmarks/shadow_overhead.py --teacher teacher.kd3d

A simulated LiDAR and the detector run all the time, each in a process of its own; the shadow's
process is started and ended in turns, so that whatever else the machine does falls on both sides.
Nothing is measured while it starts or ends.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np

from kd3d_core.runtime.default import bundle_path
from kd3d_ros import environment
from kd3d_ros.demo.processes import Processes

DETECTOR, SHADOW = "/kd3d_detector", "/kd3d_shadow"
#: What the detector publishes of its times.
TIMES = ("inference", "pipeline_latency")
#: Left out after a change of sides [s].
SETTLE = 2.0


@dataclass
class Side:
    """What was measured with the shadow, or without it.

    Attributes:
        seconds: Measured in all.
        times: Stage -> milliseconds of each cloud.
        dropped: Clouds that the detector replaced by newer ones.
        lost: Clouds that the transport lost on the way to it.
        compared: Clouds that the shadow compared.
    """

    seconds: float = 0.0
    times: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in TIMES})
    dropped: int = 0
    lost: int = 0
    compared: int = 0


class Listener:
    """Hears what detector and shadow say about themselves."""

    def __init__(self) -> None:
        """Subscribe; this also makes the detector work."""
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.executors import SingleThreadedExecutor
        from std_msgs.msg import Float32
        from std_msgs.msg import String

        rclpy.init(args=[])
        self.node = rclpy.create_node("shadow_overhead")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.side: Side | None = None
        self.counts: dict[str, int] = {"dropped": 0, "lost": 0, "compared": 0}
        for stage in TIMES:
            self.node.create_subscription(
                Float32,
                f"{DETECTOR}/debug/{stage}_ms",
                lambda message, stage=stage: self._time(stage, message.data),
                100,
            )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnostics, 100)
        self.node.create_subscription(String, f"{SHADOW}/agreement", self._agreement, 10)

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
        before, start = dict(self.counts), time.monotonic()
        self.side = side
        self.spin(seconds)
        self.side = None
        self.spin(1.2)  # the next diagnostics
        side.seconds += time.monotonic() - start
        side.dropped += self.counts["dropped"] - before["dropped"]
        side.lost += self.counts["lost"] - before["lost"]
        side.compared += self.counts["compared"] - before["compared"]

    def _time(self, stage: str, milliseconds: float) -> None:
        """A stage of a cloud is over."""
        if self.side is not None:
            self.side.times[stage].append(milliseconds)

    def _diagnostics(self, message: Any) -> None:
        """Take the detector's counters."""
        for status in message.status:
            if status.name.startswith(DETECTOR[1:]):
                values = {item.key: item.value for item in status.values}
                for name, key in (("dropped", "dropped"), ("lost", "lost in transport")):
                    self.counts[name] = int(values.get(key, self.counts[name]))

    def _agreement(self, message: Any) -> None:
        """Take the shadow's counter."""
        self.counts["compared"] = json.loads(message.data)["compared"]


def main() -> None:
    """Alternate and print."""
    options = arguments()
    environment.prepare()
    os.environ.update(environment.local_environment(environment.free_domain(os.getpid())))
    with tempfile.TemporaryDirectory() as folder:
        processes = Processes(Path(folder), os.environ)
        try:
            start_detector(processes, options)
            sides = alternate(processes, options, Path(folder))
        finally:
            processes.stop_all()
    show(sides, options)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    default = bundle_path()
    parser.add_argument("--teacher", type=Path, default=default, help="bundle of the shadow")
    parser.add_argument("--student", type=Path, default=default, help="bundle of the detector")
    parser.add_argument("--threads", type=int, default=1, help="of the detector")
    parser.add_argument("--budget", type=float, default=0.5, help="cpu_budget of the shadow")
    parser.add_argument("--nice", type=int, default=10, help="of the shadow")
    parser.add_argument("--rate", type=float, default=10.0, help="clouds a second")
    parser.add_argument("--rounds", type=int, default=3, help="of both sides")
    parser.add_argument("--patience", type=float, default=300.0, help="for a start [s]")
    parser.add_argument("--seconds", type=float, default=20.0, help="a side in each round")
    return parser.parse_args()


def start_detector(processes: Processes, options: argparse.Namespace) -> None:
    """The LiDAR, which repeats two seconds of a drive, and the detector."""
    remap = f"{DETECTOR}/input/points:=/simulated_lidar/points"
    student = parameters(model=options.student, threads=options.threads)
    processes.start("detector", "kd3d_ros.detector.node", ["--ros-args", "-r", remap, *student])
    lidar = parameters(
        duration=2.0, ahead=2.0, loop="true", rate=options.rate, wait_for_subscribers=1
    )
    processes.start("lidar", "kd3d_ros.sources.simulated_lidar", ["--ros-args", *lidar])


def start_shadow(processes: Processes, options: argparse.Namespace, folder: Path) -> None:
    """The shadow, as it is by default, mining included."""
    remaps = (
        f"{SHADOW}/input/points:=/simulated_lidar/points",
        f"{SHADOW}/input/detections:={DETECTOR}/output/detections",
    )
    settings = parameters(
        teacher=options.teacher,
        cpu_budget=options.budget,
        nice=options.nice,
        mine_folder=folder / "mined",
    )
    remapped = [part for remap in remaps for part in ("-r", remap)]
    processes.start("shadow", "kd3d_ros.shadow.node", ["--ros-args", *remapped, *settings])


def parameters(**values: object) -> list[str]:
    """Parameters on the command line of a node."""
    return [part for name, value in values.items() for part in ("-p", f"{name}:={value}")]


def alternate(processes: Processes, options: argparse.Namespace, folder: Path) -> dict[str, Side]:
    """Measure both sides in turns."""
    listener = Listener()
    sides = {"without": Side(), "with": Side()}
    times = sides["without"].times
    listener.side = sides["without"]
    patient = listener.spin(options.patience, lambda: len(times["inference"]) > 5)
    processes.check()
    if not patient:
        raise SystemExit("no detections came: raise --patience")
    sides["without"] = Side()
    listener.side = None
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", flush=True)
        listener.measure(sides["without"], options.seconds)
        listener.counts["compared"] = 0
        start_shadow(processes, options, folder)
        if not listener.spin(options.patience, lambda: listener.counts["compared"] > 0):
            processes.check()
            raise SystemExit("the shadow compared nothing: raise --patience or --budget")
        listener.measure(sides["with"], options.seconds)
        processes.check()
        processes.stop("shadow")
    return sides


def show(sides: dict[str, Side], options: argparse.Namespace) -> None:
    """Print the figures side by side."""
    print(
        f"detector {options.student.name} ({options.threads} thread), shadow "
        f"{options.teacher.name} (budget {options.budget:g}, nice {options.nice}), "
        f"{options.rate:g} Hz, {os.cpu_count()} CPUs"
    )
    print(f"{'':36}" + "".join(f"{name + ' shadow':>18}" for name in sides))
    for stage in TIMES:
        for share in (50, 99):
            figures = [
                np.percentile(side.times[stage] or [np.nan], share) for side in sides.values()
            ]
            row(f"{stage.replace('_', ' ')} p{share} [ms]", figures, ".1f")
    row("clouds answered", [len(side.times["inference"]) for side in sides.values()], "d")
    row("clouds dropped by the detector", [side.dropped for side in sides.values()], "d")
    row("clouds lost in transport", [side.lost for side in sides.values()], "d")
    row("clouds compared", [side.compared for side in sides.values()], "d")
    row("time [s]", [side.seconds for side in sides.values()], ".0f")


def row(name: str, figures: list[Any], kind: str) -> None:
    """Print one line of the table."""
    print(f"{name:36}" + "".join(f"{figure:>18{kind}}" for figure in figures))


if __name__ == "__main__":
    main()
