"""A bundle adapted, from the bag to the boxes; without torch."""

import hashlib
import subprocess
import sys

import handmade_bundle
import numpy as np
import onnx
import pytest
import recordings
from onnx import numpy_helper

from kd3d_core.adaptation.config import AdaptConfig
from kd3d_core.adaptation.recording import read_recording
from kd3d_core.adaptation.run import adapt
from kd3d_core.adaptation.run import check
from kd3d_core.adaptation.run import survey
from kd3d_core.adaptation.subject import Expectation
from kd3d_core.adaptation.subject import open_subject
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.bundle import write_bundle
from kd3d_core.runtime.detector import Detector
from kd3d_core.runtime.manifest import IntensityRecord
from kd3d_core.runtime.manifest import SensorHeightRecord

TRAINING = tuple(float(v) for v in np.linspace(0.4, 0.6, 33))


def bright_cars(path):
    """The handmade bundle, whose cars must be bright: their score falls with the intensity."""
    model = onnx.load_from_string(handmade_bundle.graph())
    for tensor in model.graph.initializer:
        if tensor.name in ("w", "b"):
            values = numpy_helper.to_array(tensor).copy()
            if tensor.name == "w":
                values[0] = 0
                values[0, 7] = 20.0
            else:
                values[0] = -7.0
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    record = IntensityRecord(quantiles=TRAINING)
    height = SensorHeightRecord(mean=1.7, low=1.6, high=1.8)
    manifest = handmade_bundle.manifest(intensity=record, sensor_height_m=height)
    write_bundle(path, manifest, model.SerializeToString())
    return path


@pytest.fixture(scope="module")
def dim(tmp_path_factory):
    """A bag of a sensor that tells 0.8 of the intensities of the training."""
    folder = tmp_path_factory.mktemp("dim")
    return recordings.write(folder / "bag", [recordings.cars(i, 0.4) for i in range(16)])


def run(bundle, bag, **changes):
    subject, recording = open_subject(bundle), read_recording([bag], 50)
    config = AdaptConfig(min_boxes=5, least_gain=0, **changes)
    return adapt(subject, recording, survey(subject, recording), config)


def test_a_dim_sensor_is_shown_as_bright_as_the_training(tmp_path, dim):
    bundle = bright_cars(tmp_path / "model.kd3d")
    before = hashlib.sha256(bundle.read_bytes()).hexdigest()
    result = run(bundle, dim, intensity="match")
    assert [a.kept for a in result.attempts] == [True]
    out = tmp_path / "out" / "adapted.kd3d"
    result.subject.write(out, result.record, result.recording.frames)

    assert hashlib.sha256(bundle.read_bytes()).hexdigest() == before
    about = read_bundle(out).manifest
    assert about.adaptation.model_sha256 == before
    assert about.adaptation.clouds == 16
    assert about.adaptation.source == "bag"
    assert "onto those of the training" in about.adaptation.changes[0]
    assert "in the mirror" in about.adaptation.changes[0]
    # What the robot's detector gives: the same cars, as sure as for a cloud of the training.
    cloud = recordings.cars(99, 0.4)
    old, new = (Detector.load(path)(cloud).boxes.score.mean() for path in (bundle, out))
    trained = Detector.load(bundle)(recordings.cars(99, 0.5)).boxes.score.mean()
    assert old < trained - 0.05
    assert new == pytest.approx(trained, abs=0.02)


def test_a_change_that_loses_the_boxes_is_refused(tmp_path, dim):
    bundle = bright_cars(tmp_path / "model.kd3d")
    result = run(bundle, dim, intensity="drop")
    (attempt,) = result.attempts
    assert not attempt.kept
    assert "instead of" in attempt.why
    assert result.subject.settings.intensity is None
    assert result.record.changes == ()


def test_a_sensor_that_tells_no_intensity_gets_no_map(tmp_path):
    clouds = [recordings.cars(i) for i in range(10)]
    for cloud in clouds:
        cloud.points[:, 3] = 0.5
    bag = recordings.write(tmp_path / "bag", clouds)
    result = run(bright_cars(tmp_path / "model.kd3d"), bag)
    assert result.attempts == []


def test_an_unusual_mount_is_levelled(tmp_path):
    bundle = handmade_bundle.write(
        tmp_path / "model.kd3d", sensor_height_m=SensorHeightRecord(mean=1.7, low=1.6, high=1.8)
    )
    bag = recordings.write(tmp_path / "bag", [recordings.street(i, 0.6) for i in range(10)])
    result = run(bundle, bag, intensity="keep")
    (attempt,) = result.attempts
    assert attempt.step == "mount"
    assert "from 0.60 m to the training's 1.70 m" in attempt.what
    kept = result.subject.settings.ground_height
    assert kept == (1.7 if attempt.kept else None)
    assert result.record.mount["height_m"] == pytest.approx(0.6, abs=0.02)


def test_a_reference_speaks_for_a_model_that_says_nothing(tmp_path, dim):
    bundle = handmade_bundle.write(tmp_path / "model.kd3d")
    subject, recording = open_subject(bundle), read_recording([dim], 50)
    silent = survey(subject, recording)
    assert {finding.rule for finding in silent.findings} >= {"unknown-training"}
    told = survey(subject, recording, Expectation(TRAINING, None))
    assert told.expects.quantiles == TRAINING


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 5}, "is a bundle: its weights are compiled"),
        ({"batch_norm": 0.3}, "need the checkpoint"),
        ({"thresholds": True}, "give --teacher"),
    ],
)
def test_what_a_bundle_cannot_do(tmp_path, changes, words):
    subject = open_subject(handmade_bundle.write(tmp_path / "model.kd3d"))
    with pytest.raises(Kd3dError, match=words):
        check(subject, None, AdaptConfig(**changes))


def test_a_teacher_of_other_classes_is_refused(tmp_path):
    subject = open_subject(handmade_bundle.write(tmp_path / "model.kd3d"))
    other = handmade_bundle.manifest(classes=("car", "a", "b", "c", "d", "e"))
    write_bundle(tmp_path / "other.kd3d", other, handmade_bundle.graph())
    with pytest.raises(Kd3dError, match="they must be the same"):
        check(subject, open_subject(tmp_path / "other.kd3d"), AdaptConfig())


def test_a_bundle_does_not_become_a_checkpoint(tmp_path, dim):
    result = run(handmade_bundle.write(tmp_path / "model.kd3d"), dim, intensity="keep")
    with pytest.raises(Kd3dError, match="an adapted bundle is a bundle"):
        result.subject.write(tmp_path / "out.ckpt", result.record, ())


def test_bundles_need_no_torch(tmp_path, dim):
    bundle = bright_cars(tmp_path / "model.kd3d")
    program = f"""
import sys
sys.modules["torch"] = sys.modules["lightning"] = None
sys.argv = ["kd3d_core", "adapt", "{bundle}", "{dim}", "--out", "{tmp_path}/out.kd3d",
            "--min-boxes", "5"]
from kd3d_core.adaptation.run import adapt
import typer
from kd3d_core.cli.adapt import adapt as verb
app = typer.Typer()
app.command("adapt")(verb)
app.command("other")(lambda: None)
app()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.kd3d").is_file()
    assert (tmp_path / "out.adapt.json").is_file()
