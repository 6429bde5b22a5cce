"""nuScenes metrics by hand; the comparison with the devkit is in a file of its own."""

import json
from dataclasses import replace

import numpy as np
import pytest
from nuscenes_drives import SIZES
from nuscenes_oracle import perturbed

from kd3d_core.datasets.nuscenes_classes import NUSCENES_CLASSES
from kd3d_core.evaluation.nuscenes import NuScenesAccumulator
from kd3d_core.evaluation.nuscenes import NuScenesEvalConfig
from kd3d_core.evaluation.nuscenes import nuscenes_table
from kd3d_core.evaluation.nuscenes_boxes import level_boxes
from kd3d_core.evaluation.nuscenes_matching import Batch
from kd3d_core.evaluation.nuscenes_matching import Sample
from kd3d_core.evaluation.nuscenes_matching import match_batch
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import pose_matrix

CARS = ("car",)


def cars(places, score=None, **changes):
    """Cars of one size at rest at (x, y)."""
    count = len(places)
    boxes = Boxes3D.make(
        np.c_[np.reshape(places, (count, 2)), np.zeros(count)],
        [SIZES["car"]] * count,
        np.zeros(count),
        np.zeros(count, int),
        velocity=np.zeros((count, 2)),
        score=score,
        classes=CARS,
    )
    return replace(boxes, **changes)


def one_of_each(classes):
    """A box of every class, near."""
    count = len(classes)
    return Boxes3D.make(
        np.c_[4.0 * np.arange(count) - 15, np.full(count, 5.0), np.zeros(count)],
        [[2.0, 1.0, 1.5]] * count,
        np.linspace(-3, 3, count),
        np.arange(count),
        velocity=np.ones((count, 2)),
        classes=classes,
    )


def result_of(pred, truth, classes=CARS, config=None, **arguments):
    """The metrics of one sample."""
    accumulator = NuScenesAccumulator(classes, config)
    accumulator.add(pred, truth, **arguments)
    return accumulator.result()


def test_perfect_detections_have_score_one():
    boxes = one_of_each(NUSCENES_CLASSES)
    names = ["vehicle.moving"] * len(boxes)
    result = result_of(
        boxes, boxes, NUSCENES_CLASSES, pred_attributes=names, truth_attributes=names
    )
    assert result.mean_ap == pytest.approx(1.0)
    assert result.nds == pytest.approx(1.0)
    assert result.classes["traffic_cone"].errors["orient_err"] is None
    assert result.classes["barrier"].errors["orient_err"] == pytest.approx(0.0)
    assert result.classes["barrier"].errors["vel_err"] is None


def test_classes_never_seen_count_as_failures():
    boxes = one_of_each(NUSCENES_CLASSES)[:1]
    result = result_of(boxes, boxes, NUSCENES_CLASSES)
    assert result.mean_ap == pytest.approx(0.1)
    # One perfect class of ten.
    assert result.errors["trans_err"] == pytest.approx(0.9)
    assert result.classes["bus"].errors["trans_err"] == 1.0


def test_without_attributes_their_error_is_one_unless_left_out():
    boxes = one_of_each(DEFAULT_CLASSES)
    assert result_of(boxes, boxes, DEFAULT_CLASSES).errors["attr_err"] == 1.0
    config = NuScenesEvalConfig.without_attributes()
    result = result_of(boxes, boxes, DEFAULT_CLASSES, config)
    assert set(result.errors) == {"trans_err", "scale_err", "orient_err", "vel_err"}
    assert result.nds == pytest.approx(1.0)


def test_the_errors_are_those_of_the_pairs():
    truth = cars([[10, 0]])
    pred = cars(
        [[10.6, 0.8]],
        size=np.array([SIZES["car"]], np.float32) * [[1, 1, 2]],
        yaw=np.array([np.pi - 0.25]),
        velocity=np.array([[3.0, 4.0]]),
    )
    errors = (
        result_of(
            pred, truth, pred_attributes=["vehicle.moving"], truth_attributes=["vehicle.parked"]
        )
        .classes["car"]
        .errors
    )
    assert errors["trans_err"] == pytest.approx(1.0, abs=1e-6)
    assert errors["scale_err"] == pytest.approx(0.5, abs=1e-6)
    assert errors["orient_err"] == pytest.approx(np.pi - 0.25, abs=1e-6)
    assert errors["vel_err"] == pytest.approx(5.0)
    assert errors["attr_err"] == 1.0


def test_barriers_have_no_front():
    truth = replace(cars([[10, 0]]), classes=("barrier",))
    pred = replace(truth, yaw=np.array([np.pi - 0.25]))
    errors = result_of(pred, truth, ("barrier",)).classes["barrier"].errors
    assert errors["orient_err"] == pytest.approx(0.25, abs=1e-6)


def test_a_match_is_nearer_than_the_threshold_and_takes_the_first_of_equals():
    truth, _ = level_boxes(cars([[10, 1], [10, -1], [20, 0]]), CARS)
    pred, _ = level_boxes(cars([[10, 0], [22, 0]], score=[0.5, 0.4]), CARS)
    sample = Sample(pred, truth, np.ones(3, int), np.zeros(2), None)
    # Twice the same sample, of which each has its own truth, and one without detections between.
    empty = Sample(pred[:0], truth, np.ones(3, int), np.zeros(2), None)
    batch = Batch.of([sample, empty, sample], np.array([50.0]), np.array([False]))
    index = match_batch(batch, np.array([0.5, 2.0, 2.001]))
    assert index.tolist() == [[-1, -1, -1, -1], [0, -1, 6, -1], [0, 2, 6, 8]]


def test_of_equal_scores_the_later_ranks_first():
    truth = cars([[10, 0]])
    both = cars([[10, 0.3], [10, 0.1]], score=[0.5, 0.5])
    # The later one takes the truth: the other is the wrong one, found after all are found.
    errors = result_of(both, truth).classes["car"].errors
    assert errors["trans_err"] == pytest.approx(0.1, abs=1e-6)
    assert result_of(both[::-1], truth).classes["car"].errors["trans_err"] > 0.29
    # The wrong one of the later sample ranks before the right one of the earlier: precision then
    # rises from 0 to a half over recall, less a tenth: a triangle of 0.8 by 0.4 over 0.9 by 0.9.
    right, wrong = (cars([[10, 0]], score=[0.5]), truth), (cars([[30, 0]], score=[0.5]), cars([]))
    for order, expected in (((right, wrong), 0.2), ((wrong, right), 1.0)):
        accumulator = NuScenesAccumulator(CARS)
        for pair in order:
            accumulator.add(*pair)
        assert accumulator.result().mean_ap == pytest.approx(expected, abs=0.01)


def test_boxes_out_of_range_or_without_points_do_not_count():
    truth = cars([[10, 0], [20, 0], [50, 0], [35, 35.8]])
    result = result_of(truth, truth, num_points=np.array([3, 0, 3, 3]))
    assert result.classes["car"].truths == 1
    # The detection on the truth without points counts as wrong, as in the official protocol.
    assert result.classes["car"].detections == 2
    moved = result_of(truth, truth, ego=[10.0, 0.0, 0.0])
    assert moved.classes["car"].truths == 4


def test_cycles_in_racks_do_not_count():
    boxes = replace(cars([[10, 0], [20, 0]]), classes=("bicycle",))
    rack = replace(cars([[11, 0.5]]), classes=("rack",), yaw=np.array([0.3]))
    assert result_of(boxes, boxes, ("bicycle",), racks=rack).classes["bicycle"].truths == 1
    assert result_of(cars([[10, 0]]), cars([[10, 0]]), racks=rack).classes["car"].truths == 1


def test_a_tilted_mount_is_seen_through():
    truth = cars([[30, 0]])
    pose = pose_matrix([100.0, 50.0, 2.0], 0.7, pitch=0.3)
    lifted = cars([[30, 0]], center=np.array([[30.0, 0.0, 1.0]], np.float32))
    flat = result_of(lifted, truth).classes["car"].errors["trans_err"]
    level = result_of(lifted, truth, world_from_boxes=pose).classes["car"].errors["trans_err"]
    assert flat == pytest.approx(0.0)
    # A metre up along the tilted mast is sin(tilt) forward in the world.
    assert level == pytest.approx(np.sin(0.3), abs=1e-6)


def test_only_the_best_boxes_of_a_sample_count():
    config = NuScenesEvalConfig(max_boxes=2)
    pred = cars([[10, 0], [20, 0], [30, 0]], score=[0.1, 0.9, 0.8])
    result = result_of(pred, cars([[10, 0]]), config=config)
    assert result.dropped == 1
    assert result.mean_ap == 0.0


def test_classes_are_matched_by_name():
    boxes = one_of_each(DEFAULT_CLASSES)
    order = DEFAULT_CLASSES[::-1]
    renamed = replace(boxes, classes=order, label=len(order) - 1 - boxes.label)
    config = NuScenesEvalConfig.without_attributes()
    assert result_of(renamed, boxes, DEFAULT_CLASSES, config).nds == pytest.approx(1.0)


def test_results_grow_and_become_plain_data_and_a_table():
    generator = np.random.default_rng(3)
    accumulator = NuScenesAccumulator(DEFAULT_CLASSES)
    for _ in range(5):
        boxes = one_of_each(DEFAULT_CLASSES)
        accumulator.add(perturbed(generator, boxes), boxes)
        accumulator.result()
    grown = accumulator.result()
    again = NuScenesAccumulator(DEFAULT_CLASSES)
    generator = np.random.default_rng(3)
    for _ in range(5):
        boxes = one_of_each(DEFAULT_CLASSES)
        again.add(perturbed(generator, boxes), boxes)
    assert grown.to_dict() == again.result().to_dict()
    plain = json.loads(json.dumps(grown.to_dict(curves=True)))
    assert plain["nd_score"] == grown.nds
    assert len(plain["curves"]["car"]["2.0"]["precision"]) == 101
    assert nuscenes_table(grown).row_count == len(DEFAULT_CLASSES)


def test_no_samples_at_all():
    result = NuScenesAccumulator(CARS).result()
    assert (result.frames, result.mean_ap, result.errors["trans_err"]) == (0, 0.0, 1.0)
    with pytest.raises(ValueError, match="no classes"):
        NuScenesAccumulator(())
    with pytest.raises(ValueError, match="attributes"):
        result_of(cars([[1, 0]]), cars([]), pred_attributes=[])
    with pytest.raises(ValueError, match="error_threshold"):
        NuScenesEvalConfig(error_threshold=3.0)
