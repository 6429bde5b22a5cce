"""Properties of itKD and PP-logit that hold for every pair of networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from distillation_pairs import GRID
from distillation_pairs import WIDTHS
from distillation_pairs import Output
from distillation_pairs import batch
from distillation_pairs import boxes
from distillation_pairs import padded
from distillation_pairs import permuted
from distillation_pairs import random_output
from distillation_pairs import targets
from pydantic import ValidationError

from kd3d_core.codec.grid import BevGrid
from kd3d_core.distillation.attention import HeadAttention
from kd3d_core.distillation.attention import attention_matrix
from kd3d_core.distillation.itkd import AutoEncoder
from kd3d_core.distillation.itkd import ItKD
from kd3d_core.distillation.itkd import ItKDConfig
from kd3d_core.distillation.methods import build_loss
from kd3d_core.distillation.protocol import DistillationBatch
from kd3d_core.distillation.protocol import footprints
from kd3d_core.distillation.protocol import gather_cells
from kd3d_core.distillation.response import HeatmapKL
from kd3d_core.distillation.response import HeatmapKLConfig
from kd3d_core.distillation.response import PPLogit
from kd3d_core.distillation.response import PPLogitConfig
from kd3d_core.errors import Kd3dError
from kd3d_core.models.presets import preset


def itkd(student=24, teacher=24, **options):
    torch.manual_seed(0)
    return ItKD(student, teacher, WIDTHS, ItKDConfig(**options))


def test_identical_networks_differ_in_nothing_but_the_reconstruction():
    same = random_output(0)
    terms = itkd()(batch(same, same)) | PPLogit()(batch(same, same))
    assert terms["itkd_compressed"] == 0
    assert terms["itkd_attention"] == 0
    assert terms["pp_logit"] == 0
    assert terms["pp_regression"] == 0
    assert terms["itkd_interchange"] > 0


@pytest.mark.parametrize("heatmap", ["sigmoid", "logits"])
def test_attention_is_zero_for_identical_heads_in_both_conventions(heatmap):
    same = random_output(1)
    assert itkd(heatmap=heatmap)(batch(same, same))["itkd_attention"] == 0
    other = random_output(2)
    assert itkd(heatmap=heatmap)(batch(other, same))["itkd_attention"] > 0


def test_attention_columns_sum_to_one():
    values = torch.randn(3, 7, 5) * 4
    matrix = attention_matrix(values, torch.tensor([7, 7, 7]))
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(3, 5))
    # Against the definition written out for one frame.
    x = values[1].double()
    plain = torch.exp(x.T @ x / 7**0.5)
    plain = plain / plain.sum(dim=0, keepdim=True)
    torch.testing.assert_close(matrix[1].double(), plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("method", [itkd(), itkd(fusion="learned", pool=2), PPLogit()])
def test_terms_know_neither_the_order_of_objects_nor_the_padding(method):
    student, teacher, truth = random_output(3), random_output(4), targets()
    plain = method(batch(student, teacher, truth))
    order = torch.tensor([3, 0, 4, 2, 1])
    for changed in (
        permuted(truth, order),
        padded(truth, 6, 0.0),
        padded(truth, 6, 3.0),
    ):
        for name, value in method(batch(student, teacher, changed)).items():
            torch.testing.assert_close(value, plain[name], atol=1e-6, rtol=1e-5)


def test_values_under_padding_reach_neither_loss_nor_gradient():
    mask = torch.tensor([[True, True, False]])
    head = HeadAttention(4)
    values = torch.randn(1, 3, 4)
    poisoned = values.clone()
    poisoned[0, 2] = 1e3
    teacher = [torch.randn(1, 3, 4)]
    torch.testing.assert_close(
        head.loss([values], teacher, mask), head.loss([poisoned], teacher, mask)
    )


@pytest.mark.parametrize("options", [{}, {"compressed_on": "map"}, {"pool": 2}])
def test_no_object_at_all_gives_numbers(options):
    empty = targets(counts=(0, 0))
    student, teacher = random_output(5, grad=True), random_output(6)
    terms = itkd(**options)(batch(student, teacher, empty)) | PPLogit()(
        batch(student, teacher, empty)
    )
    assert all(torch.isfinite(value) for value in terms.values())
    assert terms["itkd_attention"] == 0
    assert terms["pp_logit"] == 0
    sum(terms.values()).backward()
    assert torch.isfinite(student.neck.grad).all()


def test_gradient_reaches_the_student_and_never_the_teacher():
    student, teacher = random_output(7, channels=12, grad=True), random_output(8)
    method = itkd(student=12)
    terms = method(batch(student, teacher)) | PPLogit()(batch(student, teacher))
    sum(terms.values()).backward()
    for part in (student.neck, *student.maps.as_tuple()):
        assert part.grad.abs().sum() > 0
    assert teacher.neck.grad is None
    assert all(p.grad.abs().sum() > 0 for p in method.buffer.parameters())


def test_autoencoder_learns_from_both_branches():
    # |D(E(s)) - t| + |D(E(t)) - s|: with s = 0 and all biases 0, only the teacher's branch has
    # a gradient, and the other way round.
    for silent in ("student", "teacher"):
        method = itkd(compressed=0, attention=0, center_l2=False)
        for name, weight in method.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.zeros_(weight)
        outputs = {"student": random_output(9), "teacher": random_output(10)}
        quiet = outputs[silent]
        outputs[silent] = Output(torch.zeros_like(quiet.neck), quiet.maps)
        method(batch(**outputs))["itkd_interchange"].backward()
        first = method.autoencoder.encoder[0].weight
        assert first.grad.abs().sum() > 0


def test_autoencoder_has_the_published_widths():
    network = AutoEncoder(384)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [128, 64, 32, 64, 128, 384]
    weights = sum(p.numel() for p in network.parameters())
    assert weights == 2 * (384 * 128 + 128 * 64 + 64 * 32) + 2 * 128 + 2 * 64 + 32 + 384


def test_interchange_equals_its_definition():
    student, teacher, truth = random_output(11), random_output(12), targets()
    method = itkd()
    code_s, from_s = method.autoencoder(student.neck)
    code_t, from_t = method.autoencoder(teacher.neck)
    inside = footprints(truth, (16, 16), 1.0).expand_as(code_s)
    wanted = (code_s - code_t).abs()[inside].mean()
    terms = method(batch(student, teacher, truth))
    torch.testing.assert_close(terms["itkd_compressed"], wanted)
    wanted = (from_s - teacher.neck).abs().mean() + (from_t - student.neck).abs().mean()
    for made, aim in ((from_s, teacher.neck), (from_t, student.neck)):
        error = (gather_cells(made, truth.cell) - gather_cells(aim, truth.cell))[truth.mask]
        wanted = wanted + (error**2).mean()
    torch.testing.assert_close(terms["itkd_interchange"], wanted)


def test_grids_may_differ():
    fine, coarse = GRID, BevGrid(x=(-8, 8), y=(-8, 8), cell=1.0)
    truth, small = targets(grid=fine), targets(grid=coarse)
    pair = DistillationBatch(
        random_output(13, channels=8, size=8, grad=True), random_output(14), small, truth, 2.0, 1.0
    )
    terms = itkd(student=8)(pair) | PPLogit()(pair)
    assert all(torch.isfinite(value) for value in terms.values())
    sum(terms.values()).backward()


def test_footprints_are_the_cells_whose_centres_lie_in_a_box():
    truth = targets(counts=(5, 0))
    covered = footprints(truth, (16, 16), 1.0)
    assert not covered[1].any()
    y, x = np.meshgrid(np.arange(16) - 7.5, np.arange(16) - 7.5, indexing="ij")
    objects = boxes(0, 5)
    flat = replace(objects, center=objects.center * [1, 1, 0])
    points = np.stack([x.ravel(), y.ravel(), np.zeros(256)], 1).astype(np.float32)
    expected = flat.contains(points).any(axis=0)
    expected[truth.cell[0].numpy()] = True
    np.testing.assert_array_equal(covered[0, 0].numpy().ravel(), expected)


def test_learned_fusion_is_a_convex_combination():
    head = HeadAttention(6, "learned")
    values, mask = [torch.randn(1, 4, 2), torch.randn(1, 4, 4)], torch.ones(1, 4, dtype=torch.bool)
    torch.testing.assert_close(head(values, mask), HeadAttention(6)(values, mask))
    torch.nn.init.constant_(head.balance, 40.0)
    inter = head(values, mask)
    torch.nn.init.constant_(head.balance, -40.0)
    intra = head(values, mask)
    torch.testing.assert_close((inter + intra) / 2, HeadAttention(6)(values, mask))
    assert (inter - intra).abs().max() > 1e-3


def test_pairs_that_do_not_fit_are_refused():
    student, teacher = preset("tiny"), preset("half")
    loss = build_loss([ItKDConfig(), PPLogitConfig(), HeatmapKLConfig()], student, teacher)
    assert [type(one) for one in loss.losses] == [ItKD, PPLogit, HeatmapKL]
    with pytest.raises(Kd3dError, match="classes"):
        build_loss([ItKDConfig()], student, teacher.model_copy(update={"classes": ("car",)}))
    small = teacher.model_copy(update={"grid": GRID})
    with pytest.raises(Kd3dError, match="range"):
        build_loss([ItKDConfig()], student, small)


def published(student=12, **options):
    """The variant of the published code."""
    return itkd(
        student, compressed_on="map", decoder="narrow", heatmap="mixed", fusion="free",
        attention_over="objects_sum", **options,
    )  # fmt: skip


def test_the_published_code_decodes_to_the_students_width():
    student, teacher, truth = random_output(15, channels=12), random_output(16), targets()
    method = published(center_l2=False)
    lifted = method.buffer(student.neck)
    code_s, from_s = method.autoencoder(lifted)
    code_t, from_t = method.autoencoder(teacher.neck)
    assert from_s.shape[1] == from_t.shape[1] == 12
    terms = method(batch(student, teacher, truth))
    torch.testing.assert_close(terms["itkd_compressed"], (code_s - code_t).abs().mean())
    wanted = (method.buffer(from_s) - teacher.neck).abs().mean()
    wanted = wanted + (from_t - student.neck).abs().mean()
    torch.testing.assert_close(terms["itkd_interchange"], wanted)


def test_the_published_attention_differs_between_identical_heads():
    same = random_output(17)
    assert published(24)(batch(same, same))["itkd_attention"] > 0.1
    fair = published(24).config.model_copy(update={"heatmap": "logits"})
    assert ItKD(24, 24, WIDTHS, fair)(batch(same, same))["itkd_attention"] == 0


def test_the_attention_of_an_object_is_a_mean_or_a_sum_over_channels():
    pair = batch(random_output(18), random_output(19))
    mean = itkd()(pair)["itkd_attention"]
    torch.testing.assert_close(
        itkd(attention_over="objects_sum")(pair)["itkd_attention"], sum(WIDTHS) * mean
    )


def test_self_reconstruction_compares_each_network_with_itself():
    student, teacher = random_output(20), random_output(21)
    method = itkd(reconstruct="self", center_l2=False)
    wanted = sum(
        (method.autoencoder(one.neck)[1] - one.neck).abs().mean() for one in (student, teacher)
    )
    torch.testing.assert_close(method(batch(student, teacher))["itkd_interchange"], wanted)


def test_the_buffer_may_bring_the_teacher_to_the_students_width():
    student, teacher = random_output(22, channels=12, grad=True), random_output(23)
    method = itkd(12, lift="teacher")
    assert method.buffer.weight.shape[:2] == (12, 24)
    assert method.autoencoder.decoder[-1].out_channels == 12
    sum(method(batch(student, teacher)).values()).backward()
    assert method.buffer.weight.grad.abs().sum() > 0
    assert student.neck.grad.abs().sum() > 0
    with pytest.raises(ValidationError, match="narrow"):
        ItKDConfig(lift="teacher", decoder="narrow")


def test_detached_the_teachers_decoded_feature_does_not_pull_at_the_student():
    # |D(E(t)) - s| is all that is left when the student's own branch is silent.
    pulled = {}
    for detach in (False, True):
        student, teacher = random_output(24, grad=True), random_output(25)
        method = itkd(detach=detach, compressed=0, attention=0)
        for weight in method.autoencoder.parameters():
            torch.nn.init.zeros_(weight)
        method(batch(student, teacher))["itkd_interchange"].backward()
        pulled[detach] = float(student.neck.grad.abs().sum())
    assert pulled[True] == 0
    assert pulled[False] > 0


def test_a_free_fusion_that_collapses_is_seen():
    method = published()
    assert method.monitors()["itkd_fusion"] == 1
    with torch.no_grad():
        method.attention.mix.weight.mul_(0.25)
    torch.testing.assert_close(method.monitors()["itkd_fusion"], torch.tensor(0.25))
    assert itkd().monitors() == {}


def test_of_several_tasks_that_of_the_objects_class_counts():
    student, teacher, truth = random_output(26), random_output(27), targets()

    def tasked(output):
        """Blocks of two tasks, of which each object's own says what the plain head says."""
        first, *rest = output.maps.as_tuple()
        blocks = []
        for item in rest:
            both = item.repeat(1, 2, 1, 1)
            for frame, slot in truth.mask.nonzero().tolist():
                row, column = divmod(int(truth.cell[frame, slot]), 16)
                block = 1 - int(truth.label[frame, slot])
                other = slice(block * item.shape[1], (block + 1) * item.shape[1])
                both[frame, other, row, column] = 77.0
            blocks.append(both)
        return Output(output.neck, type(output.maps)(first, *blocks))

    plain = itkd()(batch(student, teacher, truth))["itkd_attention"]
    torch.manual_seed(0)
    both = ItKD(24, 24, WIDTHS, ItKDConfig(), ((0, 1), ()))
    got = both(batch(tasked(student), teacher, truth))["itkd_attention"]
    torch.testing.assert_close(got, plain)
