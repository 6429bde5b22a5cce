"""Topics and services: what nodes really have, what docs/ros.md says, what the layouts show."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
RVIZ = sorted((ROOT / "config" / "rviz").glob("*.rviz"))
FOXGLOVE = sorted((ROOT / "config" / "foxglove").glob("*.json"))
EXECUTABLES = {
    "kd3d_detector": "detector_node",
    "kd3d_shadow": "shadow_node",
    "simulated_lidar": "simulated_lidar_node",
    "cloud_player": "cloud_player_node",
}
#: What the launch files remap: the topics of the layouts.
REMAPPED = {
    "/points": "sensor_msgs/PointCloud2",
    "/truth/markers": "visualization_msgs/MarkerArray",
    "/truth/detections": "vision_msgs/Detection3DArray",
}
TRANSFORMS = {"/tf": "tf2_msgs/TFMessage", "/tf_static": "tf2_msgs/TFMessage"}
RVIZ_TYPES = {
    "PointCloud2": "sensor_msgs/PointCloud2",
    "MarkerArray": "visualization_msgs/MarkerArray",
}

Interfaces = dict[str, dict[str, str]]


def of_node(node: Any) -> dict[str, str]:
    """Topics and services -> types; the node's own name is `~`, a class in a topic is `CLASS`."""
    name = node.get_fully_qualified_name()
    ends = [(end.topic_name, end.msg_type) for end in (*node.publishers, *node.subscriptions)]
    ends += [(service.srv_name, service.srv_type) for service in node.services]
    found = {}
    for topic, kind in ends:
        package = kind.__module__.split(".")[0]
        if package in ("rcl_interfaces", "lifecycle_msgs", "type_description_interfaces"):
            continue  # of every node of ROS
        own = f"~{topic.removeprefix(name)}" if topic.startswith(f"{name}/") else topic
        own = re.sub(r"^(~/(?:recall|precision|centre_error))/\w+$", r"\1/CLASS", own)
        found[own] = f"{package}/{kind.__name__}"
    return found


@pytest.fixture(scope="module")
def interfaces(
    known: Any, ros_environment: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Interfaces]:
    """Node -> its interfaces, with everything switched on."""
    import rclpy
    from rclpy.parameter import Parameter

    from kd3d_core.datasets.bag_writer import write_bag
    from kd3d_core.datasets.bags import cloud_to_cdr
    from kd3d_core.pointcloud import PointCloud
    from kd3d_ros.detector.node import DetectorNode
    from kd3d_ros.shadow.node import ShadowNode
    from kd3d_ros.sources.cloud_player import CloudPlayerNode
    from kd3d_ros.sources.simulated_lidar import SimulatedLidarNode

    folder = tmp_path_factory.mktemp("interfaces")
    with write_bag(folder / "bag") as writer:
        writer.add_topic("/points", "sensor_msgs/msg/PointCloud2")
        cloud = PointCloud.from_arrays(np.ones((5, 3)), np.ones(5))
        writer.write("/points", 10**18, cloud_to_cdr(cloud, 10**18, "lidar"))
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    nodes: list[Any] = []

    def make(kind: Any, **values: Any) -> None:
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        nodes.append(kind(context=context, parameter_overrides=overrides))
        if hasattr(nodes[-1], "start"):
            nodes[-1].start()

    cache, hold = str(folder / "cache"), {"wait_for_subscribers": 100}
    make(DetectorNode, model=str(known.path), target_frame="base", engine_cache=cache)
    make(ShadowNode, teacher=str(known.path), nice=0, mine_folder=str(folder / "mined"))
    make(CloudPlayerNode, path=str(folder / "bag"), clock=True, **hold)
    make(SimulatedLidarNode, sensor="vlp16", duration=0.1, **hold)
    yield {node.get_name(): of_node(node) for node in nodes}
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


@pytest.mark.parametrize("node", sorted(EXECUTABLES))
def test_docs_list_exactly_the_interfaces_of_the_node(node: str, interfaces: Interfaces) -> None:
    text = (ROOT / "docs" / "ros.md").read_text()
    section = text.split(f"\n## {EXECUTABLES[node]}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([~/][\w/]+)` \| `(\w+/\w+)` \|", section, re.MULTILINE)
    # The shadow listens to transforms only once it needs them.
    on_demand = TRANSFORMS if node == "kd3d_shadow" else {}
    assert dict(rows) == interfaces[node] | on_demand


def published(interfaces: Interfaces) -> dict[str, str]:
    """Full topic -> type, as the launch files start the nodes in no namespace."""
    names = {
        topic.replace("~", f"/{node}", 1): kind
        for node, topics in interfaces.items()
        for topic, kind in topics.items()
    }
    return names | REMAPPED


def test_remapped_topics_are_those_of_the_nodes(interfaces: Interfaces) -> None:
    for topic, kind in REMAPPED.items():
        assert interfaces["simulated_lidar"][f"~{topic}"] == kind


@pytest.mark.parametrize("path", RVIZ, ids=lambda path: path.name)
def test_rviz_shows_topics_that_are_published(path: Path, interfaces: Interfaces) -> None:
    manager = yaml.safe_load(path.read_text())["Visualization Manager"]
    shown = [display for display in manager["Displays"] if "Topic" in display]
    assert len(shown) >= 2
    for display in shown:
        # A name without a slash is looked up in the namespace that RViz is started in.
        topic = f"/{display['Topic']['Value'].lstrip('/')}"
        kind = RVIZ_TYPES[display["Class"].split("/")[1]]
        assert published(interfaces)[topic] == kind, topic
        # A reliable subscriber does not hear a best-effort sensor.
        best_effort = display["Topic"]["Reliability Policy"] == "Best Effort"
        assert best_effort == (topic == "/points")
    frames = {
        manager["Global Options"]["Fixed Frame"],
        manager["Views"]["Current"]["Target Frame"],
    }
    assert frames <= {"lidar", "map", "<Fixed Frame>"}


def test_layouts_show_agreement_where_there_is_a_shadow() -> None:
    assert [path.stem for path in RVIZ] == ["demo", "detect", "shadow"]
    assert [path.stem for path in FOXGLOVE] == ["detect", "shadow"]
    for path in (*RVIZ, *FOXGLOVE):
        assert ("kd3d_shadow" in path.read_text()) == (path.stem == "shadow")


@pytest.mark.parametrize("path", FOXGLOVE, ids=lambda path: path.name)
def test_foxglove_shows_topics_that_are_published(path: Path, interfaces: Interfaces) -> None:
    layout = json.loads(path.read_text())
    assert set(layout) == {
        *("configById", "globalVariables", "userNodes", "playbackConfig", "layout")
    }
    topics = published(interfaces)
    kinds = set()
    for panel, config in layout["configById"].items():
        kind = panel.split("!")[0]
        kinds.add(kind)
        if kind == "3D":
            assert {topics[topic] for topic in config["topics"]} == set(RVIZ_TYPES.values())
        elif kind == "Plot":
            for series in config["paths"]:
                topic, field = series["value"].rsplit(".", 1)
                assert (topics[topic], field) == ("std_msgs/Float32", "data")
        else:
            assert topics[config["topicToRender"]] == "diagnostic_msgs/DiagnosticArray"
    assert kinds == {"3D", "Plot", "DiagnosticSummary"}
    placed = re.findall(r'"(\w+![\w]+)"', json.dumps(layout["layout"]))
    assert sorted(placed) == sorted(layout["configById"])
