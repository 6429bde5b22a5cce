"""What `kd3d_core compile` judges precisions by, and when it warns."""

import handmade_bundle
import numpy as np
import pytest

from kd3d_core.cli.compile_compare import Quality
from kd3d_core.cli.compile_compare import judge
from kd3d_core.cli.compile_compare import warnings
from kd3d_core.cli.compile_material import Material
from kd3d_core.cli.compile_material import gather
from kd3d_core.evaluation.ap import ApAccumulator
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.runtime.bundle import Bundle

CLASSES = ("car", "bus")


def boxes(*places, score=0.9):
    count = len(places)
    centers = [[x, y, 0.0] for x, y in places]
    return Boxes3D.make(centers, [[4, 2, 1.5]] * count, [0.0] * count, [0] * count,
                        score=[score] * count, classes=CLASSES)  # fmt: skip


def quality(truths, found, *, labelled=True):
    """Of a precision that finds these boxes where there are those."""
    made = Quality(ApAccumulator(CLASSES, EvalConfig(min_points=0)), labelled)
    if labelled:
        made.accumulator.add(found, truths)
    return made


PLACES = [(5.0 * i, 3.0) for i in range(1, 9)]


def test_a_precision_that_loses_too_much_is_warned_of_with_its_worst_class():
    truths = boxes(*PLACES)
    base, worse = quality(truths, boxes(*PLACES)), quality(truths, boxes(*PLACES[:6]))
    told = warnings({"fp32": base, "fp16": base, "int8": worse})
    assert list(told) == ["int8"]
    assert "int8 loses 0.250 mean AP against fp32 (0.750 of 1.000; most: car" in told["int8"]


def test_without_labels_boxes_in_common_are_what_counts():
    base = quality(None, None, labelled=False)
    same, other = (quality(None, None, labelled=False) for _ in range(2))
    wanted = boxes(*PLACES)
    for each, found in ((base, wanted), (same, wanted), (other, boxes(*PLACES[1:], score=0.7))):
        each.compare(wanted, found)
    assert (other.kept, other.lost, other.new) == (7, 1, 0)
    assert other.score_gap == pytest.approx(0.2, abs=1e-6)
    assert other.agreement == pytest.approx(14 / 15)
    told = warnings({"fp32": base, "fp16": same, "int8": other})
    assert list(told) == ["int8"]
    assert "93.3 %" in told["int8"]


def test_nothing_found_anywhere_agrees():
    empty = quality(None, None, labelled=False)
    empty.compare(boxes(), boxes())
    assert empty.agreement == 1


@pytest.mark.parametrize("plain", [False, True])
def test_the_judge_runs_every_precision_on_every_frame(tmp_path, monkeypatch, plain):
    pytest.importorskip("onnxruntime", reason="runs the graphs")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bundle = Bundle(handmade_bundle.manifest(), handmade_bundle.graph())
    cloud = handmade_bundle.clump(4.3, -2.2)
    classes = bundle.manifest.classes
    truth = Boxes3D.make([[4.32, -2.24, -1.0]], [handmade_bundle.SIZE], [np.pi / 2], [0],
                         classes=classes)  # fmt: skip
    frame = Frame(cloud, "made", boxes=truth, num_points=np.array([200]))
    seen = []
    material = Material([], lambda: iter([(frame, lambda found: found)] * 3), True, "")
    found = judge({"fp32": bundle, "twin": bundle}, material, lambda: seen.append(1),
                  plain=plain)  # fmt: skip
    assert len(seen) == 3
    assert found["twin"].kept == 3
    assert found["twin"].lost == found["twin"].new == 0
    assert found["fp32"].mean_ap == pytest.approx(1.0)


def test_no_cloud_is_calibrated_and_judged_on(tmp_path):
    for number in range(7):
        handmade_bundle.clump(number, 0.0).points.tofile(tmp_path / f"{number}.bin")
    for frames in (2, 3, 7, 100):
        material = gather(tmp_path, None, frames, handmade_bundle.manifest())
        where = [{round(float(cloud.points[0, 0])) for cloud in clouds} for clouds in (
            material.calibration, [frame.cloud for frame, _ in material.judged()])]  # fmt: skip
        assert not where[0] & where[1]
        assert all(1 <= len(each) <= frames for each in where)
        assert not material.labelled


def test_without_data_streets_are_simulated():
    material = gather(None, None, 1, handmade_bundle.manifest())
    assert len(material.calibration) == 1
    assert material.labelled
