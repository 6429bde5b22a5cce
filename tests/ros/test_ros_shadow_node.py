"""The shadow node, live: real middleware, a known teacher, and a student played by the test."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shadow_bench import NAME
from shadow_bench import SAID
from shadow_bench import SEEN
from shadow_bench import STAMP_SECONDS
from shadow_bench import Bench
from shadow_bench import Peer
from shadow_bench import listen_to_agreement
from shadow_bench import overrides
from shadow_bench import street
from shadow_bench import student_boxes
from shadow_bench import values

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud


@pytest.fixture
def bench(graph: Any, known: Any, tmp_path: Path) -> Bench:
    return Bench(graph, known, tmp_path / "mined").start()


def test_agreement_is_that_of_the_core_on_the_same_boxes(bench: Bench) -> None:
    from kd3d_core.evaluation.agreement import AgreementWindow
    from kd3d_core.evaluation.agreement import compare
    from kd3d_core.runtime.detector import Detector

    student = student_boxes(bench.known)
    for second in range(3):
        bench.compare(student, second)
    teacher = Detector.load(bench.known.path)(street()).boxes
    window = AgreementWindow(teacher.classes)
    for _ in range(3):
        window.add(compare(student, teacher))
    expected = window.result()
    assert (expected.total.pairs, expected.total.missed, expected.total.extra) == (6, 3, 3)
    bench.node.report()
    heard = listen_to_agreement(bench.graph, bench.peer)
    bench.graph.until(lambda: heard)
    said = json.loads(heard[-1].data)
    assert said["compared"] == 3
    assert said["looked_at"] == 1.0
    assert said["teacher"] == {"name": "known", "source": str(bench.known.path)}
    assert said["student"] == {"detections": f"{NAME}/input/detections"}
    exact = {key: value for key, value in expected.to_dict().items() if key != "calibration"}
    same = said["agreement"]
    assert same["total"]["recall"] == pytest.approx(2 / 3)
    assert same["total"]["centre_error"] == pytest.approx(exact["total"]["centre_error"], abs=1e-5)
    for part in ("classes", "rings", "frames"):
        assert same[part] == exact[part]
    for ring, cell in exact["by_ring"]["car"].items():
        assert {k: same["by_ring"]["car"][ring][k] for k in ("pairs", "missed", "extra")} == {
            k: cell[k] for k in ("pairs", "missed", "extra")
        }
    assert sum(item["count"] for item in same["calibration"]) == 9
    bench.graph.until(lambda: bench.peer.heard["recall"] and bench.peer.heard["car precision"])
    assert bench.peer.heard["recall"][-1].data == pytest.approx(2 / 3)
    assert bench.peer.heard["car precision"][-1].data == pytest.approx(2 / 3)


def test_markers_show_agreed_green_missed_red_and_extra_amber(bench: Bench) -> None:
    header = bench.peer.play(street(), student_boxes(bench.known))
    bench.graph.until(lambda: bench.peer.heard["markers"])
    markers = bench.peer.heard["markers"][-1].markers
    assert markers[0].action == markers[0].DELETEALL
    assert all(marker.header == header for marker in markers)
    assert all(marker.lifetime.sec == 1 for marker in markers[1:])
    colors = {marker.ns: marker.color for marker in markers if marker.ns.endswith("/boxes")}
    green, red, amber = (colors[f"{name}/boxes"] for name in ("agreed", "missed", "extra"))
    assert green.g > 0.7 > max(green.r, green.b)
    assert red.r > 0.9 > 0.3 > max(red.g, red.b)
    assert amber.r > amber.g > 0.5 > amber.b
    edges = {m.ns: len(m.points) // 24 for m in markers if m.ns.endswith("/boxes")}
    assert edges == {"agreed/boxes": 2, "missed/boxes": 1, "extra/boxes": 1}
    texts = {m.ns: m.text for m in markers if m.text}
    assert texts["missed/labels"].startswith("missed car")
    places = {m.ns: m.pose.position for m in markers if m.ns.endswith("/headings")}
    assert places["missed/headings"].x == pytest.approx(SEEN[2][0], abs=0.01)
    assert places["extra/headings"].x == pytest.approx(SAID[2][0], abs=0.01)


def test_deactivating_writes_what_was_mined(bench: Bench) -> None:
    from kd3d_core.datasets.mined import read_mined

    for second in range(3):
        bench.compare(student_boxes(bench.known), second)
    bench.node.trigger_deactivate()
    (bag,) = bench.bags()
    records = list(read_mined(bag))
    assert [record.frame.stamp for record in records] == pytest.approx(
        [STAMP_SECONDS + second for second in range(3)]
    )
    record = records[0]
    assert len(record.frame.cloud) == len(street())
    np.testing.assert_allclose(record.frame.cloud.points, street().points, atol=1e-6)
    assert (len(record.student), len(record.teacher)) == (3, 3)
    assert record.teacher.names == ["car"] * 3
    assert any(reason.startswith("missed car at 13 m") for reason in record.disagreement.reasons)
    # A second activation has a bag of its own and leaves the first one alone.
    bench.node.trigger_activate()
    bench.graph.until(bench.connected)
    bench.compare(student_boxes(bench.known), 9)
    bench.node.trigger_deactivate()
    assert bag in bench.bags()
    assert sorted(len(list(read_mined(path))) for path in bench.bags()) == [1, 3]


def test_save_service_answers_the_path_of_the_bag(bench: Bench) -> None:
    from std_srvs.srv import Trigger

    client = bench.peer.node.create_client(Trigger, f"{NAME}/save")
    bench.graph.until(client.service_is_ready)

    def save() -> Any:
        future = client.call_async(Trigger.Request())
        bench.graph.until(future.done)
        return future.result()

    nothing = save()
    assert not nothing.success
    assert "no disagreement" in nothing.message
    bench.compare(student_boxes(bench.known))
    answer = save()
    assert answer.success
    assert Path(answer.message).is_dir()
    assert bench.bags() == [Path(answer.message)]
    bench.node.trigger_deactivate()
    bench.node.trigger_cleanup()
    assert "activate" in save().message


def test_unknown_classes_are_named_and_class_remap_mends_it(
    graph: Any, known: Any, tmp_path: Path
) -> None:
    bench = Bench(graph, known, tmp_path).start()
    bench.compare(student_boxes(known, "vehicle"))
    report = bench.report()
    status = report["input"]
    assert status.level == status.WARN
    assert "vehicle" in status.message
    assert "class_remap" in status.message
    assert values(report["agreement"])["all"].endswith("(0 pairs, 3 missed, 0 extra)")


def test_class_remap_makes_different_names_one(graph: Any, known: Any, tmp_path: Path) -> None:
    remap = ["car=vehicle", "truck=vehicle"]
    bench = Bench(graph, known, tmp_path, class_remap=remap, roi=[-16.0, -16.0, 8.0, 8.0]).start()
    bench.compare(student_boxes(known, "vehicle"))
    report = bench.report()
    figures = values(report["agreement"])
    # The region leaves out the object that is missed and the one that is extra.
    assert figures["vehicle"].endswith("(2 pairs, 0 missed, 0 extra)")
    assert "car" not in figures
    assert report["input"].level == report["input"].OK


def test_stamps_that_do_not_match_are_explained(graph: Any, known: Any, tmp_path: Path) -> None:
    bench = Bench(graph, known, tmp_path, buffer=5).start()
    empty = Boxes3D.empty()
    for second in range(8):
        bench.peer.play(PointCloud.from_arrays(np.ones((3, 3))), empty, second, late=0.05)
        bench.graph.spin(0.05)
    bench.graph.until(lambda: bench.node._inputs.counts.unmatched)
    status = bench.report()["input"]
    assert status.level == status.WARN
    assert "+0.050 s" in status.message
    assert "stamps anew" in status.message
    assert bench.compared == 0


def test_silence_of_either_input_is_told_apart(bench: Bench) -> None:
    assert "~/input/points" in bench.report()["input"].message
    from std_msgs.msg import Header

    from kd3d_ros.common.conversions import to_point_cloud2

    header = Header(frame_id="lidar")
    bench.peer.clouds.publish(to_point_cloud2(street(), header))
    bench.graph.until(lambda: bench.node._inputs.counts.clouds)
    assert "~/input/detections" in bench.report()["input"].message


def test_answers_in_another_frame_are_compared_through_tf(bench: Bench) -> None:
    from geometry_msgs.msg import TransformStamped
    from rclpy.qos import DurabilityPolicy
    from rclpy.qos import QoSProfile
    from tf2_msgs.msg import TFMessage

    shift = np.array([1.0, 0.0, 1.7])
    moved = student_boxes(bench.known).transformed(
        np.block([[np.eye(3), shift[:, None]], [np.zeros(3), 1.0]])
    )
    bench.peer.play(street(), moved, frame_id="base_link")
    bench.graph.until(lambda: bench.node.stats._total["faults"])
    status = bench.report()["teacher"]
    assert status.level == status.ERROR
    assert "base_link" in status.message
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    speaker = bench.peer.node.create_publisher(TFMessage, "/tf_static", latched)
    transform = TransformStamped(child_frame_id="lidar")
    transform.header.frame_id = "base_link"
    translation = transform.transform.translation
    translation.x, translation.y, translation.z = shift.tolist()
    speaker.publish(TFMessage(transforms=[transform]))
    bench.graph.until(lambda: bench.node._pipeline.frames._tree.frames)
    bench.compare(moved, 1, frame_id="base_link")
    assert values(bench.report()["agreement"])["car"].endswith("(2 pairs, 1 missed, 1 extra)")


def test_alarms_and_malformed_clouds_are_told(graph: Any, known: Any, tmp_path: Path) -> None:
    bench = Bench(graph, known, tmp_path, min_frames=1, min_recall=1.0, window=20).start()
    blind = PointCloud.from_arrays(np.ones((3, 3)))
    assert bench.report()["agreement"].message == "nothing compared yet"
    bench.peer.play(blind, Boxes3D.empty())
    bench.graph.until(lambda: bench.compared == 1)
    for second in range(1, 12):
        bench.compare(Boxes3D.empty(), second)
    report = bench.report()
    status = report["agreement"]
    assert status.level == status.WARN
    assert "recall" in status.message
    assert "below" in status.message
    teacher = values(report["teacher"])
    assert teacher["compared"] == "12"
    assert teacher["clouds looked at [%]"] == "100.0"


def test_pace_changes_while_active_and_the_teacher_does_not(bench: Bench) -> None:
    results = bench.node.set_parameters(overrides({"every": 3, "teacher": "other.kd3d"}))
    assert [result.successful for result in results] == [True, False]
    for second in range(6):
        bench.peer.play(street(), student_boxes(bench.known), second)
        bench.graph.until(lambda second=second: bench.node._inputs.counts.matched == second + 1)
    bench.graph.until(lambda: bench.compared == 2)
    assert values(bench.report()["teacher"])["clouds looked at [%]"] == "33.3"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"teacher": "none.kd3d"}, ("none.kd3d",)),
        ({"class_remap": ["person=human"]}, ("human", "pedestrian")),
        ({"baseline": "none.json"}, ("none.json",)),
        ({"mine_folder": "/proc/none"}, ("/proc/none", "mine_frames")),
    ],
)
def test_what_cannot_work_is_refused_with_its_remedy(
    graph: Any, known: Any, tmp_path: Path, settings: dict[str, Any], words: tuple[str, ...]
) -> None:
    bench = Bench(graph, known, tmp_path, **settings)
    with pytest.raises(Kd3dError, match="did not start"):
        bench.node.start()
    message = bench.node.stats.snapshot().error
    assert all(word in message for word in words), message


def test_ctrl_c_writes_what_was_mined(
    ros_environment: dict[str, str], graph: Any, known: Any, tmp_path: Path
) -> None:
    from kd3d_core.datasets.mined import read_mined

    peer = Peer(graph)
    heard = listen_to_agreement(graph, peer)
    given = {"teacher": known.path, "mine_folder": tmp_path, "cpu_budget": 1.0, "nice": 3}
    arguments = [part for key, value in given.items() for part in ("-p", f"{key}:={value}")]
    node = subprocess.Popen(
        [sys.executable, "-m", "kd3d_ros.shadow.node", "--ros-args", *arguments],
        env={**ros_environment, "ROS_DOMAIN_ID": str(graph.context.get_domain_id())},
    )
    try:
        graph.until(peer.connected, 180)
        second = 0
        while not heard:
            assert node.poll() is None
            assert second < 100
            peer.play(street(), student_boxes(known), second)
            graph.spin(0.3)
            second += 1
        assert os.getpriority(os.PRIO_PROCESS, node.pid) == 3
        node.send_signal(signal.SIGINT)
        assert node.wait(60) == 0
    finally:
        node.kill()
        node.wait()
    (bag,) = tmp_path.iterdir()
    assert len(list(read_mined(bag))) >= 1
