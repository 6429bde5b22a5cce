"""From data sets on disk to a stream of samples, and through a whole run."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from rich.console import Console

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import PillarInput
from kd3d_core.datasets.argoverse2_writer import write_argoverse2
from kd3d_core.datasets.balance import ClassBalance
from kd3d_core.datasets.balance import count_classes
from kd3d_core.datasets.folder_writer import write_folder
from kd3d_core.datasets.kitti_writer import write_kitti
from kd3d_core.datasets.nuscenes import NuScenesDataset
from kd3d_core.datasets.nuscenes_writer import write_nuscenes
from kd3d_core.datasets.relabel import with_classes
from kd3d_core.datasets.sampling import SamplingConfig
from kd3d_core.deployment.export import export_bundle
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.official import open_benchmark
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.models.batch import collate
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import HeadConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.runtime.detector import Detector
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.config import DataConfig
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.launch import prepare
from kd3d_core.training.predict import NetworkPredictor
from kd3d_core.training.run import train
from kd3d_core.training.samples import TrainSamples
from kd3d_core.training.samples import encoded
from kd3d_core.training.sources import Sources
from kd3d_core.training.sources import in_steps
from kd3d_core.training.sources import open_sampler
from kd3d_core.training.sources import open_sources

sys.path.insert(0, str(Path(__file__).parent))
from toy_frames import CLASSES
from toy_frames import ToyDataset
from toy_frames import toy_frame

ROOT = Path(__file__).resolve().parents[2]
QUIET = Console(quiet=True)
GRID = BevGrid(x=(-12.8, 12.8), y=(-12.8, 12.8), z=(-3, 3), cell=0.4)


def drives(count=2, frames=3):
    """Toy drives at 2 Hz with poses."""
    return [
        [
            replace(
                toy_frame(10 * number + i, objects=12),
                stamp=100.0 * number + 0.5 * i,
                pose=pose_matrix((0.5 * i, 0, 1.7)),
                source=f"toy:{number}:{i}",
            )
            for i in range(frames)
        ]
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def nuscenes(tmp_path_factory):
    """Toy drives in the layout of nuScenes, with the splits train and val."""
    root = tmp_path_factory.mktemp("nuscenes")
    write_nuscenes(drives(), root)
    return root


def small(model):
    """The same kind of model, quick to train."""
    blocks = tuple(BlockConfig(channels=8, layers=1) for _ in model.blocks)
    blocks = tuple(
        new.model_copy(update={"stride": old.stride})
        for new, old in zip(blocks, model.blocks, strict=True)
    )
    head = model.head
    if isinstance(head, HeadConfig):
        head = head.model_copy(update={"shared_channels": 8, "branch_channels": 8})
    update = {"grid": GRID, "encoder_channels": 8, "blocks": blocks, "neck_channels": 8}
    changed = model.model_copy(update={**update, "head": head})
    return ModelConfig.model_validate(changed.model_dump())


def toy_model(**changes):
    settings = {
        "name": "toy",
        "classes": CLASSES,
        "grid": GRID,
        "encoder_channels": 8,
        "blocks": (BlockConfig(channels=8, layers=1), BlockConfig(channels=8, layers=1)),
        "neck_channels": 8,
        "head": HeadConfig(shared_channels=8, branch_channels=8),
    }
    return ModelConfig(**(settings | changes))


def toy_config(out, **changes):
    data = DataConfig(workers=0, augment=None, sampling=None)
    settings = {"model": toy_model(), "data": data, "out": out, "max_steps": 2, "batch_size": 2}
    return TrainConfig(**(settings | {"precision": "32-true"} | changes))


def test_the_nuscenes_run_from_layout_to_official_metric(nuscenes, tmp_path):
    path = ROOT / "config" / "train" / "nuscenes_centerpoint_pillar.yaml"
    config = prepare(path, data=nuscenes, val=nuscenes, out=tmp_path, batch_size=2)
    assert config.max_epochs == 20
    config = config.model_copy(
        update={
            "model": small(config.model_config_resolved()),
            "data": config.data.model_copy(update={"workers": 0}),
            "precision": "32-true",
            "max_epochs": 1.0,
        }
    )
    path = train(config, console=QUIET)
    # Of three frames, each with cars and pedestrians: six drawn in an epoch of CBGS.
    predictor = NetworkPredictor.load(path)
    assert json.loads((tmp_path / "metrics.json").read_text())["frames"] == 3
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 3
    assert predictor.model.input.time
    dataset = NuScenesDataset(nuscenes, split="val", sweeps=10)
    benchmark = open_benchmark("nuscenes", dataset, dataset.classes)
    for index in range(len(dataset)):
        benchmark.add(index, dataset[index], predictor(dataset[index]))
    assert 0 <= benchmark.result()[0]["mean_ap"] <= 1
    # What was made of the data lies beside it for the next run.
    made = [item.name for item in (nuscenes / ".kd3d").glob("*.npz")]
    assert sorted(name.split("-")[0] for name in made) == ["classes", "objects"]


def write_layout(name, root):
    """Toy drives where the configuration of that name looks for them; the folder of the data."""
    first, second = drives()
    if name.startswith("kitti"):
        write_kitti(first, root, split="train")
        write_kitti(second, root, split="val")
    elif name.startswith("argoverse2"):
        pytest.importorskip("pyarrow", reason="Feather needs pyarrow")
        for split, drive in (("train", first), ("val", second)):
            write_argoverse2(drive, root, split=split, log=f"log-{split}")
    elif name.startswith("waymo"):
        for split, drive in (("training", first), ("validation", second)):
            write_folder(drive, root / split)
    else:
        write_nuscenes([first, second], root)
    return root


@pytest.mark.parametrize(
    "name",
    [
        "argoverse2_centerpoint_pillar",
        "kitti_pointpillars",
        "kitti_second",
        "nuscenes_centerpoint_voxel",
        "waymo_centerpoint_pillar",
    ],
)
def test_each_published_run_learns_from_its_layout(name, tmp_path):
    if "voxel" in name or "second" in name:
        pytest.importorskip("spconv", reason="voxel networks need spconv")
    root = write_layout(name, tmp_path / "data")
    path = ROOT / "config" / "train" / f"{name}.yaml"
    config = prepare(path, data=root, val=root, out=tmp_path / "run", max_steps=1, batch_size=2)
    config = config.model_copy(
        update={
            "model": small(config.model_config_resolved()),
            "data": config.data.model_copy(update={"workers": 0}),
            "precision": "32-true",
        }
    )
    assert train(config, console=QUIET).is_file()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    counted = metrics["metrics"]["all"]
    assert metrics["frames"] == 3
    # KITTI labels what the camera sees, so fewer than the 36 objects of the toy drive.
    assert sum(entry["truths"] for entry in counted.values()) > 5


def test_other_names_are_mapped_and_a_silent_mistake_is_not(tmp_path):
    frames = drives(1)[0]
    other = [
        replace(frame, boxes=replace(frame.boxes, classes=("auto", "person"))) for frame in frames
    ]
    write_folder(other, tmp_path / "own")
    data = DataConfig(train=tmp_path / "own", sampling=None, augment=None)
    with pytest.raises(Kd3dError, match=r"auto, person.*class_map"):
        open_sources(toy_config(tmp_path, data=data), QUIET)
    data = data.model_copy(update={"class_map": {"auto": "car", "person": "pedestrian"}})
    sources = open_sources(toy_config(tmp_path, data=data), QUIET)
    for i, frame in enumerate(frames):
        found = with_classes(sources.labelled[i], CLASSES).boxes
        np.testing.assert_array_equal(found.label, frame.boxes.label)
    with pytest.raises(ValidationError):
        DataConfig(format="pcd")


def test_data_sets_are_learnt_from_together(tmp_path):
    first, second = drives(2)
    # The second set knows a class more, and has the others in another order.
    second = [
        replace(
            frame,
            boxes=replace(
                frame.boxes, classes=("pedestrian", "tram", "car"), label=2 - 2 * frame.boxes.label
            ),
        )
        for frame in second
    ]
    write_folder(first, tmp_path / "one")
    write_folder(second, tmp_path / "two")
    data = DataConfig(train=tmp_path / "one", also=(tmp_path / "two",), sampling=None)
    sources = open_sources(toy_config(tmp_path, data=data), QUIET)
    frames = sources.labelled
    assert len(frames) == 6
    for i, original in enumerate([*first, *second]):
        for boxes in (frames[i].boxes, frames.boxes(i)):
            assert boxes.classes == frames.classes
            assert boxes.names == original.boxes.names
        np.testing.assert_array_equal(frames[i].cloud.points, original.cloud.points)
    assert len({frames.drive(i) for i in range(6)}) == 2
    with pytest.raises(IndexError):
        frames[6]
    described = sources.describe(toy_config(tmp_path, data=data))
    assert described["also"] == [str(tmp_path / "two")]
    path = tmp_path / "run.yaml"
    path.write_text(f"model: tiny\ndata: {{train: {tmp_path}/one, also: [{tmp_path}/two]}}\n")
    assert prepare(path).data.also == (tmp_path / "two",)
    assert prepare(path, data=tmp_path / "two").data.also == ()
    missing = toy_config(tmp_path, data=data.model_copy(update={"also": (tmp_path / "three",)}))
    with pytest.raises(Kd3dError, match="three"):
        open_sources(missing, QUIET)


def test_objects_are_cut_out_of_all_data_sets_together(tmp_path):
    for name, drive in zip(("one", "two"), drives(2), strict=True):
        write_folder(drive, tmp_path / name)
    sampling = SamplingConfig(per_class={"car": 3, "pedestrian": 3}, min_points=1)
    alone = DataConfig(train=tmp_path / "one", sampling=sampling)
    both = alone.model_copy(update={"also": (tmp_path / "two",)})
    counts = []
    for data in (alone, both, alone):
        config = toy_config(tmp_path / "out", data=data)
        counts.append(len(open_sampler(config, open_sources(config, QUIET), QUIET).database))
    assert counts[0] == counts[2] < counts[1]


def test_sweeps_are_joined_and_kept_in_memory(nuscenes, tmp_path):
    settings = {"train": nuscenes, "split": "all", "sampling": None}
    config = toy_config(tmp_path, data=DataConfig(**settings, sweeps=3, cache_gb=0.01))
    frames = open_sources(config, QUIET).labelled
    single = open_sources(toy_config(tmp_path, data=DataConfig(**settings)), QUIET).labelled
    assert frames.kept == 6
    assert frames[2] is frames[2]
    assert len(np.unique(frames[2].cloud.time)) == 3
    assert len(frames[2].cloud) > 2.8 * len(single[2].cloud)


def test_epochs_become_steps(tmp_path):
    sources = Sources(ToyDataset(10), None, None)
    config = toy_config(tmp_path, max_epochs=3, batch_size=4, devices=2)
    assert in_steps(config, sources).max_steps == 4  # 30 frames, 8 at a time
    balance = ClassBalance(count_classes(sources.labelled, CLASSES))
    assert len(balance) > 10
    assert in_steps(config, replace(sources, balance=balance)).max_steps > 4
    assert in_steps(toy_config(tmp_path), sources).max_steps == 2
    given = prepare(ROOT / "config" / "train" / "kitti_second.yaml", max_steps=7)
    assert in_steps(given, sources).max_steps == 7


def test_a_balanced_stream_resumes_and_is_shared_out(tmp_path):
    frames = ToyDataset(8)
    balance = ClassBalance(count_classes(frames, CLASSES))
    config = toy_config(tmp_path)
    first = TrainSamples(frames, config, config.model, balance=balance)
    second = TrainSamples(frames, config, config.model, balance=balance)
    numbers = list(range(2 * len(balance)))
    seen = [first.frame(number).source for number in numbers]
    assert [second.frame(number).source for number in reversed(numbers)] == seen[::-1]
    assert seen[: len(balance)] != seen[len(balance) :]


def test_pasting_and_changing_fade_out(tmp_path):
    frames = ToyDataset(4)
    calls = []

    def sampler(frame, rng):
        calls.append(frame.source)
        return frame

    data = DataConfig(workers=0, sampling=SamplingConfig(until=0.5))
    data = data.model_copy(update={"augment": data.augment.model_copy(update={"until": 0.75})})
    config = toy_config(tmp_path, data=data, max_steps=10, batch_size=2, devices=2)
    samples = TrainSamples(frames, config, config.model, sampler=sampler)
    for number in range(40):
        before = len(calls)
        frame = samples.frame(number)
        assert (len(calls) > before) == (number < 20)
        original = frames[int(frame.source.split(":")[1])]
        changed = len(frame.cloud) != len(original.cloud) or not np.array_equal(
            frame.cloud.points, original.cloud.points
        )
        assert changed == (number < 30)


class Pairs(ToyDataset):
    """Toy frames of two sweeps: the second half of the points is older."""

    def __getitem__(self, index):
        frame = super().__getitem__(index)
        time = np.where(np.arange(len(frame.cloud)) % 2, -0.1, 0.0).astype(np.float32)
        return replace(frame, cloud=replace(frame.cloud, time=time))


def test_training_and_robot_agree_on_times(tmp_path):
    model = toy_model(input=PillarInput(max_pillars=2000, time=True))
    data = DataConfig(workers=0, augment=None, sampling=None, sweeps=2)
    path = train(
        toy_config(tmp_path, model=model, data=data), train_frames=Pairs(4), console=QUIET
    )
    frame = Pairs(1)[0]
    export_bundle(path, tmp_path / "timed.kd3d", [frame.cloud])
    detector = Detector.load(tmp_path / "timed.kd3d", threads=1)
    assert detector.manifest.sweeps == 2
    assert detector.manifest.inputs["pillars"] == (None, 16, 10)
    _, network = load_model(path)
    with torch.inference_mode():
        wanted = network(collate([encoded(frame, model)])).outputs
    found = detector.raw_maps(frame.cloud)
    for mine, theirs in zip(wanted.as_tuple(), found.as_tuple(), strict=True):
        np.testing.assert_allclose(theirs, mine[0].numpy(), atol=1e-4)
    timeless = detector.raw_maps(replace(frame.cloud, time=None))
    assert np.abs(timeless.heatmap - found.heatmap).max() > 1e-4
