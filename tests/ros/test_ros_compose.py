"""Several nodes in one process, live."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError


@pytest.fixture
def sweeps(tmp_path: Path) -> Path:
    """Two clouds with an object that the known network finds."""
    for name in ("a", "b"):
        spot = np.random.default_rng(0).uniform((5.1, -3.4, -1.5), (5.4, -3.1, 0.0), (60, 3))
        points = np.column_stack([spot, np.full(60, 0.5)]).astype(np.float32)
        points.tofile(tmp_path / f"{name}.bin")
    return tmp_path


def test_player_and_detector_share_a_process(graph: Any, known: Any, sweeps: Path) -> None:
    from rclpy.parameter import Parameter
    from vision_msgs.msg import Detection3DArray

    from kd3d_ros.composition import Composition
    from kd3d_ros.detector.node import DetectorNode
    from kd3d_ros.sources.cloud_player import CloudPlayerNode

    values = {
        CloudPlayerNode: {"path": str(sweeps), "wait_for_subscribers": 1},
        DetectorNode: {"model": str(known.path), "threads": 1},
    }
    remaps = ["--ros-args", "-r", "kd3d_detector:~/input/points:=/cloud_player/points"]
    parts = []
    for kind, given in values.items():
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        options = {"parameter_overrides": overrides, "cli_args": remaps}
        parts.append(kind(context=graph.context, **options))
    before = threading.active_count()
    host = graph.add(Composition(parts, context=graph.context))
    peer = graph.node("peer")
    heard: list[Any] = []
    peer.create_subscription(
        Detection3DArray, "/kd3d_detector/output/detections", heard.append, 10
    )
    host.start()
    assert threading.active_count() >= before + 2
    graph.until(lambda: any(message.detections for message in heard), timeout=60)
    assert not host.finished
    host.destroy_node()
    # Every thread of the nodes has ended with them.
    assert not [t for t in threading.enumerate() if t.name in ("kd3d_detector", "cloud_player")]


def test_a_fault_of_one_node_ends_all(graph: Any, tmp_path: Path) -> None:
    from rclpy.parameter import Parameter

    from kd3d_ros.composition import Composition
    from kd3d_ros.sources.cloud_player import CloudPlayerNode

    (tmp_path / "broken.bin").write_bytes(b"abc")
    overrides = [Parameter("path", value=str(tmp_path))]
    player = CloudPlayerNode(context=graph.context, parameter_overrides=overrides)
    host = graph.add(Composition([player], context=graph.context))
    host.start()
    with pytest.raises(Kd3dError, match="truncated"):
        graph.until(lambda: host.finished)


@pytest.mark.parametrize(
    ("names", "words"), [([], "no node was named"), (["lidar_node"], "unknown node lidar_node")]
)
def test_the_command_says_what_it_can_run(names: list[str], words: str) -> None:
    command = [sys.executable, "-m", "kd3d_ros.compose", *names, "--ros-args"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "detector_node" in done.stderr
