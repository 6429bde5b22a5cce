"""Shapes, gradients, placement, and the plain meaning of the fast encoder."""

import numpy as np
import pytest
import torch
from small_models import GRID
from small_models import small_model
from torch.nn import functional

from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.codec.heads import head_channels
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.targets import make_targets
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.batch import NetworkBatch
from kd3d_core.models.batch import collate
from kd3d_core.models.batch import collate_targets
from kd3d_core.models.detector import build_detector
from kd3d_core.models.encoders import PillarEncoder
from kd3d_core.models.encoders import max_linear
from kd3d_core.models.losses import CenterLoss
from kd3d_core.models.presets import PRESETS
from kd3d_core.models.presets import preset

KINDS = ["pillars", "bev_image"]


def _cloud(seed, count=400):
    rng = np.random.default_rng(seed)
    points = rng.uniform((-4, -2, -1, 0), (4, 6, 1, 1), (count, 4))
    return points.astype(np.float32)


def _batch(config, seeds=(0, 1)):
    return collate([encode(_cloud(seed), config.grid, config.input) for seed in seeds])


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_of_the_output(kind):
    config = small_model(kind)
    output = build_detector(config)(_batch(config))
    assert output.neck.shape == (2, 10, 8, 8)
    for name, channels in head_channels(6).items():
        assert getattr(output.maps, name).shape == (2, channels, 8, 8)
    assert torch.sigmoid(output.maps.heatmap).mean().item() == pytest.approx(0.1, abs=0.08)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind):
    torch.manual_seed(0)
    config = small_model(kind)
    detector = build_detector(config)
    # Far from what a fresh network says, so that no two errors cancel in a bias.
    boxes = Boxes3D.make(
        [[0.3, 1, 9], [-2, 4, 9]], [[9, 9, 9]] * 2, [0.5, 0.7], [0, 3], velocity=[[9, 9]] * 2
    )
    targets = collate_targets([make_targets(boxes, GRID, config.output_stride)] * 2)
    terms = CenterLoss()(detector(_batch(config)).maps, targets)
    assert tuple(terms) == HEAD_NAMES
    sum(terms.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", KINDS)
def test_clouds_of_a_batch_do_not_meet(kind):
    config = small_model(kind)
    detector = build_detector(config).eval()
    with torch.no_grad():
        together = detector(_batch(config, (0, 1))).maps.as_tuple()
        for i in range(2):
            alone = detector(_batch(config, (i,))).maps.as_tuple()
            for joint, single in zip(together, alone, strict=True):
                torch.testing.assert_close(joint[i], single[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_cloud_runs_in_training_and_evaluation(kind):
    config = small_model(kind)
    batch = collate([encode(np.zeros((0, 4), np.float32), config.grid, config.input)])
    detector = build_detector(config)
    for network in (detector.train(), detector.eval()):
        assert all(torch.isfinite(value).all() for value in network(batch).maps.as_tuple())


def test_a_pillar_lands_in_its_row_and_column():
    encoder = PillarEncoder(4, GRID.shape)
    points = np.array([[3.9, -1.9, 0, 1]], np.float32)  # low y: row 0; high x: column 15
    cells = torch.from_numpy(encode(points, GRID, small_model().input).arrays["cells"])
    features = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    canvas = encoder.scatter(features, cells + 256, 2)
    assert canvas.shape == (2, 4, 16, 16)
    assert canvas[1, :, 0, 15].tolist() == [1, 2, 3, 4]
    assert torch.count_nonzero(canvas) == 4


def _plain_features(encoder, pillars):
    """The encoder as the paper writes it: linear, batch norm over all points, ReLU, maximum."""
    flat = functional.linear(pillars, encoder.linear.weight).flatten(0, 1)
    norm = encoder.norm
    normed = functional.batch_norm(
        flat, norm.running_mean, norm.running_var, norm.weight, norm.bias,
        encoder.training, norm.momentum, norm.eps,
    )  # fmt: skip
    return functional.relu(normed).view(*pillars.shape[:2], -1).amax(dim=1)


def test_folded_batch_norm_equals_the_plain_order_and_its_gradients():
    torch.manual_seed(1)
    pillars = torch.randn(700, 6, 9) * torch.tensor([20, 20, 1, 1, 1, 1, 1, 1, 1])
    pillars[:, 4:] = pillars[:, :1]
    fast, plain = PillarEncoder(5, GRID.shape), PillarEncoder(5, GRID.shape)
    with torch.no_grad():
        fast.norm.weight.copy_(torch.tensor([1.0, 0.5, -2.0, 1.5, -0.1]))
        fast.norm.bias.uniform_(-1, 1)
    plain.load_state_dict(fast.state_dict())
    pull = torch.randn(700, 5)
    results = []
    for encoder, features in ((fast, fast.features), (plain, None)):
        value = features(pillars) if features else _plain_features(encoder, pillars)
        (value * pull).sum().backward()
        results.append(value)
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-4)
    for a, b in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, atol=5e-3, rtol=1e-3)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(fast.norm, name), getattr(plain.norm, name))
    with torch.no_grad():
        evaluated = fast.eval().features(pillars)
        expected = _plain_features(plain.eval(), pillars)
    torch.testing.assert_close(evaluated, expected, atol=1e-4, rtol=1e-4)


def test_max_linear_has_the_gradient_of_the_plain_operations():
    torch.manual_seed(0)
    points = torch.randn(1100, 4, 9)
    weight = torch.randn(7, 9, requires_grad=True)
    pull = torch.randn(1100, 7)
    (plain,) = torch.autograd.grad(
        (functional.linear(points, weight).amax(1) * pull).sum(), weight
    )
    (fast,) = torch.autograd.grad((max_linear(points, weight) * pull).sum(), weight)
    torch.testing.assert_close(fast, plain, atol=1e-3, rtol=1e-4)


def test_order_and_padding_of_points_do_not_matter():
    encoder = PillarEncoder(8, GRID.shape).eval()
    pillars = torch.from_numpy(encode(_cloud(3), GRID, small_model().input).arrays["pillars"])
    with torch.no_grad():
        expected = encoder.features(pillars)
        shuffled = encoder.features(pillars[:, torch.randperm(6)])
        padded = encoder.features(torch.cat([pillars, pillars[:, :1].expand(-1, 3, -1)], dim=1))
    torch.testing.assert_close(shuffled, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(padded, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exportable_view_takes_plain_tensors(kind):
    config = small_model(kind)
    detector = build_detector(config).eval()
    batch = _batch(config, (4,))
    inputs = (batch.image,) if kind == "bev_image" else (batch.pillars, batch.cells)
    with torch.no_grad():
        maps = detector.exportable()(*inputs)
        expected = detector(batch).maps.as_tuple()
    for value, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(value, other)


def test_collate_refuses_different_grids():
    config = small_model()
    other = GRID.model_copy(update={"x": (-4, 8)})
    with pytest.raises(ValueError, match="grids"):
        collate([encode(_cloud(0), grid, config.input) for grid in (GRID, other)])


def test_batches_move_as_a_whole():
    batch = NetworkBatch(1, pillars=torch.zeros(1, 2, 9), cells=torch.zeros(1, dtype=torch.int64))
    moved = batch.to("meta")
    assert moved.pillars.device.type == "meta"
    assert moved.cells.device.type == "meta"
    assert moved.image is None


def test_presets_are_what_the_papers_and_the_robot_need():
    assert PRESETS == ("teacher", "half", "quarter", "tiny")
    for name in PRESETS:
        config = preset(name)
        assert config.name == name
        assert config.grid.shape == (320, 320)
        assert config.output_stride == 2
    assert isinstance(preset("tiny").input, BevImageInput)
    with pytest.raises(Kd3dError, match="teacher, half, quarter, tiny"):
        preset("huge")
