"""Agreement of two detectors: properties that hold for any boxes, and cases done by hand."""

import itertools
import json
import pickle

import numpy as np
import pytest
from random_boxes import CLASSES
from random_boxes import boxes
from random_boxes import car
from random_boxes import jittered

from kd3d_core.config import parse_config
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.agreement import ALL
from kd3d_core.evaluation.agreement import AgreementConfig
from kd3d_core.evaluation.agreement import AgreementWindow
from kd3d_core.evaluation.agreement import compare
from kd3d_core.evaluation.agreement import pair_boxes
from kd3d_core.evaluation.agreement import pair_errors
from kd3d_core.geometry.boxes import Boxes3D

SEEDS = range(12)


def agreement(*frames, config=None, classes=CLASSES):
    """The agreement over (student, reference) frames."""
    window = AgreementWindow(classes, config)
    for student, reference in frames:
        window.add(compare(student, reference, config))
    return window.result()


def scene(seed, count=25):
    """A student and a reference that see much the same."""
    generator = np.random.default_rng(seed)
    reference = boxes(generator, count)
    student = jittered(generator, reference[generator.random(count) < 0.7])
    return Boxes3D.concatenate([student, boxes(generator, count // 4)]), reference


@pytest.mark.parametrize("seed", SEEDS)
def test_identical_boxes_agree_entirely(seed):
    both = boxes(np.random.default_rng(seed), 30)
    result = agreement((both, both))
    for cell in (result.total, *result.by_class.values()):
        assert (cell.recall, cell.precision, cell.f1) == (1.0, 1.0, 1.0)
        errors = (cell.centre_error, cell.size_error, cell.heading_error, cell.velocity_error)
        assert errors == (0.0,) * 4
    assert result.total.pairs == 30


@pytest.mark.parametrize("seed", SEEDS)
def test_swapping_the_roles_swaps_recall_and_precision(seed):
    student, reference = scene(seed)
    config = AgreementConfig(rings=(0.0, 8.0, 14.0, 18.0))
    one = agreement((student, reference), config=config)
    two = agreement((reference, student), config=config)
    cells = [(one.total, two.total)]
    cells += [
        (one.by_ring[name][ring], two.by_ring[name][ring])
        for name in (*CLASSES, ALL)
        for ring in config.ring_names
    ]
    for a, b in cells:
        assert (a.pairs, a.missed, a.extra) == (b.pairs, b.extra, b.missed)
        assert (a.recall, a.precision) == (b.precision, b.recall)
        assert a.centre_error == pytest.approx(b.centre_error)
        assert a.heading_error == pytest.approx(b.heading_error)


@pytest.mark.parametrize("seed", SEEDS)
def test_order_of_the_boxes_does_not_matter(seed):
    student, reference = scene(seed)
    generator = np.random.default_rng(100 + seed)
    i, j = generator.permutation(len(student)), generator.permutation(len(reference))
    plain, mixed = pair_boxes(student, reference), pair_boxes(student[i], reference[j])
    pairs = set(zip(plain.student, plain.reference, strict=True))
    assert {(i[a], j[b]) for a, b in zip(mixed.student, mixed.reference, strict=True)} == pairs
    assert set(j[mixed.missed]) == set(plain.missed)
    assert set(i[mixed.extra]) == set(plain.extra)
    confused = {tuple(row) for row in plain.confused.tolist()}
    assert {(i[a], j[b]) for a, b in mixed.confused.tolist()} == confused


def best_by_trying(student, reference, gate):
    """(most pairs, least sum of distances) of one class, over all assignments."""
    delta = student.center[:, None, :2].astype(float) - reference.center[None, :, :2]
    distance = np.hypot(delta[..., 0], delta[..., 1])
    if distance.shape[0] > distance.shape[1]:
        distance = distance.T
    rows, columns = distance.shape
    found = []
    for chosen in itertools.permutations(range(columns), rows):
        lengths = distance[range(rows), chosen]
        lengths = lengths[lengths <= gate]
        found.append((-len(lengths), lengths.sum()))
    pairs, total = min(found)
    return -pairs, total


@pytest.mark.parametrize("seed", range(30))
def test_pairs_are_as_many_and_as_close_as_can_be(seed):
    generator = np.random.default_rng(seed)
    student = boxes(generator, int(generator.integers(1, 6)), 2.0, ("car",))
    reference = boxes(generator, int(generator.integers(1, 7)), 2.0, ("car",))
    frame = compare(student, reference)
    pairs, total = best_by_trying(student, reference, 2.0)
    assert len(frame.pairing.student) == pairs
    assert pair_errors(frame).centre.sum() == pytest.approx(total, abs=1e-9)


def test_more_pairs_beat_the_closest_pair():
    # Greedy matching takes 0.5 with 0.4 and leaves -1.2 alone: farther than 2 m from 1.6.
    student = Boxes3D.concatenate([car(0.5), car(1.6)])
    reference = Boxes3D.concatenate([car(0.4), car(-1.2)])
    pairing = pair_boxes(student, reference)
    assert dict(zip(pairing.student, pairing.reference, strict=True)) == {0: 1, 1: 0}


@pytest.mark.parametrize("length", [1, 4, 9])
def test_window_equals_a_fresh_count_of_its_last_frames(length):
    config = AgreementConfig(rings=(0.0, 10.0, 25.0))
    frames = [compare(*scene(seed), config) for seed in range(9)]
    window = AgreementWindow(CLASSES, config, frames=length)
    for count, frame in enumerate(frames, 1):
        window.add(frame)
        assert len(window) == min(count, length)
        fresh = AgreementWindow(CLASSES, config)
        for recent in frames[max(0, count - length) : count]:
            fresh.add(recent)
        assert window.result() == fresh.result()


def test_merged_windows_equal_one_window():
    frames = [compare(*scene(seed)) for seed in range(6)]
    parts = [AgreementWindow(CLASSES) for _ in range(2)]
    whole = AgreementWindow(CLASSES)
    for index, frame in enumerate(frames):
        parts[index // 3].add(frame)
        whole.add(frame)
    merged = pickle.loads(pickle.dumps(parts[0]))
    merged.merge(pickle.loads(pickle.dumps(parts[1])))
    assert merged.result().total.pairs == whole.result().total.pairs
    assert merged.result().frames == 6
    assert merged.result().total.centre_error == pytest.approx(whole.result().total.centre_error)
    with pytest.raises(ValueError, match="differ"):
        merged.merge(AgreementWindow(("car",)))
    merged.clear()
    assert merged.result() == AgreementWindow(CLASSES).result()


def test_long_runs_take_no_more_memory():
    window, frame = AgreementWindow(CLASSES), compare(*scene(0))
    for _ in range(3):
        window.add(frame)
    early = len(pickle.dumps(window))
    for _ in range(500):
        window.add(frame)
    assert len(pickle.dumps(window)) <= early + 8  # the number of frames grows by some digits


def test_errors_by_hand():
    student = car(10.0, 0.3, yaw=-3.0, size=(4.3, 2, 1.2), velocity=(3, 4))
    reference = car(10.4, 0.0, yaw=3.0, size=(4, 2, 1.5))
    cell = agreement((student, reference)).by_class["car"]
    assert cell.centre_error == pytest.approx(0.5, abs=1e-6)
    assert cell.size_error == pytest.approx(0.2, abs=1e-6)
    assert cell.heading_error == pytest.approx(2 * np.pi - 6, abs=1e-5)
    assert cell.velocity_error == pytest.approx(5.0, abs=1e-6)


def test_unknown_velocities_are_left_out():
    unknown = car(10.0, velocity=(np.nan, np.nan))
    assert agreement((unknown, car(10.0))).total.velocity_error is None
    frames = ((unknown, car(10.0)), (car(10.0, velocity=(0, 2)), car(10.0)))
    assert agreement(*frames).total.velocity_error == pytest.approx(2.0)


def test_frames_without_boxes_count_as_frames():
    nothing = Boxes3D.empty(CLASSES)
    result = agreement((nothing, nothing), (nothing, nothing))
    assert result.frames == 2
    assert (result.total.recall, result.total.precision, result.total.f1) == (None, None, None)
    assert result.total.centre_error is None
    assert agreement((nothing, car(5.0))).total.recall == 0.0
    assert agreement((car(5.0), nothing)).total.precision == 0.0


def test_gate_depends_on_the_class():
    apart = 1.5
    people = car(5.0, label=1), car(5.0 + apart, label=1)
    assert agreement((car(5.0), car(5.0 + apart))).total.pairs == 1
    assert agreement(people).total.pairs == 0
    wide = AgreementConfig(match_distance={"pedestrian": 1.6})
    assert agreement(people, config=wide).total.pairs == 1


def test_rings_by_hand():
    student = Boxes3D.concatenate([car(19.9), car(40.0), car(60.0)])
    reference = Boxes3D.concatenate([car(20.3), car(-5.0), car(-70.0)])
    result = agreement((student, reference))
    rings = result.by_ring["car"]
    counts = {ring: (cell.pairs, cell.missed, cell.extra) for ring, cell in rings.items()}
    assert counts == {"0-20": (0, 1, 0), "20-35": (1, 0, 0), "35-50": (0, 0, 1)}
    assert result.by_ring[ALL] == rings
    assert (result.total.pairs, result.total.missed, result.total.extra) == (1, 1, 1)
    # A pair across the outer edge is judged by its middle, and is no miss either way.
    assert agreement((car(50.4), car(49.8))).total.missed == 0


def test_other_class_at_the_same_place_is_a_confusion():
    student, reference = car(10.0, label=0), car(10.5, label=2)
    pairing = pair_boxes(student, reference)
    assert (len(pairing.student), pairing.missed.tolist(), pairing.extra.tolist()) == (0, [0], [0])
    assert pairing.confused.tolist() == [[0, 0]]
    # Of a car's 2 m and a cyclist's 1 m the closer gate holds.
    assert pair_boxes(car(10.0, label=0), car(11.5, label=2)).confused.tolist() == []


def test_classes_that_the_other_does_not_know_are_not_judged():
    student = car(10.0, label=2)
    reference = Boxes3D.make([[3, 0, 0]], [[4, 2, 1]], [0], [1], classes=("car", "bus"))
    result = agreement((student, reference), classes=("car",))
    assert (result.total.missed, result.total.extra) == (0, 0)
    # Labels are compared by name, not by number.
    truck = Boxes3D.make([[10, 0, 0]], [[4, 2, 1]], [0], [1], classes=("truck", "car"))
    assert agreement((car(10.0), truck)).by_class["car"].pairs == 1


def test_boxes_below_the_thresholds_take_no_part():
    weak, strong = car(10.0, score=0.2), car(10.0, score=0.8)
    floor = AgreementConfig(student_threshold=0.5, reference_threshold=0.5)
    cells = [
        agreement(pair, config=floor).total
        for pair in ((weak, strong), (strong, weak), (weak, weak), (strong, strong))
    ]
    counts = [(cell.pairs, cell.missed, cell.extra) for cell in cells]
    assert counts == [(0, 1, 0), (0, 0, 1), (0, 0, 0), (1, 0, 0)]


def test_calibration_by_hand():
    student = Boxes3D.concatenate(
        [car(5.0, score=0.92), car(15.0, score=0.96), car(25.0, score=0.15), car(35.0, score=1.0)]
    )
    reference = Boxes3D.concatenate([car(5.0), car(25.0), car(35.0)])
    result = agreement((student, reference))
    high, low = result.calibration[9], result.calibration[1]
    assert (low.low, low.high, low.count) == (pytest.approx(0.1), pytest.approx(0.2), 1)
    assert (low.mean_score, low.share_confirmed) == (pytest.approx(0.15), 1.0)
    assert high.count == 3
    assert high.mean_score == pytest.approx(0.96)
    assert high.share_confirmed == pytest.approx(2 / 3)
    wanted = (3 * (0.96 - 2 / 3) + 0.85) / 4
    assert result.calibration_error == pytest.approx(wanted, abs=1e-6)
    assert result.calibration[5].mean_score is None


def test_result_is_ready_for_json():
    data = json.loads(json.dumps(agreement(scene(0)).to_dict(), allow_nan=False))
    assert data["total"]["f1"] > 0
    assert set(data["by_ring"]) == {*CLASSES, ALL}
    assert set(data["by_ring"]["car"]) == {"0-20", "20-35", "35-50"}


def test_rings_must_rise():
    with pytest.raises(Kd3dError, match="rings"):
        parse_config(AgreementConfig, {"rings": [0, 20, 20]}, "test")
    with pytest.raises(ValueError, match="frames is 0"):
        AgreementWindow(CLASSES, frames=0)
