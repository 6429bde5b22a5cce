"""Properties of the methods on the head's answers."""

from dataclasses import replace

import pytest
import torch
from distillation_pairs import Output
from distillation_pairs import batch
from distillation_pairs import padded
from distillation_pairs import random_output
from distillation_pairs import targets

from kd3d_core.codec.heads import HEAD_NAMES
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.distillation.response import HeatmapKL
from kd3d_core.distillation.response import HeatmapKLConfig
from kd3d_core.distillation.response import PPLogit
from kd3d_core.distillation.response import PPLogitConfig


def kl(**options):
    return HeatmapKL(HeatmapKLConfig(**options))


def test_pp_logit_looks_only_where_teacher_and_truth_agree():
    student, teacher, truth = random_output(15), random_output(16), targets()
    far = truth.heatmap.amax(dim=1, keepdim=True) == 0
    assert far.any()
    changed = torch.where(far, student.maps.heatmap + 3, student.maps.heatmap)
    moved = Output(student.neck, replace(student.maps, heatmap=changed))
    first = PPLogit()(batch(student, teacher, truth))["pp_logit"]
    torch.testing.assert_close(PPLogit()(batch(moved, teacher, truth))["pp_logit"], first)


def test_heatmap_divergence_is_the_one_of_bernoulli_distributions():
    student, teacher, truth = random_output(1), random_output(2), targets()
    expected = torch.distributions.kl_divergence(
        torch.distributions.Bernoulli(logits=teacher.maps.heatmap),
        torch.distributions.Bernoulli(logits=student.maps.heatmap),
    )
    objects = truth.mask.sum()
    got = kl(focus=0, weight=3)(batch(student, teacher, truth))["heatmap_kl"]
    torch.testing.assert_close(got, 3 * expected.sum() / objects)
    apart = (student.maps.heatmap.sigmoid() - teacher.maps.heatmap.sigmoid()).abs()
    focused = kl(focus=1.5)(batch(student, teacher, truth))["heatmap_kl"]
    torch.testing.assert_close(focused, (expected * apart**1.5).sum() / objects)


@pytest.mark.parametrize("focus", [0, 0.5, 1, 2])
def test_heatmap_divergence_pulls_towards_the_teacher_and_rests_there(focus):
    student, teacher = random_output(3, grad=True), random_output(4)
    kl(focus=focus)(batch(student, teacher))["heatmap_kl"].backward()
    gap = student.maps.heatmap.sigmoid() - teacher.maps.heatmap.sigmoid()
    assert torch.equal(student.maps.heatmap.grad.sign(), gap.sign())
    same = random_output(3, grad=True)
    kl(focus=focus)(batch(same, random_output(3)))["heatmap_kl"].backward()
    assert same.maps.heatmap.grad.abs().max() < 1e-6


def test_heatmap_divergence_stays_finite_when_a_network_is_sure_or_sees_no_object():
    student, truth = random_output(5, grad=True), targets(counts=(0, 0))
    sure = Output(student.neck, replace(student.maps, heatmap=200 * random_output(6).maps.heatmap))
    term = kl()(batch(student, sure, truth))["heatmap_kl"]
    term.backward()
    assert torch.isfinite(term)
    assert torch.isfinite(student.maps.heatmap.grad).all()
    assert torch.isfinite(kl()(batch(sure, student, truth))["heatmap_kl"])


def test_heatmap_divergence_knows_nothing_of_padding():
    student, teacher, truth = random_output(7), random_output(8), targets()
    term = kl()(batch(student, teacher, truth))["heatmap_kl"]
    more = kl()(batch(student, teacher, padded(truth, 4, 9)))["heatmap_kl"]
    torch.testing.assert_close(more, term)


def test_grids_may_differ():
    coarse, fine = random_output(9, size=16), random_output(10, size=32)
    truth = targets()
    assert torch.isfinite(kl()(batch(coarse, fine, truth))["heatmap_kl"])


def test_heatmap_divergence_over_the_map_is_a_mean():
    student, teacher, truth = random_output(1), random_output(2), targets()
    pair = batch(student, teacher, truth)
    total = kl(focus=0)(pair)["heatmap_kl"] * truth.mask.sum()
    mean = kl(focus=0, over="map")(pair)["heatmap_kl"]
    torch.testing.assert_close(mean, total / student.maps.heatmap.numel())


def test_pp_logit_is_a_weighted_mean_over_cells_of_a_sum_over_classes():
    student, teacher, truth = random_output(1), random_output(2), targets()
    mine, theirs = (item.maps.heatmap.sigmoid() for item in (student, teacher))
    weight = theirs.amax(1) * truth.heatmap.amax(1)
    expected = 7 * (((mine - theirs) ** 2).sum(1) * weight).sum() / weight.sum()
    method = PPLogit(PPLogitConfig(weight=7, regression=0))
    terms = method(batch(student, teacher, truth))
    assert list(terms) == ["pp_logit"]
    torch.testing.assert_close(terms["pp_logit"], expected)
    assert method(batch(student, teacher, targets(counts=(0, 0))))["pp_logit"] == 0


def two_tasks(output, junk):
    """The maps with a task for each class: its own block repeats the map, the other is junk."""
    maps = output.maps
    blocks = {
        name: torch.cat([getattr(maps, name), torch.full_like(getattr(maps, name), junk)], dim=1)
        for name in HEAD_NAMES[1:]
    }
    return Output(output.neck, HeadMaps(heatmap=maps.heatmap, **blocks))


def test_pp_logit_takes_each_task_on_its_own():
    student, teacher, truth = random_output(1), random_output(2), targets(counts=(6, 6))
    method = PPLogit(PPLogitConfig(regression=0), tasks=((0, 1), (0, 1)))
    each = []
    for label in (0, 1):
        heat = [item.maps.heatmap[:, [label]].sigmoid() for item in (student, teacher)]
        weight = heat[1] * truth.heatmap[:, [label]]
        each.append(((heat[0] - heat[1]) ** 2 * weight).sum() / weight.sum())
    got = method(batch(student, teacher, truth))["pp_logit"]
    torch.testing.assert_close(got, 10 * torch.stack(each).mean())

    # Regressions are read from the block of the object's task: here that of class 0.
    cars = replace(truth, mask=truth.mask & (truth.label == 0))
    plain = PPLogit()(batch(student, teacher, cars))["pp_regression"]
    method = PPLogit(tasks=((0, 1), ()))
    pair = batch(two_tasks(student, 1e6), teacher, cars)
    torch.testing.assert_close(method(pair)["pp_regression"], plain)


@pytest.mark.parametrize(
    "method", [kl(focus=0), kl(focus=0, over="map"), PPLogit()], ids=["kl", "kl-map", "pp"]
)
def test_gradients_are_those_of_finite_differences(method):
    wide, told = (
        [getattr(random_output(seed).maps, name)[:, :, :6, :6].double() for name in HEAD_NAMES]
        for seed in (1, 2)
    )
    far = HeadMaps(*told)
    truth = targets()
    truth = replace(truth, cell=truth.cell % 36, heatmap=truth.heatmap[:, :, 4:10, 4:10])
    inputs = tuple(item.requires_grad_() for item in wide)

    def loss(*maps):
        student = Output(torch.zeros(2, 1, 6, 6), HeadMaps(*maps))
        terms = method(batch(student, Output(student.neck, far), truth))
        return torch.stack(list(terms.values())).sum()

    assert torch.autograd.gradcheck(loss, inputs, fast_mode=True)
