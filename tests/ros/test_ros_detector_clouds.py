"""Clouds as robots get them: empty, huge, broken, of changing layout, from a clock that jumps."""

import array
from typing import Any

import numpy as np
import pytest
from detector_bench import STAMP_SECONDS
from detector_bench import Bench
from detector_bench import cluster
from detector_bench import message


@pytest.fixture
def bench(graph: Any, known: Any) -> Bench:
    return Bench(graph, known).start()


def values(status: Any) -> dict[str, str]:
    """The numbers of a status."""
    return {item.key: item.value for item in status.values}


def test_empty_clouds_are_answered_with_no_boxes(bench: Bench) -> None:
    from sensor_msgs.msg import PointCloud2

    full = message(cluster(5.25, -3.25))
    bare = PointCloud2(header=full.header)  # as a driver sends that has nothing to say
    thin = PointCloud2(header=full.header, fields=full.fields, point_step=16, height=1)
    blind = message(cluster(5.25, -3.25))
    blind.data = array.array("B", np.full(len(blind.data) // 4, np.nan, np.float32).tobytes())
    for sent in (bare, thin, blind):
        found = bench.detect(sent)
        assert found.detections == []
        assert found.header == sent.header
    assert bench.count("malformed") == 0
    assert len(bench.detect(full).detections) == 1


def test_ten_times_the_points_are_worked_on(bench: Bench) -> None:
    from kd3d_core.pointcloud import PointCloud

    few = cluster(5.25, -3.25)
    far = np.random.default_rng(0).uniform(20, 90, (1_200_000, 4)).astype(np.float32)
    far[:, 3] = 0.5
    many = message(PointCloud(np.concatenate([few.points, far])))
    # On the way in: the default shared memory of this test is too small for 19 MB.
    bench.node._received(many)
    bench.graph.until(lambda: bench.received["detections"])
    assert len(bench.received["detections"][-1].detections) == 1
    bench.graph.until(lambda: bench.count("processed"))
    status = bench.status("sensor")
    assert status.level != status.OK
    assert values(status)["points"] == "1200360"
    assert len(bench.detect(message(few, offset=1)).detections) == 1


def test_a_sensor_may_come_back_with_another_layout(bench: Bench) -> None:
    first = message(cluster(5.25, -3.25))
    place = bench.detect(first).detections[0].bbox.center.position
    points = np.frombuffer(first.data, np.float32).reshape(-1, 4)
    second = message(cluster(5.25, -3.25), offset=1)
    packed = np.zeros(
        len(points),
        {
            "names": ["ring", "z", "y", "x", "intensity"],
            "formats": [">u2", ">f8", ">f8", ">f8", "u1"],
            "offsets": [0, 4, 12, 20, 30],
            "itemsize": 37,
        },
    )
    for column, name in enumerate("xyz"):
        packed[name] = points[:, column]
    packed["intensity"] = 128
    from sensor_msgs.msg import PointField

    second.is_bigendian = True
    second.fields = [
        PointField(name=name, offset=offset, datatype=kind, count=1)
        for name, offset, kind in (
            ("ring", 0, PointField.UINT16),
            ("z", 4, PointField.FLOAT64),
            ("y", 12, PointField.FLOAT64),
            ("x", 20, PointField.FLOAT64),
            ("intensity", 30, PointField.UINT8),
        )
    ]
    second.point_step, second.row_step = 37, 37 * len(points)
    second.data = array.array("B", packed.tobytes())
    (found,) = bench.detect(second).detections
    assert found.bbox.center.position.x == pytest.approx(place.x, abs=1e-3)
    shown = values(bench.status("input"))
    assert shown["layout changes"] == "1"
    assert "big endian" in shown["layout"]
    assert "37 bytes" in shown["layout"]


def test_every_cloud_ends_in_exactly_one_counter(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from std_srvs.srv import SetBool

    good = message(cluster(5.25, -3.25))
    broken = message(cluster(5.25, -3.25))
    broken.width *= 2
    bench.send(good, "processed")
    bench.send(broken, "malformed")
    bench.call(SetBool, "enable", SetBool.Request(data=False))
    bench.send(good, "skipped")
    bench.call(SetBool, "enable", SetBool.Request(data=True))
    with monkeypatch.context() as patch:
        patch.setattr("kd3d_core.codec.bev_image.BevCanvas.draw", None)
        bench.send(good, "failed")
    status = bench.status("detector")
    assert status.level == status.ERROR
    assert "TypeError" in status.message
    for _ in range(30):
        bench.node._received(good)  # quicker than any detector
        bench.node.stats.count("received")
    bench.graph.until(bench.accounted)
    assert bench.count("dropped") > 0
    assert bench.count("received") == 34
    shown = values(bench.status("detector"))
    names = ("processed", "dropped", "skipped", "malformed", "failed")
    assert sum(int(shown[name]) for name in names) == 34


def test_a_bag_that_begins_again_poisons_no_latency(graph: Any, known: Any) -> None:
    from builtin_interfaces.msg import Time
    from rclpy.parameter import Parameter
    from rosgraph_msgs.msg import Clock

    bench = Bench(graph, known, sweeps=3)
    bench.node.set_parameters([Parameter("use_sim_time", value=True)])
    bench.start()
    clock = bench.peer.create_publisher(Clock, "/clock", 10)
    graph.until(lambda: clock.get_subscription_count() > 0)

    def play(offset: int) -> None:
        """A cloud 40 ms after its stamp, by /clock."""
        nanosec = 123_456_789 + 40_000_000
        now = Time(sec=STAMP_SECONDS + offset, nanosec=nanosec)
        clock.publish(Clock(clock=now))
        graph.until(lambda: bench.node.get_clock().now().to_msg() == now)
        bench.detect(message(cluster(5.25, -3.25), offset=offset))

    bench.send(message(cluster(5.25, -3.25)), "processed")
    status = bench.status("detector")
    assert status.level == status.WARN
    assert "/clock" in status.message
    for offset in (0, 1, 2, 3):
        play(100 + offset)
    assert values(bench.status("detector"))["sweeps"] == "1"  # no /tf, no merging, but answers
    before = bench.count("time_went_back")
    play(0)
    play(1)
    assert bench.count("time_went_back") > before
    shown = values(bench.status("detector"))
    for name in ("pipeline_latency p50 [ms]", "pipeline_latency p99 [ms]", "arrival p99 [ms]"):
        assert float(shown[name]) == pytest.approx(40.0, abs=0.5)


def test_stamps_that_go_back_without_a_clock_are_noticed(bench: Bench) -> None:
    for offset in (50, 51, 0, 1):
        bench.detect(message(cluster(5.25, -3.25), offset=offset))
    assert bench.count("time_went_back") == 1
    assert values(bench.status("input"))["time went back"] == "1"


def test_a_publisher_that_cannot_be_heard_is_named(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, reliability="reliable")
    from rclpy.qos import QoSProfile
    from rclpy.qos import ReliabilityPolicy
    from sensor_msgs.msg import PointCloud2

    bench.peer.destroy_publisher(bench.clouds)
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    bench.peer.create_publisher(PointCloud2, "/kd3d_detector/input/points", qos)
    bench.node.start()
    graph.until(lambda: bench.node._clouds.refused_qos)
    status = bench.status("input")
    assert status.level == status.WARN
    assert "reliability to best_effort" in status.message


def test_observers_in_the_process_get_what_was_seen(bench: Bench) -> None:
    seen: list[Any] = []
    bench.node.pipeline.observers.append(seen.append)
    sent = message(cluster(5.25, -3.25))
    bench.detect(sent)
    bench.graph.until(lambda: seen)
    assert seen[0].header == sent.header
    assert seen[0].frame_id == "front_lidar"
    assert len(seen[0].cloud) == 360
    assert len(seen[0].boxes) == 1
