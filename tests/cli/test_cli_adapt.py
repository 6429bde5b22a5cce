"""`kd3d_core adapt` on the command line."""

import json

import handmade_bundle
import numpy as np
import pytest
from typer.testing import CliRunner

from kd3d_core.cli.main import app
from kd3d_core.errors import Kd3dError


@pytest.fixture(scope="module")
def clouds(tmp_path_factory):
    """A folder of cloud files: ground 1.2 m below, and a few posts."""
    folder = tmp_path_factory.mktemp("clouds")
    for index in range(8):
        rng = np.random.default_rng(index)
        ground = np.column_stack([rng.uniform(-9, 9, (3000, 2)), np.full(3000, -1.2)])
        points = np.column_stack([ground, rng.random(3000)]).astype(np.float32)
        points.tofile(folder / f"{index}.bin")
    return folder


def call(*words):
    result = CliRunner().invoke(app, ["adapt", *map(str, words)])
    if isinstance(result.exception, Kd3dError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_without_out_the_sensor_is_measured(tmp_path, clouds):
    model = handmade_bundle.write(tmp_path / "model.kd3d")
    report = tmp_path / "sensor.json"
    said = call(model, clouds, "--report", report)
    assert "1.20 m above the ground" in said
    told = json.loads(report.read_text())
    assert told["sensor"]["height"] == pytest.approx(1.2, abs=0.02)
    assert {"rule", "severity", "message", "remedy"} == set(told["findings"][0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.kd3d", "sensor.json"]


def test_the_input_is_never_overwritten(tmp_path, clouds):
    model = handmade_bundle.write(tmp_path / "model.kd3d")
    before = model.read_bytes()
    with pytest.raises(Kd3dError, match="is the model itself"):
        call(model, clouds, "--out", model)
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "x.onnx"), "name a bundle"),
        (("--out", "x.ckpt"), "make a checkpoint of it first"),
        (("--out", "x.kd3d", "--intensity", "loud"), "intensity"),
        (("--out", "x.kd3d", "--steps", "3"), "weights are compiled"),
    ],
)
def test_what_cannot_be_is_told_before_anything_slow(tmp_path, clouds, words, said):
    model = handmade_bundle.write(tmp_path / "model.kd3d")
    with pytest.raises(Kd3dError, match=said):
        call(model, clouds, *words)
