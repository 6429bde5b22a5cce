"""Costs against hand computation and against published numbers."""

import pytest
import torch
from small_models import small_model

from kd3d_core.codec.grid import BevGrid
from kd3d_core.models.complexity import count
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.detector import build_detector
from kd3d_core.models.presets import PRESETS
from kd3d_core.models.presets import preset


def test_layers_by_hand():
    cost = count(small_model(), pillars=100)
    by_name = {layer.name: layer for layer in cost.layers}
    assert cost.layers[0].name == "encoder"
    assert by_name["encoder"].macs == 100 * 6 * 9 * 8
    assert by_name["backbone.stages.0.0.0"].macs == 8 * 8 * 8 * 8 * 9
    assert by_name["backbone.stages.1.0.0"].macs == 4 * 4 * 8 * 12 * 9
    assert by_name["neck.levels.0.0"].macs == 8 * 8 * 8 * 5
    assert by_name["neck.levels.1.0"].macs == 8 * 8 * 12 * 5  # one tap of the kernel each output
    assert by_name["head.outputs.size"].macs == 8 * 8 * 4 * 3 * 9
    assert by_name["head.outputs.size"].parameters == 4 * 3 * 9 + 3
    assert cost.macs == sum(layer.macs for layer in cost.layers)
    assert cost.parameters == sum(p.numel() for p in build_detector(small_model()).parameters())


def test_counting_leaves_the_network_as_it_was():
    detector = build_detector(small_model("bev_image")).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    count(detector)
    assert detector.training
    assert all(not module._forward_hooks for module in detector.modules())
    for name, value in detector.state_dict().items():
        assert torch.equal(value, before[name])


def _published(channels, neck):
    """CP-Pillar on Waymo: 468 x 468 cells, three classes, first block at stride 1."""
    blocks = zip(channels, (3, 5, 5), (1, 2, 2), strict=True)
    return ModelConfig(
        name="published",
        classes=("vehicle", "pedestrian", "cyclist"),
        grid=BevGrid(x=(-74.88, 74.88), y=(-74.88, 74.88)),
        blocks=tuple(BlockConfig(channels=c, layers=n, stride=s) for c, n, s in blocks),
        neck_channels=neck,
    )


def test_parameters_and_ratios_of_the_papers():
    """RDD (ICCV 2023) prints 5.22 M; itKD's half is 3.44 times smaller, 2.21 times fewer MACs."""
    costs = []
    for channels, neck in (((64, 128, 256), 128), ((32, 64, 128), 64)):
        cost = count(_published(channels, neck), pillars=0)
        # The published network has no velocity: leave out its branch.
        output = next(x for x in cost.layers if x.name == "head.outputs.velocity")
        branch = 64 * 64 * 9
        parameters = cost.parameters - output.parameters - branch - 2 * 64
        costs.append((parameters, cost.macs - output.macs - branch * 468 * 468))
    assert costs[0][0] / 1e6 == pytest.approx(5.22, abs=0.005)
    assert costs[0][0] / costs[1][0] == pytest.approx(3.44, abs=0.01)
    assert costs[0][1] / costs[1][1] == pytest.approx(2.21, abs=0.01)


def test_presets_shrink_in_order_and_tiny_stays_in_its_budget():
    costs = [count(preset(name)) for name in PRESETS]
    assert [c.macs for c in costs] == sorted((c.macs for c in costs), reverse=True)
    assert [c.parameters for c in costs] == sorted((c.parameters for c in costs), reverse=True)
    assert costs[-1].macs < 2.5e9
