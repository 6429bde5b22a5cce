"""`kd3d_core bench` from end to end."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import handmade_bundle
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from kd3d_core.cli.bench import bench
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.bench import STAGES

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(bench)


def installed(name):
    return find_spec(name) is not None


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path):
    return handmade_bundle.write(tmp_path / "handmade.kd3d")


@pytest.fixture
def cloud(tmp_path):
    handmade_bundle.clump(4.3, -2.2).points.tofile(tmp_path / "1.bin")
    return tmp_path / "1.bin"


def run(*arguments):
    runner = CliRunner(env={"COLUMNS": "200"})
    return runner.invoke(app, [str(each) for each in arguments], catch_exceptions=False)


def test_figures_of_every_stage_and_backend(model, cloud, tmp_path):
    out = tmp_path / "bench.json"
    shown = run(model, "--data", cloud, "--frames", 7, "--threads", 1,
                "--backend", "onnxruntime", "--backend", "openvino", "--out", out)  # fmt: skip
    assert "decode" in shown.output
    assert "CPU time" in shown.output
    found = json.loads(out.read_text())
    first, second, bare = found["results"]
    assert [first["name"], second["name"]] == ["onnxruntime", "openvino"]
    assert bare["name"] == "OpenVINO alone"
    assert "network_ratio" not in first
    assert second["network_ratio"] == pytest.approx(
        second["stages"]["network"]["p50"] / bare["stages"]["network"]["p50"]
    )
    for result in (first, second):
        assert tuple(result["stages"]) == STAGES
        assert result["frames"] == 7
        assert result["boxes"] == 1
        assert result["memory_mb"] > 10
        total = result["stages"].pop("total")
        assert sum(stage["least"] for stage in result["stages"].values()) <= total["p50"]
    assert found["machine"]["cores"] >= 1
    assert found["ratios"] == []


def test_synthetic_clouds_as_json_and_why_auto_took_what(model):
    shown = run(model, "--frames", 2, "--json")
    found = json.loads(shown.stdout)
    assert found["clouds"]["points"] == 120_000
    assert found["results"][0]["reason"].startswith("auto: ")


def test_a_picture(model, cloud, tmp_path):
    pytest.importorskip("matplotlib", reason="--plot needs matplotlib")
    run(model, "--data", cloud, "--frames", 3, "--backend", "onnxruntime",
        "--plot", tmp_path / "a.png")  # fmt: skip
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(Kd3dError, match=r"a\.docx.*png"):
        run(model, "--data", cloud, "--frames", 3, "--plot", tmp_path / "a.docx")


def test_two_sources_are_refused(model, tmp_path):
    with pytest.raises(Kd3dError, match="not both"):
        run(model, "--data", tmp_path, "--synthetic")


def test_spconv_runs_on_the_same_clouds_in_the_same_run(model, cloud, tmp_path):
    pytest.importorskip("spconv", reason="spconv is not installed")
    out = tmp_path / "bench.json"
    shown = run(model, "--data", cloud, "--frames", 4, "--peer-frames", 3, "--threads", 1,
                "--backend", "onnxruntime", "--against", "spconv-voxels", "-o", out)  # fmt: skip
    found = json.loads(out.read_text())
    ours, peer = found["results"]
    assert (peer["name"], peer["frames"]) == ("spconv-voxels", 3)
    # All points lie in one pillar or two: the peer did see this cloud.
    assert 1 <= peer["boxes"] <= 2
    (ratio,) = found["ratios"]
    assert (ratio["stage"], ratio["cpu"]) == ("encode", None)
    wall = peer["stages"]["encode"]["p50"] / ours["stages"]["encode"]["p50"]
    assert ratio["wall"] == pytest.approx(wall)
    assert "spconv" in shown.output


def test_a_peer_that_is_not_installed_is_told_of_and_the_rest_runs(model, cloud, tmp_path):
    if installed("mmcv"):
        pytest.skip("mmcv is installed here")
    out = tmp_path / "bench.json"
    shown = run(model, "--data", cloud, "--frames", 2, "--backend", "onnxruntime",
                "--against", "mmdet3d", "--out", out)  # fmt: skip
    sentence = json.loads(out.read_text())["absent"]["mmdet3d"]
    assert "No module named 'mmcv'" in sentence
    assert "--peer-python" in sentence
    assert "No module named 'mmcv'" in shown.output


def test_unknown_peers_and_interpreters_are_refused(model, cloud):
    with pytest.raises(Kd3dError, match="open3d-pointpillars, spconv-voxels, mmdet3d"):
        run(model, "--data", cloud, "--against", "openpcdet")
    with pytest.raises(Kd3dError, match="--peer-python /nowhere/python"):
        run(model, "--data", cloud, "--against", "mmdet3d", "--peer-python", "/nowhere/python")


def test_open3d_pointpillars_where_it_is_installed(model, cloud, tmp_path):
    peers = Path(sys.prefix) / "peers" / "bin" / "python"  # of benchmarks/peers.py
    if not (installed("open3d") or peers.is_file()):
        pytest.skip("open3d-cpu[ml]==0.20.0 is not installed; benchmarks/peers.py does")
    python = peers if peers.is_file() else sys.executable
    out = tmp_path / "bench.json"
    generator = np.random.default_rng(0)
    points = generator.uniform((2, -30, -2, 0), (60, 30, 0, 1), (3000, 4)).astype(np.float32)
    points.tofile(tmp_path / "2.bin")
    run(model, "--data", tmp_path / "2.bin", "--frames", 2, "--peer-frames", 1, "--threads", 1,
        "--backend", "onnxruntime", "--against", "open3d-pointpillars",
        "--peer-python", python, "-o", out)  # fmt: skip
    found = json.loads(out.read_text())
    if found["absent"]:
        pytest.skip(found["absent"]["open3d-pointpillars"])
    peer = found["results"][1]
    assert set(peer["stages"]) == {"encode", "network", "decode", "total"}
    assert peer["parameters"] == 4_834_824
