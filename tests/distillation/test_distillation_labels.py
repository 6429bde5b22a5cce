"""The teacher's boxes beside the ground truth."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from kd3d_core.codec.anchors import Anchor
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.layout import AnchorLayout
from kd3d_core.codec.targets import make_targets
from kd3d_core.distillation.labels import LabelDistillConfig
from kd3d_core.distillation.labels import TeacherLabels
from kd3d_core.distillation.labels import merge_targets
from kd3d_core.distillation.labels import objects_from_above
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.batch import collate_targets
from kd3d_core.models.config import AnchorHeadConfig
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import ModelConfig

CLASSES = ("car", "pedestrian")
ANCHORS = {
    "car": Anchor(size=(4.0, 2.0, 1.5), z=0.0, matched=0.6, unmatched=0.45),
    "pedestrian": Anchor(size=(0.8, 0.8, 1.7), z=0.0, matched=0.5, unmatched=0.35),
}


def model(cell=0.5, name="m", **changes):
    return ModelConfig(
        name=name,
        classes=CLASSES,
        grid=BevGrid(x=(-16, 16), y=(-16, 16), cell=cell),
        input=BevImageInput(),
        blocks=(BlockConfig(channels=4, layers=1),),
        neck_channels=4,
        **changes,
    )


def cars(*places, label=0, size=(4.0, 2.0, 1.5)):
    """Boxes at x, y, yaw."""
    place = np.array(places, float).reshape(-1, 3)
    center = np.column_stack([place[:, :2], np.zeros(len(place))])
    return Boxes3D.make(
        center, np.tile(size, (len(place), 1)), place[:, 2], np.full(len(place), label),
        velocity=np.ones((len(place), 2)), classes=CLASSES,
    )  # fmt: skip


def truth(boxes, config):
    made = (make_targets(b, config.grid, config.output_stride) for b in boxes)
    return collate_targets(list(made))


def answer(boxes, config, scores):
    """Head maps of a teacher that sees these boxes with these scores."""
    widths = (len(CLASSES), 2, 1, 3, 4, 2)
    rows, columns = (cells // config.output_stride for cells in config.grid.shape)
    maps = HeadMaps(*(torch.zeros(len(boxes), width, rows, columns) for width in widths))
    maps.heatmap.fill_(-9.0)
    for i, seen in enumerate(boxes):
        made = make_targets(seen, config.grid, config.output_stride)
        for n, cell in enumerate(made.cell):
            row, column = divmod(int(cell), columns)
            maps.heatmap[i, made.label[n], row, column] = float(np.log(scores / (1 - scores)))
            for name in ("offset", "height", "size", "rotation", "velocity"):
                getattr(maps, name)[i, :, row, column] = torch.from_numpy(getattr(made, name)[n])
    return maps


def asked(given, seen, score=0.9, config=None, student=None, teacher=None):
    student, teacher = student or model(), teacher or model(name="t")
    mine = truth(given, student)
    theirs = mine if student.grid == teacher.grid else truth(given, teacher)
    labels = TeacherLabels(config or LabelDistillConfig(), student, teacher)
    return labels, mine, theirs, labels(mine, theirs, answer(seen, teacher, score))


def assert_same_targets(one, other):
    """But for rounding, and for the order of the objects and of their padding."""
    torch.testing.assert_close(one.heatmap, other.heatmap)
    for frame in range(len(one.heatmap)):
        sides = []
        for item in (one, other):
            keep = item.mask[frame]
            order = item.cell[frame][keep].argsort()
            names = [f.name for f in fields(item) if f.name not in ("heatmap", "mask", "anchors")]
            sides.append([getattr(item, name)[frame][keep][order] for name in names])
        for a, b in zip(*sides, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


A, B, C = (-8.2, 3.1, 0.4), (5.3, -2.6, 2.0), (9.1, 9.4, -1.0)


def test_without_a_teachers_box_the_ground_truth_is_what_is_learned():
    labels, mine, _, (one, other) = asked([cars(A), cars()], [cars(), cars()])
    assert one is mine
    assert other is mine
    assert labels.monitors() == {"labels_added": 0}


def test_a_box_that_nobody_labelled_is_learned_as_if_it_were_ground_truth():
    labels, _, _, (one, other) = asked([cars(A), cars(B)], [cars(B, C), cars(B)])
    assert_same_targets(one, truth([cars(A, B, C), cars(B)], model()))
    assert other is one
    assert labels.monitors() == {"labels_added": 1.0}


def test_a_box_on_ground_truth_of_its_class_is_that_object():
    near = (A[0] + 0.3, A[1] - 0.2, A[2] + 0.1)
    _, mine, _, (one, _) = asked([cars(A)], [cars(near)])
    assert one is mine
    walker = cars(A, label=1, size=(0.8, 0.8, 1.7))
    _, _, _, (one, _) = asked([cars(A)], [walker])
    assert int(one.mask.sum()) == 2
    strict = LabelDistillConfig(overlap=0.95)
    assert int(asked([cars(A)], [cars(near)], config=strict)[3][0].mask.sum()) == 2


def test_only_what_the_teacher_is_sure_of_counts():
    assert int(asked([cars(A)], [cars(B)], score=0.59)[3][0].mask.sum()) == 1
    assert int(asked([cars(A)], [cars(B)], score=0.61)[3][0].mask.sum()) == 2
    by_class = LabelDistillConfig(score={"car": 0.8, "pedestrian": 0.1})
    assert int(asked([cars(A)], [cars(B)], score=0.7, config=by_class)[3][0].mask.sum()) == 1
    with pytest.raises(Kd3dError, match=r"distill\.labels\.score"):
        TeacherLabels(LabelDistillConfig(score={"tram": 0.1}), model(), model())


@pytest.mark.parametrize("cell", [0.25, 1.0])
def test_both_grids_get_the_same_objects_in_the_same_order(cell):
    coarse, fine = model(), model(cell, "t")
    edge = (-15.9, 15.95, 0.0)
    given, seen = [cars(A), cars(B, C)], [cars(B, edge), cars()]
    _, _, _, (mine, theirs) = asked(given, seen, student=coarse, teacher=fine)
    assert torch.equal(mine.mask, theirs.mask)
    assert torch.equal(mine.label, theirs.label)
    torch.testing.assert_close(mine.size, theirs.size)
    for item, config in ((mine, coarse), (theirs, fine)):
        assert_same_targets(item, truth([cars(A, B, edge), cars(B, C)], config))
        for frame in range(2):
            places, _ = objects_from_above(item, frame, config)
            other, _ = objects_from_above(mine, frame, coarse)
            np.testing.assert_allclose(places, other, atol=1e-4)


def test_objects_are_read_from_targets_as_they_were_drawn():
    config = model()
    given = Boxes3D.concatenate([cars(A, B, C), cars((0.2, 0.1, -3.0), label=1)])
    places, label = objects_from_above(truth([cars(), given], config), 1, config)
    np.testing.assert_allclose(places[:, :4], given.bev[:, :4], atol=1e-5)
    turn = np.angle(np.exp(1j * (places[:, 4] - given.yaw)))
    np.testing.assert_allclose(turn, 0, atol=1e-5)
    np.testing.assert_array_equal(label, given.label)


def test_a_place_that_was_left_open_is_closed_by_a_sure_box():
    config = model()
    doubtful = make_targets(cars(A), config.grid, config.output_stride, doubtful=np.array([True]))
    given = collate_targets([doubtful])
    more = make_targets(cars(A), config.grid, config.output_stride)
    merged = merge_targets(given, [more])
    assert int((merged.heatmap == 1).sum()) == 1
    assert merged.heatmap[0].flatten(1)[0, merged.cell[0, 0]] == 1


def test_anchors_of_both_report_their_objects():
    config = model(head=AnchorHeadConfig(anchors=ANCHORS))
    layout = config.head.layout
    assert isinstance(layout, AnchorLayout)

    def made(boxes):
        return make_targets(boxes, config.grid, config.output_stride, layout=layout)

    given = collate_targets([made(cars(A)), made(cars(C))])
    merged = merge_targets(given, [made(cars(B)), made(cars(C))]).anchors
    expected = collate_targets([made(cars(A, B)), made(cars(C))]).anchors
    assert torch.equal(merged.label, expected.label)
    order, other = (
        torch.argsort(item.frame * item.label[0].numel() + item.positive)
        for item in (merged, expected)
    )
    for name in ("frame", "positive", "residual", "direction"):
        torch.testing.assert_close(getattr(merged, name)[order], getattr(expected, name)[other])
