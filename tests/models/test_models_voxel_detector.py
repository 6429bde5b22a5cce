"""Detectors on voxels: shapes, gradients, batches, crops, presets, costs."""

import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from small_voxels import VOXEL_GRID
from small_voxels import small_voxel_model

from kd3d_core.codec.heads import head_channels
from kd3d_core.codec.inputs import encode
from kd3d_core.codec.targets import make_targets
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.batch import collate
from kd3d_core.models.batch import collate_targets
from kd3d_core.models.complexity import count
from kd3d_core.models.detector import build_detector
from kd3d_core.models.losses import CenterLoss
from kd3d_core.models.presets import preset
from kd3d_core.models.presets_voxel import VOXEL_MAKERS
from kd3d_core.models.sparse_cost import sparse_macs


@pytest.fixture
def spconv():
    """The package, where there is one."""
    return pytest.importorskip(
        "spconv.pytorch", reason="spconv is not installed (pip install spconv-cu120)"
    )


def _cloud(seed, number=3000):
    rng = np.random.default_rng(seed)
    points = rng.uniform((-8, -4, -1, 0), (8, 12, 2, 1), (number, 4))
    return points.astype(np.float32)


def _batch(config, seeds=(0, 1)):
    return collate([encode(_cloud(seed), config.grid, config.input) for seed in seeds])


def test_batches_hold_the_voxels_of_all_clouds():
    config = small_voxel_model()
    batch = _batch(config)
    alone = [encode(_cloud(seed), config.grid, config.input).arrays for seed in (0, 1)]
    assert (batch.size, batch.shape) == (2, (32, 32))
    assert batch.coordinates.dtype == torch.int32
    for i, arrays in enumerate(alone):
        mine = batch.coordinates[:, 0] == i
        np.testing.assert_array_equal(batch.coordinates[mine, 1:], arrays["coordinates"])
        np.testing.assert_array_equal(batch.voxels[mine], arrays["voxels"])
    moved = batch.to("meta")
    assert moved.voxels.is_meta
    assert moved.coordinates.is_meta


def test_shapes_of_the_output(spconv):
    config = small_voxel_model()
    assert (config.encoder_stride, config.output_stride) == (8, 8)
    output = build_detector(config)(_batch(config))
    assert output.neck.shape == (2, 10, 4, 4)
    for name, channels in head_channels(6).items():
        assert getattr(output.maps, name).shape == (2, channels, 4, 4)


def test_every_parameter_learns(spconv):
    torch.manual_seed(0)
    config = small_voxel_model()
    detector = build_detector(config)
    boxes = Boxes3D.make(
        [[0.3, 1, 9], [-2, 4, 9]], [[9, 9, 9]] * 2, [0.5, 0.7], [0, 3], velocity=[[9, 9]] * 2
    )
    targets = collate_targets([make_targets(boxes, VOXEL_GRID, config.output_stride)] * 2)
    terms = CenterLoss()(detector(_batch(config)).maps, targets)
    sum(terms.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_clouds_of_a_batch_do_not_meet(spconv):
    config = small_voxel_model()
    detector = build_detector(config).eval()
    with torch.no_grad():
        together = detector(_batch(config)).maps.as_tuple()
        for i in range(2):
            alone = detector(_batch(config, (i,))).maps.as_tuple()
            for joint, single in zip(together, alone, strict=True):
                torch.testing.assert_close(joint[i], single[0], atol=1e-5, rtol=1e-4)


def test_an_empty_cloud_runs_in_training_and_evaluation(spconv):
    config = small_voxel_model()
    batch = collate([encode(np.zeros((0, 4), np.float32), config.grid, config.input)])
    detector = build_detector(config)
    for network in (detector.train(), detector.eval()):
        for value in network(batch).maps.as_tuple():
            assert torch.isfinite(value).all()


def test_a_smaller_grid_needs_no_other_network(spconv):
    config = small_voxel_model()
    crop = VOXEL_GRID.model_copy(update={"x": (-8, 0)})
    batch = collate([encode(_cloud(0), crop, config.input)])
    assert build_detector(config).eval()(batch).neck.shape == (1, 10, 4, 2)


def test_autocast_leaves_the_sparse_part_in_float32(spconv):
    config = small_voxel_model()
    encoder = build_detector(config).eval().encoder
    batch = _batch(config)
    with torch.no_grad():
        expected = encoder(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = encoder(batch)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_it_has_no_graph_and_says_what_to_do():
    with pytest.raises(Kd3dError, match=r"small-voxels takes voxels.*distill --teacher"):
        build_detector(small_voxel_model()).exportable()


def test_the_grid_must_fit_the_strides():
    with pytest.raises(ValidationError, match="24 cells are not a multiple of 16"):
        small_voxel_model(grid=VOXEL_GRID.model_copy(update={"x": (-6, 6)}))


def test_presets_see_the_ground_of_the_others():
    wanted = {"voxel": (16, 128, 64), "voxel-s": (16, 64, 32), "voxel-xs": (12, 64, 32)}
    for name in VOXEL_MAKERS:
        config = preset(name)
        assert config.name == name
        assert config.output_stride == 8
        assert config.grid.shape == (1024, 1024)
        assert config.grid.x == preset("tiny").grid.x
        assert config.classes == preset("tiny").classes
        widths = (config.encoder_channels, config.blocks[0].channels, config.head.shared_channels)
        assert widths == wanted.get(name, (8, 32, 16))


def test_networks_are_counted_without_spconv(monkeypatch):
    monkeypatch.setitem(sys.modules, "spconv", None)
    monkeypatch.setitem(sys.modules, "spconv.pytorch", None)
    costs = {name: count(preset(name)) for name in VOXEL_MAKERS}
    # Published for three classes without velocity: 7.76, 4.04, 2.82 and 1.01 M.
    parameters = [round(cost.parameters / 1e6, 2) for cost in costs.values()]
    assert parameters == pytest.approx([7.76, 4.04, 2.82, 1.01], rel=0.01)


def test_macs_of_the_sparse_part_follow_the_cloud(spconv):
    config = small_voxel_model()
    detector = build_detector(config).train()
    one = sparse_macs(detector, _batch(config, (0,)))
    assert detector.training
    layers = {name for name in one if "layers.0." in name}
    assert layers == {"encoder.middle.layers.0.conv"}
    assert len(one) == 1 + 4 * 4 + 3 + 1
    # Two clouds of the same kind cost about the same each; fewer points cost less.
    both = sparse_macs(detector, _batch(config))
    assert sum(both.values()) == pytest.approx(sum(one.values()), rel=0.05)
    points = _cloud(0, 300)
    few = sparse_macs(detector, collate([encode(points, config.grid, config.input)]))
    assert sum(few.values()) < sum(one.values()) / 2
    single = collate([encode(points[:1], config.grid, config.input)])
    alone = sparse_macs(detector, single)
    # A single site meets only the centre of a submanifold kernel.
    assert alone["encoder.middle.layers.0.conv"] == 4 * 4
