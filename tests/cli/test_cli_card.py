"""`kd3d_core card` measures a bundle and writes what it found."""

import sys
from dataclasses import replace

import handmade_bundle
import numpy as np
import pytest
from typer.testing import CliRunner

from kd3d_core.cli.main import app
from kd3d_core.datasets.folder_writer import write_folder
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.inspection.words import DASH
from kd3d_core.runtime.manifest import TrainingRecord


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "handmade.kd3d"
    training = TrainingRecord(data="40 simulated sweeps", steps=7, seed=3)
    return handmade_bundle.write(path, training=training)


@pytest.fixture
def data(tmp_path):
    """Three cars, of which the model finds two; the third is 8 m beside what it finds."""
    cloud = handmade_bundle.clump(4.0, -2.0)
    car = Boxes3D.make([[4, -2, -1]], [[4, 2, 1.5]], [np.pi / 2], [0])
    points = np.array([60])
    frames = [
        Frame(cloud, "", stamp=float(i), boxes=car, num_points=points, sensor=f"lidar-{i % 2}")
        for i in range(3)
    ]
    frames[2] = replace(frames[2], boxes=replace(car, center=car.center + np.float32([0, 8, 0])))
    write_folder(frames, tmp_path / "data")
    return tmp_path / "data"


def run(monkeypatch, *words):
    words = ["card", *map(str, words)]
    monkeypatch.setattr(sys, "argv", ["kd3d_core", *words])
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_the_card_has_what_was_measured(bundle, data, tmp_path, monkeypatch):
    out = tmp_path / "cards"
    words = (bundle, "--seen", data, "--unseen", data, "--cost", "a minute", "--out", out)
    done = run(monkeypatch, *words)
    assert done.exit_code == 0, done.output
    text = (out / "handmade.md").read_text()
    assert "| cost | a minute |" in text
    assert "| steps | 7, seed 3 |" in text
    # The empty box of the third frame has no points: it does not count.
    assert f"| car | 2 of 2 | 0 | 0 | {DASH} | 1 of 3 |" in text
    assert "Every class keeps 85 % or more" in text
    assert "no recorded frame or label took part" in text
    assert "## Accuracy: real frames" not in text
    assert f"kd3d_core card {bundle} --seen {data}" in text
    (picture,) = (out / "handmade").iterdir()
    assert f"(handmade/{picture.name})" in text


def test_a_folder_without_real_frames_is_told(bundle, data, tmp_path, monkeypatch):
    with pytest.raises(Kd3dError, match="has neither a folder kitti nor argoverse2"):
        run(monkeypatch, bundle, "--seen", data, "--real", tmp_path, "--out", tmp_path / "cards")
