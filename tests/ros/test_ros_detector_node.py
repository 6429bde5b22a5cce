"""The detector node, live: real middleware, real runtime, a network whose answer is known."""

import array
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detector_bench import NAME
from detector_bench import STAMP_SECONDS
from detector_bench import Bench
from detector_bench import cluster
from detector_bench import message

from kd3d_core.errors import Kd3dError


@pytest.fixture
def bench(graph: Any, known: Any) -> Bench:
    return Bench(graph, known).start()


def test_known_cloud_gives_the_known_box_with_its_header(bench: Bench) -> None:
    sent = message(cluster(5.25, -3.25))
    found = bench.detect(sent)
    assert found.header == sent.header
    assert len(found.detections) == 1
    detection = found.detections[0]
    assert detection.header == sent.header
    assert detection.results[0].hypothesis.class_id == "car"
    assert detection.results[0].hypothesis.score > 0.9
    center, size = detection.bbox.center, detection.bbox.size
    place = (center.position.x, center.position.y, center.position.z)
    np.testing.assert_allclose(place, (5.25, -3.25, bench.known.height), atol=1e-3)
    np.testing.assert_allclose((size.x, size.y, size.z), bench.known.size, rtol=1e-3)
    assert 2 * np.arctan2(center.orientation.z, center.orientation.w) == pytest.approx(
        bench.known.yaw, abs=1e-3
    )
    bench.graph.until(lambda: bench.received["markers"] and bench.received["latency"])
    markers = bench.received["markers"][-1].markers
    assert markers[0].action == markers[0].DELETEALL
    assert all(marker.header == sent.header for marker in markers)
    assert bench.received["latency"][-1].data > 0


def test_malformed_clouds_are_reported_and_survived(bench: Bench) -> None:
    truncated = message(cluster(5.25, -3.25))
    truncated.data = array.array("B", truncated.data.tobytes()[:100])
    blind = message(cluster(5.25, -3.25))
    blind.fields = [field for field in blind.fields if field.name != "z"]
    for broken, word in ((truncated, "truncated"), (blind, "no field z")):
        malformed = bench.node.stats.snapshot().total["malformed"]
        bench.clouds.publish(broken)
        bench.graph.until(lambda before=malformed: bench.node.stats._total["malformed"] > before)
        status = bench.status("input")
        assert status.level == status.ERROR
        assert word in status.message
    found = bench.detect(message(cluster(5.25, -3.25), offset=1))
    assert len(found.detections) == 1
    status = bench.status("input")
    assert status.level == status.OK
    assert {value.key: value.value for value in status.values}["malformed"] == "2"


def test_clouds_in_another_frame_are_refused(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, frame_id="front_lidar").start()
    bench.clouds.publish(message(cluster(5.25, -3.25), frame_id="rear_lidar"))
    bench.graph.until(lambda: bench.node.stats._total["malformed"])
    status = bench.status("input")
    assert "rear_lidar" in status.message
    assert "front_lidar" in status.message


def test_score_threshold_changes_while_active_and_the_model_does_not(bench: Bench) -> None:
    from rclpy.parameter import Parameter

    weak = message(cluster(5.25, -3.25, count=14))
    (detection,) = bench.detect(weak).detections
    score = detection.results[0].hypothesis.score
    assert 0.1 < score < 0.999
    results = bench.node.set_parameters(
        [Parameter("score_threshold", value=min(score + 0.05, 1.0)), Parameter("threads", value=2)]
    )
    assert [result.successful for result in results] == [True, False]
    assert "clean up" in results[1].reason
    assert bench.detect(weak).detections == []


def test_lifecycle_stops_and_resumes(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, autostart=False)
    bench.node.start()
    graph.spin(0.2)
    assert bench.clouds.get_subscription_count() == 0
    bench.node.trigger_configure()
    bench.node.trigger_activate()
    graph.until(bench.connected)
    assert len(bench.detect(message(cluster(1.25, 1.25))).detections) == 1
    bench.node.trigger_deactivate()
    graph.until(lambda: bench.clouds.get_subscription_count() == 0)
    bench.node.trigger_cleanup()
    assert bench.status("detector").message == "the node is unconfigured"
    bench.node.trigger_configure()
    bench.node.trigger_activate()
    graph.until(bench.connected)
    assert len(bench.detect(message(cluster(1.25, 1.25))).detections) == 1


def test_enable_service_switches_detection(bench: Bench) -> None:
    from std_srvs.srv import SetBool

    client = bench.peer.create_client(SetBool, f"{NAME}/enable")
    bench.graph.until(client.service_is_ready)
    future = client.call_async(SetBool.Request(data=False))
    bench.graph.until(future.done)
    assert future.result().success
    bench.clouds.publish(message(cluster(5.25, -3.25)))
    bench.graph.until(lambda: bench.node.stats._total["skipped"])
    assert bench.status("detector").message == "disabled through ~/enable"
    assert bench.received["detections"] == []


def test_label_info_reaches_late_subscribers(bench: Bench) -> None:
    from rclpy.qos import DurabilityPolicy
    from rclpy.qos import QoSProfile
    from vision_msgs.msg import LabelInfo

    heard: list[Any] = []
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    bench.peer.create_subscription(LabelInfo, f"{NAME}/label_info", heard.append, qos)
    bench.graph.until(lambda: heard)
    names = {item.class_id: item.class_name for item in heard[0].class_map}
    assert names[0] == "car"
    assert len(names) == 6
    assert heard[0].threshold == pytest.approx(0.1)


def test_nothing_runs_while_nobody_listens(graph: Any, known: Any) -> None:
    bench = Bench(graph, known).start()
    for subscription in list(bench.peer.subscriptions):
        if NAME in subscription.topic_name:
            bench.peer.destroy_subscription(subscription)
    graph.until(lambda: not bench.node._pipeline.wanted)
    bench.clouds.publish(message(cluster(5.25, -3.25)))
    graph.until(lambda: bench.node.stats._total["skipped"])
    assert bench.status("detector").message == "nobody subscribes to the results"
    assert bench.node.stats._total["processed"] == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"score_treshold": 0.3}, ("score_treshold", "did you mean score_threshold?")),
        ({"score_threshold": 1.5}, ("score_threshold", "from 0 to 1")),
        ({"score_threshold": 1}, ("score_threshold", "write 1.0")),
        ({"backend": "cuda"}, ("backend", "onnxruntime")),
    ],
)
def test_wrong_parameters_are_refused_with_a_remedy(
    graph: Any, values: dict[str, Any], words: tuple[str, ...]
) -> None:
    from rclpy.parameter import Parameter

    from kd3d_ros.detector.node import DetectorNode

    overrides = [Parameter(name, value=value) for name, value in values.items()]
    with pytest.raises(Kd3dError) as raised:
        DetectorNode(context=graph.context, parameter_overrides=overrides)
    assert all(word in str(raised.value) for word in words)


def test_missing_bundle_leaves_the_node_unconfigured(graph: Any, tmp_path: Path) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn
    from rclpy.parameter import Parameter

    from kd3d_ros.detector.node import DetectorNode

    missing = [Parameter("model", value=str(tmp_path / "none.kd3d"))]
    node = graph.add(DetectorNode(context=graph.context, parameter_overrides=missing))
    with pytest.raises(Kd3dError):
        node.start()
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert "none.kd3d" in node.stats.snapshot().error


def test_stamps_of_another_clock_are_pointed_out(bench: Bench) -> None:
    bench.detect(message(cluster(5.25, -3.25)))
    bench.graph.until(lambda: bench.node.stats._total["processed"])
    status = bench.status("detector")
    assert status.level == status.WARN
    assert "use_sim_time" in status.message
    assert time.time() - STAMP_SECONDS > 10
