"""The start from a teacher by layer-wise regression."""

import copy

import numpy as np
import pytest
import torch

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.inputs import encode
from kd3d_core.distillation.places import Grid
from kd3d_core.distillation.places import patches
from kd3d_core.distillation.regression import pivots
from kd3d_core.distillation.regression import rectified_ridge
from kd3d_core.distillation.taught import TaughtStartConfig
from kd3d_core.distillation.taught import start_taught
from kd3d_core.errors import Kd3dError
from kd3d_core.models.batch import collate
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import build_detector

GRID = BevGrid(x=(-4, 4), y=(-2, 6), z=(-1, 1), cell=0.5)
CONFIG = TaughtStartConfig(places=200, ridge=1e-6, rounds=3, steps=0)


def small_model(kind="pillars"):
    return ModelConfig(
        name="small",
        grid=GRID,
        input=PillarInput(max_points=6) if kind == "pillars" else BevImageInput(slices=3),
        encoder_channels=8,
        blocks=(BlockConfig(channels=8, layers=1), BlockConfig(channels=12, layers=1)),
        neck_channels=5,
        head=HeadConfig(shared_channels=8, branch_channels=4, output_kernel=3),
    )


def clouds(count):
    rng = np.random.default_rng(5)
    low, high = [-4, -2, -1, 0], [4, 6, 1, 1]
    return [rng.uniform(low, high, (400, 4)).astype(np.float32) for _ in range(count)]


def pairs(student, teacher, count=6):
    return [
        tuple(collate([encode(points, model.grid, model.input)]) for model in (student, teacher))
        for points in clouds(count)
    ]


def teacher_network(seed=0):
    """A random teacher whose batch norms have seen data, as those of a trained one have."""
    torch.manual_seed(seed)
    model = small_model()
    network = build_detector(model)
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
            torch.nn.init.normal_(norm.bias, std=0.3)
    with torch.no_grad():
        for _ in range(20):
            network(collate([encode(points, model.grid, model.input) for points in clouds(6)]))
    return network.eval()


def agreement(student, teacher, data):
    """Correlation of the two networks' heatmaps, at unseen or seen clouds."""
    with torch.no_grad():
        answers = [(student.eval()(a).maps, teacher(b).maps) for a, b in data]
    mine, theirs = (
        torch.cat([pair[i].heatmap.flatten() for pair in answers]).numpy() for i in (0, 1)
    )
    return float(np.corrcoef(mine, theirs)[0, 1])


def test_student_of_the_teachers_build_says_what_the_teacher_says():
    teacher = teacher_network()
    torch.manual_seed(1)
    student = build_detector(small_model())
    data = pairs(student.config, teacher.config)
    fresh = agreement(copy.deepcopy(student), teacher, data)
    solved = start_taught(student, teacher, data, CONFIG)
    # encoder, two stages of two layers, two levels, shared, branches, six outputs
    assert solved == 1 + 4 + 2 + 2 + 6
    assert fresh < 0.7
    assert agreement(student, teacher, data) > 0.97


@pytest.mark.parametrize("kind", ["pillars", "image"])
def test_smaller_student_is_far_nearer_to_the_teacher_than_a_fresh_one(kind):
    teacher = teacher_network()
    model = small_model(kind)
    blocks = (BlockConfig(channels=6, layers=1), BlockConfig(channels=8, layers=2))
    model = model.model_copy(update={"blocks": blocks, "encoder_channels": 6, "neck_channels": 4})
    torch.manual_seed(1)
    student = build_detector(model)
    data = pairs(model, teacher.config)
    fresh = agreement(copy.deepcopy(student), teacher, data)
    start_taught(student, teacher, data, CONFIG)
    assert agreement(student, teacher, data) > fresh + 0.3


def scores_apart(student, teacher, data):
    """Cross-entropy of the student's scores with the teacher's, per cell."""
    with torch.no_grad():
        answers = [(student.eval()(a).maps.heatmap, teacher(b).maps.heatmap) for a, b in data]
    parts = [
        torch.nn.functional.binary_cross_entropy_with_logits(mine, theirs.sigmoid())
        for mine, theirs in answers
    ]
    return float(torch.stack(parts).mean())


@pytest.mark.parametrize(("kernel", "share"), [(1, 0.7), (3, 1.0)])
def test_narrow_head_says_more_when_its_layers_are_fitted_together(kernel, share):
    teacher = teacher_network()
    with torch.no_grad():  # a teacher that is sure of something
        teacher.head.outputs["heatmap"].weight *= 6
    model = small_model()
    head = HeadConfig(shared_channels=8, branch_channels=2, output_kernel=kernel)
    model = model.model_copy(update={"head": head})
    data = pairs(model, teacher.config)
    apart = []
    for steps in (0, 150):
        torch.manual_seed(1)
        student = build_detector(model)
        start_taught(student, teacher, data, CONFIG.model_copy(update={"steps": steps}))
        assert all(p.grad is None for p in student.parameters())
        apart.append(scores_apart(student, teacher, data))
    least = scores_apart(teacher, teacher, [(b, b) for _, b in data])
    # With windows of 3 x 3 the regression is exact here: there the fit must do no harm.
    assert apart[1] - least < share * (apart[0] - least) + 1e-3


def test_statistics_fit_so_that_training_starts_from_the_same_function():
    """In training, batch norm takes the batch's own statistics: the answers must not jump."""
    teacher = teacher_network()
    student = build_detector(small_model())
    data = pairs(student.config, teacher.config)
    start_taught(student, teacher, data, CONFIG)
    joined = collate([encode(p, student.config.grid, student.config.input) for p in clouds(6)])
    with torch.no_grad():
        calm = student.eval()(joined).maps.heatmap
        learning = student.train()(joined).maps.heatmap
    assert np.corrcoef(calm.flatten(), learning.flatten())[0, 1] > 0.98


def test_wider_student_keeps_its_own_start_where_the_teacher_has_nothing():
    teacher = teacher_network()
    model = small_model().model_copy(update={"encoder_channels": 10})
    student = build_detector(model)
    before = student.encoder.linear.weight.detach().clone()
    start_taught(student, teacher, pairs(model, teacher.config), CONFIG)
    after = student.encoder.linear.weight
    assert torch.equal(after[8:], before[8:])
    rows = {tuple(row.tolist()) for row in teacher.encoder.linear.weight}
    assert {tuple(row.tolist()) for row in after[:8]} == rows


def test_teacher_is_left_as_it_was_and_the_start_is_reproducible():
    teacher = teacher_network()
    before = copy.deepcopy(teacher.state_dict())
    starts = []
    for _ in range(2):
        torch.manual_seed(3)
        student = build_detector(small_model())
        start_taught(student, teacher, pairs(student.config, teacher.config), CONFIG)
        starts.append(student.state_dict())
    assert student.training
    assert all(torch.equal(starts[0][name], starts[1][name]) for name in starts[0])
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert not any(module._forward_hooks for module in teacher.modules())


def test_other_grid_or_strides_are_refused_with_the_remedy():
    teacher = teacher_network()
    coarse = BevGrid(x=(-4, 4), y=(-2, 6), z=(-1, 1), cell=1.0)
    for model in (
        ModelConfig.model_validate(small_model().model_dump() | {"grid": coarse.model_dump()}),
        small_model().model_copy(
            update={"blocks": (BlockConfig(channels=4, layers=1, stride=4),)}
        ),
    ):
        with pytest.raises(Kd3dError, match="first_channels"):
            start_taught(build_detector(model), teacher, [], CONFIG)


def test_pivots_take_the_columns_that_tell_the_others():
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(500, 3)) * [3.0, 2.0, 1.0]
    mixed = np.column_stack([basis, 0.9 * basis, 0.5 * basis[:, :1] + 0.5 * basis[:, 1:2]])
    picked = pivots(torch.from_numpy(mixed), 3)
    assert picked.tolist()[0] == 0
    left = mixed - mixed[:, picked] @ np.linalg.lstsq(mixed[:, picked], mixed, rcond=None)[0]
    assert abs(left).max() < 1e-9
    assert len(set(pivots(torch.from_numpy(mixed), 99).tolist())) == mixed.shape[1]


def test_ridge_finds_an_exact_map_and_its_bias():
    rng = np.random.default_rng(1)
    inputs = torch.from_numpy(rng.normal(size=(300, 5)))
    weight, bias = torch.from_numpy(rng.normal(size=(2, 5))), torch.tensor([0.5, -2.0]).double()
    found, constant = rectified_ridge(inputs, inputs @ weight.T + bias, 1e-12, rounds=0)
    assert torch.allclose(found, weight, atol=1e-5)
    assert torch.allclose(constant, bias, atol=1e-5)


def test_what_the_relu_cuts_off_need_not_be_met():
    rng = np.random.default_rng(2)
    inputs = torch.from_numpy(rng.normal(size=(4000, 4)))
    linear = inputs @ torch.from_numpy(rng.normal(size=(4, 1)))
    # Below zero the target is anything: a plain regression is misled by it.
    target = torch.where(linear > 0, linear, -5 * torch.from_numpy(rng.uniform(size=(4000, 1))))

    def error(rounds):
        weight, bias = rectified_ridge(inputs, target, 1e-9, rounds)
        return float(((inputs @ weight.T + bias).relu() - target.relu()).square().mean())

    assert error(20) < 0.05 * error(0)


def test_columns_that_share_a_bias_get_one():
    rng = np.random.default_rng(3)
    inputs = torch.from_numpy(rng.normal(size=(200, 3)))
    target = torch.from_numpy(rng.normal(size=(200, 4)))
    _, bias = rectified_ridge(inputs, target, 1e-6, rounds=2, shared=2)
    assert bias[0] == bias[1]
    assert bias[2] == bias[3]
    assert bias[0] != bias[2]


def test_rows_without_weight_do_not_count():
    rng = np.random.default_rng(4)
    inputs = torch.from_numpy(rng.normal(size=(200, 3)))
    weight = torch.from_numpy(rng.normal(size=(1, 3)))
    target = inputs @ weight.T
    target[100:] = 50.0
    scale = torch.cat([torch.ones(100), torch.zeros(100)])
    found, bias = rectified_ridge(inputs, target, 1e-12, rounds=0, scale=scale)
    assert torch.allclose(found, weight, atol=1e-5)
    assert abs(float(bias[0])) < 1e-5


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_patches_are_what_a_convolution_sees(kernel, stride):
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 8, 8)
    conv = torch.nn.Conv2d(3, 4, kernel, stride=stride, padding=kernel // 2, bias=False)
    grid = Grid(torch.tensor([0, 1, 1]), torch.tensor([0, 2, 3]), torch.tensor([3, 0, 1]))
    with torch.no_grad():
        product = patches(maps, grid, kernel, stride) @ conv.weight.flatten(1).T
        assert torch.allclose(product, grid.of(conv(maps)), atol=1e-5)


def test_blocks_are_the_finer_cells_of_a_place():
    maps = torch.arange(2 * 1 * 4 * 4.0).view(2, 1, 4, 4)
    grid = Grid(torch.tensor([1]), torch.tensor([1]), torch.tensor([0]))
    assert grid.blocks(maps, 2).tolist() == [[24.0, 25.0, 28.0, 29.0]]
