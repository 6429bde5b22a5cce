"""The label-free measures, and what is kept by them."""

from dataclasses import dataclass
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kd3d_core.adaptation.judge import MirrorJudge
from kd3d_core.adaptation.judge import TeacherJudge
from kd3d_core.adaptation.judge import Verdict
from kd3d_core.adaptation.judge import better
from kd3d_core.adaptation.steps import Attempts
from kd3d_core.adaptation.steps import thresholds_by_teacher
from kd3d_core.adaptation.subject import Expectation
from kd3d_core.adaptation.subject import Settings
from kd3d_core.adaptation.subject import sure
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

THRESHOLDS = dict.fromkeys(DEFAULT_CLASSES, 0.3)
PLAIN = Settings(None, None, THRESHOLDS)
NOTHING_KNOWN = Expectation()


@dataclass(frozen=True)
class Rule:
    """A detector by a rule: a car at every point, with a score that `score` gives it."""

    score: object
    settings: Settings = PLAIN
    path: Path = Path("rule.kd3d")
    classes: tuple = DEFAULT_CLASSES
    expects: Expectation = NOTHING_KNOWN

    def changed(self, settings):
        return replace(self, settings=settings)

    def __call__(self, frame):
        xyz = frame.cloud.xyz
        score = np.array([self.score(*point) for point in xyz], np.float32)
        count = len(xyz)
        boxes = Boxes3D.make(
            xyz, np.tile((4, 2, 1.5), (count, 1)), np.zeros(count), np.zeros(count), score=score
        )
        return boxes[boxes.score >= 0.05]


def frames(count=6):
    rng = np.random.default_rng(0)
    places = np.array([(x, y) for x in (-15.0, 0.0, 15.0) for y in (-20.0, -9.0, 5.0, 13.0)])
    return [
        Frame(PointCloud.from_arrays(np.column_stack([places + rng.random(2), np.zeros(12)])), "")
        for _ in range(count)
    ]


def plain(items, text):
    return iter(items)


ALL = Rule(lambda x, y, z: 0.9)
LEFT = Rule(lambda x, y, z: 0.9 if y > 0 else 0.1)
HALF = Rule(lambda x, y, z: 0.9 if x > 0 else 0.06)


def test_who_sees_the_same_in_the_mirror_agrees_with_itself():
    judge = MirrorJudge(ALL, frames(), 10, plain)
    verdict = judge(ALL)
    assert verdict.score == pytest.approx(1)
    assert verdict.by_class == {"car": pytest.approx(1)}
    assert verdict.boxes == 72


def test_who_is_blind_on_one_side_does_not():
    judge = MirrorJudge(ALL, frames(), 10, plain)
    assert judge(LEFT).score < 0.7
    assert judge(HALF).score == pytest.approx(1)


def test_the_teacher_is_the_truth():
    judge = TeacherJudge(ALL, frames(), 10, plain)
    assert judge(ALL).score == pytest.approx(1)
    # Below the threshold everything is found, but last: only the order counts.
    assert judge(LEFT).score == pytest.approx(1)
    none_right = Rule(lambda x, y, z: 0.01 if y < 0 else 0.9)
    assert judge(none_right).score == pytest.approx(0.5)
    assert judge.f1(LEFT) == pytest.approx(2 / 3)
    assert judge.f1(ALL) == pytest.approx(1)


def test_too_little_traffic_is_refused():
    nothing = Rule(lambda x, y, z: 0.1)
    with pytest.raises(Kd3dError, match="of no class of 10"):
        MirrorJudge(nothing, frames(), 10, plain)
    with pytest.raises(Kd3dError, match=r"0 boxes in 6\s+clouds"):
        TeacherJudge(nothing, frames(), 10, plain)


def test_a_collapse_is_refused_however_it_measures():
    before = Verdict(0.5, {"car": 0.5}, {}, 100)
    assert better(before, replace(before, score=0.9), 0.002)[0]
    kept, why = better(before, replace(before, score=0.9, boxes=49), 0.002)
    assert not kept
    assert "49 boxes instead of 100" in why
    assert not better(before, replace(before, score=0.501), 0.002)[0]


def test_the_best_of_the_options_is_kept_and_the_others_are_told():
    judge = MirrorJudge(ALL, frames(), 10, plain)
    skew = Rule(lambda x, y, z: 0.9 if y > -10 else 0.1)
    attempts = Attempts(LEFT, 0.002)
    attempts.try_one("step", [("a little", skew), ("wholly", ALL), ("worse", LEFT)], judge)
    assert attempts.subject is ALL
    assert [made.kept for made in attempts.made] == [False, True, False]
    assert attempts.made[0].why == "another way measures better still"
    assert attempts.made[2].why == "it does not measure better"
    attempts.try_one("again", [("back", LEFT)], judge)
    assert attempts.subject is ALL
    assert attempts.made[-1].before == pytest.approx(1)
    assert attempts.made[-1].lost["car"][1] < 0.7


def test_a_collapsed_option_does_not_shade_a_good_one():
    few = Rule(lambda x, y, z: 0.9 if x > 10 and abs(y) < 10 else 0.1)
    attempts = Attempts(LEFT, 0.002)
    judge = MirrorJudge(ALL, frames(), 10, plain)
    skew = Rule(lambda x, y, z: 0.9 if y > -10 else 0.1)
    attempts.try_one("step", [("few", few), ("a little", skew)], judge)
    assert judge(few).score > judge(skew).score
    assert [made.kept for made in attempts.made] == [False, True]
    assert "boxes instead of" in attempts.made[0].why


def test_no_option_is_no_attempt():
    attempts = Attempts(ALL, 0.002)
    attempts.try_one("step", [], MirrorJudge(ALL, frames(), 10, plain))
    assert attempts.made == []


def test_thresholds_follow_the_teacher_where_that_helps():
    teacher = Rule(lambda x, y, z: 0.9 if x > -1 else 0.1)
    # Right things score 0.25, which is below the threshold, and wrong ones 0.15.
    shy = Rule(lambda x, y, z: 0.25 if x > -1 else 0.15)
    learning = TeacherJudge(teacher, frames(), 10, plain)
    judging = TeacherJudge(teacher, frames(4), 10, plain)
    after, attempt = thresholds_by_teacher(shy, learning, judging)
    assert attempt.kept
    assert (attempt.before, attempt.after) == (0, pytest.approx(1))
    assert after.settings.thresholds == THRESHOLDS | {"car": 0.25}
    same, attempt = thresholds_by_teacher(after, learning, judging)
    assert same is after
    assert not attempt.kept


def test_sure_boxes_reach_the_threshold_of_their_class():
    boxes = Boxes3D.make(
        np.zeros((3, 3)), np.ones((3, 3)), np.zeros(3), [0, 1, 2], score=[0.4, 0.4, 0.4]
    )
    assert sure(boxes, {"car": 0.4, "truck": 0.5}).names == ["car"]
