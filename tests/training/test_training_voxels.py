"""A voxel network learns, is saved, detects, and teaches students of other kinds."""

import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.deployment.export import ExportOptions
from kd3d_core.deployment.export import draft
from kd3d_core.distillation.itkd import ItKDConfig
from kd3d_core.distillation.response import HeatmapKLConfig
from kd3d_core.distillation.response import PPLogitConfig
from kd3d_core.errors import Kd3dError
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.training.batches import collate_train
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.config import DataConfig
from kd3d_core.training.config import DistillConfig
from kd3d_core.training.config import OptimizerConfig
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.predict import NetworkPredictor
from kd3d_core.training.run import _build_module
from kd3d_core.training.run import train
from kd3d_core.training.samples import TrainSamples
from kd3d_core.training.sources import Sources

sys.path.insert(0, str(Path(__file__).parent))
from toy_frames import CLASSES
from toy_frames import ToyDataset

pytest.importorskip("spconv", reason="spconv is not installed (pip install spconv-cu120)")

QUIET = Console(quiet=True)
REACH = (-9.6, 9.6)


def model(kind):
    """A network on 19.2 m x 19.2 m; the output cells are 1.6 m for voxels and 0.8 m for others."""
    inputs = {"voxels": VoxelInput(bins=24), "pillars": PillarInput(), "image": BevImageInput()}
    sparse = kind == "voxels"
    return ModelConfig(
        name=f"toy-{kind}",
        classes=CLASSES,
        grid=BevGrid(x=REACH, y=REACH, cell=0.2 if sparse else 0.4),
        input=inputs[kind],
        encoder_channels=6 if sparse else 8,
        blocks=(
            BlockConfig(channels=24, layers=1, stride=1 if sparse else 2),
            BlockConfig(channels=24, layers=1, stride=2),
        ),
        neck_channels=16,
        head=HeadConfig(shared_channels=16, branch_channels=16),
    )


def settings(out, steps, **changes):
    return TrainConfig(
        **{
            "model": model("voxels"),
            "data": DataConfig(workers=0, augment=None, sampling=None),
            "optimizer": OptimizerConfig(lr_max=1e-2),
            "out": out,
            "max_steps": steps,
            "batch_size": 2,
            "precision": "32-true",
        }
        | changes
    )


@pytest.fixture(scope="module")
def frames():
    return ToyDataset(2, objects=4, reach=9.0)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, frames):
    """A checkpoint that knows two frames by heart."""
    config = settings(tmp_path_factory.mktemp("voxels"), 50)
    return train(config, train_frames=frames, console=QUIET)


def test_it_learns_two_frames_by_heart_and_detects_from_its_checkpoint(teacher, frames):
    predictor = NetworkPredictor.load(teacher)
    assert predictor.model == model("voxels")
    for frame in frames:
        found = predictor(frame)
        for center, label in zip(frame.boxes.center, frame.boxes.label, strict=True):
            near = ((found.center - center) ** 2).sum(axis=1) < 0.6**2
            assert found.score[near & (found.label == label)].max(initial=0) > 0.3


@pytest.mark.parametrize("kind", ["pillars", "image"])
def test_it_teaches_students_on_other_grids(teacher, frames, tmp_path, kind):
    methods = (ItKDConfig(), PPLogitConfig(), HeatmapKLConfig())
    distill = DistillConfig(teacher=teacher, methods=methods)
    config = settings(tmp_path, 3, model=model(kind), distill=distill)
    module = _build_module(config, Sources(frames, None, None)).train()
    before = {k: v.clone() for k, v in module.teacher.network.state_dict().items()}
    samples = TrainSamples(frames, config, module.model, module.teacher.config)
    batch = collate_train([samples[0], samples[1]])
    assert batch.teacher_inputs.voxels is not None
    optimizer = module.configure_optimizers()["optimizer"]
    for _ in range(3):
        terms, loss = module.losses(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert torch.isfinite(loss)
        for name in ("itkd_interchange", "itkd_compressed", "itkd_attention", "heatmap_kl"):
            assert terms[name] > 0, name
    assert batch.targets.heatmap.shape[-1] == 24
    assert batch.teacher_targets.heatmap.shape[-1] == 12
    for name, value in module.teacher.network.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in module.teacher.network.parameters())


def test_saved_weights_are_plain_tensors_of_known_names(teacher):
    names = load_model(teacher)[1].state_dict().keys()
    assert "encoder.middle.layers.0.conv.weight" in names
    assert not any("_layers" in name for name in names)


def test_it_has_no_bundle_and_says_what_to_do(teacher):
    with pytest.raises(Kd3dError, match=r"toy-voxels takes voxels.*export the student"):
        draft(teacher, ExportOptions())
