"""Properties of PointDistiller that hold for every pair of networks."""

import pytest
import torch
from distillation_pairs import GRID
from distillation_pairs import Output
from distillation_pairs import batch
from distillation_pairs import random_output
from distillation_pairs import targets

from kd3d_core.distillation.methods import build_loss
from kd3d_core.distillation.pointdistiller import PointDistiller
from kd3d_core.distillation.pointdistiller import PointDistillerConfig
from kd3d_core.distillation.pointdistiller import important
from kd3d_core.distillation.pointdistiller import nearest_in_feature
from kd3d_core.distillation.pointdistiller import nearest_on_ground
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.models.presets import preset


def distiller(student=24, teacher=24, **options):
    torch.manual_seed(0)
    return PointDistiller(student, teacher, PointDistillerConfig(cells=32, **options))


@pytest.mark.parametrize("graph", ["ground", "feature"])
def test_a_student_that_is_its_teacher_starts_at_zero(graph):
    same, other = random_output(0), random_output(1)
    assert distiller(graph=graph)(batch(same, same))["point_distiller"] == 0
    assert distiller(graph=graph)(batch(other, same))["point_distiller"] > 0.1


def test_the_most_important_cells_weigh_most():
    teacher = random_output(2).neck
    cell, share = important(teacher, 20, 0.5)
    strength = teacher.amax(dim=1).flatten(1)
    for frame in range(2):
        picked = strength[frame, cell[frame]]
        rest = strength[frame].clone()
        rest[cell[frame]] = -9
        assert picked.min() >= rest.max()
        assert torch.equal(share[frame], share[frame].sort(descending=True).values)
    torch.testing.assert_close(share.mean(dim=1), torch.ones(2))
    # Neither the scale of the teacher nor a cold or hot softmax leave the mean.
    torch.testing.assert_close(important(1e3 * teacher, 20, 0.5)[1], share)
    assert important(teacher, 20, 100.0)[1].std() < share.std()
    assert important(teacher, 999, 0.5)[0].shape == (2, 256)


def test_neighbours_on_the_ground_are_the_nearest():
    cell = torch.tensor([[5 * 16 + 7, 0]])
    nodes = nearest_on_ground(cell, (16, 16), 13)
    row, column = nodes // 16, nodes % 16
    assert torch.equal(nodes[..., 0], cell)
    far = (row[0, 0] - 5) ** 2 + (column[0, 0] - 7) ** 2
    assert far.tolist() == [0, *[1] * 4, *[2] * 4, *[4] * 4]
    assert len(set(nodes[0, 0].tolist())) == 13
    assert (row[0, 1] >= 0).all()
    assert (row[0, 1] <= 2).all()
    assert (column[0, 1] <= 2).all()


def test_neighbours_by_feature_are_the_most_alike():
    feature = random_output(3).neck
    cell = torch.tensor([[5, 77], [200, 13]])
    nodes = nearest_in_feature(cell, feature, 6)
    flat = feature.flatten(2).transpose(1, 2)
    # Of all cells, since 16 times two are candidates; make them all candidates by asking of all.
    everywhere = torch.arange(256).expand(2, -1)
    complete = nearest_in_feature(everywhere, feature, 6)
    for frame in range(2):
        wanted = torch.cdist(flat[frame], flat[frame]).topk(6, largest=False).indices
        assert torch.equal(complete[frame].sort().values, wanted.sort().values)
    strong = flat.amax(dim=2).topk(32, dim=1).indices
    for frame in range(2):
        assert set(nodes[frame].flatten().tolist()) <= set(strong[frame].tolist())


def test_the_term_equals_its_definition():
    student, teacher = random_output(4, channels=12), random_output(5)
    method = distiller(12, neighbours=5, weight=3.0)
    cell, share = important(teacher.neck, 32, 0.5)
    nodes = nearest_on_ground(cell, (16, 16), 5)
    edges = []
    for layer, neck in ((method.student, student.neck), (method.teacher, teacher.neck)):
        flat = neck.flatten(2).transpose(1, 2)
        frame = torch.arange(2)[:, None, None]
        centre = flat[frame, cell[..., None]].expand(-1, -1, 5, -1)
        pairs = torch.cat([centre, flat[frame, nodes]], dim=-1)
        weight = torch.cat([layer.centre.weight, layer.neighbour.weight], dim=1).flatten(1)
        linear = (pairs @ weight.T).flatten(0, 2)
        made = (linear - linear.mean(0)) / (linear.var(0, unbiased=False) + 1e-3).sqrt()
        edges.append(made.relu().view(2, 32, 5, -1))
    wanted = 3 * (share * (edges[0] - edges[1]).square().mean(dim=(2, 3))).mean()
    got = method(batch(student, teacher))["point_distiller"]
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("graph", ["ground", "feature"])
def test_gradient_reaches_the_student_and_never_the_teacher(graph):
    student, teacher = random_output(6, channels=12, grad=True), random_output(7, grad=True)
    method = distiller(12, graph=graph)
    method(batch(student, teacher))["point_distiller"].backward()
    assert student.neck.grad.abs().sum() > 0
    assert teacher.neck.grad is None
    assert all(weight.grad.abs().sum() > 0 for weight in method.parameters())


def test_the_teacher_cannot_be_shrunk_to_nothing():
    teacher = random_output(8)
    method = distiller()
    first = method(batch(random_output(9), teacher))["point_distiller"]
    with torch.no_grad():
        for weight in method.parameters():
            weight.mul_(30.0)
    torch.testing.assert_close(
        method(batch(random_output(9), teacher))["point_distiller"], first, rtol=0.05, atol=0
    )


def test_objects_do_not_matter_nor_do_cells_that_are_not_distilled():
    student, teacher = random_output(10, channels=12), random_output(11)
    first = distiller(12)(batch(student, teacher))["point_distiller"]
    empty = batch(student, teacher, targets(counts=(0, 0)))
    assert distiller(12)(empty)["point_distiller"] == first
    cell, _ = important(teacher.neck, 32, 0.5)
    seen = torch.zeros(2, 256, dtype=torch.bool)
    seen.scatter_(1, nearest_on_ground(cell, (16, 16), 16).flatten(1), True)
    other = torch.where(seen.view(2, 1, 16, 16), student.neck, student.neck + 5)
    assert not seen.all()
    moved = batch(Output(other, student.maps), teacher)
    torch.testing.assert_close(distiller(12)(moved)["point_distiller"], first)


def test_grids_may_differ():
    student, truth = random_output(12, channels=8, size=8, grad=True), targets(grid=GRID)
    pair = DistillationBatch(student, random_output(13), truth, truth, 2.0, 1.0)
    term = distiller(8)(pair)["point_distiller"]
    term.backward()
    assert 0 < term < 10
    assert torch.isfinite(student.neck.grad).all()


def test_it_is_a_method_of_the_configuration():
    loss = build_loss([PointDistillerConfig()], preset("tiny"), preset("half"))
    assert isinstance(loss.losses[0], PointDistiller)
