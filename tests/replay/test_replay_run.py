"""A recording through a detector: every cloud counted, equal results on every run."""

import json
from pathlib import Path

import numpy as np
import pytest
import small_bags
from rosbags.highlevel import AnyReader

from kd3d_core.datasets.bags import iter_bag
from kd3d_core.datasets.detection3d import from_message
from kd3d_core.datasets.detection3d import typestore
from kd3d_core.errors import Kd3dError
from kd3d_core.replay.results import box_records
from kd3d_core.replay.run import TOPIC
from kd3d_core.replay.run import ReplayOptions
from kd3d_core.replay.run import replay

COUNTS = [len(places) for places in small_bags.PLACES]


def content(folder):
    """Relative path -> bytes of all files but what a clock measured."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.name != "timing.json"
    }


def lines(folder):
    return [json.loads(line) for line in (folder / "detections.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3", "ros1"])
def test_replay_equals_the_detector_cloud_by_cloud(tmp_path, detector, storage):
    path = tmp_path / ("old.bag" if storage == "ros1" else "bag")
    bag = small_bags.write(path, storage)
    summary = replay(detector, bag, tmp_path / "out")
    wanted = [detector(frame.cloud).boxes for frame in iter_bag(bag, "/points")]
    assert [len(boxes) for boxes in wanted] == COUNTS
    assert summary.clouds == 5
    assert (summary.boxes["car"], summary.boxes["bus"]) == (sum(COUNTS), 0)

    rows = lines(tmp_path / "out")
    assert [row["boxes"] for row in rows] == [box_records(boxes) for boxes in wanted]
    assert [row["stamp_ns"] for row in rows] == [small_bags.stamp_ns(k) for k in range(5)]
    assert [row["source"] for row in rows] == [f"{bag}:/points#{k}" for k in range(5)]

    with AnyReader([tmp_path / "out" / "detections"]) as reader:
        (connection,) = reader.connections
        assert (connection.topic, connection.msgtype) == (
            TOPIC,
            "vision_msgs/msg/Detection3DArray",
        )
        for index, (_, log_ns, raw) in enumerate(reader.messages()):
            message = typestore().deserialize_cdr(raw, connection.msgtype)
            stamp = message.header.stamp
            assert stamp.sec * 10**9 + stamp.nanosec == small_bags.stamp_ns(index)
            assert log_ns == small_bags.log_ns(index)
            assert message.header.frame_id == "velodyne"
            boxes = from_message(message, detector.manifest.classes)
            np.testing.assert_array_equal(boxes.center, wanted[index].center)
            np.testing.assert_array_equal(boxes.score, wanted[index].score)
        assert index == 4


def test_two_runs_give_equal_bytes(tmp_path, detector, weak):
    bag = small_bags.write(tmp_path / "bag")
    options = ReplayOptions(truth=small_bags.TRUTH)
    for name in ("one", "two"):
        replay(detector, bag, tmp_path / name, options, teacher=weak)
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert set(one) == {
        "detections.jsonl",
        "summary.json",
        "detections/metadata.yaml",
        "detections/detections.mcap",
    }
    assert one == two
    timing = json.loads((tmp_path / "one" / "timing.json").read_text())
    assert timing["clouds"] == 5
    assert set(timing["detector_ms"]) == {"preprocess", "inference", "postprocess", "total"}
    assert timing["teacher_ms"]["total"]["max"] >= timing["teacher_ms"]["total"]["p50"] > 0


def test_clouds_that_cannot_be_read_are_counted_and_named(tmp_path, detector):
    bag = small_bags.write(tmp_path / "bag", malformed=True)
    summary = replay(detector, bag, tmp_path / "out")
    assert summary.clouds == 7
    lying, garbage = summary.malformed
    assert lying.startswith(f"{bag}:/points#5: PointCloud2 is truncated")
    assert garbage.startswith(f"{bag}:/points#6: not a readable sensor_msgs/msg/PointCloud2")
    rows = lines(tmp_path / "out")
    assert [row.get("error") for row in rows] == [None] * 5 + [lying, garbage]
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["malformed"] == [
        lying,
        garbage,
    ]


def test_agreement_with_a_teacher(tmp_path, detector, weak):
    bag = small_bags.write(tmp_path / "bag")
    agreement = replay(weak, bag, tmp_path / "out", teacher=detector).agreement
    assert (agreement.total.pairs, agreement.total.missed, agreement.total.extra) == (4, 3, 0)
    assert agreement.total.centre_error == 0.0
    stored = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert stored["agreement"]["total"]["recall"] == pytest.approx(4 / 7)
    assert stored["teacher"]["score threshold"] == "0.3"
    assert stored["model"]["score threshold"] == "0.9"


def test_metrics_where_there_is_ground_truth(tmp_path, detector, weak):
    bag = small_bags.write(tmp_path / "bag")
    options = ReplayOptions(truth=small_bags.TRUTH)
    found = replay(detector, bag, tmp_path / "strong", options).metrics
    assert (found.ap("car"), found.metrics["all"]["car"].truths) == (1.0, 7)
    assert replay(weak, bag, tmp_path / "weak", options).metrics.ap("car") == pytest.approx(4 / 7)
    with pytest.raises(Kd3dError, match=r"no topic /truth of type vision_msgs/msg/Detection3DA"):
        replay(detector, bag, tmp_path / "out", ReplayOptions(truth="/truth"))
    with pytest.raises(Kd3dError, match=r"no topic /points of type vision_msgs"):
        replay(detector, bag, tmp_path / "out", ReplayOptions(truth="/points"))


def test_clouds_without_truth_are_told(tmp_path, detector):
    bag = small_bags.write(tmp_path / "bag", malformed=False, frames=3)
    more = small_bags.write(tmp_path / "more", with_truth=False)
    options = ReplayOptions(truth=small_bags.TRUTH)
    assert replay(detector, bag, tmp_path / "out", options).without_truth == 0
    with pytest.raises(Kd3dError, match="no topic /truth/detections"):
        replay(detector, more, tmp_path / "out", options)


def test_folder_of_cloud_files(tmp_path, detector):
    folder = tmp_path / "clouds"
    folder.mkdir()
    for index in range(5):
        if small_bags.PLACES[index]:
            small_bags.cloud(index).points.tofile(folder / f"{index}.bin")
    (folder / "5.bin").write_bytes(b"broken")
    summary = replay(detector, folder, tmp_path / "out")
    assert (summary.clouds, len(summary.malformed)) == (5, 1)
    assert summary.boxes["car"] == sum(COUNTS)
    assert str(folder / "5.bin") in summary.malformed[0]
    assert [row["stamp_ns"] for row in lines(tmp_path / "out")] == [k * 10**8 for k in range(5)]
    with pytest.raises(Kd3dError, match="is no bag"):
        replay(detector, folder, tmp_path / "out", ReplayOptions(truth="/truth"))


def test_interruption_leaves_nothing_half_written(tmp_path, detector):
    bag = small_bags.write(tmp_path / "bag")
    out = tmp_path / "results" / "out"
    replay(detector, bag, out)
    (out / "notes.txt").write_text("mine")
    before = content(out)

    def interrupted(cloud):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return detector(cloud)

    left = 2
    interrupted.manifest, interrupted.warm_up = detector.manifest, lambda: None
    with pytest.raises(KeyboardInterrupt):
        replay(interrupted, bag, out)
    assert content(out) == before
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    # A later run replaces its own files and no others.
    replay(detector, bag, out)
    assert content(out) == before


def test_bag_without_clouds_and_wrong_topic(tmp_path, detector):
    bag = small_bags.write(tmp_path / "bag", frames=0)
    with pytest.raises(Kd3dError, match="holds no cloud"):
        replay(detector, bag, tmp_path / "out")
    with pytest.raises(Kd3dError, match="no PointCloud2 topic /front; it has: /points"):
        replay(detector, bag, tmp_path / "out", ReplayOptions(topic="/front"))
    assert not (tmp_path / "out").exists()
