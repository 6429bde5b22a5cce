"""A student beside its teacher on recordings."""

import json
import pickle

import numpy as np
import pytest
import small_bags
from test_replay_run import content

from kd3d_core.datasets.mined import read_mined
from kd3d_core.errors import Kd3dError
from kd3d_core.replay.models import ModelSpec
from kd3d_core.replay.shadow import ShadowOptions
from kd3d_core.replay.shadow import shadow
from kd3d_core.replay.shadow import shadow_bag
from kd3d_core.replay.shadow import write_shadow
from kd3d_core.replay.source import count_sweeps
from kd3d_core.replay.source import find_recordings
from kd3d_core.replay.source import iter_sweeps
from kd3d_core.replay.source import single_recording

FAST = ShadowOptions(pictures=0, min_gap=0.5)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return small_bags.write(tmp_path_factory.mktemp("bags") / "drive")


def test_result_files(tmp_path, bag, weak, detector):
    out = tmp_path / "out"
    result = shadow(weak, detector, bag, out, FAST.model_copy(update={"pictures": 1}))
    assert (result.frames, result.mined, result.malformed) == (5, 2, ())
    assert (result.agreement.total.pairs, result.agreement.total.missed) == (4, 3)
    data = json.loads((out / "agreement.json").read_text())
    assert data["agreement"] == result.agreement.to_dict()
    assert data["student"]["score threshold"] == "0.9"
    assert data["recordings"] == [str(bag)]
    rows = [json.loads(line) for line in (out / "frames.jsonl").read_text().splitlines()]
    assert [(row["pairs"], row["missed"], row["extra"]) for row in rows] == [
        (1, 0, 0),
        (1, 1, 0),
        (0, 0, 0),
        (1, 2, 0),
        (1, 0, 0),
    ]
    assert [row["score"] > 0 for row in rows] == [False, True, False, True, False]
    assert rows[1]["reasons"] == ["missed car at 7 m (teacher 0.50)"]
    assert set(json.loads((out / "timing.json").read_text())) == {"student [ms]", "teacher [ms]"}
    page = (out / "report.html").read_text()
    assert "missed car at 7 m" in page


def test_mined_frames_are_the_worst_by_time(tmp_path, bag, weak, detector):
    shadow(weak, detector, bag, tmp_path / "all", FAST)
    records = list(read_mined(tmp_path / "all" / "mined"))
    assert [record.frame.stamp for record in records] == pytest.approx(
        [small_bags.stamp_ns(k) * 1e-9 for k in (1, 3)]
    )
    for record, index in zip(records, (1, 3), strict=True):
        cloud = small_bags.cloud(index)
        np.testing.assert_array_equal(record.frame.cloud.points, cloud.points)
        teacher = detector(cloud).boxes
        np.testing.assert_array_equal(record.teacher.center, teacher.center)
        np.testing.assert_array_equal(record.teacher.velocity, teacher.velocity)
        assert len(record.student) == len(weak(cloud).boxes)
    worst = FAST.model_copy(update={"mine": 1})
    shadow(weak, detector, bag, tmp_path / "all", worst)
    (record,) = read_mined(tmp_path / "all" / "mined")
    assert record.frame.stamp == pytest.approx(small_bags.stamp_ns(3) * 1e-9)
    none = FAST.model_copy(update={"mine": 0, "pictures": 0})
    assert shadow(weak, detector, bag, tmp_path / "all", none).mined == 0
    assert not (tmp_path / "all" / "mined").exists()


def test_gap_between_mined_frames(bag, weak, detector):
    wide = ShadowOptions(min_gap=2.0)
    (frame,) = shadow_bag(weak, detector, bag, wide).worst
    assert frame.stamp_ns == small_bags.stamp_ns(3)


def test_two_runs_give_equal_bytes(tmp_path, bag, weak, detector):
    for name in ("one", "two"):
        shadow(weak, detector, bag, tmp_path / name, FAST)
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    # The report draws the times, and names the folder of the mined bag.
    assert one.pop("report.html")
    assert two.pop("report.html")
    assert set(one) == {
        "agreement.json",
        "frames.jsonl",
        "mined/metadata.yaml",
        "mined/mined.mcap",
    }
    assert one == two


def test_parts_merge_as_if_they_were_one(tmp_path, bag, weak, detector):
    parts = [shadow_bag(weak, detector, bag, FAST) for _ in range(2)]
    whole = pickle.loads(pickle.dumps(parts[0]))
    whole.merge(pickle.loads(pickle.dumps(parts[1])), FAST)
    result = write_shadow(tmp_path / "out", whole, FAST)
    assert (result.frames, result.mined) == (10, 4)
    assert result.agreement.total.missed == 6
    assert len(list(read_mined(tmp_path / "out" / "mined"))) == 4
    few = FAST.model_copy(update={"mine": 3})
    parts[0].merge(parts[1], few)
    scores = [frame.disagreement.score for frame in parts[0].worst]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 3


def test_every_nth_cloud_and_progress(bag, weak, detector):
    seen = []
    options = ShadowOptions(every=2)
    part = shadow_bag(weak, detector, bag, options, seen.append)
    assert [frame.source for frame in part.frames] == [f"{bag}:/points#{k}" for k in (0, 2, 4)]
    assert sum(seen) == count_sweeps(bag, options.clouds, 2) == 3


def test_ros1_clouds_are_mined_as_ros2(tmp_path, weak, detector):
    bag = small_bags.write(tmp_path / "old.bag", "ros1")
    shadow(weak, detector, bag, tmp_path / "out", FAST)
    records = list(read_mined(tmp_path / "out" / "mined"))
    for record, index in zip(records, (1, 3), strict=True):
        np.testing.assert_array_equal(record.frame.cloud.points, small_bags.cloud(index).points)


def test_files_have_no_gap(tmp_path, weak, detector):
    folder = tmp_path / "clouds"
    folder.mkdir()
    for index in (1, 3):
        small_bags.cloud(index).points.tofile(folder / f"{index}.bin")
    (folder / "9.bin").write_bytes(b"broken")
    result = shadow(weak, detector, folder, tmp_path / "out", FAST)
    assert (result.mined, len(result.malformed)) == (2, 1)
    records = list(read_mined(tmp_path / "out" / "mined"))
    np.testing.assert_array_equal(records[0].frame.cloud.points, small_bags.cloud(1).points)


def test_nothing_to_compare_is_told(tmp_path, weak, detector):
    bag = small_bags.write(tmp_path / "bag", frames=0, malformed=True)
    with pytest.raises(Kd3dError, match=r"no cloud could be compared: .*truncated"):
        shadow(weak, detector, bag, tmp_path / "out", FAST)
    assert not (tmp_path / "out").exists()


def test_model_spec_loads_what_it_says(model, bag):
    spec = ModelSpec(path=model, backend="onnxruntime", threads=1, score_threshold=0.9)
    loaded = pickle.loads(pickle.dumps(spec)).load()
    (sweep, *_) = iter_sweeps(bag, ShadowOptions().clouds)
    assert len(loaded(sweep.cloud).boxes) == 1
    assert loaded.decode_config.score_threshold == 0.9


def test_recordings_below_a_path(tmp_path):
    bags = tmp_path / "bags"
    small_bags.write(bags / "drive_10", frames=1)
    small_bags.write(bags / "drive_2", "sqlite3", frames=1)
    clouds = tmp_path / "clouds"
    clouds.mkdir()
    (clouds / "0.bin").write_bytes(bytes(16))
    assert find_recordings([clouds, bags]) == [clouds, bags / "drive_2", bags / "drive_10"]
    assert single_recording(bags / "drive_2") == bags / "drive_2"
    with pytest.raises(Kd3dError, match="holds 2 bags"):
        single_recording(bags)
    (bags / "0.bin").write_bytes(bytes(16))
    with pytest.raises(Kd3dError, match="both bags and cloud files"):
        find_recordings([bags])
    (clouds / "dataset.json").write_text("{}")
    with pytest.raises(Kd3dError, match=r"simulate .* --bag"):
        find_recordings([clouds])
