"""The start from the teacher's first channels."""

import numpy as np
import pytest
import torch
from torch import nn

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.codec.inputs import encode
from kd3d_core.distillation.start import start_first_channels
from kd3d_core.models.batch import collate
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import build_detector

INPUTS = {"image": BevImageInput(), "pillars": PillarInput(max_pillars=500)}


def model(
    kind="image", encoder=12, widths=(12, 16), layers=(1, 1), neck=12, shared=12, branch=6,
    kernel=3, tasks=(),
):  # fmt: skip
    return ModelConfig(
        name="m",
        classes=("car", "truck", "pedestrian"),
        grid=BevGrid(x=(-8, 8), y=(-8, 8), cell=0.5),
        input=INPUTS[kind],
        encoder_channels=encoder,
        blocks=tuple(
            BlockConfig(channels=width, layers=depth)
            for width, depth in zip(widths, layers, strict=True)
        ),
        neck_channels=neck,
        head=HeadConfig(
            shared_channels=shared, branch_channels=branch, output_kernel=kernel, tasks=tasks
        ),
    )


def small(**changes):
    return model(**{"encoder": 5, "widths": (6, 7), "neck": 4, "shared": 8, "branch": 3} | changes)


def network(config, seed):
    """A network with statistics as if it had been trained."""
    torch.manual_seed(seed)
    made = build_detector(config)
    for layer in made.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.3)
            nn.init.normal_(layer.running_mean, std=0.3)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            layer.num_batches_tracked += 7
    return made.eval()


def clouds(config):
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-8, 8, (400, 2)), rng.uniform(-2, 1, 400)])
    points = np.column_stack([points, rng.uniform(0, 1, 400)]).astype(np.float32)
    return collate([encode(points, config.grid, config.input)])


def start(student, teacher):
    return start_first_channels(student, teacher)


def mute(layer, width, parts, axis=1):
    """Let a convolution ignore all but the first channels of each map that it reads."""
    channels = torch.arange(layer.weight.shape[axis]) % (layer.weight.shape[axis] // parts)
    weight = layer.weight.data
    (weight if axis else weight.transpose(0, 1))[:, channels >= width] = 0


@pytest.mark.parametrize("kind", ["image", "pillars"])
@pytest.mark.parametrize("tasks", [(), (("car", "truck"), ("pedestrian",))])
def test_at_equal_widths_the_student_becomes_the_teacher(kind, tasks):
    config = model(kind, tasks=tasks)
    student, teacher = network(config, 1), network(config, 2)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    assert start(student, teacher) == len(before)
    for name, value in student.state_dict().items():
        assert torch.equal(value, before[name]), name
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name
    cloud = clouds(config)
    mine, theirs = student(cloud), teacher(cloud)
    assert torch.equal(mine.neck, theirs.neck)
    assert all(
        torch.equal(a, b)
        for a, b in zip(mine.maps.as_tuple(), theirs.maps.as_tuple(), strict=True)
    )


@pytest.mark.parametrize("kind", ["image", "pillars"])
@pytest.mark.parametrize("tasks", [(), (("car", "truck"), ("pedestrian",))])
def test_a_teacher_that_reads_its_first_channels_only_is_copied_whole(kind, tasks):
    """If what is left out does not matter, student and teacher are one function.

    That holds only if each level of the neck and each branch of the head gives its own first
    channels, not the first of the concatenation.
    """
    config = small(kind=kind, tasks=tasks)
    student, teacher = network(config, 1), network(model(kind, tasks=tasks), 2)
    widths = [config.encoder_channels]
    for stage, block in zip(teacher.backbone.stages, config.blocks, strict=True):
        for unit in stage:
            mute(unit[0], widths[-1], 1)
            widths.append(block.channels)
    for level, block in zip(teacher.neck.levels, config.blocks, strict=True):
        mute(
            level[0], block.channels, 1, axis=0 if isinstance(level[0], nn.ConvTranspose2d) else 1
        )
    mute(teacher.head.shared[0], config.neck_channels, len(config.blocks))
    mute(teacher.head.branches[0], config.head.shared_channels, 1)
    for layer in teacher.head.outputs.modules():
        if isinstance(layer, nn.Conv2d):
            mute(layer, config.head.branch_channels, 1)
    start(student, teacher)
    cloud = clouds(config)
    with torch.no_grad():
        mine, theirs = student(cloud).maps, teacher(cloud).maps
    assert theirs.heatmap.std() > 0.01
    for a, b in zip(mine.as_tuple(), theirs.as_tuple(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_depths_may_differ_either_way():
    deep, shallow = model(layers=(3, 2)), model(layers=(1, 2))
    student, teacher = network(shallow, 1), network(deep, 2)
    start(student, teacher)
    for mine, theirs in zip(student.backbone.stages, teacher.backbone.stages, strict=True):
        for layer, source in zip(mine, theirs, strict=False):
            assert torch.equal(layer[0].weight, source[0].weight)
    student, teacher = network(deep, 1), network(shallow, 2)
    own = student.backbone.stages[0][3][0].weight.clone()
    start(student, teacher)
    assert torch.equal(
        student.backbone.stages[0][1][0].weight, teacher.backbone.stages[0][1][0].weight
    )
    assert torch.equal(student.backbone.stages[0][3][0].weight, own)


@pytest.mark.parametrize("kind", ["image", "pillars"])
@pytest.mark.parametrize("tasks", [(), (("car", "truck"), ("pedestrian",))])
def test_a_wider_student_is_the_same_function_until_it_learns(kind, tasks):
    student = network(model(kind, tasks=tasks), 1)
    teacher = network(small(kind=kind, tasks=tasks), 2)
    own = student.head.shared[0].weight.clone()
    start(student, teacher)
    weight, source = student.head.shared[0].weight, teacher.head.shared[0].weight
    # Two levels of 12 channels here and of 4 there.
    assert torch.equal(weight[:8, [0, 1, 2, 3, 12, 13, 14, 15]], source)
    assert not weight[:8, 4:12].any()
    assert torch.equal(weight[8:], own[8:])
    cloud = clouds(student.config)
    mine, theirs = student(cloud).maps, teacher(cloud).maps
    assert theirs.heatmap.std() > 0.01
    for a, b in zip(mine.as_tuple(), theirs.as_tuple(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    # The new channels are heard as soon as something is learnt.
    mine.heatmap.sum().backward()
    assert student.backbone.stages[1][0][0].weight.grad[:7, 6:].abs().sum() > 0


def test_encoders_of_different_kinds_stay_apart_and_the_backbone_is_copied():
    student, teacher = network(small(), 1), network(model("pillars"), 2)
    own = {name: value.clone() for name, value in student.encoder.state_dict().items()}
    start(student, teacher)
    for name, value in student.encoder.state_dict().items():
        assert torch.equal(value, own[name])
    first = teacher.backbone.stages[0][0][0].weight[:6, :5]
    assert torch.equal(student.backbone.stages[0][0][0].weight, first)


def test_images_of_other_slices_are_other_numbers():
    coarse = small().model_copy(update={"input": BevImageInput(slices=INPUTS["image"].slices + 1)})
    student, teacher = network(coarse, 1), network(model(), 2)
    own = student.encoder.stem[0].weight.clone()
    start(student, teacher)
    assert torch.equal(student.encoder.stem[0].weight, own)


def test_another_output_kernel_answers_the_same_where_the_map_is_even():
    even = torch.randn(1, 6, 1, 1).expand(-1, -1, 5, 5)
    for mine, theirs in ((1, 3), (3, 1)):
        student, teacher = network(model(kernel=mine), 1), network(model(kernel=theirs), 2)
        start(student, teacher)
        for name, layer in student.head.outputs.items():
            inner = layer(even)[..., 2, 2], teacher.head.outputs[name](even)[..., 2, 2]
            torch.testing.assert_close(*inner)


def test_the_layers_of_sites_of_voxels_keep_together():
    """A voxel encoder stacks its layers of sites: channel 0 of all layers, then channel 1..."""
    wide = model(encoder=3).model_copy(update={"input": VoxelInput()})
    narrow = small(encoder=2).model_copy(update={"input": VoxelInput()})
    student, teacher = network(narrow, 1), network(wide, 2)
    layers = teacher.encoder.channels // 24
    assert layers > 1
    start(student, teacher)
    copied = teacher.backbone.stages[0][0][0].weight[:6].view(6, 24, layers, 3, 3)
    own = student.backbone.stages[0][0][0].weight.view(6, 16, layers, 3, 3)
    assert torch.equal(own, copied[:, :16])
    for name, value in student.encoder.state_dict().items():
        source = teacher.encoder.state_dict()[name]
        assert torch.equal(value, source[tuple(slice(n) for n in value.shape)]), name


def test_channels_last_stays_channels_last():
    config = model(widths=(16, 32))
    student = network(config, 1).to(memory_format=torch.channels_last)
    start(student, network(config, 2))
    weight = student.backbone.stages[1][1][0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
