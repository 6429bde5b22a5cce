"""How long a freshly started detector node takes until its first boxes are out.

    python benchmarks/cold_start.py --clouds FOLDER_OF_BIN --starts 5

A sensor publishes at 10 Hz before, during and after each start. The time runs from the start of
the process (the interpreter included) to the arrival of the first Detection3DArray here.
"""

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from kd3d_ros import environment


def main() -> None:
    """Start the node again and again, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clouds", type=Path, required=True, help="folder of KITTI's *.bin")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--model", default="", help="bundle; the shipped one when left out")
    options = parser.parse_args()
    environment.prepare()
    os.environ.update(environment.local_environment(environment.free_domain(os.getpid())))
    seconds = measure(options)
    print("load", round(os.getloadavg()[0], 1))
    print("start to first boxes [s]:", ", ".join(f"{value:.2f}" for value in seconds))
    print(f"median {statistics.median(seconds):.2f}, worst {max(seconds):.2f}")


def measure(options: argparse.Namespace) -> list[float]:
    """Seconds of each start; the one before them, which fills caches, is not counted."""
    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import PointCloud2
    from std_msgs.msg import Header
    from vision_msgs.msg import Detection3DArray

    from kd3d_core.datasets.clouds import read_cloud
    from kd3d_ros.common.conversions import to_point_cloud2
    from kd3d_ros.sources.source_node import cloud_qos

    rclpy.init(args=[])
    node = rclpy.create_node("cold_start")
    name = "/kd3d_detector"
    messages = [
        to_point_cloud2(read_cloud(path), Header(frame_id="lidar"))
        for path in sorted(options.clouds.glob("*.bin"))
    ]
    publisher = node.create_publisher(PointCloud2, f"{name}/input/points", cloud_qos("reliable"))
    arrived = threading.Event()
    node.create_subscription(
        Detection3DArray, f"{name}/output/detections", lambda message: arrived.set(), 10
    )
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def publish() -> None:
        for number in range(10**9):
            message = messages[number % len(messages)]
            message.header.stamp = node.get_clock().now().to_msg()
            publisher.publish(message)
            time.sleep(0.1)

    threading.Thread(target=publish, daemon=True).start()
    command = [sys.executable, "-m", "kd3d_ros.detector.node"]
    if options.model:
        command += ["--ros-args", "-p", f"model:={options.model}"]
    seconds = []
    for _ in range(options.starts + 1):
        arrived.clear()
        start = time.monotonic()
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as child:
            try:
                while not arrived.is_set():
                    if child.poll() is not None or time.monotonic() - start > 120:
                        raise SystemExit(f"no boxes; the node ended with {child.poll()}")
                    executor.spin_once(timeout_sec=0.02)
                seconds.append(time.monotonic() - start)
            finally:
                child.terminate()
        end = time.monotonic() + 1.0  # until the last boxes of that node have come, too
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
    return seconds[1:]


if __name__ == "__main__":
    main()
