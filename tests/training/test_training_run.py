"""Training end to end on small made-up frames."""

import json
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.codec.grid import PillarInput
from kd3d_core.config import dump_config
from kd3d_core.config import load_config
from kd3d_core.distillation.itkd import ItKDConfig
from kd3d_core.distillation.response import PPLogitConfig
from kd3d_core.errors import Kd3dError
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.simulation.drives import SimulationConfig
from kd3d_core.training.callbacks import EmaCallback
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.checkpoint import read_checkpoint
from kd3d_core.training.config import DataConfig
from kd3d_core.training.config import DistillConfig
from kd3d_core.training.config import OptimizerConfig
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.data import StreamSampler
from kd3d_core.training.launch import prepare
from kd3d_core.training.run import _build_module
from kd3d_core.training.run import train
from kd3d_core.training.samples import TrainSamples
from kd3d_core.training.sources import Sources

sys.path.insert(0, str(Path(__file__).parent))
from toy_frames import CLASSES
from toy_frames import ToyDataset

CONFIGS = Path(__file__).resolve().parents[2] / "config"
QUIET = Console(quiet=True)


def toy_model(name="toy", kind="image", width=16, cell=0.5):
    return ModelConfig(
        name=name,
        classes=CLASSES,
        grid=BevGrid(x=(-12, 12), y=(-12, 12), cell=cell),
        input=BevImageInput() if kind == "image" else PillarInput(max_pillars=2000),
        encoder_channels=width,
        blocks=(BlockConfig(channels=width, layers=1), BlockConfig(channels=2 * width, layers=1)),
        neck_channels=width,
        head=HeadConfig(shared_channels=16, branch_channels=16),
    )


def toy_config(out, steps, **changes):
    settings = {
        "model": toy_model(),
        "data": DataConfig(workers=0, augment=None, sampling=None),
        "optimizer": OptimizerConfig(lr_max=5e-3),
        "out": out,
        "max_steps": steps,
        "batch_size": 4,
        "precision": "32-true",
        "val_interval": steps,
        "checkpoint_interval": 10,
    }
    return TrainConfig(**(settings | changes))


@pytest.fixture(scope="module")
def frames():
    return ToyDataset(8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, frames):
    """A run that learns eight frames by heart."""
    out = tmp_path_factory.mktemp("toy")
    config = toy_config(out, 90)
    path = train(config, train_frames=frames, val_frames=frames, console=QUIET)
    return config, path


def test_learns_by_heart(trained):
    metrics = json.loads((trained[1].parent / "metrics.json").read_text())
    assert metrics["metrics"]["all"]["car"]["ap"] > 0.8
    assert metrics["metrics"]["all"]["pedestrian"]["ap"] > 0.7


def test_checkpoint_is_safe_data_and_complete(trained):
    config, path = trained
    for file in (path, path.parent / "last.ckpt"):
        torch.load(file, weights_only=True)
        checkpoint = read_checkpoint(file)
        assert checkpoint.model == config.model
        assert checkpoint.step == 90
        assert TrainConfig.model_validate(checkpoint.training) == config
    model, network = load_model(path)
    assert model == config.model
    assert not network.training
    assert read_checkpoint(path).metrics["metrics"]["all"]["car"]["ap"] > 0.8
    assert load_config(TrainConfig, path.parent / "config.yaml") == config


def test_last_checkpoint_holds_the_same_average(trained):
    final = read_checkpoint(trained[1]).weights
    last = read_checkpoint(trained[1].parent / "last.ckpt").weights
    assert final.keys() == last.keys()
    for name, value in final.items():
        torch.testing.assert_close(value, last[name])


def test_foreign_files_are_refused_with_a_remedy(tmp_path):
    with pytest.raises(Kd3dError, match="no checkpoint"):
        load_model(tmp_path / "missing.ckpt")
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(Kd3dError, match="not a readable checkpoint"):
        load_model(tmp_path / "text.ckpt")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(Kd3dError, match="holds no kd3d model"):
        load_model(tmp_path / "other.ckpt")
    torch.save({"state_dict": {}, "kd3d": {"format": 99}}, tmp_path / "new.ckpt")
    with pytest.raises(Kd3dError, match="format 99"):
        load_model(tmp_path / "new.ckpt")


def test_distillation_leaves_the_teacher_and_the_student_graph_alone(tmp_path, trained, frames):
    before = trained[1].read_bytes()
    student = toy_model("student", "pillars", width=8)
    distill = DistillConfig(
        teacher=trained[1], methods=(ItKDConfig(pool=2), PPLogitConfig(regression=0.1))
    )
    config = toy_config(tmp_path, 6, model=student, distill=distill)
    module = _build_module(config, Sources(frames, None, None))
    frozen = {k: v.clone() for k, v in module.teacher.network.state_dict().items()}
    optimized = {
        id(p) for g in module.configure_optimizers()["optimizer"].param_groups for p in g["params"]
    }
    assert not optimized & {id(p) for p in module.teacher.network.parameters()}
    assert {id(p) for p in module.distillation.parameters()} <= optimized
    module.train()
    assert not module.teacher.network.training

    path = train(config, train_frames=frames, console=QUIET)
    assert trained[1].read_bytes() == before
    for name, value in load_model(trained[1])[1].state_dict().items():
        torch.testing.assert_close(value, frozen[name], rtol=0, atol=0)
    checkpoint = read_checkpoint(path)
    assert checkpoint.teacher["name"] == "toy"
    plain = _build_module(
        toy_config(tmp_path, 6, model=student), Sources(frames, None, None)
    ).detector.state_dict()
    assert checkpoint.weights.keys() == plain.keys()
    assert all(checkpoint.weights[name].shape == value.shape for name, value in plain.items())


def test_teacher_is_bit_identical_after_steps(trained, frames, tmp_path):
    distill = DistillConfig(teacher=trained[1], methods=(ItKDConfig(),))
    config = toy_config(tmp_path, 2, model=toy_model("s", width=8), distill=distill)
    module = _build_module(config, Sources(frames, None, None)).train()
    samples = TrainSamples(frames, config, module.model, module.teacher.config)
    from kd3d_core.training.batches import collate_train

    batch = collate_train([samples[i] for i in range(2)])
    assert batch.teacher_inputs is batch.inputs  # one encoding serves both
    before = {k: v.clone() for k, v in module.teacher.network.state_dict().items()}
    optimizer = module.configure_optimizers()["optimizer"]
    for _ in range(2):
        terms, loss = module.losses(batch)
        loss.backward()
        optimizer.step()
    assert {"heatmap", "itkd_interchange", "itkd_compressed", "itkd_attention"} <= terms.keys()
    assert all(p.grad is None for p in module.teacher.network.parameters())
    for name, value in module.teacher.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_resumed_run_ends_like_an_unbroken_one(tmp_path, frames, monkeypatch):
    whole = train(toy_config(tmp_path / "a", 12), train_frames=frames, console=QUIET)
    config = toy_config(tmp_path / "b", 12, checkpoint_interval=5)

    from kd3d_core.training.module import DetectionModule

    step = DetectionModule.training_step

    def interrupted(self, batch, index):
        if self.global_step == 7:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(DetectionModule, "training_step", interrupted)
    with pytest.raises(SystemExit):
        train(config, train_frames=frames, console=QUIET)
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "b" / "last.ckpt").step == 7
    longer = config.model_copy(update={"max_steps": 14})
    with pytest.raises(Kd3dError, match="of a run of 12 steps"):
        train(longer, resume=True, train_frames=frames, console=QUIET)
    again = train(config, resume=True, train_frames=frames, console=QUIET)
    first, second = read_checkpoint(whole), read_checkpoint(again)
    assert second.step == 12
    for name, value in first.weights.items():
        torch.testing.assert_close(second.weights[name], value, atol=1e-5, rtol=1e-4, msg=name)


def test_resume_without_a_checkpoint_says_so(tmp_path, frames):
    with pytest.raises(Kd3dError, match="nothing to resume"):
        train(toy_config(tmp_path, 2), resume=True, train_frames=frames, console=QUIET)


def test_sample_numbers_are_shared_out_and_decide_the_sample(frames):
    parts = [list(StreamSampler(20, 4, rank, 2)) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == list(range(4, 20))
    config = toy_config(Path("x"), 2, data=DataConfig(sampling=None))
    samples = TrainSamples(frames, config, config.model)
    first, second = samples[11], samples[11]
    assert (first.inputs.arrays["image"] == second.inputs.arrays["image"]).all()
    # Every frame is seen once before any is seen twice.
    seen = []

    class Spy(ToyDataset):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    spied = TrainSamples(Spy(8), config, config.model)
    for number in range(16):
        spied[number]
    assert sorted(seen[:8]) == sorted(seen[8:]) == list(range(8))
    assert seen[:8] != seen[8:]


def test_ema_follows_at_once_and_copies_counters():
    callback = EmaCallback(0.999)
    average, current = [torch.zeros(3)], [torch.ones(3)]
    callback._update(average, current, 1)
    torch.testing.assert_close(average[0], torch.full((3,), 1 - 2 / 11))
    counter = [torch.tensor(1)]
    callback._update(counter, [torch.tensor(5)], 1)
    assert counter[0] == 5
    late = [torch.zeros(3)]
    callback._update(late, current, 10**6)
    torch.testing.assert_close(late[0], torch.full((3,), 0.001))


TRAININGS = [*CONFIGS.glob("train/*.yaml"), *CONFIGS.glob("distill/*.yaml")]


@pytest.mark.parametrize("path", sorted(TRAININGS), ids=lambda path: path.stem)
def test_shipped_configurations_fit(path, tmp_path):
    config = prepare(path, out=tmp_path, max_steps=7)
    assert (config.out, config.max_steps) == (tmp_path, 7)
    config.model_config_resolved()
    assert TrainConfig.model_validate(config.model_dump()) == config
    assert dump_config(config)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("simulate/*.yaml")), ids=lambda p: p.stem)
def test_shipped_simulations_fit(path):
    assert load_config(SimulationConfig, path).drives > 0


def test_mistakes_in_options_are_told(tmp_path):
    with pytest.raises(Kd3dError, match="no distill section"):
        prepare(CONFIGS / "train" / "quick_student.yaml", teacher=tmp_path)
    with pytest.raises(Kd3dError, match="no model preset 'huge'"):
        TrainConfig(model="huge").model_config_resolved()
    with pytest.raises(ValidationError):
        TrainConfig(model="tiny", epochs=3)
    config = prepare(CONFIGS / "distill" / "quick_distilled.yaml", teacher=tmp_path / "no.ckpt")
    config = config.model_copy(update={"out": tmp_path})
    toys = ToyDataset(1)
    with pytest.raises(Kd3dError, match="no checkpoint"):
        train(config, train_frames=toys, val_frames=toys, console=QUIET)
