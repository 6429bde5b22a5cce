"""The console scripts: each makes ROS importable first and loads its node only then."""

import importlib
import sys

from kd3d_core.errors import Kd3dError
from kd3d_ros import environment


def detector_node() -> int:
    """Point clouds in, boxes out."""
    return _run("kd3d_ros.detector.node", "DetectorNode")


def shadow_node() -> int:
    """A teacher that watches what a detector publishes."""
    return _run("kd3d_ros.shadow.node", "ShadowNode")


def simulated_lidar_node() -> int:
    """A drive through a simulated street as a LiDAR sees it."""
    return _run("kd3d_ros.sources.simulated_lidar", "SimulatedLidarNode")


def cloud_player_node() -> int:
    """Files of point clouds as a topic."""
    return _run("kd3d_ros.sources.cloud_player", "CloudPlayerNode")


def _run(module: str, name: str) -> int:
    """Spin the node of a module; the exit status."""
    try:
        environment.prepare()
    except Kd3dError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from kd3d_ros.node_main import run

    return run(lambda: getattr(importlib.import_module(module), name)())
