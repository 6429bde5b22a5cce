"""Learning from clouds without labels: the teacher's boxes, doubt, mixing, and whole runs."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.targets import make_targets
from kd3d_core.config import load_config
from kd3d_core.datasets.bags import iter_bag
from kd3d_core.datasets.drive_bags import write_drive_bag
from kd3d_core.datasets.recorded import RecordedClouds
from kd3d_core.datasets.recorded import RecordedOptions
from kd3d_core.datasets.recorded import cache_clouds
from kd3d_core.distillation.response import PPLogitConfig
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.agreement import pair_boxes
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.models.losses import gaussian_focal_loss
from kd3d_core.pointcloud import PointCloud
from kd3d_core.training.batches import collate_train
from kd3d_core.training.checkpoint import Checkpoint
from kd3d_core.training.checkpoint import load_fitting
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.checkpoint import read_checkpoint
from kd3d_core.training.checkpoint import save_checkpoint
from kd3d_core.training.config import DataConfig
from kd3d_core.training.config import DistillConfig
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.config import UnlabelledConfig
from kd3d_core.training.launch import mined_config
from kd3d_core.training.launch import prepare
from kd3d_core.training.predict import NetworkPredictor
from kd3d_core.training.run import _build_module
from kd3d_core.training.run import train
from kd3d_core.training.samples import TrainSamples
from kd3d_core.training.sources import Sources
from kd3d_core.training.sources import open_sources
from kd3d_core.training.unlabelled import LABEL_SCORE
from kd3d_core.training.unlabelled import TaughtFrames
from kd3d_core.training.unlabelled import label_scores
from kd3d_core.training.unlabelled import open_unlabelled
from kd3d_core.training.unlabelled import predict_labels

sys.path.insert(0, str(Path(__file__).parent))
from test_training_run import toy_config
from test_training_run import toy_model
from toy_frames import CLASSES
from toy_frames import ToyDataset

CONFIGS = Path(__file__).resolve().parents[2] / "config"
QUIET = Console(quiet=True)
PLAIN = DataConfig(workers=0, augment=None, sampling=None)


def boxes_at(places, scores, labels=None):
    return Boxes3D.make(
        [[x, y, -1.0] for x, y in places],
        [[4.2, 1.8, 1.6]] * len(places),
        [0.3] * len(places),
        [0] * len(places) if labels is None else labels,
        velocity=np.zeros((len(places), 2)),
        score=scores,
        classes=CLASSES,
    )


def write_toy_bag(path, frames):
    """A bag of the clouds alone, 0.1 s apart."""
    return write_drive_bag(
        (
            Frame(cloud=frame.cloud, source="toy", stamp=10.0 + 0.1 * i)
            for i, frame in enumerate(frames)
        ),
        path,
    )


@pytest.fixture(scope="module")
def unseen():
    """Frames that no teacher was trained on; their truth never enters the bag."""
    return ToyDataset(6, first=100)


@pytest.fixture(scope="module")
def bag(tmp_path_factory, unseen):
    return write_toy_bag(tmp_path_factory.mktemp("bags") / "mined", unseen.frames)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    config = toy_config(tmp_path_factory.mktemp("teacher"), 70)
    return train(config, train_frames=ToyDataset(12), console=QUIET)


def taught(teacher, bag, out, steps, *, share=1.0, **changes):
    distill = DistillConfig(
        teacher=teacher,
        methods=(PPLogitConfig(weight=1.0),),
        unlabelled=UnlabelledConfig(bags=(bag,), share=share),
    )
    student = toy_model("student", width=8)
    return toy_config(out, steps, **({"model": student, "distill": distill} | changes))


def test_thresholds_decide_what_is_a_label_and_what_is_doubtful(tmp_path):
    cloud = PointCloud(np.full((300, 4), [0, 0, -1, 0], np.float32))
    seen = boxes_at([(0, 0), (5, 5), (-5, 5), (5, -5), (0, 8)], [0.9, 0.5, 0.3, 0.1, 0.5],
                    labels=[0, 0, 0, 0, 1])  # fmt: skip
    limit = np.array([0.5, 0.8])
    labels = predict_labels(lambda frame: seen, [Frame(cloud, "a")] * 2, CLASSES, limit * 0.5)
    assert labels.start.tolist() == [0, 4, 8]
    np.testing.assert_array_equal(labels.of(1)[1], [300, 0, 0, 0])
    file = tmp_path / "labels.npz"
    labels.save(file)
    again = labels.load(file, CLASSES)
    np.testing.assert_array_equal(again.boxes.score, labels.boxes.score)

    cache_clouds([write_toy_bag(tmp_path / "b", _two())], tmp_path)
    clouds = RecordedClouds(next(tmp_path.glob("clouds-*")))
    frames = TaughtFrames(clouds, again, limit)
    assert (frames.sure, frames.doubtful) == (4, 4)
    np.testing.assert_allclose(frames[1].boxes.score, [1, 1, 0.3, 0.5], atol=1e-6)


def _two():
    return ToyDataset(2).frames


def test_label_scores_come_from_config_or_the_teachers_validation():
    metrics = {"metrics": {"all": {"car": {"best_threshold": 0.44}, "pedestrian": {}}}}
    known = Checkpoint(model=toy_model(), weights={}, metrics=metrics)
    np.testing.assert_allclose(label_scores(known, UnlabelledConfig()), [0.44, LABEL_SCORE])
    stated = UnlabelledConfig(label_score={"pedestrian": 0.2, "car": 0.6})
    np.testing.assert_allclose(label_scores(known, stated), [0.6, 0.2])
    with pytest.raises(Kd3dError, match="label_score"):
        label_scores(known, UnlabelledConfig(label_score={"tram": 0.2}))


def test_a_doubtful_box_neither_attracts_nor_repels():
    grid = BevGrid(x=(-12, 12), y=(-12, 12), cell=0.5)
    boxes = boxes_at([(4, 4), (-6, -6)], [1, 0.3])
    targets = make_targets(boxes, grid, 2, doubtful=boxes.score < 1)
    assert len(targets) == 1
    assert (targets.heatmap == 1).sum() == 1

    def gradient(heatmap):
        logits = torch.zeros(1, *heatmap.shape, requires_grad=True)
        gaussian_focal_loss(logits, torch.from_numpy(heatmap)[None]).backward()
        return logits.grad[0].numpy()

    column = row = (-6 + 12) // 1
    window = np.s_[row - 2 : row + 3, column - 2 : column + 3]
    slope = gradient(targets.heatmap)
    assert np.abs(slope[0][window]).max() < 1e-12
    assert slope[1][window].min() > 0.1  # other classes are background there
    sure = gradient(make_targets(boxes[:1], grid, 2).heatmap)
    assert sure[0][window].min() > 0.1  # as background it would repel
    both = gradient(make_targets(boxes, grid, 2).heatmap)
    assert both[0][row, column] < -0.1  # as truth it would attract
    outside = np.ones(slope.shape, bool)
    outside[0, row - 2 : row + 3, column - 2 : column + 3] = False
    np.testing.assert_array_equal(slope[outside], sure[outside])


def test_a_doubtful_box_leaves_a_sure_one_beside_it():
    grid = BevGrid(x=(-12, 12), y=(-12, 12), cell=0.5)
    boxes = boxes_at([(0.5, 0.5), (1.5, 0.5)], [1, 0.3])
    targets = make_targets(boxes, grid, 2, doubtful=boxes.score < 1)
    assert targets.heatmap[0].flat[targets.cell[0]] == 1
    edge = boxes_at([(-11.9, 11.9), (40, 0)], [0.3, 0.3])
    assert not len(make_targets(edge, grid, 2, doubtful=edge.score < 1))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_mixing_keeps_its_share_in_every_stretch(share, unseen):
    class Spy(ToyDataset):
        drawn = 0

        def __getitem__(self, index):
            self.drawn += 1
            return super().__getitem__(index)

    class Pasting:
        calls = 0

        def __call__(self, frame, rng):
            self.calls += 1
            return frame

    labelled, recorded, pasting = Spy(3), Spy(2, first=50), Pasting()
    distill = DistillConfig(unlabelled=UnlabelledConfig(share=share))
    config = toy_config(Path("unused"), 1, distill=distill)
    samples = TrainSamples(labelled, config, config.model, None, pasting, recorded)
    for number in range(40):
        samples[number]
        assert recorded.drawn == int((number + 1) * share + 1e-9)
    assert labelled.drawn == pasting.calls == 40 - recorded.drawn


def test_every_recorded_cloud_comes_equally_often(unseen):
    seen = []

    class Named(ToyDataset):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    config = toy_config(
        Path("unused"), 1, distill=DistillConfig(unlabelled=UnlabelledConfig(share=0.5))
    )
    samples = TrainSamples(ToyDataset(2), config, config.model, unlabelled=Named(4, first=50))
    for number in range(24):
        samples[number]
    assert [seen.count(i) for i in range(4)] == [3] * 4
    assert seen[:4] != seen[4:8] or seen[4:8] != seen[8:12]


def test_the_cache_holds_the_clouds_and_is_found_again(tmp_path, bag):
    clouds = cache_clouds([bag], tmp_path)
    assert len(clouds) == 6
    for index, frame in enumerate(iter_bag(bag)):
        np.testing.assert_array_equal(clouds[index].cloud.points, frame.cloud.points)
        assert clouds[index].stamp == frame.stamp
        assert clouds[index].source == frame.source

    def fail(frames):
        raise AssertionError("read again")

    assert cache_clouds([bag], tmp_path, progress=fail).folder == clouds.folder
    fewer = cache_clouds([bag], tmp_path, RecordedOptions(every=4))
    assert [frame.stamp for frame in fewer] == [clouds[0].stamp, clouds[4].stamp]
    assert not list(tmp_path.glob(".*"))
    clouds.paths[0].write_bytes(b"half")
    with pytest.raises(Kd3dError, match="damaged"):
        clouds[0]


def test_a_bag_without_a_usable_cloud_is_refused(tmp_path, teacher):
    far = [
        replace(frame, cloud=PointCloud(frame.cloud.points + np.float32([500, 0, 0, 0])))
        for frame in ToyDataset(2).frames
    ]
    bag = write_toy_bag(tmp_path / "far", far)
    with pytest.raises(Kd3dError, match=r"none of the 2 clouds .* is usable: .* 200 points"):
        open_unlabelled(taught(teacher, bag, tmp_path / "out", 1), QUIET)
    assert not list((tmp_path / "out" / "cache").iterdir())


def test_a_teacher_that_sees_nothing_is_said(tmp_path, bag, teacher):
    config = taught(teacher, bag, tmp_path, 1)
    unlabelled = config.distill.unlabelled.model_copy(update={"label_score": 0.9999})
    distill = config.distill.model_copy(update={"unlabelled": unlabelled})
    with pytest.raises(Kd3dError, match="finds nothing to learn from in the 6 clouds"):
        open_unlabelled(config.model_copy(update={"distill": distill}), QUIET)


def test_a_teacher_of_other_classes_is_refused_before_any_work(tmp_path, bag, teacher):
    other = toy_model().model_copy(update={"classes": ("car",)})
    with pytest.raises(Kd3dError, match="same classes"):
        open_unlabelled(taught(teacher, bag, tmp_path, 1, model=other), QUIET)
    assert not (tmp_path / "cache").exists()


def loss_of(config, weights, frames):
    """The detection loss of a student with these weights on the teacher's labels."""
    module = _build_module(config, Sources(frames, None, None))
    load_fitting(module.detector, weights)
    samples = TrainSamples(frames, config, module.model, module.teacher.config)
    with torch.no_grad():
        terms, _ = module.eval().losses(collate_train([samples[i] for i in range(len(frames))]))
    return sum(float(terms[name]) for name in ("heatmap", "offset", "size", "rotation"))


def test_a_student_learns_a_bag_that_nobody_labelled(tmp_path, bag, teacher):
    before = teacher.read_bytes()
    config = taught(teacher, bag, tmp_path, 50)
    path = train(config, console=QUIET)
    assert teacher.read_bytes() == before
    checkpoint = read_checkpoint(path)
    assert checkpoint.step == 50
    assert checkpoint.data["unlabelled"]["clouds"] == 6
    assert checkpoint.data["unlabelled"]["labels"] >= 10
    assert "train" not in checkpoint.data
    assert checkpoint.teacher["name"] == "toy"
    frames = open_unlabelled(config, QUIET)
    assert frames.sure == checkpoint.data["unlabelled"]["labels"]
    assert loss_of(config, checkpoint.weights, frames) < 0.65 * loss_of(config, {}, frames)
    found = pairs = 0
    student = NetworkPredictor.load(path)
    for frame in frames:
        sure = frame.boxes[frame.boxes.score == 1]
        pairs += len(pair_boxes(student(frame), sure).student)
        found += len(sure)
    assert pairs > 0.6 * found


def test_a_run_stopped_half_way_goes_on(tmp_path, bag, teacher):
    labelled = ToyDataset(4)
    whole = taught(teacher, bag, tmp_path / "whole", 15, share=0.5)
    train(whole, train_frames=labelled, console=QUIET)
    half = taught(teacher, bag, tmp_path / "half", 15, share=0.5)

    class StoppedError(RuntimeError):
        pass

    class Stops(ToyDataset):
        left = 24

        def __getitem__(self, index):
            self.left -= 1
            if self.left < 0:
                raise StoppedError
            return super().__getitem__(index)

    with pytest.raises(StoppedError):
        train(half, train_frames=Stops(4), console=QUIET)
    stamps = {p: p.stat().st_mtime_ns for p in (half.out / "cache").rglob("*.npz")}
    assert len(stamps) == 7
    path = train(half, train_frames=labelled, resume=True, console=QUIET)
    assert {p: p.stat().st_mtime_ns for p in (half.out / "cache").rglob("*.npz")} == stamps
    straight = load_model(whole.out / "model.ckpt")[1].state_dict()
    for name, value in load_model(path)[1].state_dict().items():
        torch.testing.assert_close(value, straight[name], rtol=1e-3, atol=1e-4)


def test_without_labelled_data_the_bag_stands_alone(tmp_path, bag, teacher):
    text = io.StringIO()
    data = PLAIN.model_copy(update={"train": tmp_path / "absent"})
    config = taught(teacher, bag, tmp_path, 1, share=0.5, data=data)
    sources = open_sources(config, Console(file=text, width=200))
    assert sources.labelled is None
    assert len(sources.main) == 6
    assert sources.mixed_in is None
    assert "no labelled data" in text.getvalue()
    mixed = open_sources(config, QUIET, train=ToyDataset(3))
    assert len(mixed.main) == 3
    assert len(mixed.mixed_in) == 6
    assert mixed.describe(config)["unlabelled"]["share"] == 0.5


def test_the_file_says_what_the_default_is():
    assert load_config(TrainConfig, CONFIGS / "distill" / "mined.yaml") == mined_config()


def test_built_in_settings_take_the_ground_of_the_networks(tmp_path):
    """The shipped models want levelled clouds: `distill --bag` has to go on with these."""
    path = tmp_path / "student.ckpt"
    training = {"data": {"ground_height": 1.73}}
    save_checkpoint(path, Checkpoint(model=toy_model("deployed"), weights={}, training=training))
    assert prepare(None, student=path, teacher=path, bags=[tmp_path]).data.ground_height == 1.73
    assert prepare(None, teacher=path, bags=[tmp_path]).data.ground_height == 1.73
    mined = CONFIGS / "distill" / "mined.yaml"  # a file says what it says
    assert prepare(mined, student=path, bags=[tmp_path]).data.ground_height is None


def test_a_student_brings_its_own_model(tmp_path):
    path = tmp_path / "student.ckpt"
    save_checkpoint(path, Checkpoint(model=toy_model("deployed"), weights={}))
    config = prepare(None, student=path, teacher=path, bags=[tmp_path], topic="/top")
    assert config.model_config_resolved() == toy_model("deployed")
    assert config.init == config.distill.teacher == path
    assert config.distill.unlabelled.bags == (tmp_path,)
    assert config.distill.unlabelled.topic == "/top"
    assert config.data.ground_height is None
    with pytest.raises(Kd3dError, match="is a bundle"):
        prepare(None, teacher=Path("teacher.kd3d"), bags=[tmp_path])
    with pytest.raises(Kd3dError, match="no data set"):
        prepare(None, data=tmp_path / "absent", bags=[tmp_path])
    with pytest.raises(Kd3dError, match="no distill section"):
        prepare(CONFIGS / "train" / "quick_student.yaml", bags=[tmp_path])
