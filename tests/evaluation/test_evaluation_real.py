"""The rule for real frames: who must be found, what is false, what is left out."""

from pathlib import Path

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.real_frames import argoverse2_frames
from kd3d_core.evaluation.real_frames import kitti_frames
from kd3d_core.evaluation.real_frames import read_reference
from kd3d_core.evaluation.real_judge import Group
from kd3d_core.evaluation.real_judge import RealFrame
from kd3d_core.evaluation.real_judge import Tally
from kd3d_core.evaluation.real_judge import Target
from kd3d_core.evaluation.real_judge import at_trained_height
from kd3d_core.evaluation.real_judge import examine
from kd3d_core.evaluation.real_judge import judge
from kd3d_core.evaluation.real_judge import plain
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud


def cars(places, label=0, score=0.9):
    """Boxes of 4 x 2 m along x at (x, y)."""
    count = len(places)
    return Boxes3D.make(
        [(x, y, 0.0) for x, y in places],
        np.tile([4.0, 2.0, 1.5], (count, 1)),
        np.zeros(count),
        np.full(count, label),
        score=np.linspace(score, score - 0.1, count),
    )


def frame_of(labels, wanted, max_range=50.0, height=None):
    """One group, vehicle, of cars and trucks."""
    cloud = PointCloud.from_arrays(np.zeros((1, 3)))
    return RealFrame(
        name="only",
        frame=Frame(cloud, "only", sensor_height=height),
        groups={"vehicle": Group(("car", "truck"), ("Car",))},
        targets={"vehicle": Target(labels, np.array(wanted, bool))},
        may_be_wrong=lambda b: np.hypot(b.center[:, 0], b.center[:, 1]) <= max_range,
    )


def test_found_false_and_left_out():
    # To be found: 10, 20 and 30 m ahead. At 40 m is one that need not be.
    real = frame_of(cars([(10, 0), (20, 0), (30, 0), (40, 0)]), [1, 1, 1, 0])
    pred = Boxes3D.concatenate(
        [
            cars([(10.2, 0), (20, 1.0), (40, 0), (60, 0), (5, 20)]),
            cars([(10, 0.1)], label=1),  # a truck on a car that is found already: a second box
            cars([(30, 0)], label=3),  # a pedestrian is of another group
        ]
    )
    verdict = judge(real, pred, "vehicle")
    # 20 m: IoU of half a width is 1/3. False: that one, the second one, and the one beside.
    assert verdict.tally == Tally(wanted=3, found=1, false=3, ignored=2)
    assert verdict.missed.tolist() == [False, True, True]
    assert verdict.tally.recall == pytest.approx(1 / 3)
    assert verdict.tally.precision == pytest.approx(1 / 4)
    near = judge(real, pred, "vehicle", "center_distance")
    assert near.tally == Tally(wanted=3, found=2, false=2, ignored=2)


def test_shares_of_nothing_are_none():
    assert Tally().recall is None
    assert Tally(wanted=2).precision is None
    assert Tally(wanted=2).recall == 0.0


def test_sums_over_frames():
    real = frame_of(cars([(10, 0), (20, 0)]), [1, 1])
    told = examine(lambda _: cars([(10, 0)]), [real])
    assert told["total"]["vehicle"]["bev_iou"] == Tally(2, 1, 0, 0)
    row = plain(told)["only"]["vehicle"]["bev_iou"]
    assert row == {
        "wanted": 2, "found": 1, "false": 0, "ignored": 0, "recall": 0.5, "precision": 1.0,
    }  # fmt: skip


def test_clouds_are_moved_to_the_trained_height_and_boxes_back():
    seen = []

    def detect(cloud):
        seen.append(float(cloud.xyz[0, 2]))
        return cars([(10, 0)])

    real = frame_of(cars([]), [], height=0.33)
    boxes = at_trained_height(detect, 1.73)(real)
    assert seen == [pytest.approx(-1.4)]
    assert boxes.center[0, 2] == pytest.approx(1.4)
    assert at_trained_height(detect, None)(real).center[0, 2] == 0.0
    assert at_trained_height(detect, 1.73)(frame_of(cars([]), [])).center[0, 2] == 0.0


def test_kitti_has_twelve_cars_to_find_and_the_reference_finds_them(shared_data: Path):
    frames = list(kitti_frames(shared_data / "kitti"))
    folder = shared_data / "kitti" / "reference_pointpillars" / "pred_velo"
    told = examine(lambda real: read_reference(folder, real.name, 0.3), frames)["total"]
    assert told["car"]["bev_iou"] == Tally(wanted=12, found=12, false=4, ignored=15)
    assert (told["pedestrian"]["bev_iou"].wanted, told["cyclist"]["bev_iou"].wanted) == (2, 1)
    # The labels themselves are found, and nothing is false.
    for real in frames:
        boxes = real.targets["car"].boxes
        verdict = judge(real, boxes, "car")
        assert verdict.tally.false == 0
        assert verdict.tally.found == verdict.tally.wanted


def test_kitti_leaves_out_what_nobody_labelled(shared_data: Path):
    real = next(iter(kitti_frames(shared_data / "kitti")))
    behind = cars([(-10.0, 0.0)])
    ahead = cars([(10.0, 0.0)])
    assert not real.may_be_wrong(behind).any()
    assert real.may_be_wrong(ahead).all()


def test_argoverse_has_sixteen_vehicles(shared_data: Path):
    (real,) = argoverse2_frames(shared_data / "argoverse2")
    assert real.targets["vehicle"].wanted.sum() == 16
    assert real.frame.sensor_height == pytest.approx(0.33)


def test_a_reference_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(Kd3dError, match=r"000000\.txt is not a table"):
        read_reference(tmp_path, "000000", 0.3)
