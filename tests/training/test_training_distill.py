"""Every way to listen to a teacher, in the training that uses it."""

import sys
import typing
from pathlib import Path

import onnx
import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from kd3d_core.config import dump_config
from kd3d_core.deployment.onnx_export import export_onnx
from kd3d_core.distillation.features import FitNetConfig
from kd3d_core.distillation.itkd import ItKDConfig
from kd3d_core.distillation.labels import LabelDistillConfig
from kd3d_core.distillation.methods import MethodConfig
from kd3d_core.distillation.start import FirstChannelsConfig
from kd3d_core.distillation.taught import TaughtStartConfig
from kd3d_core.errors import Kd3dError
from kd3d_core.models.detector import build_detector
from kd3d_core.training.batches import collate_train
from kd3d_core.training.checkpoint import Checkpoint
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.checkpoint import save_checkpoint
from kd3d_core.training.config import CropConfig
from kd3d_core.training.config import DataConfig
from kd3d_core.training.config import DistillConfig
from kd3d_core.training.run import _build_module
from kd3d_core.training.run import train
from kd3d_core.training.samples import TrainSamples
from kd3d_core.training.sources import Sources

sys.path.insert(0, str(Path(__file__).parent))
from test_training_run import toy_config
from test_training_run import toy_model
from toy_frames import ToyDataset

QUIET = Console(quiet=True)
KINDS = typing.get_args(typing.get_args(MethodConfig)[0])
#: Every method, and what is none but listens too.
WAYS = {kind().type: {"methods": (kind(),)} for kind in KINDS} | {
    "labels": {"labels": LabelDistillConfig(score=0.05)},
    "start": {"start": FirstChannelsConfig()},
}
EVERY = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(scope="module")
def frames():
    return ToyDataset(4)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A teacher of another width, input and cell, that sees something everywhere."""
    torch.manual_seed(5)
    config = toy_model("teacher", "pillars", width=12, cell=0.25)
    network = build_detector(config)
    torch.nn.init.normal_(network.head.outputs["heatmap"].weight, std=0.5)
    path = tmp_path_factory.mktemp("teacher") / "teacher.ckpt"
    save_checkpoint(path, Checkpoint(model=config, weights=network.state_dict()))
    return path


def run_config(out, teacher, way, **changes):
    distill = DistillConfig(teacher=teacher, **WAYS[way])
    return toy_config(out, 2, model=toy_model("s", width=8), distill=distill, **changes)


def stepped(config, frames):
    """The module after two real steps, and the batch."""
    module = _build_module(config, Sources(frames, None, None)).train()
    told = None if module.teacher is None else module.teacher.config
    samples = TrainSamples(frames, config, module.model, told)
    batch = collate_train([samples[i] for i in range(2)])
    optimizer = module.configure_optimizers()["optimizer"]
    for _ in range(2):
        optimizer.zero_grad()
        module.losses(batch)[1].backward()
        optimizer.step()
    return module, batch


@EVERY
def test_the_teacher_stays_as_it_is_and_the_student_learns(tmp_path, teacher, frames, way):
    config = run_config(tmp_path, teacher, way)
    before = load_model(teacher)[1].state_dict()
    module, batch = stepped(config, frames)
    if way == "start":
        assert module.teacher is None  # it has said what it had to say
    else:
        after = module.teacher.network.state_dict()
        assert all(torch.equal(value, before[name]) for name, value in after.items())
        assert all(p.grad is None for p in module.teacher.network.parameters())
        ours = {id(p) for p in module.parameters()}
        assert not ours & {id(p) for p in module.teacher.network.parameters()}
    assert all(torch.isfinite(p).all() for p in module.parameters())
    terms, loss = module.losses(batch)
    torch.testing.assert_close(loss, sum(terms.values()))


def nodes(detector, config):
    graph = onnx.load_from_string(export_onnx(config, detector)).graph
    return (
        [(node.op_type, tuple(node.input), tuple(node.output)) for node in graph.node],
        [(item.name, tuple(item.dims)) for item in graph.initializer],
    )


def test_what_is_exported_knows_nothing_of_teachers(tmp_path, teacher, frames):
    # Stepped as well: the exporter joins weights of a fresh network that are equal by chance.
    plain, _ = stepped(toy_config(tmp_path, 2, model=toy_model("s", width=8)), frames)
    config = toy_config(
        tmp_path, 2, model=toy_model("s", width=8),
        distill=DistillConfig(
            teacher=teacher, methods=tuple(kind() for kind in KINDS), **WAYS["labels"],
            **WAYS["start"],
        ),
    )  # fmt: skip
    module, _ = stepped(config, frames)
    assert sum(p.numel() for p in module.distillation.parameters()) > 0
    mine = [value.shape for value in module.detector.state_dict().values()]
    assert mine == [value.shape for value in plain.detector.state_dict().values()]
    taught, alone = (nodes(item.detector, item.model) for item in (module, plain))
    assert taught == alone


def test_detection_weight_scales_the_ground_truth_alone(tmp_path, teacher, frames):
    config = run_config(tmp_path, teacher, "fitnet", detection_weight=0.25)
    module, batch = stepped(config, frames)
    terms, loss = module.losses(batch)
    told = terms.pop("fitnet")
    torch.testing.assert_close(loss, 0.25 * sum(terms.values()) + told)


def test_the_teachers_boxes_join_the_targets_on_the_ground_that_training_sees(
    tmp_path, teacher, frames
):
    data = DataConfig(
        workers=0, augment=None, sampling=None, crop=CropConfig(x=(-12.0, 12.0), y=(-6.0, 6.0))
    )
    config = run_config(tmp_path, teacher, "labels", data=data)
    module, batch = stepped(config, frames)
    assert module.distillation is None
    plain = batch.targets
    told = module.teacher(batch.teacher_inputs).outputs
    mine, theirs = module.labels(plain, batch.teacher_targets, told)
    added = int(mine.mask.sum()) - int(plain.mask.sum())
    assert added > 0
    assert module.monitors()["labels_added"] == added / 2
    assert mine.heatmap.shape == plain.heatmap.shape == (2, 2, 12, 24)
    assert torch.equal(mine.mask, theirs.mask)
    for item in (mine, theirs):
        for frame in range(2):
            cells = item.cell[frame][item.mask[frame]]
            label = item.label[frame][item.mask[frame]]
            assert (item.heatmap[frame].flatten(1)[label, cells] == 1).all()
    truth, _ = module.losses(batch)
    alone = module.criterion(module.detector(batch.inputs).outputs, plain)
    assert (truth["heatmap"] - alone["heatmap"]).abs() > 1e-3


def test_a_teacher_that_is_sure_of_nothing_leaves_training_as_it_is(tmp_path, teacher, frames):
    sure = DistillConfig(teacher=teacher, labels=LabelDistillConfig(score=0.9999))
    settings = {"model": toy_model("s", width=8)}
    results = []
    for config in (
        toy_config(tmp_path, 2, distill=sure, **settings),
        toy_config(tmp_path, 2, **settings),
    ):
        torch.manual_seed(0)
        results.append(stepped(config, frames)[0])
    taught, alone = results
    assert taught.monitors() == {"labels_added": 0}
    assert alone.monitors() == {}
    for one, other in zip(taught.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_start_is_the_teachers_and_training_goes_on_from_it(tmp_path, frames):
    config = toy_config(tmp_path / "t", 1)
    path = train(config, train_frames=frames, console=QUIET)
    distill = DistillConfig(teacher=path, start=FirstChannelsConfig())
    module = _build_module(toy_config(tmp_path, 1, distill=distill), Sources(frames, None, None))
    weights = load_model(path)[1].state_dict()
    for name, value in module.detector.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert module.about.teacher["name"] == "toy"
    both = toy_config(tmp_path, 1, distill=distill, init=path)
    with pytest.raises(Kd3dError, match=r"distill\.start and init"):
        _build_module(both, Sources(frames, None, None))
    short = toy_config(tmp_path / "s", 1, distill=distill)
    assert train(short, train_frames=frames, console=QUIET).is_file()


def test_the_taught_start_is_solved_on_the_frames_of_the_run(tmp_path, frames):
    path = train(toy_config(tmp_path / "t", 1), train_frames=frames, console=QUIET)
    start = TaughtStartConfig(frames=2, places=100, steps=5)
    distill = DistillConfig(teacher=path, start=start)
    config = toy_config(tmp_path, 1, distill=distill)
    torch.manual_seed(0)
    alone = _build_module(toy_config(tmp_path, 1), Sources(frames, None, None)).detector
    torch.manual_seed(0)
    module = _build_module(config, Sources(frames, None, None))
    assert module.teacher is None  # it has said what it had to say
    changed = {
        name.split(".")[0]
        for name, value in module.detector.state_dict().items()
        if not torch.equal(value, alone.state_dict()[name])
    }
    assert changed == {"encoder", "backbone", "neck", "head"}
    assert "taught" in dump_config(config)
    # What is resumed has weights of its own: nothing is solved for again.
    torch.manual_seed(0)
    again = _build_module(config, Sources(frames, None, None), resume=True).detector
    assert all(
        torch.equal(a, b) for a, b in zip(again.parameters(), alone.parameters(), strict=True)
    )


def test_monitors_become_curves(tmp_path, teacher, frames):
    config = run_config(tmp_path, teacher, "labels", log_interval=1)
    train(config, train_frames=frames, console=QUIET)
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    curves = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert "train/labels_added" in curves.Tags()["scalars"]


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 1),
        ({"labels": {}}, 0),
        ({"start": {"type": "first_channels"}}, 0),
        ({"labels": None, "start": None}, 1),
        ({"labels": {}, "methods": [{"type": "fitnet"}, {"type": "gt_box"}]}, 2),
        ({"methods": [], "unlabelled": {"bags": ["a"]}}, 0),
    ],
)
def test_no_method_comes_unasked(settings, count):
    config = DistillConfig.model_validate(settings)
    assert len(config.methods) == count
    assert DistillConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_teacher_that_nobody_hears_and_a_method_twice_are_mistakes():
    with pytest.raises(ValidationError, match="nothing listens"):
        DistillConfig(methods=())
    with pytest.raises(ValidationError, match="fitnet twice"):
        DistillConfig(methods=(FitNetConfig(), FitNetConfig(weight=2), ItKDConfig()))
    with pytest.raises(ValidationError, match="methods"):
        DistillConfig.model_validate({"methods": [{"type": "hint"}]})
