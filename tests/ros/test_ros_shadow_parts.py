"""The parts of the shadow node that need no middleware: matching, pace, classes, mining."""

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from kd3d_core.datasets.bags import cloud_to_cdr
from kd3d_core.datasets.detection3d import to_cdr
from kd3d_core.datasets.mined import Disagreement
from kd3d_core.datasets.mined import MinedFrame
from kd3d_core.datasets.mined import WorstFrames
from kd3d_core.datasets.mined import read_mined
from kd3d_core.datasets.mined import write_mined
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_ros.shadow.classes import CommonClasses
from kd3d_ros.shadow.matching import Matcher
from kd3d_ros.shadow.matching import stamp_of
from kd3d_ros.shadow.mining import Miner
from kd3d_ros.shadow.pace import Pace

OVERLAP = np.full(3, 0.2)


def raw(stamp: int, note: str = "") -> bytes:
    """The head of a serialized message with a stamp [ns]."""
    return to_cdr(Boxes3D.empty(), stamp, note or "lidar")


# --- matching


def test_stamp_is_read_from_the_bytes_in_either_byte_order() -> None:
    stamp = 1_700_000_000_123_456_789
    little = raw(stamp)
    assert stamp_of(little) == stamp
    seconds, rest = divmod(stamp, 10**9)
    big = b"\x00\x00\x00\x00" + seconds.to_bytes(4, "big") + rest.to_bytes(4, "big")
    assert stamp_of(big) == stamp
    with pytest.raises(Kd3dError, match="no header"):
        stamp_of(b"\x00\x01\x00\x00")


def test_answers_find_their_clouds_in_either_order_of_arrival() -> None:
    matcher = Matcher(3)
    assert matcher.add_cloud(raw(10, "cloud")) is None
    match = matcher.add_answer(raw(10, "answer"))
    assert match is not None
    assert (match.stamp_ns, match.cloud, match.answer) == (10, raw(10, "cloud"), raw(10, "answer"))
    assert matcher.add_answer(raw(20)) is None
    assert matcher.add_cloud(raw(20)) is not None
    assert matcher.add_cloud(raw(20)) is None  # each answer is used once
    assert matcher.counts.matched == 2


def test_matcher_holds_no_more_than_it_may_and_counts_what_it_gave_up() -> None:
    matcher = Matcher(3)
    for stamp in range(0, 1000, 100):
        matcher.add_cloud(raw(stamp))
    assert matcher.add_answer(raw(600)) is None  # long gone
    for k in range(4):
        matcher.add_answer(raw(10_000 + k))
    counts = matcher.counts
    assert (counts.clouds, counts.unanswered) == (10, 7)
    assert counts.unmatched == 2
    assert counts.offset_ns == 10_000 - 900
    assert matcher.add_answer(raw(800)) is not None
    assert matcher.counts.unanswered == 8  # 700 was passed over when 800 was answered
    assert matcher.add_answer(raw(700)) is None


def test_clouds_of_a_clock_that_jumped_back_are_matched() -> None:
    matcher = Matcher(4)
    matcher.add_cloud(raw(5_000))
    matcher.add_cloud(raw(5))
    assert matcher.add_answer(raw(5)) is not None
    assert matcher.add_cloud(raw(6)) is None
    assert matcher.add_answer(raw(6)) is not None


# --- pace


class FakeTime:
    """A clock that only moves when somebody works or sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(("budget", "durations"), [(0.25, (0.1, 0.4, 0.02)), (0.5, (0.3,) * 5)])
def test_rests_keep_the_share_of_work_in_budget(budget: float, durations: Sequence[float]) -> None:
    fake = FakeTime()
    pace = Pace(1, budget, fake.clock, fake.sleep)
    for seconds in durations:
        with pace.work():
            fake.now += seconds
        assert fake.slept[-1] == pytest.approx(seconds * (1 / budget - 1))
    elapsed = fake.now - 100.0
    assert sum(durations) / elapsed == pytest.approx(budget)
    assert pace.busy_share() == pytest.approx(budget)
    fake.now += 10.0
    assert pace.busy_share() == 0.0  # since the call before


def test_failed_work_is_rested_from_too_and_a_full_budget_never_rests() -> None:
    fake = FakeTime()
    pace = Pace(1, 0.5, fake.clock, fake.sleep)

    def break_down() -> None:
        with pace.work():
            fake.now += 0.2
            raise ValueError("broken cloud")

    with pytest.raises(ValueError, match="broken"):
        break_down()
    assert fake.slept == pytest.approx([0.2])
    pace.budget = 1.0
    with pace.work():
        fake.now += 0.2
    assert len(fake.slept) == 1


def test_every_nth_is_due_and_a_stop_cuts_the_rest_short() -> None:
    pace = Pace(3, 0.01)
    assert [pace.due() for _ in range(7)] == [True, False, False, True, False, False, True]
    pace.start()

    def work() -> None:
        with pace.work():
            time.sleep(0.5)  # asks for 49.5 s of rest

    thread = threading.Thread(target=work)
    thread.start()
    pace.wake()
    thread.join(10)
    assert not thread.is_alive()


# --- classes


def boxes(names: Sequence[str], classes: Sequence[str], step: float = 10.0) -> Boxes3D:
    """One box a name, in a row."""
    centers = [[step * i, 0.0, 0.0] for i in range(len(names))]
    labels = [list(classes).index(name) for name in names]
    size = np.tile([4.0, 2.0, 1.5], (len(names), 1))
    score = np.linspace(0.9, 0.5, len(names))
    return Boxes3D.make(centers, size, np.zeros(len(names)), labels, score=score, classes=classes)


def test_classes_are_renamed_left_out_and_strangers_named() -> None:
    teacher = ("car", "truck", "pedestrian")
    common = CommonClasses(teacher, ["car=vehicle", "truck=vehicle", "person=pedestrian", "dog="])
    assert common.names == ("vehicle", "pedestrian")
    names = ("vehicle", "person", "dog", "tram", "car")
    student, strangers = common.of_student(boxes(names, sorted(names)))
    assert student.names == ["vehicle", "pedestrian", "vehicle"]
    assert student.center[:, 0].tolist() == [0.0, 10.0, 40.0]
    assert strangers == {"tram"}
    # A car and a truck of the teacher at one place become one vehicle: the better one.
    merged = common.of_teacher(boxes(["car", "truck", "pedestrian"], teacher, step=0.1), OVERLAP)
    assert merged.names == ["vehicle", "pedestrian"]
    assert merged.score[0] == pytest.approx(0.9)


@pytest.mark.parametrize("entry", ["truck", "car=a=b", "person=human"])
def test_renames_that_cannot_be_are_refused(entry: str) -> None:
    with pytest.raises(Kd3dError, match="class_remap"):
        CommonClasses(("car", "truck", "pedestrian"), [entry])


# --- mining


def frame(second: int, score: float) -> MinedFrame:
    """A frame with a tiny cloud."""
    stamp = second * 10**9
    cloud = PointCloud.from_arrays(np.full((5, 3), float(second + 1)))
    some = boxes(["car"], ("car",))
    verdict = Disagreement(score, ("missed car at 0 m (teacher 0.90)",))
    return MinedFrame(stamp, "lidar", cloud_to_cdr(cloud, stamp, "lidar"), some, some, verdict)


def make_miner(folder: Path, period: float = 3600.0) -> Miner:
    miner = Miner(WorstFrames(2, 10**6, 0.5), folder, period, write_mined)
    miner.start()
    return miner


def test_what_was_mined_is_written_on_demand_and_at_the_end(tmp_path: Path) -> None:
    miner = make_miner(tmp_path / "bags")
    try:
        assert miner.save().saved is None  # nothing yet: no empty bag
        assert miner.offer(frame(1, 0.5))
        first = miner.save()
        assert first.saved is not None
        assert not first.unsaved
        assert miner.save().saved == first.saved  # nothing new: not written again
        assert miner.offer(frame(2, 0.9))
        assert not miner.offer(frame(3, 0.1))  # both kept ones are worse
        assert miner.offer(frame(4, 0.7))
    finally:
        last = miner.close()
    assert last.saved is not None
    assert [path.name for path in (tmp_path / "bags").iterdir()] == [last.saved.name]
    records = list(read_mined(last.saved))
    assert [record.disagreement.score for record in records] == [0.9, 0.7]
    assert records[0].frame.cloud.points[0, 0] == 3.0
    assert miner.close() == last


def test_changes_are_written_once_a_period(tmp_path: Path) -> None:
    miner = make_miner(tmp_path, period=0.05)
    try:
        miner.offer(frame(1, 0.5))
        end = time.monotonic() + 10
        while miner.counts.unsaved:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert len(list(tmp_path.iterdir())) == 1
    finally:
        miner.close()


def test_a_failed_write_is_told_and_made_up_for(tmp_path: Path) -> None:
    target = tmp_path / "bags"
    target.write_text("a file where the folder should be")
    miner = make_miner(target)
    try:
        miner.offer(frame(1, 0.5))
        failed = miner.save()
        assert failed.saved is None
        assert failed.unsaved
        assert "bags" in failed.error
        target.unlink()
        mended = miner.save()
        assert mended.error == ""
        assert mended.saved is not None
    finally:
        miner.close()


def test_mined_frames_survive_an_interpreter_that_ends_without_a_goodbye(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "import test_ros_shadow_parts as t\n"
        "t.make_miner(Path(sys.argv[2])).offer(t.frame(1, 0.5))\n"
    )
    arguments = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path / "bags")]
    subprocess.run(arguments, check=True, timeout=180)
    (bag,) = (tmp_path / "bags").iterdir()
    assert len(list(read_mined(bag))) == 1


def test_a_saved_agreement_is_read_back_as_baseline(tmp_path: Path) -> None:
    from kd3d_core.evaluation.agreement import AgreementWindow
    from kd3d_core.evaluation.agreement import compare
    from kd3d_ros.shadow.comparison import read_agreement

    window = AgreementWindow(("car",))
    window.add(compare(boxes(["car"] * 3, ("car",)), boxes(["car"] * 4, ("car",))))
    for content in (window.result().to_dict(), {"agreement": window.result().to_dict()}):
        path = tmp_path / "agreement.json"
        path.write_text(json.dumps(content))
        assert read_agreement(path) == window.result()
    path.write_text('{"classes": 3}')
    with pytest.raises(Kd3dError, match="no agreement"):
        read_agreement(path)
    with pytest.raises(Kd3dError, match="cannot read"):
        read_agreement(tmp_path / "none.json")


def test_parameter_file_names_every_parameter_with_its_default() -> None:
    import yaml

    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    from kd3d_ros.common.parameters import specs
    from kd3d_ros.shadow.settings import ShadowSettings

    path = Path(__file__).resolve().parents[2] / "config" / "ros" / "shadow.yaml"
    given = yaml.safe_load(path.read_text())["/**/kd3d_shadow"]["ros__parameters"]
    assert given == {name: default for name, (default, _) in specs(ShadowSettings).items()}
