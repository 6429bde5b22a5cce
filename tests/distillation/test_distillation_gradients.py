"""Gradients of the methods against finite differences, in float64."""

from dataclasses import replace

import pytest
import torch
from distillation_pairs import WIDTHS
from distillation_pairs import Output
from distillation_pairs import batch
from distillation_pairs import in_double
from distillation_pairs import random_output
from distillation_pairs import targets

from kd3d_core.codec.grid import BevGrid
from kd3d_core.distillation.itkd import ItKD
from kd3d_core.distillation.itkd import ItKDConfig
from kd3d_core.distillation.pointdistiller import PointDistiller
from kd3d_core.distillation.pointdistiller import PointDistillerConfig
from kd3d_core.distillation.rdd import RDD
from kd3d_core.distillation.rdd import RDDConfig

SMALL = BevGrid(x=(-8, 8), y=(-8, 8), cell=1.0)
PUBLISHED = {"compressed_on": "map", "decoder": "narrow", "heatmap": "mixed", "fusion": "free"}
METHODS = {
    "rdd": lambda a, b: RDD(a, b, RDDConfig(regression=0.5, threshold=0.9, region=3)),
    "rdd_score": lambda a, b: RDD(a, b, RDDConfig(disparity="score", threshold=0.9)),
    "itkd": lambda a, b: ItKD(a, b, WIDTHS, ItKDConfig(fusion="learned")),
    "itkd_published": lambda a, b: ItKD(a, b, WIDTHS, ItKDConfig(**PUBLISHED)),
    "itkd_to_student": lambda a, b: ItKD(a, b, WIDTHS, ItKDConfig(lift="teacher", pool=2)),
    "point_ground": lambda a, b: PointDistiller(
        a, b, PointDistillerConfig(cells=8, neighbours=5, channels=4)
    ),
    "point_feature": lambda a, b: PointDistiller(
        a, b, PointDistillerConfig(cells=8, neighbours=5, channels=4, graph="feature")
    ),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("widths", [(3, 4), (4, 4)])
def test_the_gradient_is_that_of_the_loss(name, widths):
    torch.manual_seed(0)
    method = METHODS[name](*widths).double()
    outputs = [random_output(i, width, size=8, frames=1) for i, width in enumerate(widths)]
    student, teacher = (in_double(one) for one in outputs)
    truth = targets(counts=(4,), grid=SMALL)

    def loss(neck, heatmap):
        made = Output(neck, replace(student.maps, heatmap=heatmap))
        return torch.stack(list(method(batch(made, teacher, truth)).values())).sum()

    inputs = (student.neck.requires_grad_(), student.maps.heatmap.requires_grad_())
    assert loss(*inputs).dtype == torch.float64
    # Along random directions: element by element takes some hundred times as long.
    assert torch.autograd.gradcheck(loss, inputs, atol=1e-6, rtol=1e-4, fast_mode=True)
