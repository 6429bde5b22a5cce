"""The nodes that publish clouds, live."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError


def test_simulated_lidar_publishes_cloud_truth_and_tf_of_one_sweep(graph: Any) -> None:
    pytest.importorskip("embreex", reason="embreex is not installed (pip install '.[sim]')")
    from rclpy.parameter import Parameter
    from sensor_msgs.msg import PointCloud2
    from tf2_msgs.msg import TFMessage
    from vision_msgs.msg import Detection3DArray

    from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
    from kd3d_core.geometry.boxes import DEFAULT_CLASSES
    from kd3d_ros.conversions import from_detections
    from kd3d_ros.simulated_lidar_node import SimulatedLidarNode

    peer = graph.node("peer")
    heard: dict[str, list[Any]] = {"points": [], "truth/detections": [], "tf": []}
    for kind, name, topic in (
        (PointCloud2, "points", "/simulated_lidar/points"),
        (Detection3DArray, "truth/detections", "/simulated_lidar/truth/detections"),
        (TFMessage, "tf", "/tf"),
    ):
        peer.create_subscription(kind, topic, heard[name].append, 10)
    values = {"sensor": "vlp16", "duration": 0.2, "ahead": 0.1, "rate": 10.0, "frame_id": "top"}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    graph.add(SimulatedLidarNode(context=graph.context, parameter_overrides=overrides))
    # Three of a drive of two sweeps: the drive is repeated.
    graph.until(lambda: all(len(messages) >= 3 for messages in heard.values()), timeout=60)
    truths = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in heard["truth/detections"]}
    message = next(
        m for m in heard["points"] if (m.header.stamp.sec, m.header.stamp.nanosec) in truths
    )
    truth = truths[message.header.stamp.sec, message.header.stamp.nanosec]
    assert message.header == truth.header
    assert message.header.frame_id == "top"
    transform = heard["tf"][0].transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ("map", "top")
    cloud, boxes = decode_pointcloud2(message), from_detections(truth, DEFAULT_CLASSES)
    assert len(cloud) > 5000
    assert len(boxes) > 0
    # What the truth says to be seen has points in it.
    assert boxes.contains(cloud.points, 0.1).any(axis=1).mean() > 0.9
    ids = [detection.id for detection in truth.detections]
    assert len(set(ids)) == len(ids)


def test_cloud_player_plays_every_file_once_and_ends(graph: Any, tmp_path: Path) -> None:
    from rclpy.parameter import Parameter
    from sensor_msgs.msg import PointCloud2

    from kd3d_ros.cloud_player_node import CloudPlayerNode

    for count in (10, 20, 30):
        np.full((count, 4), 0.5, np.float32).tofile(tmp_path / f"{count}.bin")
    peer = graph.node("peer")
    sizes: list[int] = []
    peer.create_subscription(
        PointCloud2, "/cloud_player/points", lambda m: sizes.append(m.width), 10
    )
    values = {"path": str(tmp_path), "loop": False, "rate": 4.0}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = graph.add(CloudPlayerNode(context=graph.context, parameter_overrides=overrides))
    graph.until(lambda: node.finished, timeout=30)
    assert node._published == 3
    # The first cloud may go out before the two ends have found one another.
    assert sizes in ([10, 20, 30], [20, 30])


def test_cloud_player_asks_for_a_path(graph: Any) -> None:
    from kd3d_ros.cloud_player_node import CloudPlayerNode

    with pytest.raises(Kd3dError, match="path"):
        CloudPlayerNode(context=graph.context)
