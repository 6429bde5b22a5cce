"""What the detector node leaves out and renames: thresholds, classes, regions."""

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_ros.common import filters

CLASSES = ("car", "truck", "pedestrian")
DEFAULTS = np.array([0.1, 0.2, 0.3])


def boxes(*rows: tuple[float, float, str, float]) -> Boxes3D:
    """Boxes of 4 x 2 x 2 m at (x, y) with class and score."""
    return Boxes3D.make(
        [(x, y, 0) for x, y, _, _ in rows],
        [(4, 2, 2)] * len(rows),
        [0.0] * len(rows),
        [CLASSES.index(name) for _, _, name, _ in rows],
        score=[score for *_, score in rows],
        classes=CLASSES,
    )


def test_thresholds_depend_on_class_and_distance() -> None:
    rules = filters.parse_thresholds(["car=0.4,0.25@30", " pedestrian=0.5@20 "], CLASSES, DEFAULTS)
    kept = rules.keep(
        boxes(
            (29.9, 0, "car", 0.39),
            (0, 30.1, "car", 0.26),
            (-24, -24, "car", 0.24),  # 33.9 m
            (10, 0, "truck", 0.2),
            (10, 0, "truck", 0.19),
            (19, 0, "pedestrian", 0.3),
            (21, 0, "pedestrian", 0.45),
        )
    )
    assert kept.tolist() == [False, True, False, True, False, True, False]
    np.testing.assert_allclose(rules.floor, [0.25, 0.2, 0.3])


def test_no_entries_are_the_defaults_and_the_star_is_every_other_class() -> None:
    none = filters.parse_thresholds(["", " "], CLASSES, DEFAULTS)
    np.testing.assert_allclose(none.table, DEFAULTS[:, None])
    star = filters.parse_thresholds(["*=0.7,0.6@10", "car=0.2"], CLASSES, DEFAULTS)
    np.testing.assert_allclose(star.table, [[0.2, 0.2], [0.7, 0.6], [0.7, 0.6]])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("van=0.4", "van"),
        ("car", "CLASS=SCORE"),
        ("car=", "CLASS=SCORE"),
        ("car=1.4", "from 0 to 1"),
        ("car=0.4@-2", "CLASS=SCORE"),
        ("car=0.4@nan", "CLASS=SCORE"),
        ("car=0.4,0.3", "each distance once"),
        ("=0.4", "CLASS=SCORE"),
    ],
)
def test_unreadable_thresholds_are_refused(entry: str, words: str) -> None:
    with pytest.raises(Kd3dError, match="score_thresholds") as raised:
        filters.parse_thresholds([entry], CLASSES, DEFAULTS)
    assert words in str(raised.value)


def test_a_class_named_twice_is_refused() -> None:
    with pytest.raises(Kd3dError, match="twice"):
        filters.parse_thresholds(["car=0.4", "car=0.3@20"], CLASSES, DEFAULTS)
    with pytest.raises(Kd3dError, match="twice"):
        filters.parse_remap(["car=a", "car=b"], CLASSES)


def test_classes_are_renamed_merged_and_left_out() -> None:
    remap = filters.parse_remap(["truck=vehicle", "car=vehicle", "pedestrian="], CLASSES)
    assert remap.classes == ("vehicle",)
    assert remap.labels.tolist() == [0, 0, -1]
    given = boxes(
        (10, 0, "car", 0.9),
        (10.2, 0, "truck", 0.8),
        (30, 0, "truck", 0.7),
        (5, 5, "pedestrian", 1),
    )
    out = remap.apply(given, np.full(3, 0.2))
    assert out.classes == ("vehicle",)
    assert out.label.tolist() == [0, 0]
    # The truck at the place of the better car is the same object.
    np.testing.assert_allclose(out.score, [0.9, 0.7])


def test_renaming_alone_keeps_every_box_and_swaps_are_possible() -> None:
    remap = filters.parse_remap(["car=truck", "truck=car"], CLASSES)
    assert remap.classes == ("truck", "car", "pedestrian")
    out = remap.apply(boxes((1, 0, "car", 0.9), (1, 0, "truck", 0.8)), np.full(3, 0.2))
    assert out.names == ["truck", "car"]
    assert not remap.merges


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["van=car"], "van"),
        (["car"], "CLASS=NAME"),
        (["car=a=b"], "CLASS=NAME"),
        (["car=", "truck=", "pedestrian="], "at least one"),
    ],
)
def test_unreadable_remaps_are_refused(entries: list[str], words: str) -> None:
    with pytest.raises(Kd3dError, match="class_remap") as raised:
        filters.parse_remap(entries, CLASSES)
    assert words in str(raised.value)


def test_regions_are_checked() -> None:
    assert filters.region_problem([0.0] * 4) == ""
    assert filters.region_problem([-1.0, -1.0, 1.0, 1.0]) == ""
    assert "below" in filters.region_problem([1.0, -1.0, -1.0, 1.0])


def cloud(count: int = 5000) -> PointCloud:
    """Points all around, with time and ring numbered as they come."""
    points = np.random.default_rng(0).uniform(-10, 10, (count, 4)).astype(np.float32)
    points[:, 3] = 0.5
    order = np.arange(count)
    return PointCloud(points, time=order.astype(np.float32), ring=(order % 64).astype(np.int16))


def test_points_are_cropped_as_by_a_loop_over_them() -> None:
    given, roi, ego = cloud(), (-6.0, -5.0, 7.0, 8.0), (-2.0, -1.0, -3.0, 3.0, 1.5, 2.0)
    x, y, z = given.xyz.T
    inside = (x >= -6) & (x < 7) & (y >= -5) & (y < 8)
    own = (x >= -2) & (x <= 3) & (y >= -1) & (y <= 1.5) & (z >= -3) & (z <= 2)
    for wanted, out in (
        (inside, filters.crop_points(given, roi)),
        (~own, filters.crop_points(given, ego_box=ego)),
        (inside & ~own, filters.crop_points(given, roi, ego)),
    ):
        assert 0 < len(out) < len(given)
        np.testing.assert_array_equal(out.points, given.points[wanted])
        assert out.time is not None
        np.testing.assert_array_equal(out.time, np.flatnonzero(wanted))
        assert out.ring is not None
        assert len(out.ring) == len(out)


def test_a_cloud_that_loses_nothing_is_not_copied() -> None:
    given = cloud()
    assert filters.crop_points(given) is given
    assert filters.crop_points(given, (0.0,) * 4, (0.0,) * 6) is given
    assert filters.crop_points(given, (-50.0, -50.0, 50.0, 50.0)) is given
    empty = cloud(0)
    assert filters.crop_points(empty, (-5.0, -5.0, 5.0, 5.0), (-1.0,) * 3 + (1.0,) * 3) is empty


def test_boxes_are_cropped_by_their_centres() -> None:
    given = boxes((9.9, 0, "car", 1), (10.1, 0, "car", 1), (0, -6, "car", 1))
    assert filters.boxes_within(given, (0.0, -5.0, 10.0, 5.0)).tolist() == [True, False, False]
