"""Properties of the methods on the head's answers."""

from dataclasses import replace

import pytest
import torch
from distillation_pairs import Output
from distillation_pairs import batch
from distillation_pairs import padded
from distillation_pairs import random_output
from distillation_pairs import targets

from kd3d_core.distillation.response import HeatmapKL
from kd3d_core.distillation.response import HeatmapKLConfig
from kd3d_core.distillation.response import PPLogit


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
