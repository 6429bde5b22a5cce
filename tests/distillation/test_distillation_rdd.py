"""Properties of RDD that hold for every pair of networks."""

import itertools
from dataclasses import replace

import pytest
import torch
from distillation_pairs import GRID
from distillation_pairs import Output
from distillation_pairs import batch
from distillation_pairs import random_output
from distillation_pairs import targets
from pydantic import ValidationError

from kd3d_core.codec.heads import HeadMaps
from kd3d_core.distillation.methods import CombinedLoss
from kd3d_core.distillation.methods import build_loss
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.rdd import RDD
from kd3d_core.distillation.rdd import RDDConfig
from kd3d_core.distillation.rdd import distribution
from kd3d_core.distillation.rdd import select
from kd3d_core.models.presets import preset


def rdd(student=24, teacher=24, **options):
    torch.manual_seed(0)
    return RDD(student, teacher, RDDConfig(**options))


def test_identical_networks_have_no_disparity():
    same = random_output(0)
    method = rdd(threshold=0, regression=1)
    terms = method(batch(same, same))
    assert terms["rdd_logit"] == 0
    assert terms["rdd_feature"] == 0
    assert method.monitors()["rdd_keep_rate"] == 0
    assert method.monitors()["rdd_pairs"] > 0
    # The feature loss alone would not be 0, because of the adapter: the selection makes it so.
    feature = torch.randn(3, 24, 5, 5)
    assert (method.distance(feature, feature) == 0).all()
    assert (method.distance(method.adapter(feature), feature) > 0).all()


def test_distributions_sum_to_one_and_ignore_what_all_channels_share():
    feature = torch.randn(4, 24, 5, 5) * 3
    made = distribution(feature, 4.0)
    torch.testing.assert_close(made.sum(dim=1), torch.ones(4, 5, 5))
    torch.testing.assert_close(distribution(feature + 10 * torch.randn(4, 1, 5, 5), 4.0), made)
    assert distribution(feature, 100.0).std() < made.std()


def test_the_distance_is_about_that_of_the_features_for_any_width_and_temperature():
    for channels, tau in ((12, 4.0), (192, 4.0), (192, 16.0)):
        pair = torch.randn(2, 8, channels, 5, 5) * 0.5
        pair = pair - pair.mean(dim=2, keepdim=True)
        plain = (pair[0] - pair[1]).square().mean(dim=1).sqrt().sum(dim=(1, 2))
        got = rdd(temperature=tau).distance(pair[0], pair[1])
        torch.testing.assert_close(got, plain, rtol=0.1, atol=0)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 1.0, 1.7])
def test_the_selection_minimises_the_inner_problem(threshold):
    disparity = torch.rand(8, generator=torch.Generator().manual_seed(3)).double()
    cost = threshold - disparity / disparity.mean()
    choices = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8))).double()
    best = choices[(choices @ cost).argmin()]
    assert torch.equal(select(disparity, threshold), best)
    inside = torch.rand(1000, 8).double()  # and no m between 0 and 1 is better
    assert (inside @ cost).min() >= best @ cost
    assert torch.equal(select(1e3 * disparity, threshold), best)


@pytest.mark.parametrize("disparity", ["feature", "score"])
def test_the_keep_rate_falls_with_lambda(disparity):
    pair = batch(random_output(1, channels=12), random_output(2))
    rates = []
    for threshold in (0.0, 0.5, 0.9, 1.0, 1.1, 1.5, 50.0):
        method = rdd(12, threshold=threshold, disparity=disparity)
        terms = method(pair)
        rates.append(float(method.monitors()["rdd_keep_rate"]))
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[3] < 1
    assert rates[-1] == 0
    assert terms["rdd_feature"] == 0


def test_the_terms_equal_their_definition():
    student, teacher = random_output(3, channels=12), random_output(4)
    method = rdd(12, threshold=1.0, teacher_proposals=6, student_proposals=4, region=1).eval()
    terms = method(batch(student, teacher))
    feature, logit, distances = [], [], []
    for frame, proposer, count in itertools.product((0, 1), (student, teacher), (4, 6)):
        if (proposer is student) != (count == 4):
            continue
        score = proposer.maps.heatmap[frame].sigmoid()
        cells = []
        for k, y, x in itertools.product(range(2), range(16), range(16)):
            window = score[k, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if score[k, y, x] == window.max():
                cells.append((float(score[k, y, x]), y, x))
        places = list(dict.fromkeys((y, x) for _, y, x in sorted(cells, reverse=True)))[:count]
        for y, x in places:
            mine = method.adapter(student.neck[frame, :, y, x][None, :, None, None]).flatten()
            apart = (mine / 4).softmax(0) - (teacher.neck[frame, :, y, x] / 4).softmax(0)
            distances.append(4 * 24**0.5 * apart.norm())
            scores = [one.maps.heatmap[frame, :, y, x].sigmoid() for one in (student, teacher)]
            logit.append((scores[0] - scores[1]).abs().sum())
    feature, logit = torch.stack(distances), torch.stack(logit)
    kept = feature > feature.mean()
    assert len(kept) == 20
    torch.testing.assert_close(terms["rdd_feature"], 0.2 * feature[kept].sum() / 20)
    torch.testing.assert_close(terms["rdd_logit"], 0.2 * logit[kept].sum() / 20)


def test_no_proposal_gives_zero_and_no_gradient():
    student, teacher = random_output(5, channels=12, grad=True), random_output(6)
    method = rdd(12, score=0.9999)
    terms = method(batch(student, teacher))
    assert set(terms) == {"rdd_feature", "rdd_logit"}
    assert all(value == 0 for value in terms.values())
    assert method.monitors()["rdd_keep_rate"] == 0
    sum(terms.values()).backward()
    for value in (student.neck, student.maps.heatmap, *method.parameters()):
        assert (value.grad == 0).all()


def test_gradient_reaches_the_student_and_never_the_teacher():
    student, teacher = random_output(7, channels=12, grad=True), random_output(8, grad=True)
    method = rdd(12, regression=0.5)
    sum(method(batch(student, teacher)).values()).backward()
    for value in (student.neck, *student.maps.as_tuple(), *method.parameters()):
        assert value.grad.abs().sum() > 0
    assert teacher.neck.grad is None
    assert all(item.grad is None for item in teacher.maps.as_tuple())


def test_the_order_of_frames_and_the_objects_do_not_matter():
    student, teacher = random_output(9, channels=12), random_output(10)
    first = rdd(12)(batch(student, teacher))

    def turned(one):
        return Output(one.neck.flip(0), HeadMaps(*(item.flip(0) for item in one.maps.as_tuple())))

    for pair in (
        batch(turned(student), turned(teacher)),
        batch(student, teacher, targets(counts=(0, 0))),
    ):
        again = rdd(12)(pair)
        for name, value in first.items():
            torch.testing.assert_close(again[name], value)


def test_both_networks_propose():
    student, teacher = random_output(11, channels=12), random_output(12)
    blind = Output(
        student.neck, replace(student.maps, heatmap=torch.full_like(student.maps.heatmap, -9.0))
    )
    count = {}
    for name, pair in {"both": (student, teacher), "teacher": (blind, teacher)}.items():
        method = rdd(12, teacher_proposals=5, student_proposals=3)
        method(batch(*pair))
        count[name] = method.monitors()["rdd_pairs"]
    assert count == {"both": 8, "teacher": 5}
    with pytest.raises(ValidationError, match="one of them"):
        RDDConfig(teacher_proposals=0, student_proposals=0)


@pytest.mark.parametrize("sizes", [(8, 16), (16, 8), (16, 32)])
def test_grids_may_differ(sizes):
    student = random_output(13, channels=8, size=sizes[0], grad=True)
    teacher, truth = random_output(14, size=sizes[1]), targets(grid=GRID)
    pair = DistillationBatch(student, teacher, truth, truth, 16 / sizes[0], 16 / sizes[1])
    terms = rdd(8, regression=0.1)(pair)
    assert all(torch.isfinite(value) and value > 0 for value in terms.values())
    sum(terms.values()).backward()
    assert torch.isfinite(student.neck.grad).all()


def test_regression_reads_the_task_of_the_class():
    one, other = random_output(15), random_output(16)

    def doubled(output, junk):
        """Two tasks that say the same, but the block that nobody reads is junk."""
        first, *rest = output.maps.as_tuple()
        blocks = [torch.cat([torch.full_like(item, junk), item], dim=1) for item in rest]
        return Output(output.neck, HeadMaps(first, *blocks))

    plain = rdd(regression=1.0)(batch(one, other))
    torch.manual_seed(0)
    # Task 0 has no class here, so that all are read from the second block.
    method = RDD(24, 24, RDDConfig(regression=1.0), ((1, 1), (1, 1)))
    tasked = method(batch(doubled(one, 50.0), doubled(other, -50.0)))
    for name, value in plain.items():
        torch.testing.assert_close(tasked[name], value)


def test_the_monitors_of_several_methods_are_joined():
    loss = build_loss([RDDConfig()], preset("tiny"), preset("half"))
    assert isinstance(loss.losses[0], RDD)
    both = CombinedLoss([rdd(12), rdd(12)])
    assert both.monitors() == {}
    both(batch(random_output(17, channels=12), random_output(18)))
    assert set(both.monitors()) == {"rdd_keep_rate", "rdd_pairs"}
    assert not any(value.requires_grad for value in both.monitors().values())
