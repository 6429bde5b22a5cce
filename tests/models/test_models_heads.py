"""Heads of several tasks and heads of anchors: shapes, losses by hand, gradients."""

import math

import numpy as np
import pytest
import torch
from small_models import small_model

from kd3d_core.codec.anchor_targets import BACKGROUND
from kd3d_core.codec.anchor_targets import IGNORED
from kd3d_core.codec.anchors import Anchor
from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import decode
from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.codec.heads import AnchorMaps
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.heads import anchor_channels
from kd3d_core.codec.heads import head_channels
from kd3d_core.codec.heads import task_of_class
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.targets import make_targets
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.anchor_losses import AnchorLoss
from kd3d_core.models.anchor_losses import anchor_focal_loss
from kd3d_core.models.anchor_losses import detection_loss
from kd3d_core.models.anchor_losses import gather_anchors
from kd3d_core.models.anchor_losses import residual_loss
from kd3d_core.models.batch import collate
from kd3d_core.models.batch import collate_targets
from kd3d_core.models.config import AnchorHeadConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import build_detector
from kd3d_core.models.head import CenterHead
from kd3d_core.models.losses import CenterLoss
from kd3d_core.models.losses import LossWeights
from kd3d_core.models.losses import gaussian_focal_loss

TASKS = (("car",), ("truck", "bus"), ("pedestrian", "cyclist", "motorcycle"))
ANCHORS = {
    name: Anchor(size=(1.0 + i / 2, 0.6 + i / 4, 1.5), z=0.0)
    for i, name in enumerate(DEFAULT_CLASSES)
}


def model_with(head):
    data = small_model().model_dump() | {"head": head.model_dump()}
    return ModelConfig.model_validate(data)


def several():
    return model_with(HeadConfig(shared_channels=8, branch_channels=4, tasks=TASKS))


def anchored():
    return model_with(AnchorHeadConfig(anchors=ANCHORS))


def frames(config, counts=(5, 3), seed=0):
    made = []
    for i, count in enumerate(counts):
        rng = np.random.default_rng(seed + i)
        label = rng.integers(0, 6, count)
        boxes = Boxes3D.make(
            rng.uniform((-3.9, -1.9, -0.5), (3.9, 5.9, 0.5), (count, 3)),
            np.array([ANCHORS[DEFAULT_CLASSES[k]].size for k in label]).reshape(-1, 3),
            rng.uniform(-3, 3, count),
            label,
            velocity=rng.normal(size=(count, 2)),
        )
        layout = config.head.layout
        made.append(make_targets(boxes, config.grid, config.output_stride, layout=layout))
    return collate_targets(made)


def clouds(config, count=2):
    rng = np.random.default_rng(0)
    points = [rng.uniform((-4, -2, -1, 0), (4, 6, 1, 1), (400, 4)) for _ in range(count)]
    return collate([encode(p.astype(np.float32), config.grid, config.input) for p in points])


def test_tasks_have_branches_of_their_own():
    torch.manual_seed(0)
    head = CenterHead(6, 6, several().head).eval()
    neck = torch.randn(2, 6, 8, 8)
    maps = head(neck)
    for name, channels in head_channels(6, 3).items():
        assert getattr(maps, name).shape == (2, channels, 8, 8)
    # Task 1's part of a map comes from one slice of the wide convolution and no other.
    shared = head.shared(neck)
    features = head.branches(shared)
    for place, name in enumerate(HEAD_NAMES):
        low = (place * 3 + 1) * 4
        alone = head.outputs[name][1](features[:, low : low + 4])
        block = alone.shape[1]
        start = 1 if name == "heatmap" else block
        torch.testing.assert_close(getattr(maps, name)[:, start : start + block], alone)


def test_one_task_is_the_head_without_tasks():
    plain = HeadConfig(shared_channels=8, branch_channels=4)
    single = plain.model_copy(update={"tasks": (DEFAULT_CLASSES,)})
    torch.manual_seed(0)
    one = CenterHead(6, 6, plain)
    torch.manual_seed(0)
    other = CenterHead(6, 6, single)
    assert one.state_dict().keys() == other.state_dict().keys()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_boxes_are_read_from_the_block_of_their_task():
    rng = np.random.default_rng(0)
    maps = {n: np.zeros((c, 8, 8), np.float32) for n, c in head_channels(6, 3).items()}
    maps["heatmap"] -= 5
    for label, (row, column) in enumerate([(1, 1), (1, 5), (5, 1), (5, 5), (3, 3), (7, 7)]):
        maps["heatmap"][label, row, column] = 3
    maps["height"][:] = np.array([10, 20, 30])[:, None, None]
    maps["size"][:] = rng.normal(size=9)[:, None, None]
    config = small_model()
    found = decode(
        HeadMaps(**maps), config.grid, 2, DEFAULT_CLASSES, DecodeConfig(nms="circle"), TASKS
    )
    assert len(found) == 6
    task = np.array(task_of_class(6, TASKS))[found.label]
    assert task_of_class(6, TASKS) == (0, 1, 1, 2, 2, 2)
    np.testing.assert_allclose(found.center[:, 2], 10.0 * (task + 1))
    expected = np.exp(maps["size"].reshape(3, 3, 8, 8)[task, :, 0, 0])
    np.testing.assert_allclose(found.size, expected, rtol=1e-5)


def test_the_loss_of_tasks_is_the_sum_of_their_losses_alone():
    torch.manual_seed(0)
    targets = frames(several(), (9, 4))
    maps = HeadMaps(**{n: torch.randn(2, c, 8, 8) for n, c in head_channels(6, 3).items()})
    terms = CenterLoss(tasks=TASKS)(maps, targets)
    expected = dict.fromkeys(HEAD_NAMES, 0.0)
    low = 0
    for task, names in enumerate(TASKS):
        mine = (targets.label >= low) & (targets.label < low + len(names)) & targets.mask
        objects = max(int(mine.sum()), 1)
        high = low + len(names)
        heat = gaussian_focal_loss(maps.heatmap[:, low:high], targets.heatmap[:, low:high])
        expected["heatmap"] += float(heat) / objects
        for name in HEAD_NAMES[1:]:
            values = getattr(maps, name)
            width = values.shape[1] // 3
            block = values[:, task * width : (task + 1) * width]
            error = (targets.gather(block) - getattr(targets, name)).abs().sum(-1)
            weight = getattr(LossWeights(), name)
            expected[name] += weight * float(error[mine].sum()) / objects
        low = high
    for name, value in terms.items():
        assert value.item() == pytest.approx(expected[name], rel=1e-5)


@pytest.mark.parametrize("make", [several, anchored])
def test_every_parameter_learns(make):
    torch.manual_seed(0)
    config = make()
    detector = build_detector(config)
    targets = frames(config, (12, 12))
    terms = detection_loss(config, LossWeights())(detector(clouds(config)).outputs, targets)
    sum(terms.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("make", [several, anchored])
def test_a_batch_without_objects_has_a_finite_loss(make):
    config = make()
    outputs = build_detector(config)(clouds(config)).outputs
    terms = detection_loss(config, LossWeights())(outputs, frames(config, (0, 0)))
    total = sum(terms.values())
    total.backward()
    assert torch.isfinite(total)
    assert total > 0


def test_anchor_maps_have_their_shapes_and_a_fresh_head_is_calm():
    config = anchored()
    output = build_detector(config)(clouds(config))
    for name, channels in anchor_channels(6).items():
        assert getattr(output.outputs, name).shape == (2, channels, 8, 8)
    assert output.neck.shape == (2, 10, 8, 8)
    assert torch.sigmoid(output.outputs.score).mean().item() == pytest.approx(0.01, abs=0.005)
    with pytest.raises(Kd3dError, match="no heatmap to compare"):
        _ = output.maps


def test_focal_loss_of_anchors_by_hand():
    logits = torch.tensor([0.3, -1.2, 2.0, 0.4, 1.0, -0.5]).view(1, 6, 1, 1)
    label = torch.tensor([1, BACKGROUND, IGNORED]).view(1, 3, 1, 1)
    p = torch.sigmoid(logits).flatten().tolist()
    expected = -0.75 * p[0] ** 2 * math.log(1 - p[0])
    expected -= 0.25 * (1 - p[1]) ** 2 * math.log(p[1])
    expected -= sum(0.75 * q**2 * math.log(1 - q) for q in p[2:4])
    assert anchor_focal_loss(logits, label).item() == pytest.approx(expected, rel=1e-5)


def test_residuals_by_hand_and_a_turned_box_costs_nothing():
    target = torch.tensor([[0.1, 0.2, -0.3, 0.0, 0.5, -0.5, 0.4]])
    assert residual_loss(target, target).item() == 0
    reverse = target.clone()
    reverse[0, 6] += math.pi
    assert residual_loss(reverse, target).item() == pytest.approx(0, abs=1e-6)
    wrong = target + torch.tensor([[1.0, 0.05, 0, 0, 0, 0, math.pi / 2]])
    expected = (1 - 1 / 18) + 0.05**2 / 2 * 9 + (1 - 1 / 18)
    assert residual_loss(wrong, target).item() == pytest.approx(expected, rel=1e-5)


def test_gradients_of_the_anchor_loss_are_the_numerical_ones():
    torch.manual_seed(0)
    config = anchored()
    targets = frames(config, (4, 2))
    shapes = anchor_channels(6)
    values = {n: torch.randn(2, c, 8, 8, requires_grad=True) for n, c in shapes.items()}
    total = sum(AnchorLoss()(AnchorMaps(**values), targets).values())
    total.backward()
    step = 1e-2
    for name, value in values.items():
        direction = value.grad / value.grad.norm()
        ends = []
        for sign in (1, -1):
            moved = {n: v.detach() for n, v in values.items()}
            moved[name] = moved[name] + sign * step * direction
            ends.append(sum(AnchorLoss()(AnchorMaps(**moved), targets).values()).item())
        slope = (ends[0] - ends[1]) / (2 * step)
        assert slope == pytest.approx(value.grad.norm().item(), rel=0.02), name


def test_positive_anchors_are_gathered_from_their_slot_and_frame():
    config = anchored()
    truth = frames(config, (5, 4)).anchors
    number = torch.arange(2 * 12 * 64).view(2, 12, 1, 64)
    values = (number * 7 + torch.arange(7).view(1, 1, 7, 1)).reshape(2, 12 * 7, 8, 8)
    found = gather_anchors(values, truth, 7)
    expected = (truth.frame * 12 * 64 + truth.positive)[:, None] * 7 + torch.arange(7)
    assert torch.equal(found, expected)
    assert (truth.label.flatten(1)[truth.frame, truth.positive] >= 0).all()


def test_the_loss_is_small_when_the_anchors_say_what_they_should():
    config = anchored()
    targets = frames(config, (5, 4))
    truth = targets.anchors
    size, slots, rows, columns = truth.label.shape
    score = torch.full((size, slots, 6, rows * columns), -20.0)
    box = torch.zeros(size, slots, 7, rows * columns)
    direction = torch.zeros(size, slots, 2, rows * columns)
    slot, place = truth.positive // (rows * columns), truth.positive % (rows * columns)
    label = truth.label.flatten(1)[truth.frame, truth.positive].long()
    score[truth.frame, slot, label, place] = 20
    box[truth.frame, slot, :, place] = truth.residual
    direction[truth.frame, slot, truth.direction, place] = 20
    maps = AnchorMaps(*(v.reshape(size, -1, rows, columns) for v in (score, box, direction)))
    terms = AnchorLoss()(maps, targets)
    assert sum(terms.values()).item() < 1e-5
    moved = AnchorMaps(maps.score, maps.box + 0.5, maps.direction)
    assert AnchorLoss()(moved, targets)["box"].item() > 1


def test_targets_move_with_their_anchors():
    moved = frames(anchored()).to("meta")
    assert moved.anchors.label.device.type == "meta"
    assert frames(several()).anchors is None
    with pytest.raises(ValueError, match="another head"):
        AnchorLoss()(AnchorMaps(*[torch.zeros(1, 1, 1, 1)] * 3), frames(several()))


def test_heads_that_do_not_fit_the_classes_are_refused():
    with pytest.raises(ValueError, match="joined they must be the classes in their order"):
        model_with(HeadConfig(tasks=TASKS[1:]))
    with pytest.raises(ValueError, match="give one for each class"):
        model_with(AnchorHeadConfig(anchors={"car": ANCHORS["car"]}))


def test_files_from_before_there_were_kinds_of_heads_are_read():
    data = small_model().model_dump(mode="json")
    del data["head"]["type"], data["head"]["tasks"]
    assert ModelConfig.model_validate(data) == small_model()
    for model in (several(), anchored()):
        assert ModelConfig.model_validate_json(model.model_dump_json()) == model
    with pytest.raises(ValueError, match="shared_chanels"):
        ModelConfig.model_validate(data | {"head": {"shared_chanels": 3}})
