"""Training, distillation and prediction with anchors and with several tasks."""

import json
import sys
from pathlib import Path

import pytest
from rich.console import Console

from kd3d_core.codec.anchors import Anchor
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.distillation.features import GTBoxConfig
from kd3d_core.distillation.itkd import ItKDConfig
from kd3d_core.distillation.response import HeatmapKLConfig
from kd3d_core.distillation.response import PPLogitConfig
from kd3d_core.errors import Kd3dError
from kd3d_core.models.config import AnchorHeadConfig
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.training.config import DataConfig
from kd3d_core.training.config import DistillConfig
from kd3d_core.training.config import OptimizerConfig
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.predict import NetworkPredictor
from kd3d_core.training.run import train

sys.path.insert(0, str(Path(__file__).parent))
from toy_frames import CLASSES
from toy_frames import ToyDataset

QUIET = Console(quiet=True)
TASKS = HeadConfig(shared_channels=16, branch_channels=16, tasks=(("car",), ("pedestrian",)))
ANCHORS = AnchorHeadConfig(
    anchors={
        "car": Anchor(size=(4.2, 1.8, 1.6), z=-0.9, matched=0.5, unmatched=0.35),
        "pedestrian": Anchor(size=(0.8, 0.8, 1.75), z=-0.8, matched=0.4, unmatched=0.3),
    }
)


def toy(head, name="toy", width=16):
    return ModelConfig(
        name=name,
        classes=CLASSES,
        grid=BevGrid(x=(-12, 12), y=(-12, 12), cell=0.5),
        input=BevImageInput(),
        encoder_channels=width,
        blocks=(
            BlockConfig(channels=width, layers=1, stride=1),
            BlockConfig(channels=2 * width, layers=1),
        ),
        neck_channels=width,
        head=head,
    )


def run(out, model, steps, frames, **changes):
    config = TrainConfig(
        model=model,
        data=DataConfig(workers=0, augment=None, sampling=None),
        optimizer=OptimizerConfig(lr_max=5e-3),
        out=out,
        max_steps=steps,
        batch_size=4,
        precision="32-true",
        val_interval=steps,
        **changes,
    )
    return train(config, train_frames=frames, val_frames=frames, console=QUIET)


@pytest.fixture(scope="module")
def frames():
    return ToyDataset(4)


@pytest.fixture(scope="module", params=["anchors", "tasks"])
def trained(request, tmp_path_factory, frames):
    head, steps = {"anchors": (ANCHORS, 60), "tasks": (TASKS, 90)}[request.param]
    return head, run(tmp_path_factory.mktemp(request.param), toy(head), steps, frames)


def test_learns_by_heart_and_predicts(trained, frames):
    head, path = trained
    metrics = json.loads((path.parent / "metrics.json").read_text())
    assert metrics["metrics"]["all"]["car"]["ap"] > 0.7
    predictor = NetworkPredictor.load(path)
    assert predictor.model.head == head
    assert len(predictor(frames[0])) > 0


def test_features_are_distilled_whatever_the_head(trained, frames, tmp_path):
    head, path = trained
    distill = DistillConfig(teacher=path, methods=(GTBoxConfig(), ItKDConfig(attention=0)))
    student = run(tmp_path, toy(head, "student", 8), 2, frames, distill=distill)
    assert student.is_file()


def test_answers_of_tasks_are_distilled_and_those_of_anchors_refused(trained, frames, tmp_path):
    head, path = trained
    methods = (HeatmapKLConfig(), PPLogitConfig(regression=0.2), ItKDConfig())
    distill = DistillConfig(teacher=path, methods=methods)
    if head is TASKS:
        # The student may have other tasks than its teacher.
        plain = HeadConfig(shared_channels=16, branch_channels=16)
        for mine in (TASKS, plain):
            assert run(tmp_path, toy(mine, "student", 8), 2, frames, distill=distill).is_file()
        return
    with pytest.raises(Kd3dError, match="anchor"):
        run(tmp_path, toy(head, "student", 8), 2, frames, distill=distill)
