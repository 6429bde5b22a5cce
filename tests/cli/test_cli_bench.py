"""`kd3d_core bench` from end to end."""

import json

import handmade_bundle
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from kd3d_core.cli.bench import bench
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.bench import STAGES
from kd3d_core.runtime.bench import StageTimes

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(bench)


@pytest.fixture
def model(tmp_path):
    return handmade_bundle.write(tmp_path / "handmade.kd3d")


def run(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)


def test_figures_of_every_stage_and_backend(model, tmp_path):
    handmade_bundle.clump(4.3, -2.2).points.tofile(tmp_path / "1.bin")
    out = tmp_path / "bench.json"
    shown = run(model, "--data", tmp_path / "1.bin", "--frames", 7, "--threads", 1,
                "--backend", "onnxruntime", "--backend", "openvino", "--out", out)  # fmt: skip
    assert "decode" in shown.output
    assert "onnxruntime" in shown.output
    first, second = json.loads(out.read_text())
    assert [first["backend"], second["backend"]] == ["onnxruntime", "openvino"]
    assert first["bare_ms"] is None
    assert second["network_ratio"] > 0
    for result in (first, second):
        assert tuple(result["stages"]) == STAGES
        assert result["frames"] == 7
        assert result["boxes"] == 1
        total = result["stages"].pop("total")
        assert sum(stage["least"] for stage in result["stages"].values()) <= total["p50"]


def test_synthetic_clouds_as_json(model):
    shown = run(model, "--frames", 2, "--json")
    (result,) = json.loads(shown.stdout)
    assert result["points"] == 120_000


def test_two_sources_are_refused(model, tmp_path):
    with pytest.raises(Kd3dError, match="not both"):
        run(model, "--data", tmp_path, "--synthetic")


def test_percentiles():
    times = StageTimes.of(np.arange(1, 102, dtype=float))
    assert (times.p50, times.p90, times.p99, times.least) == (51, 91, 100, 1)
