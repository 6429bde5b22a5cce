"""Learning on a part of the area, and starting from another model's weights."""

import json
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.score import score
from kd3d_core.models.batch import collate
from kd3d_core.models.detector import build_detector
from kd3d_core.training.checkpoint import load_fitting
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.config import CropConfig
from kd3d_core.training.config import DataConfig
from kd3d_core.training.predict import NetworkPredictor
from kd3d_core.training.run import train
from kd3d_core.training.samples import TrainSamples
from kd3d_core.training.start import start_from

sys.path.insert(0, str(Path(__file__).parent))
from test_training_run import toy_config
from test_training_run import toy_model
from toy_frames import ToyDataset

QUIET = Console(quiet=True)
CROP = DataConfig(
    workers=0, augment=None, sampling=None, crop=CropConfig(x=(-12.0, 12.0), y=(-6.0, 6.0))
)


@pytest.mark.parametrize("kind", ["image", "pillars"])
def test_a_crop_is_what_training_sees_and_the_saved_model_sees_all(tmp_path, kind):
    frames = ToyDataset(4)
    config = toy_config(tmp_path, 2, model=toy_model(kind=kind), data=CROP)
    model, detector = load_model(
        train(config, train_frames=frames, val_frames=frames, console=QUIET)
    )
    assert model.grid == config.model.grid
    sample = TrainSamples(frames, config, model)[0]
    assert sample.inputs.shape == (24, 48)
    assert sample.targets.heatmap.shape[-2:] == (12, 24)
    with torch.no_grad():
        assert detector(collate([sample.inputs])).neck.shape[-2:] == (12, 24)


def test_cropped_targets_are_those_of_the_whole_inside_the_crop():
    frames = ToyDataset(1)
    config = toy_config(Path("unused"), 1)
    whole = TrainSamples(frames, config, config.model)[0].targets.heatmap
    part = TrainSamples(
        frames, config.model_copy(update={"data": CROP}), config.model
    )[0].targets.heatmap  # fmt: skip
    centers = (whole[:, 6:18] == 1).sum()
    assert centers > 0
    assert (part == 1).sum() == centers


def test_a_crop_that_the_strides_do_not_divide_is_refused():
    with pytest.raises(ValidationError, match="not a multiple of 4"):
        CropConfig(x=(-12, 12), y=(-1, 1.5)).of(toy_model())


def test_init_starts_from_the_weights_that_fit(tmp_path):
    frames = ToyDataset(4)
    first = train(toy_config(tmp_path / "a", 1), train_frames=frames, console=QUIET)
    # A learning rate of next to nothing: what comes out is what went in.
    second = toy_config(tmp_path / "b", 1, init=first)
    second = second.model_copy(
        update={"optimizer": second.optimizer.model_copy(update={"lr_max": 1e-12})}
    )
    path = train(second, train_frames=frames, console=QUIET)
    old, new = load_model(first)[1].state_dict(), load_model(path)[1].state_dict()
    kernels = [name for name, value in new.items() if value.ndim == 4]
    assert len(kernels) > 5
    for name in kernels:
        torch.testing.assert_close(new[name], old[name])


def test_load_fitting_leaves_other_shapes_alone():
    narrow, wide = toy_model(), toy_model(width=32)
    network = build_detector(wide)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    left = load_fitting(network, build_detector(narrow).state_dict())
    after = network.state_dict()
    assert 0 < len(left) < len(after)
    for name in left:
        assert torch.equal(after[name], before[name])


def test_init_from_a_narrower_model_is_the_same_function(tmp_path):
    frames = ToyDataset(4)
    narrow = train(toy_config(tmp_path / "a", 1), train_frames=frames, console=QUIET)
    wide = build_detector(toy_model(width=24)).eval()
    start_from(wide, narrow)
    old, source = load_model(narrow)
    config = toy_config(tmp_path, 1)
    cloud = collate([TrainSamples(frames, config, old)[0].inputs])
    with torch.no_grad():
        mine, theirs = wide(cloud).maps, source(cloud).maps
    assert theirs.heatmap.std() > 0
    for a, b in zip(mine.as_tuple(), theirs.as_tuple(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_init_from_a_wider_model_takes_its_first_channels(tmp_path):
    frames = ToyDataset(4)
    config = toy_config(tmp_path / "a", 1, model=toy_model(width=32))
    wide = train(config, train_frames=frames, console=QUIET)
    narrow = build_detector(toy_model())
    start_from(narrow, wide)
    first = load_model(wide)[1].backbone.stages[0][0][0].weight[:16, :16]
    assert torch.equal(narrow.backbone.stages[0][0][0].weight, first)


def test_what_is_written_may_keep_a_share_of_the_start(tmp_path):
    frames = ToyDataset(4)
    first = train(toy_config(tmp_path / "a", 30), train_frames=frames, console=QUIET)
    further = {"init": first, "seed": 1}
    alone = train(toy_config(tmp_path / "b", 10, **further), train_frames=frames, console=QUIET)
    config = toy_config(tmp_path / "c", 10, init_share=0.7, **further)
    mixed = train(config, train_frames=frames, val_frames=frames, console=QUIET)
    start, end, found = (load_model(path)[1].state_dict() for path in (first, alone, mixed))
    moved = 0.0
    for name, value in found.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, 0.7 * start[name] + 0.3 * end[name])
            moved = max(moved, float((end[name] - start[name]).abs().max()))
    assert moved > 0.01
    # The result beside it is that of what is written.
    result = score(NetworkPredictor.load(mixed), frames, config.eval)
    metrics = json.loads((tmp_path / "c" / "metrics.json").read_text())
    assert metrics["mean_ap"]["all"] == pytest.approx(result.mean_ap(), abs=1e-6)


def test_a_share_of_another_network_is_refused_before_training(tmp_path):
    first = train(toy_config(tmp_path / "a", 1), train_frames=ToyDataset(4), console=QUIET)
    wider = toy_config(tmp_path / "b", 1, model=toy_model(width=24), init=first, init_share=0.5)
    with pytest.raises(
        Kd3dError, match=r"init_share: .*model.ckpt is of another network than toy"
    ):
        train(wider, train_frames=ToyDataset(4), console=QUIET)
    assert not (tmp_path / "b" / "model.ckpt").exists()
    with pytest.raises(ValidationError, match="init_share: there is no init to share"):
        toy_config(tmp_path / "c", 1, init_share=0.5)
