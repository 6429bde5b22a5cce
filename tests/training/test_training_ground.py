"""Data sets of several mounts become one: the ground of every frame at the height of the model."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import BevImageInput
from kd3d_core.datasets.augment import shift_height
from kd3d_core.datasets.sampling import SamplingConfig
from kd3d_core.deployment.export import ExportOptions
from kd3d_core.deployment.export import draft
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.training.checkpoint import read_checkpoint
from kd3d_core.training.config import DataConfig
from kd3d_core.training.config import DistillConfig
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.on_ground import on_ground
from kd3d_core.training.predict import NetworkPredictor
from kd3d_core.training.run import train
from kd3d_core.training.samples import TrainSamples
from kd3d_core.training.samples import ValFrames
from kd3d_core.training.samples import encoded
from kd3d_core.training.sources import open_sampler
from kd3d_core.training.sources import open_sources

sys.path.insert(0, str(Path(__file__).parent))
from toy_frames import CLASSES
from toy_frames import toy_frame

QUIET = Console(quiet=True)
HEIGHTS = (0.6, 1.7, 2.5)
MODEL = ModelConfig(
    name="grounded",
    classes=CLASSES,
    grid=BevGrid(x=(-12.8, 12.8), y=(-12.8, 12.8), z=(-2.6, 1.4), cell=0.4),
    input=BevImageInput(),
    encoder_channels=8,
    blocks=(BlockConfig(channels=8, layers=1, stride=1),),
    neck_channels=8,
    head=HeadConfig(shared_channels=8, branch_channels=8),
)


class Mounts:
    """Toy frames of sensors at several heights; which of them state theirs is up to the test."""

    classes = CLASSES

    def __init__(self, stated=True, tilt=0.0, seeds=(4, 4, 4)):
        frames = [
            shift_height(toy_frame(seed), 1.7 - height)
            for seed, height in zip(seeds, HEIGHTS, strict=True)
        ]
        pose = pose_matrix((0, 0, 0), pitch=tilt)
        if tilt:
            frames = [
                replace(f, cloud=f.cloud.transformed(pose), boxes=f.boxes.transformed(pose))
                for f in frames
            ]
        self.frames = [f if stated else replace(f, sensor_height=None) for f in frames]

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, index):
        return self.frames[index]


def run(tmp_path, height, **data):
    settings = {"augment": None, "sampling": None, "workers": 0, "min_points": 1, **data}
    return TrainConfig(
        model=MODEL,
        data=DataConfig(ground_height=height, **settings),
        out=tmp_path / "run",
        max_steps=2,
        batch_size=1,
        precision="32-true",
    )


@pytest.mark.parametrize(("stated", "tolerance"), [(True, 1e-5), (False, 0.03)])
def test_every_mount_gives_the_same_frame(stated, tolerance):
    for frame in map(on_ground(Mounts(stated), 1.7).__getitem__, range(len(HEIGHTS))):
        np.testing.assert_allclose(frame.cloud.xyz, toy_frame(4).cloud.xyz, atol=tolerance)
        np.testing.assert_allclose(frame.boxes.center, toy_frame(4).boxes.center, atol=tolerance)
        assert frame.sensor_height == pytest.approx(1.7)


def test_a_tilted_mount_that_says_nothing_of_itself_is_levelled():
    for frame in map(on_ground(Mounts(stated=False, tilt=0.15), 1.7).__getitem__, range(3)):
        np.testing.assert_allclose(frame.cloud.xyz, toy_frame(4).cloud.xyz, atol=0.06)
        np.testing.assert_allclose(frame.boxes.center, toy_frame(4).boxes.center, atol=0.06)


def test_without_ground_in_sight_and_without_a_wish_a_frame_stays():
    hollow = replace(toy_frame(4), cloud=toy_frame(4).cloud[:5], sensor_height=None)
    assert on_ground([hollow], 1.0)[0] is hollow
    frames = Mounts()
    assert on_ground(frames, None) is frames


def test_samples_and_validation_show_the_shifted_frames(tmp_path):
    for height in (None, 1.7):
        config = run(tmp_path, height)
        samples = TrainSamples(Mounts(), config, MODEL)
        same = encoded(toy_frame(4), MODEL).arrays["image"]
        shown = [samples[i].inputs.arrays["image"] for i in range(3)]
        shown += [ValFrames(Mounts(), MODEL, 3, height)[i][0].arrays["image"] for i in range(3)]
        equal = [np.isclose(image, same, atol=1e-2).mean() > 0.999 for image in shown]
        assert sum(equal) == (2 if height is None else 6)


def test_pasted_objects_stand_on_the_ground(tmp_path):
    for stated in (True, False):
        config = run(tmp_path / str(stated), 1.7, sampling=SamplingConfig(probability=1.0))
        frames = Mounts(stated, seeds=(4, 5, 6))
        sampler = open_sampler(config, open_sources(config, QUIET, train=frames), QUIET)
        samples = TrainSamples(frames, config, MODEL, sampler=sampler)
        boxes = Boxes3D.concatenate([samples.frame(i).boxes for i in range(3)])
        assert len(boxes) > sum(len(frame.boxes) for frame in frames.frames)
        np.testing.assert_allclose(boxes.center[:, 2] - boxes.size[:, 2] / 2, -1.7, atol=0.05)


def test_checkpoint_bundle_and_prediction_know_the_height(tmp_path):
    path = train(run(tmp_path, 1.7), train_frames=Mounts(), val_frames=Mounts(), console=QUIET)
    assert read_checkpoint(path).ground_height == 1.7
    assert draft(path, ExportOptions()).bundle.manifest.ground_height_m == 1.7
    predict = NetworkPredictor.load(path)
    found = [predict(frame) for frame in Mounts().frames]
    assert len(found[0]) > 0
    for boxes, height in zip(found, HEIGHTS, strict=True):
        assert len(boxes) == len(found[0])
        np.testing.assert_allclose(boxes.center[:, :2], found[0].center[:, :2], atol=1e-2)
        lift = boxes.center[:, 2] - found[0].center[:, 2]
        np.testing.assert_allclose(lift, HEIGHTS[0] - height, atol=1e-2)

    taught = run(tmp_path, 2.0).model_copy(update={"distill": DistillConfig(teacher=path)})
    with pytest.raises(Kd3dError, match=r"data\.ground_height: 2\.0 .*set it to 1\.7"):
        train(taught, train_frames=Mounts(), console=QUIET)
