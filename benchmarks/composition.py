"""What one process saves against two: the time and CPU of a cloud from publish to callback.

    python benchmarks/composition.py

The two variants take turns, so that whatever else the machine does falls on both. Middleware,
profile and message are those of the package: rclpy, Fast DDS, config/fastdds/large_clouds.xml,
a PointCloud2 of 120,000 points (1.92 MB).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import threading
import time

import numpy as np

from kd3d_core.pointcloud import PointCloud
from kd3d_ros import environment

ROLES = {"one": (("publish", "subscribe"),), "two": (("subscribe",), ("publish",))}
#: Clouds at the start of a run that are not counted.
WARM_UP = 5


def main() -> None:
    """Run both variants in turns and print their medians."""
    options = arguments()
    if options.role:
        run_role(options)
        return
    os.environ.update(environment.local_environment(environment.free_domain(os.getpid())))
    environment.prepare()
    results: dict[str, list[dict[str, float]]] = {"one": [], "two": []}
    for number in range(options.runs):
        for name in ("one", "two") if number % 2 else ("two", "one"):
            results[name].append(measure(name, options))
    print(
        f"{options.runs} runs of {options.clouds} clouds of {options.points} points each, medians"
    )
    print(f"{'':16}{'p50 [ms]':>10}{'p99 [ms]':>10}{'CPU/cloud [ms]':>16}{'lost':>8}")
    for name, runs in results.items():
        p50, p99, cpu, lost = (
            float(np.median([run[key] for run in runs])) for key in ("p50", "p99", "cpu", "lost")
        )
        label = "one process" if name == "one" else "two processes"
        print(f"{label:16}{p50:10.2f}{p99:10.2f}{cpu:16.2f}{lost:8.0f}")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="of each variant")
    parser.add_argument("--clouds", type=int, default=50, help="a run")
    parser.add_argument("--points", type=int, default=120_000, help="a cloud")
    parser.add_argument("--rate", type=float, default=10.0, help="clouds a second")
    parser.add_argument("--role", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(variant: str, options: argparse.Namespace) -> dict[str, float]:
    """Run the processes of a variant to their end and join what they say."""
    children = [
        subprocess.Popen(
            [
                *(sys.executable, __file__, "--role", ",".join(roles)),
                *("--clouds", str(options.clouds), "--points", str(options.points)),
                *("--rate", str(options.rate)),
            ],
            stdout=subprocess.PIPE,
        )
        for roles in ROLES[variant]
    ]
    said = [json.loads(child.communicate(timeout=120)[0]) for child in children]
    latency = np.array(next(item["latency"] for item in said if item["latency"]))
    return {
        "p50": float(np.percentile(latency, 50)),
        "p99": float(np.percentile(latency, 99)),
        "cpu": sum(item["cpu"] for item in said) / options.clouds,
        "lost": options.clouds - len(latency),
    }


def run_role(options: argparse.Namespace) -> None:
    """In a child process: publish, subscribe or both, each in an executor of its own."""
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node
    from sensor_msgs.msg import PointCloud2
    from std_msgs.msg import Header

    from kd3d_ros.common import conversions
    from kd3d_ros.sources.source_node import cloud_qos

    rclpy.init(args=[])
    roles = options.role.split(",")
    latency: list[float] = []
    done = threading.Event()

    def received(message: PointCloud2) -> None:
        milliseconds = 1e-6 * (time.monotonic_ns() - conversions.nanoseconds(message.header.stamp))
        if message.header.frame_id == "counted":
            latency.append(milliseconds)
        if message.header.frame_id == "end":
            done.set()

    def spin(node: Node) -> None:
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            executor.spin()
        except ExternalShutdownException:
            return

    nodes = [Node(role) for role in roles]
    threads = [threading.Thread(target=spin, args=(node,), daemon=True) for node in nodes]
    if "subscribe" in roles:
        nodes[roles.index("subscribe")].create_subscription(
            PointCloud2, "/points", received, cloud_qos("best_effort")
        )
    for thread in threads:
        thread.start()
    cpu = 0.0
    if "publish" in roles:
        publisher = nodes[roles.index("publish")].create_publisher(
            PointCloud2, "/points", cloud_qos("reliable")
        )
        while not publisher.get_subscription_count():
            time.sleep(0.05)
        points = np.random.default_rng(0).normal(size=(options.points, 3)).astype(np.float32)
        cloud = PointCloud.from_arrays(points, np.full(len(points), 0.5))
        message = conversions.to_point_cloud2(cloud, Header())
        for index in range(WARM_UP + options.clouds + 1):
            time.sleep(1.0 / options.rate)
            cpu = cpu_seconds() if index == WARM_UP else cpu
            frames = "warm up" if index < WARM_UP else "counted"
            last = index == WARM_UP + options.clouds
            message.header.frame_id = "end" if last else frames
            now = time.monotonic_ns()
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 10**9)
            publisher.publish(message)
        time.sleep(0.5)
    else:
        start = cpu_seconds()
        done.wait(60)
        cpu = start
    used = 1e3 * (cpu_seconds() - cpu)
    print(json.dumps({"latency": latency, "cpu": used}), flush=True)
    rclpy.shutdown()
    for thread in threads:
        thread.join(5)


def cpu_seconds() -> float:
    """User and system time of this process so far [s]."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
