"""Anchors: residuals and their inverse, assignment against a slow reference, boxes back again."""

import math

import numpy as np
import pytest

from kd3d_core.codec.anchor_targets import BACKGROUND
from kd3d_core.codec.anchor_targets import IGNORED
from kd3d_core.codec.anchor_targets import assign_anchors
from kd3d_core.codec.anchors import Anchor
from kd3d_core.codec.anchors import anchor_boxes
from kd3d_core.codec.anchors import decode_anchors
from kd3d_core.codec.anchors import decode_boxes
from kd3d_core.codec.anchors import encode_boxes
from kd3d_core.codec.anchors import heading
from kd3d_core.codec.anchors import with_heading
from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.heads import AnchorMaps
from kd3d_core.codec.layout import AnchorLayout
from kd3d_core.codec.targets import make_targets
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.boxes import wrap_angle

CLASSES = ("car", "pedestrian")
ANCHORS = {
    "car": Anchor(size=(3.9, 1.6, 1.5), z=-1.0, matched=0.6, unmatched=0.45),
    "pedestrian": Anchor(size=(0.8, 0.6, 1.7), z=-0.6, matched=0.5, unmatched=0.35),
}
ORDER = [ANCHORS[name] for name in CLASSES]
GRID = BevGrid(x=(0, 19.2), y=(-8, 8), z=(-3, 1), cell=0.4)
STRIDE = 2
SHAPE = (4, 20, 24)


def random_boxes(seed, count=12):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, count)
    size = np.array([anchor.size for anchor in ORDER])[label] * rng.uniform(0.8, 1.25, (count, 3))
    center = rng.uniform((0, -8, -1.5), (19.2, 8, 0), (count, 3))
    return Boxes3D.make(center, size, rng.uniform(-3.1, 3.1, count), label, classes=CLASSES)


def test_decoding_inverts_encoding():
    rng = np.random.default_rng(0)
    boxes = np.concatenate(
        [rng.normal(size=(50, 3)) * 20, rng.uniform(0.4, 12, (50, 3)), rng.normal(size=(50, 1))], 1
    )
    anchors = anchor_boxes(rng.integers(0, math.prod(SHAPE), 50), GRID, STRIDE, ORDER)
    np.testing.assert_allclose(decode_boxes(encode_boxes(boxes, anchors), anchors), boxes)
    assert not encode_boxes(anchors, anchors).any()


def test_a_residual_by_hand():
    anchor = [[1.0, 2.0, 0.0, 4.0, 3.0, 2.0, 0.5]]
    box = [[3.5, -3.0, 1.0, 8.0, 3.0, 1.0, 0.75]]
    expected = [[0.5, -1.0, 0.5, math.log(2), 0.0, math.log(0.5), 0.25]]
    np.testing.assert_allclose(encode_boxes(np.array(box), np.array(anchor)), expected)


def test_numbers_of_anchors_are_slot_row_column():
    index = np.arange(math.prod(SHAPE)).reshape(SHAPE)[[0, 1, 2], [0, 3, 19], [0, 5, 23]]
    found = anchor_boxes(index, GRID, STRIDE, ORDER)
    np.testing.assert_allclose(found[0], [0.4, -7.6, -1.0, 3.9, 1.6, 1.5, 0.0])
    np.testing.assert_allclose(found[1], [4.4, -5.2, -1.0, 3.9, 1.6, 1.5, math.pi / 2])
    np.testing.assert_allclose(found[2], [18.8, 7.6, -0.6, 0.8, 0.6, 1.7, 0.0])


def test_heading_tells_a_yaw_from_its_reverse_and_restores_it():
    yaw = np.random.default_rng(1).uniform(-20, 20, 500)
    assert (heading(yaw) != heading(yaw + math.pi)).all()
    for seen in (yaw, yaw + math.pi, yaw - 3 * math.pi):  # the sine loss cannot tell these apart
        restored = wrap_angle(with_heading(seen, heading(yaw)) - yaw)
        np.testing.assert_allclose(restored, 0, atol=1e-5)
    assert heading(np.array([0.0, 0.1, -0.1])).tolist() == [1, 1, 1]  # cars ahead: one answer
    assert heading(np.array([math.pi / 2, math.pi, -3.1])).tolist() == [0, 0, 0]


def slow_assignment(boxes, doubtful):
    """The rule as it is written: every anchor with every box of its class."""
    anchors = anchor_boxes(np.arange(math.prod(SHAPE)), GRID, STRIDE, ORDER)
    kind = np.arange(math.prod(SHAPE)) // (SHAPE[1] * SHAPE[2]) // 2
    label = np.full(len(anchors), BACKGROUND)
    owner = np.full(len(anchors), -1)
    for k, settings in enumerate(ORDER):
        mine = np.flatnonzero(kind == k)
        own = np.flatnonzero(boxes.label == k)
        iou = aligned_iou(anchors[mine], boxes[own])
        unsure = aligned_iou(anchors[mine], doubtful[doubtful.label == k])
        best = iou.max(axis=1, initial=0)
        forced = ((iou == iou.max(axis=0, keepdims=True)) & (iou > 0)).any(axis=1)
        ignored = (best >= settings.unmatched) | (
            unsure.max(axis=1, initial=0) >= settings.unmatched
        )
        label[mine[ignored]] = IGNORED
        chosen = (best >= settings.matched) | forced
        label[mine[chosen]] = k
        owner[mine[chosen]] = own[iou[chosen].argmax(axis=1)] if len(own) else -1
    return label.reshape(SHAPE), owner


def aligned_iou(anchors, boxes):
    """(A, N) IoU of anchors (A, 7) and boxes turned to the nearer axis, corner by corner."""
    iou = np.zeros((len(anchors), len(boxes)))
    for n in range(len(boxes)):
        yaw = abs(wrap_angle(float(boxes.yaw[n])))
        length, width = boxes.size[n, :2].astype(float)
        if math.pi / 4 < yaw < 3 * math.pi / 4:
            length, width = width, length
        x, y = boxes.center[n, :2].astype(float)
        for a, anchor in enumerate(anchors):
            long, wide = anchor[3:5] if anchor[6] == 0 else anchor[[4, 3]]
            dx = min(x + length / 2, anchor[0] + long / 2) - max(
                x - length / 2, anchor[0] - long / 2
            )
            dy = min(y + width / 2, anchor[1] + wide / 2) - max(
                y - width / 2, anchor[1] - wide / 2
            )
            shared = max(dx, 0) * max(dy, 0)
            iou[a, n] = shared / (length * width + long * wide - shared)
    return iou


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_assignment_equals_the_slow_reference(seed):
    boxes, doubtful = random_boxes(seed), random_boxes(seed + 10, 4)
    found = assign_anchors(boxes, GRID, STRIDE, ORDER, doubtful)
    label, owner = slow_assignment(boxes, doubtful)
    np.testing.assert_array_equal(found.label, label)
    np.testing.assert_array_equal(found.positive, np.flatnonzero(label >= 0))
    matched = boxes[owner[found.positive]]
    restored = decode_boxes(found.residual, anchor_boxes(found.positive, GRID, STRIDE, ORDER))
    np.testing.assert_allclose(restored[:, :3], matched.center, atol=1e-5)
    np.testing.assert_allclose(restored[:, 3:6], matched.size, rtol=1e-5)
    np.testing.assert_allclose(restored[:, 6], matched.yaw, atol=1e-6)
    np.testing.assert_array_equal(found.direction, heading(matched.yaw))
    assert (label == IGNORED).any()
    assert (label >= 0).sum() >= len(set(owner[found.positive]))


def test_every_object_has_an_anchor_however_odd_its_size():
    boxes = Boxes3D.make([[9, 0, 0]], [[12, 0.3, 1]], [0.3], [0], classes=CLASSES)
    found = assign_anchors(boxes, GRID, STRIDE, ORDER)
    assert len(found.positive) >= 1
    assert found.label.max() == 0


def test_a_frame_without_objects_is_background():
    found = assign_anchors(Boxes3D.empty(CLASSES), GRID, STRIDE, ORDER)
    assert (found.label == BACKGROUND).all()
    assert found.residual.shape == (0, 7)


def perfect_maps(targets):
    """Maps that say what the targets say."""
    slots, rows, columns = targets.label.shape
    score = np.full((slots, len(CLASSES), rows * columns), -10, np.float32)
    box = np.zeros((slots, 7, rows * columns), np.float32)
    direction = np.zeros((slots, 2, rows * columns), np.float32)
    slot, cell = np.divmod(targets.positive, rows * columns)
    score[slot, targets.label.reshape(-1)[targets.positive], cell] = 5.0
    box[slot, :, cell] = targets.residual
    direction[slot, targets.direction, cell] = 1.0
    return AnchorMaps(*(item.reshape(-1, rows, columns) for item in (score, box, direction)))


def test_decoding_gives_the_boxes_of_the_targets_back():
    boxes = Boxes3D.make(
        [[4, -4, -0.8], [12, 3, -1], [9, -6, -0.5], [15, -2, -0.7]],
        [[4.2, 1.7, 1.4], [3.6, 1.5, 1.6], [0.9, 0.6, 1.8], [0.7, 0.7, 1.6]],
        [0.2, -2.9, 1.4, -1.2],
        [0, 0, 1, 1],
        classes=CLASSES,
    )
    targets = make_targets(boxes, GRID, STRIDE, layout=AnchorLayout(anchors=ANCHORS)).anchors
    found = decode_anchors(
        perfect_maps(targets), GRID, STRIDE, CLASSES, DecodeConfig(score_threshold=0.5), ANCHORS
    )
    assert len(found) == 4
    order = np.linalg.norm(found.center[:, None] - boxes.center[None], axis=2).argmin(axis=0)
    found = found[order]
    np.testing.assert_allclose(found.center, boxes.center, atol=1e-4)
    np.testing.assert_allclose(found.size, boxes.size, rtol=1e-4)
    np.testing.assert_allclose(wrap_angle(found.yaw - boxes.yaw), 0, atol=1e-4)
    np.testing.assert_array_equal(found.label, boxes.label)
    assert np.isnan(found.velocity).all()


def test_wild_maps_give_finite_boxes():
    rng = np.random.default_rng(0)
    maps = [rng.normal(size=(c, 20, 24)).astype(np.float32) * 1e3 for c in (8, 28, 8)]
    maps[0][0, 0, 0] = np.nan
    found = decode_anchors(
        AnchorMaps(*maps), GRID, STRIDE, CLASSES, DecodeConfig(max_boxes=50), ANCHORS
    )
    assert 0 < len(found) <= 50
    for name in ("center", "size", "yaw", "score"):
        assert np.isfinite(getattr(found, name)).all()


def test_targets_carry_anchors_only_where_asked():
    boxes = random_boxes(3)
    assert make_targets(boxes, GRID, STRIDE).anchors is None
    both = make_targets(boxes, GRID, STRIDE, layout=AnchorLayout(anchors=ANCHORS))
    np.testing.assert_array_equal(both.heatmap, make_targets(boxes, GRID, STRIDE).heatmap)
    assert both.anchors.label.shape == SHAPE
    few = make_targets(
        boxes, GRID, STRIDE, layout=AnchorLayout(anchors=ANCHORS), doubtful=boxes.label == 0
    )
    assert not (few.anchors.label == 0).any()
    assert (few.anchors.label[:2] == IGNORED).any()


def test_thresholds_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match=r"unmatched 0\.7 is above matched 0\.6"):
        Anchor(size=(1, 1, 1), z=0, matched=0.6, unmatched=0.7)
