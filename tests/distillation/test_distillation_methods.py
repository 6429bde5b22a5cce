"""What holds for every method that a configuration can name."""

import typing

import pytest
import torch
from distillation_pairs import CLASSES
from distillation_pairs import GRID
from distillation_pairs import batch
from distillation_pairs import random_output
from distillation_pairs import targets
from pydantic import TypeAdapter

from kd3d_core.codec.grid import BevImageInput
from kd3d_core.distillation.itkd import ItKDConfig
from kd3d_core.distillation.kd3d import Kd3dConfig
from kd3d_core.distillation.methods import MethodConfig
from kd3d_core.distillation.methods import build_loss
from kd3d_core.distillation.rdd import RDDConfig
from kd3d_core.distillation.response import HeatmapKLConfig
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import ModelConfig

#: Every member of the union.
KINDS = typing.get_args(typing.get_args(MethodConfig)[0])
EVERY = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind().type)


def model(neck, name="m"):
    return ModelConfig(
        name=name,
        classes=CLASSES,
        grid=GRID,
        input=BevImageInput(),
        blocks=(BlockConfig(channels=4, layers=1), BlockConfig(channels=4, layers=1)),
        neck_channels=neck,
    )


def loss_of(kind, student=4):
    torch.manual_seed(0)
    return build_loss([kind()], model(student), model(12))


def test_the_names_are_those_of_the_configuration():
    names = {kind().type for kind in KINDS}
    assert names == {
        "kd3d", "itkd", "rdd", "heatmap_kl", "pp_logit", "fitnet", "gt_box", "point_distiller",
    }  # fmt: skip
    for name in names:
        assert TypeAdapter(MethodConfig).validate_python({"type": name}).type == name


@EVERY
def test_terms_are_finite_named_apart_and_reach_the_student_only(kind):
    student, teacher = random_output(1, 8, grad=True), random_output(2, grad=True)
    method = loss_of(kind)
    terms = method(batch(student, teacher))
    assert terms
    if kind not in (ItKDConfig, Kd3dConfig):
        assert all(name.startswith((kind().type.split("_")[0], "point")) for name in terms)
    torch.stack(list(terms.values())).sum().backward()
    assert all(torch.isfinite(term) and term.ndim == 0 for term in terms.values())
    reached = [item.grad for item in (student.neck, *student.maps.as_tuple())]
    assert any(grad is not None and grad.abs().sum() > 0 for grad in reached)
    told = (teacher.neck, *teacher.maps.as_tuple())
    assert all(item.grad is None or not item.grad.any() for item in told)
    assert all(not value.requires_grad and value.ndim == 0 for value in method.monitors().values())


@EVERY
def test_a_batch_without_objects_gives_numbers(kind):
    student = random_output(1, 8, grad=True)
    terms = loss_of(kind)(batch(student, random_output(2), targets(counts=(0, 0))))
    torch.stack(list(terms.values())).sum().backward()
    assert all(torch.isfinite(term) for term in terms.values())
    for item in (student.neck, *student.maps.as_tuple()):
        assert item.grad is None or torch.isfinite(item.grad).all()


@EVERY
def test_mixed_precision_gives_numbers_too(kind):
    pair = batch(random_output(1, 8), random_output(2))
    with torch.autocast("cpu", torch.bfloat16):
        terms = loss_of(kind)(pair)
    assert all(term.dtype == torch.float32 for term in terms.values())
    plain = loss_of(kind)(pair)
    for name, term in terms.items():
        torch.testing.assert_close(term, plain[name], rtol=0.1, atol=1e-2)


def test_several_methods_add_up():
    # kd3d is made of two of the others and has their names.
    configs = [kind() for kind in KINDS if kind is not Kd3dConfig]
    torch.manual_seed(0)
    every = build_loss(configs, model(4), model(12))
    terms = every(batch(random_output(1, 8), random_output(2)))
    assert len(terms) == sum(
        len(loss(batch(random_output(1, 8), random_output(2)))) for loss in every.losses
    )


def test_kd3d_is_its_two_parts():
    student, teacher = random_output(1, 8), random_output(2)
    torch.manual_seed(0)
    whole = build_loss([Kd3dConfig(scores=0.5)], model(4), model(12))
    torch.manual_seed(0)
    regions = RDDConfig(feature=0.5, logit=0.2, regression=0.2)
    parts = build_loss([regions, HeatmapKLConfig(weight=0.5)], model(4), model(12))
    mine, theirs = whole(batch(student, teacher)), parts(batch(student, teacher))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name])
    assert whole.monitors().keys() == {"rdd_keep_rate", "rdd_pairs"}
