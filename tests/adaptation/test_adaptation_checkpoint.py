"""A checkpoint adapted: batch norm, training on the teacher's boxes, what is written."""

from dataclasses import replace

import numpy as np
import pytest
import recordings
import small_checkpoint
import torch

from kd3d_core.adaptation.checkpoint_subject import CheckpointSubject
from kd3d_core.adaptation.config import AdaptConfig
from kd3d_core.adaptation.norm import as_seen
from kd3d_core.adaptation.norm import with_statistics
from kd3d_core.adaptation.recording import Recording
from kd3d_core.adaptation.run import adapt
from kd3d_core.adaptation.run import survey
from kd3d_core.adaptation.self_training import Mixed
from kd3d_core.adaptation.self_training import self_train
from kd3d_core.adaptation.subject import Settings
from kd3d_core.codec.intensity import NO_INTENSITY
from kd3d_core.codec.intensity import IntensityMap
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.models.batch import collate
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.manifest import AdaptationRecord
from kd3d_core.training.checkpoint import read_checkpoint
from kd3d_core.training.predict import NetworkPredictor
from kd3d_core.training.samples import encoded

AS_THEY_COME = Settings(None, None, {})
RECORD = AdaptationRecord(source="bag", clouds=8, model="model.ckpt", model_sha256="0" * 64)


def frames(count=8):
    return [Frame(recordings.cars(i), f"{i}") for i in range(count)]


@pytest.fixture
def subject(tmp_path):
    return CheckpointSubject.load(small_checkpoint.write(tmp_path / "model.ckpt", "bev_image"))


def norms(network):
    return [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]


def test_share_1_normalises_the_recording(subject):
    model = subject.checkpoint.model
    after = with_statistics(subject.network, model, frames(4), AS_THEY_COME, 1.0)
    seen = {}
    first = norms(after)[0]
    # Copies: the ReLU behind the norm works in place.
    first.register_forward_hook(
        lambda m, given, out: seen.update(given=given[0].clone(), out=out.clone())
    )
    with torch.no_grad():
        after(collate([encoded(frame, model) for frame in frames(4)]))
    scale, shift = (v.detach().view(1, -1, 1, 1) for v in (first.weight, first.bias))
    whitened, spread = (seen["out"] - shift) / scale, seen["given"].var((0, 2, 3))
    assert whitened.mean((0, 2, 3)).abs().max() < 1e-3
    torch.testing.assert_close(
        whitened.var((0, 2, 3)), spread / (spread + first.eps), rtol=0.02, atol=1e-3
    )


def test_a_share_lies_between_and_the_network_given_stays(subject):
    model = subject.checkpoint.model
    before = [norm.running_mean.clone() for norm in norms(subject.network)]
    half, whole = (
        with_statistics(subject.network, model, frames(4), AS_THEY_COME, share)
        for share in (0.25, 1.0)
    )
    for old, some, new in zip(before, norms(half), norms(whole), strict=True):
        assert some.running_mean.numpy() == pytest.approx(
            (0.75 * old + 0.25 * new.running_mean).numpy(), abs=1e-5
        )
        assert not some.training
    for old, norm in zip(before, norms(subject.network), strict=True):
        assert torch.equal(old, norm.running_mean)


def test_what_the_network_sees_is_levelled_and_mapped():
    frame = Frame(recordings.street(0, height=1.0), "")
    seen = as_seen(frame, Settings(NO_INTENSITY, 1.7, {}))
    assert (seen.cloud.points[:, 3] == 0).all()
    assert np.median(seen.cloud.points[:, 2]) == pytest.approx(-1.7, abs=0.02)
    assert as_seen(frame, AS_THEY_COME) is frame


def test_training_changes_weights_and_nothing_else(subject):
    teacher = replace(subject, settings=replace(subject.settings, thresholds={}))
    low = dict.fromkeys(DEFAULT_CLASSES, 0.2)
    teacher = teacher.changed(replace(teacher.settings, thresholds=low))
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    after = self_train(subject, teacher, frames(), AdaptConfig(steps=2, batch_size=2))
    moved = [
        name
        for name, value in after.network.state_dict().items()
        if name.endswith("weight") and not torch.equal(value, before[name])
    ]
    assert moved
    assert after.settings == subject.settings
    assert after.checkpoint.step == subject.checkpoint.step + 2
    for name, value in subject.network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_labelled_frames_come_every_other_time():
    class Numbers:
        classes = DEFAULT_CLASSES

        def __init__(self, start, count):
            self.start, self.count = start, count

        def __len__(self):
            return self.count

        def __getitem__(self, index):
            return self.start + index

    mixed = Mixed(Numbers(0, 3), Numbers(100, 10))
    drawn = [mixed[i] for i in range(len(mixed))]
    assert len(drawn) == 20
    assert set(drawn[::2]) == {0, 1, 2}
    assert set(drawn[1::2]) == set(range(100, 110))


def test_the_adapted_checkpoint_does_what_the_subject_did(subject, tmp_path):
    dim = IntensityMap(sensor=(0.0, 1.0), network=(0.0, 0.25))
    thresholds = dict.fromkeys(DEFAULT_CLASSES, 0.21)
    changed = subject.changed(Settings(dim, None, thresholds))
    out = tmp_path / "out.ckpt"
    changed.write(out, RECORD, frames())

    again = read_checkpoint(out)
    assert again.intensity_map == dim
    assert again.adaptation["source"] == "bag"
    assert CheckpointSubject.load(out).settings == changed.settings
    frame = Frame(recordings.street(0), "")
    mine, theirs, old = (
        predict(frame) for predict in (changed, NetworkPredictor.load(out), subject)
    )
    # The layouts in memory differ, and with them the last digits.
    assert mine.score == pytest.approx(theirs.score, abs=1e-5)
    assert len(mine) != len(old) or np.abs(mine.score - old.score).max() > 1e-3


def test_a_bundle_from_a_checkpoint_has_it_all(subject, tmp_path):
    thresholds = dict.fromkeys(DEFAULT_CLASSES, 0.21)
    subject.changed(Settings(NO_INTENSITY, 1.7, thresholds)).write(
        tmp_path / "out.kd3d", RECORD, frames(2)
    )
    about = read_bundle(tmp_path / "out.kd3d").manifest
    assert about.intensity.map == NO_INTENSITY
    assert about.ground_height_m == 1.7
    assert about.decode.score_threshold == thresholds
    assert about.adaptation == RECORD


def test_every_step_is_tried_in_order_and_judged_by_the_teacher(tmp_path):
    metrics = {"metrics": {"all": {name: {"best_threshold": 0.1} for name in DEFAULT_CLASSES}}}
    student, teacher = (
        CheckpointSubject.load(small_checkpoint.write(tmp_path / name, "bev_image", **about))
        for name, about in (
            ("student.ckpt", {"metrics": metrics, "step": 7}),
            ("teacher.ckpt", {"metrics": metrics}),
        )
    )
    recording = Recording(tuple(frames(10)), (tmp_path / "bag",), 0, None)
    config = AdaptConfig(
        min_boxes=1, least_gain=0, batch_norm=0.5, steps=1, batch_size=2, thresholds=True
    )
    found = survey(student, recording)
    result = adapt(student, recording, found, config, teacher=teacher)
    # Nobody says what intensities the training had, so taking them away is all there is to try.
    assert [attempt.step for attempt in result.attempts] == [
        "intensity",
        "batch norm",
        "self-training",
        "thresholds",
    ]
    assert "mirror" in result.attempts[0].measure
    assert "teacher" in result.attempts[1].measure
    out = tmp_path / "out.ckpt"
    result.subject.write(out, result.record, recording.frames)
    changes = read_checkpoint(out).adaptation["changes"]
    assert len(changes) == sum(attempt.kept for attempt in result.attempts)
