"""What the tests of the shadow node share: a sensor, a student and an audience for it."""

from pathlib import Path
from typing import Any

import numpy as np

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

NAME = "/kd3d_shadow"
STAMP_SECONDS = 1_700_000_000
#: Where the teacher finds cars, and where the student says that they are.
SEEN = ((5.25, -3.25), (-6.25, 4.25), (9.25, 9.25))
SAID = ((5.35, -3.25), (-6.25, 4.55), (2.0, 12.0))


def street() -> PointCloud:
    """A cloud with an object in each 0.5 m cell of `SEEN`, and thin ground."""
    generator = np.random.default_rng(0)
    spots = [
        generator.uniform((x - 0.2, y - 0.2, -1.5), (x + 0.2, y + 0.2, 0.0), (60, 3))
        for x, y in SEEN
    ]
    ground = generator.uniform((-15, -15, -1.7), (15, 15, -1.6), (300, 3))
    points = np.concatenate([*spots, ground])
    return PointCloud.from_arrays(points, np.full(len(points), 0.5))


def student_boxes(known: Any, name: str = "car") -> Boxes3D:
    """What the student says; the size and yaw are the teacher's."""
    centers = [(x, y, known.height) for x, y in SAID]
    count = len(centers)
    return Boxes3D.make(
        centers,
        [known.size] * count,
        [known.yaw] * count,
        [0] * count,
        score=[0.8, 0.7, 0.6],
        classes=(name,),
    )


class Bench:
    """A shadow node, and a peer that plays sensor, student and audience."""

    def __init__(self, graph: Any, known: Any, folder: Path, **settings: Any) -> None:
        from kd3d_ros.shadow.node import ShadowNode

        self.graph, self.known, self.folder = graph, known, folder
        given = {
            "teacher": str(known.path),
            "nice": 0,  # the tests share their process with the node
            "cpu_budget": 1.0,
            "mine_folder": str(folder),
            "mine_gap": 0.0,
            **settings,
        }
        options = {"parameter_overrides": overrides(given)}
        self.node = graph.add(ShadowNode(context=graph.context, **options))
        self.node._timer.cancel()  # reports come when a test asks for them
        self.peer = Peer(graph)

    def start(self) -> "Bench":
        self.node.start()
        self.graph.until(self.connected)
        return self

    def connected(self) -> bool:
        """Whether everything would arrive, in both directions."""
        outputs = self.node._pipeline.outputs
        heard = (outputs._markers, outputs._figures["recall", ""], self.node._diagnostics)
        return self.peer.connected() and all(item.get_subscription_count() for item in heard)

    @property
    def compared(self) -> int:
        return int(self.node.stats._total["compared"])

    def compare(self, boxes: Boxes3D, second: int = 0, **where: Any) -> None:
        """Play one cloud and its answer, and wait until the teacher has looked at it."""
        before = self.compared
        self.peer.play(street(), boxes, second, **where)
        self.graph.until(lambda: self.compared > before)

    def report(self) -> dict[str, Any]:
        """The diagnostics by part, of the time since the report before."""
        self.peer.heard["diagnostics"].clear()
        self.node.report()
        self.graph.until(lambda: self.peer.heard["diagnostics"])
        prefix = f"{NAME[1:]}: "
        statuses = self.peer.heard["diagnostics"][-1].status
        return {status.name.removeprefix(prefix): status for status in statuses}

    def bags(self) -> list[Path]:
        return sorted(self.folder.iterdir())


class Peer:
    """A node of the test."""

    def __init__(self, graph: Any) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from sensor_msgs.msg import PointCloud2
        from std_msgs.msg import Float32
        from vision_msgs.msg import Detection3DArray
        from visualization_msgs.msg import MarkerArray

        self.node = graph.node("peer")
        self.clouds = self.node.create_publisher(PointCloud2, f"{NAME}/input/points", 5)
        self.answers = self.node.create_publisher(Detection3DArray, f"{NAME}/input/detections", 10)
        topics = {
            "diagnostics": (DiagnosticArray, "/diagnostics"),
            "markers": (MarkerArray, f"{NAME}/markers"),
            "recall": (Float32, f"{NAME}/recall"),
            "car precision": (Float32, f"{NAME}/precision/car"),
        }
        self.heard: dict[str, list[Any]] = {name: [] for name in topics}
        for name, (kind, topic) in topics.items():
            self.node.create_subscription(kind, topic, self.heard[name].append, 10)

    def connected(self) -> bool:
        """Whether everything would arrive."""
        speakers = [f"{NAME}/markers", f"{NAME}/recall"]
        return (
            self.clouds.get_subscription_count() > 0
            and self.answers.get_subscription_count() > 0
            and all(self.node.count_publishers(topic) for topic in speakers)
        )

    def play(
        self,
        cloud: PointCloud,
        boxes: Boxes3D,
        second: int = 0,
        *,
        frame_id: str = "lidar",
        late: float = 0.0,
    ) -> Any:
        """Publish a cloud, and an answer to it that may be in another frame or stamped later."""
        from builtin_interfaces.msg import Time
        from std_msgs.msg import Header

        from kd3d_ros.common import conversions

        stamp = Time(sec=STAMP_SECONDS + second, nanosec=500)
        header = Header(frame_id="lidar", stamp=stamp)
        self.clouds.publish(conversions.to_point_cloud2(cloud, header))
        stamp = Time(sec=STAMP_SECONDS + second, nanosec=500 + round(late * 1e9))
        answer = Header(frame_id=frame_id, stamp=stamp)
        self.answers.publish(conversions.to_detections(boxes, answer))
        return header


def values(status: Any) -> dict[str, str]:
    """The numbers of a diagnostic status."""
    return {item.key: item.value for item in status.values}


def overrides(given: dict[str, Any]) -> list[Any]:
    from rclpy.parameter import Parameter

    return [Parameter(name, value=value) for name, value in given.items()]


def listen_to_agreement(graph: Any, peer: Peer) -> list[Any]:
    """What `~/agreement` says, also to those who come late."""
    from rclpy.qos import DurabilityPolicy
    from rclpy.qos import QoSProfile
    from std_msgs.msg import String

    heard: list[Any] = []
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    peer.node.create_subscription(String, f"{NAME}/agreement", heard.append, qos)
    return heard
