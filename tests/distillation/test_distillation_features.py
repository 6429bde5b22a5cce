"""Properties of the hint losses on the neck's features."""

from dataclasses import replace

import pytest
import torch
from distillation_pairs import batch
from distillation_pairs import padded
from distillation_pairs import random_output
from distillation_pairs import targets

from kd3d_core.distillation.features import FeatureHint
from kd3d_core.distillation.features import FitNetConfig
from kd3d_core.distillation.features import GTBoxConfig
from kd3d_core.distillation.protocol import footprints

BOTH = pytest.mark.parametrize("config", [FitNetConfig(weight=3), GTBoxConfig(weight=3)])


def hint(config, student=24, teacher=24, seed=0):
    torch.manual_seed(seed)
    return FeatureHint(student, teacher, config)


def value(method, pair):
    ((name, term),) = method(pair).items()
    assert name == method.config.type
    return term


@BOTH
def test_nothing_to_pay_for_a_student_that_is_its_teacher(config):
    student, method = random_output(1, grad=True), hint(config)
    term = value(method, batch(student, random_output(1)))
    term.backward()
    assert term == 0
    assert not student.neck.grad.any()


@BOTH
def test_a_student_that_says_nothing_pays_the_weight_whatever_the_teachers_scale(config):
    student, teacher = random_output(1, channels=8), random_output(2)
    silent = replace(student, neck=torch.zeros_like(student.neck))
    for scale in (1e-3, 1.0, 1e3):
        loud = replace(teacher, neck=scale * teacher.neck)
        term = value(hint(config, student=8), batch(silent, loud))
        torch.testing.assert_close(term, torch.tensor(3.0))


@BOTH
def test_gradient_reaches_student_and_adapter_and_never_the_teacher(config):
    student, teacher = random_output(1, channels=8, grad=True), random_output(2, grad=True)
    method = hint(config, student=8)
    value(method, batch(student, teacher)).backward()
    assert student.neck.grad.abs().sum() > 0
    assert method.adapter.weight.grad.abs().sum() > 0
    assert teacher.neck.grad is None


def test_both_are_shares_of_the_teachers_energy_where_they_look():
    student, teacher, truth = random_output(3, channels=8), random_output(4), targets()
    inside = footprints(truth, (16, 16), 1.0)
    assert 0 < inside.sum() < inside.numel() / 2
    for config, where in ((FitNetConfig(), torch.ones_like(inside)), (GTBoxConfig(), inside)):
        method = hint(config, student=8)
        error = (method.adapter(student.neck) - teacher.neck) ** 2 * where
        expected = error.sum() / (teacher.neck**2 * where).sum()
        torch.testing.assert_close(value(method, batch(student, teacher, truth)), expected)


def test_objects_only_means_that_the_rest_does_not_count():
    student, teacher, truth = random_output(5), random_output(6), targets()
    method = hint(GTBoxConfig())
    inside = footprints(truth, (16, 16), 1.0)
    first = value(method, batch(student, teacher, truth))
    for place, same in ((~inside, True), (inside, False)):
        changed = replace(student, neck=torch.where(place, student.neck + 5, student.neck))
        again = value(method, batch(changed, teacher, truth))
        assert torch.allclose(first, again) == same
    more = value(method, batch(student, teacher, padded(truth, 3, 7)))
    torch.testing.assert_close(more, first)


def test_without_objects_there_is_nothing_to_look_at():
    student, teacher = random_output(7, grad=True), random_output(8)
    method = hint(GTBoxConfig())
    term = value(method, batch(student, teacher, targets(counts=(0, 0))))
    term.backward()
    assert term == 0
    assert not student.neck.grad.any()
    assert not method.adapter.weight.grad.any()


@BOTH
@pytest.mark.parametrize("size", [8, 32])
def test_the_students_map_is_resized_to_the_teachers_grid(config, size):
    # A map that is linear in x and y stays so, but for the border.
    teacher, truth = random_output(9, channels=2), targets(counts=(0, 0))
    ramp = torch.linspace(-1, 1, 2 * 16 + 1)[1::2]
    fine = torch.stack(torch.meshgrid(ramp, ramp, indexing="ij")).expand(2, -1, -1, -1)
    line = torch.linspace(-1, 1, 2 * size + 1)[1::2]
    own = torch.stack(torch.meshgrid(line, line, indexing="ij")).expand(2, -1, -1, -1)
    inner = torch.zeros(2, 16, 16, dtype=torch.bool)
    inner[:, 4:12, 4:12] = True
    _, row, column = inner.nonzero(as_tuple=True)
    truth = replace(
        truth,
        mask=torch.ones(2, 64, dtype=torch.bool),
        cell=(row * 16 + column).view(2, 64),
        offset=torch.full((2, 64, 2), 0.5),
        size=torch.full((2, 64, 3), -5.0),
        rotation=torch.tensor([0.0, 1.0, 0.0, 1.0]).expand(2, 64, 4),
    )
    student = replace(random_output(9, channels=2, size=size), neck=own)
    pair = batch(student, replace(teacher, neck=fine), truth)
    term = value(hint(config, student=2, teacher=2), pair)
    assert term < 1e-2
    if isinstance(config, GTBoxConfig):  # and the border is no object
        assert term < 1e-9


@BOTH
def test_mixed_precision_ends_at_the_door(config):
    student, teacher, method = random_output(1, channels=8), random_output(2), hint(config, 8)
    pair = batch(student, teacher)
    expected = value(method, pair)
    with torch.autocast("cpu", torch.bfloat16):
        term = value(method, pair)
    assert term.dtype == torch.float32
    torch.testing.assert_close(term, expected, rtol=0, atol=0)


@BOTH
def test_gradients_are_those_of_finite_differences(config):
    student, teacher = random_output(1, channels=3, size=6), random_output(2, channels=4, size=8)
    truth, method = targets(), hint(config, 3, 4).double()
    truth = replace(truth, cell=truth.cell % 64)
    neck = student.neck.double().requires_grad_()
    far = replace(teacher, neck=teacher.neck.double())

    def loss(features):
        return value(method, batch(replace(student, neck=features), far, truth))

    assert torch.autograd.gradcheck(loss, (neck,), fast_mode=True)
