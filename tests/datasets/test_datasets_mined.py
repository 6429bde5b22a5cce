"""The worst frames, kept within bounds, and the bag they go into."""

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores
from rosbags.typesys import get_typestore

from kd3d_core.datasets.bag_writer import write_bag
from kd3d_core.datasets.bags import cloud_to_cdr
from kd3d_core.datasets.bags import iter_bag
from kd3d_core.datasets.mined import POINTS
from kd3d_core.datasets.mined import TOPICS
from kd3d_core.datasets.mined import Disagreement
from kd3d_core.datasets.mined import MinedFrame
from kd3d_core.datasets.mined import WorstFrames
from kd3d_core.datasets.mined import read_mined
from kd3d_core.datasets.mined import write_mined
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

START = 1_700_000_000_000_000_000


def mined(score, seconds=0.0, *, size=0, student_classes=("car", "bus")):
    """A frame at a time after the start."""
    stamp = START + round(seconds * 1e9)
    generator = np.random.default_rng(stamp)
    cloud = PointCloud.from_arrays(generator.normal(size=(30, 3)), generator.uniform(size=30))
    student = Boxes3D.make(
        generator.normal(size=(2, 3)),
        generator.uniform(1, 4, (2, 3)),
        generator.uniform(-3, 3, 2),
        [1, 0],
        velocity=[[1.5, -2.5], [np.nan, np.nan]],
        score=[0.5, 0.25],
        classes=student_classes,
    )
    return MinedFrame(
        stamp_ns=stamp,
        frame_id="velodyne",
        cloud_cdr=cloud_to_cdr(cloud, stamp, "velodyne") + bytes(size),
        student=student,
        teacher=Boxes3D.empty(),
        disagreement=Disagreement(score, ("extra bus at 1 m (student 0.50)",)),
        source="drive:/points#0",
    )


def scores(keeper):
    return [frame.disagreement.score for frame in keeper.frames]


def test_keeps_the_worst_by_time():
    keeper = WorstFrames(max_frames=3)
    offered = (1, 5, 2, 4, 3, 0.5)
    kept = [keeper.offer(mined(score, 2.0 * k)) for k, score in enumerate(offered)]
    assert kept == [True, True, True, True, True, False]
    assert scores(keeper) == [5, 4, 3]
    assert [frame.disagreement.score for frame in keeper.worst] == [5, 4, 3]
    assert keeper.bytes == sum(frame.size for frame in keeper.frames)
    keeper.clear()
    assert (len(keeper), keeper.bytes) == (0, 0)


def test_one_bad_moment_does_not_fill_it():
    keeper = WorstFrames(max_frames=10, min_gap=1.0)
    for k, score in enumerate((3, 4, 9, 5, 4)):
        keeper.offer(mined(score, 0.1 * k))
    assert scores(keeper) == [9]
    assert keeper.offer(mined(1, 1.2))
    assert not keeper.offer(mined(8, 1.0))  # too close to the 9
    assert keeper.offer(mined(2, 1.3))  # takes the place of the 1
    assert scores(keeper) == [9, 2]


def test_memory_is_bounded():
    keeper = WorstFrames(max_bytes=100_000, min_gap=0.0)
    for k in range(20):
        keeper.offer(mined(1 + k % 7, k, size=30_000))
        assert keeper.bytes <= 100_000
    assert sorted(scores(keeper)) == [6, 7, 7]
    assert not keeper.offer(mined(99, 50, size=200_000))
    assert sorted(scores(keeper)) == [6, 7, 7]


def test_agreement_is_never_kept_and_wants_tells_beforehand():
    keeper = WorstFrames(max_frames=2, min_gap=0.0)
    assert not keeper.wants(0.0, START)
    assert not keeper.offer(mined(0.0))
    generator = np.random.default_rng(0)
    for k in range(50):
        frame = mined(float(generator.integers(1, 9)), k)
        wanted = keeper.wants(frame.disagreement.score, frame.stamp_ns)
        assert keeper.offer(frame) == wanted
    assert not WorstFrames(max_frames=0).offer(mined(1))


def test_bag_and_back(tmp_path):
    frames = [mined(2.5, 3), mined(1.5, 1), mined(3.5, 2, student_classes=("bus", "tram"))]
    path = write_mined(tmp_path / "mined", frames, "tiny", "large")
    records = list(read_mined(path))
    assert len(records) == 3
    for record, frame in zip(records, sorted(frames, key=lambda f: f.stamp_ns), strict=True):
        assert record.disagreement == frame.disagreement
        assert record.frame.stamp == pytest.approx(frame.stamp_ns * 1e-9, abs=1e-6)
        assert len(record.frame.cloud) == 30
        assert record.frame.boxes is None
        for name in ("center", "size", "velocity", "score", "label", "classes"):
            one, two = getattr(record.student, name), getattr(frame.student, name)
            np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(record.student.yaw, frame.student.yaw, atol=1e-6)
        assert len(record.teacher) == 0
    (bare,) = path.glob("*.mcap")
    assert len(list(read_mined(bare))) == 3
    # Everything that reads bags reads this one.
    assert [len(frame.cloud) for frame in iter_bag(path)] == [30, 30, 30]


def test_other_programs_find_standard_types_and_the_original_bytes(tmp_path):
    frames = [mined(2.5, 1), mined(1.5, 2)]
    path = write_mined(tmp_path / "mined", frames)
    with AnyReader([path], default_typestore=get_typestore(Stores.EMPTY)) as reader:
        assert {c.topic: c.msgtype for c in reader.connections} == TOPICS
        assert all(c.msgdef.data for c in reader.connections)
        stored = [raw for c, _, raw in reader.messages() if c.topic == POINTS]
        stamps = [stamp for _, stamp, _ in reader.messages()]
    assert stored == [frame.cloud_cdr for frame in frames]
    assert stamps == sorted(stamps)


def test_equal_frames_give_equal_bytes(tmp_path):
    frames = [mined(2.5, 1), mined(1.5, 2)]
    one = write_mined(tmp_path / "one" / "mined", frames)
    two = write_mined(tmp_path / "two" / "mined", frames[::-1])
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes(), file.name


def test_frames_with_one_stamp_do_not_mix(tmp_path):
    """As two bags give them whose clocks began at zero."""
    frames = [mined(1.0), mined(2.0)]
    records = list(read_mined(write_mined(tmp_path / "mined", frames)))
    assert [record.disagreement.score for record in records] == [1.0, 2.0]


def test_an_earlier_bag_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "mined"
    write_mined(path, [mined(1.0)])
    broken = mined(2.0, 1)
    object.__setattr__(broken, "cloud_cdr", None)
    with pytest.raises(TypeError):
        write_mined(path, [mined(3.0), broken])
    assert [record.disagreement.score for record in read_mined(path)] == [1.0]
    assert [item.name for item in tmp_path.iterdir()] == ["mined"]
    write_mined(path, [mined(4.0)])
    assert [record.disagreement.score for record in read_mined(path)] == [4.0]


def test_what_is_no_mined_bag_is_told(tmp_path):
    with pytest.raises(ValueError, match="no frames"):
        write_mined(tmp_path / "mined", [])
    with write_bag(tmp_path / "plain") as bag:
        bag.add_topic(POINTS, TOPICS[POINTS])
        bag.write(POINTS, 1, mined(1).cloud_cdr)
    with pytest.raises(Kd3dError, match=r"no topic /student/detections of type vision_msgs"):
        list(read_mined(tmp_path / "plain"))
    with write_bag(tmp_path / "partial") as bag:
        for topic, kind in TOPICS.items():
            bag.add_topic(topic, kind)
        bag.write(POINTS, 1, mined(1).cloud_cdr)
    with pytest.raises(Kd3dError, match="frame 0 has no /student/detections, /teacher"):
        list(read_mined(tmp_path / "partial"))
    folder = tmp_path / "photographs"
    folder.mkdir()
    with pytest.raises(Kd3dError, match="is no bag"):
        write_mined(folder, [mined(1.0)])
