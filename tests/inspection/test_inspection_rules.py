from dataclasses import replace

import numpy as np
import pytest
from damaged_frames import FrameList
from damaged_frames import street
from damaged_frames import with_boxes
from damaged_frames import with_clouds

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.inspection.check import check_dataset
from kd3d_core.inspection.check import sample
from kd3d_core.inspection.config import CheckConfig
from kd3d_core.inspection.sizes import plausible
from kd3d_core.pointcloud import PointCloud


@pytest.fixture(scope="module")
def clean():
    return street()


def rules(dataset, **settings):
    return {f.rule: f for f in check_dataset(dataset, CheckConfig(**settings)).findings}


def swap(size):
    return size[:, [1, 0, 2]]


def only_first(values, changed):
    """The first box is changed, the others stay."""
    result = values.copy()
    result[:1] = changed[:1]
    return result


def test_nothing_is_wrong_with_a_clean_street(clean):
    result = check_dataset(clean)
    assert result.findings == ()
    assert result.summary.classes["car"].boxes == 36
    assert result.summary.ground.median == pytest.approx(1.7, abs=0.03)
    assert result.summary.rate == pytest.approx(10)
    assert result.summary.classes["car"].length.median == pytest.approx(4.2)
    assert result.to_dict()["summary"]["labelled"] == 6


BOX_DAMAGE = {
    "flipped-yaw": ({"yaw": lambda b: b.yaw + np.pi}, "error", "face backwards"),
    "sideways-yaw": (
        {"yaw": lambda b: b.yaw - np.float32(np.pi / 2)},
        "error",
        "from the y axis, not from the x axis",
    ),
    "wider-than-long": ({"size": lambda b: swap(b.size)}, "error", "30 of 30|36 of 36"),
    "odd-sizes": ({"size": lambda b: b.size * 3}, "error", "implausible size"),
    "broken-boxes": (
        {"center": lambda b: only_first(b.center, np.full_like(b.center, np.nan))},
        "error",
        "6 of 48 boxes",
    ),
    "sunk-boxes": (
        {"center": lambda b: b.center - [0, 0, 1] * b.size / 2},
        "error",
        "z seems to be the bottom of a box",
    ),
    "floating-boxes": (
        {"center": lambda b: b.center + np.float32([0, 0, 1.2])},
        "error",
        "above the ground",
    ),
    "empty-boxes": (
        {"center": lambda b: b.center + np.float32([0, 0, 3])},
        "error",
        "hold no point",
    ),
}


@pytest.mark.parametrize("rule", BOX_DAMAGE)
def test_damaged_boxes_are_found(clean, rule):
    change, severity, words = BOX_DAMAGE[rule]
    found = rules(with_boxes(clean, **change))
    assert rule in found, list(found)
    assert found[rule].severity == severity
    assert any(word in found[rule].message for word in words.split("|")), found[rule].message
    assert found[rule].remedy
    assert found[rule].examples[0].startswith("street#")


def test_clockwise_yaw_is_named(clean):
    found = rules(with_boxes(clean, yaw=lambda b: -b.yaw + np.float32(0)))
    message = (found.get("sideways-yaw") or found["flipped-yaw"]).message
    # Most of this street drives along x, where both conventions agree: turn it to tell.
    turned = with_boxes(clean, yaw=lambda b: np.deg2rad(b.yaw) * 0 + np.float32(np.pi / 2) - b.yaw)
    assert "clockwise from the y axis" in rules(turned)["sideways-yaw"].message
    assert message


def test_motion_comes_from_tracks_where_no_velocity_is_stated(clean):
    bare = with_boxes(
        clean,
        velocity=lambda b: np.full_like(b.velocity, np.nan),
        yaw=lambda b: b.yaw + np.float32(np.pi),
    )
    assert rules(bare)["flipped-yaw"].severity == "error"
    assert check_dataset(bare).summary.has_velocity


def test_a_few_flipped_yaws_are_a_warning(clean):
    moving = 2
    some = with_boxes(
        clean, yaw=lambda b: b.yaw + np.float32(np.pi) * (np.arange(len(b)) == moving)
    )
    found = rules(some)["flipped-yaw"]
    assert found.severity == "warning"
    assert found.examples[0].endswith(f"#box {moving}")


def test_duplicates(clean):
    twice = FrameList(
        replace(f, boxes=Boxes3D.concatenate([f.boxes, f.boxes[:2]]), track_id=None) for f in clean
    )
    found = rules(twice)["duplicate-boxes"]
    assert "12 of 60 boxes" in found.message
    assert found.examples[0].endswith("#box 8")


CLOUD_DAMAGE = {
    "intensity-scale": (lambda p: _intensity(p, p[:, 3] / 255), "divided by 255 twice"),
    "zero-intensity": (lambda p: _intensity(p, 0), "name of the field"),
    "axes": (lambda p: p[:, [0, 2, 1, 3]] * np.float32([1, -1, 1, 1]), "x points forward"),
    "sensor-height": (lambda p: p + np.float32([0, 0, 0.7, 0]), "height of the origin"),
}


def _intensity(points, value):
    points[:, 3] = value
    return points


@pytest.mark.parametrize("rule", CLOUD_DAMAGE)
def test_damaged_clouds_are_found(clean, rule):
    change, remedy = CLOUD_DAMAGE[rule]
    found = rules(with_clouds(clean, lambda p: np.ascontiguousarray(change(p))))
    assert rule in found, list(found)
    assert remedy in found[rule].remedy


def test_intensity_that_was_not_divided(clean):
    raw = with_clouds(clean, lambda p: _intensity(p, np.clip(p[:, 3] * 255, 0, 1)))
    assert "0 to 255" in rules(raw)["intensity-scale"].remedy
    none = FrameList(replace(f, cloud=replace(f.cloud, has_intensity=False)) for f in clean)
    assert rules(none)["no-intensity"].severity == "note"


def test_points_that_are_no_numbers(clean):
    def half(frame):
        xyz = frame.cloud.xyz.copy()
        xyz[::2] = np.nan
        return replace(frame, cloud=PointCloud.from_arrays(xyz, frame.cloud.points[:, 3]))

    assert "50 % of the points" in rules(FrameList(map(half, clean)))["nan-points"].message


def test_times_and_poses(clean):
    stuck = FrameList(replace(f, stamp=5.0) for f in clean)
    assert rules(stuck)["times"].severity == "error"
    assert "no-times" in rules(FrameList(replace(f, stamp=0.0) for f in clean))
    jump = list(clean)
    pose = jump[3].pose.copy()
    pose[:3, 3] += 40
    jump[3] = replace(jump[3], pose=pose)
    assert "jumps in 2 steps" in rules(FrameList(jump))["jumping-poses"].message
    bent = FrameList(replace(f, pose=f.pose * 1.1) for f in clean)
    assert "broken-poses" in rules(bent)


def test_labels_that_are_absent(clean):
    bare = FrameList(replace(f, boxes=None, num_points=None, track_id=None) for f in clean)
    assert rules(bare)["unlabelled"].severity == "error"
    void = FrameList(replace(f, boxes=f.boxes[:0], num_points=None, track_id=None) for f in clean)
    assert "no-boxes" in rules(void)
    cars = FrameList(
        replace(f, boxes=f.boxes[f.boxes.label == 0], num_points=None, track_id=None)
        for f in clean
    )
    assert "no box of pedestrian" in rules(cars)["missing-classes"].message


def test_sample_takes_neighbours():
    assert sample(5, 10) == [0, 1, 2, 3, 4]
    picked = sample(1000, 20)
    assert len(picked) == 20
    assert picked[0] == 0
    assert picked[-1] == 999
    assert all(b == a + 1 for a, b in zip(picked[::2], picked[1::2], strict=True))


def test_names_of_the_data_sets_are_known():
    assert plausible("REGULAR_VEHICLE").long
    assert not plausible("STOP_SIGN").long
    assert plausible("SCHOOL_BUS").length[1] > 20
    assert not plausible("traffic_cone").faces_motion
    assert plausible("Person_sitting").height[0] < 1
    assert plausible("unicorn") is None
