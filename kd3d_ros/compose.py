"""Several nodes of this package in one process, each spun by a thread of its own.

    compose_node cloud_player_node detector_node --ros-args -r kd3d_detector:~/input/points:=...

Parameters and remappings are given per node (`-p kd3d_detector:threads:=2`); parameter files name
their node anyway. docs/ros.md says what one process saves and what it costs, as measured.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Any

from kd3d_core.errors import Kd3dError
from kd3d_ros import environment

#: Executable -> module and class of its node.
NODES = {
    "detector_node": ("kd3d_ros.detector.node", "DetectorNode"),
    "shadow_node": ("kd3d_ros.shadow.node", "ShadowNode"),
    "cloud_player_node": ("kd3d_ros.sources.cloud_player", "CloudPlayerNode"),
    "simulated_lidar_node": ("kd3d_ros.sources.simulated_lidar", "SimulatedLidarNode"),
}


def main() -> int:
    """The console script `compose_node`; the exit status."""
    names = sys.argv[1:]
    if "--ros-args" in names:
        names = names[: names.index("--ros-args")]
    unknown = [name for name in names if name not in NODES]
    if unknown or not names:
        said = f"unknown node {unknown[0]}" if unknown else "no node was named"
        print(f"error: compose_node: {said}; use: {', '.join(NODES)}", file=sys.stderr)
        return 2
    try:
        environment.prepare()
    except Kd3dError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from kd3d_ros.node_main import run

    return run(lambda: _compose(names))


def _compose(names: Sequence[str]) -> Any:
    """Make the nodes and their host.

    Raises:
        Kd3dError: A node refused its parameters; those before it are destroyed.
    """
    from kd3d_ros.composition import Composition

    nodes: list[Any] = []
    try:
        for name in names:
            module, kind = NODES[name]
            nodes.append(getattr(importlib.import_module(module), kind)())
    except BaseException:
        for node in reversed(nodes):
            node.destroy_node()
        raise
    return Composition(nodes)


if __name__ == "__main__":
    sys.exit(main())
