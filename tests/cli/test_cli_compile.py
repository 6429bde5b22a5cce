"""`kd3d_core compile`: precisions side by side, and engines for a GPU that is not here."""

import json

import handmade_bundle
import preset_graphs
import pytest
import typer
from typer.testing import CliRunner

from kd3d_core.cli.compile import compile_model
from kd3d_core.datasets.folder_writer import write_folder
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.bundle import write_bundle

pytest.importorskip("onnxruntime", reason="conversions are ONNX Runtime's")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


app = typer.Typer(pretty_exceptions_enable=False)
app.command()(compile_model)


def run(*arguments):
    result = CliRunner(env={"COLUMNS": "200"}).invoke(
        app, [str(each) for each in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.output


@pytest.fixture
def handmade(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx, which builds without a GPU")
    return handmade_bundle.write(tmp_path / "handmade.kd3d")


def write_tiny(tmp_path):
    """Drawn weights find boxes everywhere, and int8 others: so that it is made, take none."""
    made = preset_graphs.bundle("tiny")
    decode = made.manifest.decode.model_copy(update={"score_threshold": 1.0})
    manifest = made.manifest.model_copy(update={"decode": decode})
    write_bundle(tmp_path / "tiny.kd3d", manifest, made.onnx)
    return tmp_path / "tiny.kd3d"


def write_clouds(folder, count):
    """Different clouds, without labels."""
    folder.mkdir()
    for number, cloud in enumerate(preset_graphs.clouds(count)):
        cloud.points.tofile(folder / f"{number}.bin")
    return folder


def test_all_precisions_side_by_side(tmp_path):
    out = tmp_path / "out"
    clouds = write_clouds(tmp_path / "clouds", 3)
    output = run(write_tiny(tmp_path), "--data", clouds, "--passes", 2, "--threads", 1,
                 "--out", out)  # fmt: skip
    found = json.loads((out / "tiny-precisions.json").read_text())["precisions"]
    assert list(found) == ["fp32", "fp16", "int8"]
    for precision, facts in found.items():
        bundle = read_bundle(out / f"tiny-{precision}.kd3d")
        assert (facts["bytes"], facts["sha256"]) == (
            len(bundle.onnx),
            bundle.manifest.onnx_sha256,
        )
        row = next(line for line in output.splitlines() if f"│ {precision} " in line)
        assert f"{len(bundle.onnx) / 1e6:.2f}" in row
        assert facts["latency_ms"]["onnxruntime"]["wall"]["p50"] > 0
        assert ("scores within" in row) == (precision != "fp32")
        assert facts["mean_ap"] is None  # nobody has labelled these clouds
    assert found["fp32"]["agreement_with_fp32"] == 1
    assert found["fp32"]["warning"] is None
    assert found["int8"]["bytes"] < found["fp16"]["bytes"] < found["fp32"]["bytes"]
    assert not (out / "tensorrt").exists()


def test_engines_of_all_precisions(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx, which builds without a GPU")
    out = tmp_path / "out"
    clouds = write_clouds(tmp_path / "clouds", 2)
    arguments = (write_tiny(tmp_path), "--arch", "sm_89", "--data", clouds, "--passes", 1,
                 "--out", out)  # fmt: skip
    output = run(*arguments)
    engines = sorted((out / "tensorrt").glob("*.engine"))
    assert len(engines) == 3
    prefixes = {path.name[:16] for path in engines}
    for precision in ("fp32", "fp16", "int8"):
        bundle = read_bundle(out / f"tiny-{precision}.kd3d")
        assert bundle.manifest.onnx_sha256[:16] in prefixes
        assert any(f"│ {precision} " in line and "sm_89" in line for line in output.splitlines())
    times = [path.stat().st_mtime_ns for path in engines]
    run(*arguments, "--precision", "fp32")
    assert [path.stat().st_mtime_ns for path in engines] == times  # not built again


def test_thresholds_suit_each_precisions_own_scores(tmp_path):
    model = handmade_bundle.write(tmp_path / "handmade.kd3d")
    before = read_bundle(model).manifest.decode.score_threshold
    write_folder(handmade_bundle.labelled(30), tmp_path / "labelled")
    clouds = write_clouds(tmp_path / "clouds", 1)
    run(model, "--precision", "fp16", "--data", clouds, "--thresholds", tmp_path / "labelled",
        "--passes", 1, "--threads", 1, "--out", tmp_path)  # fmt: skip
    made = read_bundle(tmp_path / "handmade-fp16.kd3d").manifest
    # Between the cars' scores and those of the thin clumps, which the old threshold let through.
    assert made.decode.score_threshold["car"] > 0.99
    assert made.metrics["F1/car"] == pytest.approx(1.0)
    assert read_bundle(model).manifest.decode.score_threshold == before


def test_only_what_was_asked_for(handmade, tmp_path):
    out = tmp_path / "out"
    clouds = write_clouds(out.parent / "clouds", 1)
    run(handmade, "--precision", "fp32", "--arch", "sm_86", "--arch", "sm_120", "-o", out,
        "--data", clouds, "--passes", 1)  # fmt: skip
    names = [path.name for path in (out / "tensorrt").glob("*.engine")]
    assert sorted(name.split("-")[4] for name in names) == ["sm_120", "sm_86"]
    assert [path.name for path in out.glob("*.kd3d")] == ["handmade-fp32.kd3d"]


def test_a_graph_without_inner_layers_has_nothing_for_int8(tmp_path):
    path = handmade_bundle.write(tmp_path / "handmade.kd3d")
    clouds = write_clouds(tmp_path / "clouds", 1)
    with pytest.raises(Kd3dError, match="no convolutions"):
        run(path, "--precision", "int8", "--data", clouds, "-o", tmp_path)


def test_what_cannot_be_made_is_told_of_beside_the_rest(tmp_path):
    path = handmade_bundle.write(tmp_path / "handmade.kd3d")
    clouds = write_clouds(tmp_path / "clouds", 1)
    output = run(path, "--data", clouds, "--passes", 1, "-o", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "handmade-precisions.json").read_text())
    assert list(found["precisions"]) == ["fp32", "fp16"]
    assert "no convolutions" in found["refused"]["int8"]
    assert "not made:" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--precision", "fp8"), "fp32, fp16, int8"),
        (("--backend", "openvino"), "cpu, tensorrt, tensorrt-rtx"),
        (("--backend", "cpu", "--arch", "sm_89"), "tensorrt-rtx"),
        (("--arch", "sm_90"), "sm_75, .*sm_120"),
    ],
)
def test_what_is_unknown_is_answered_with_what_is_known(handmade, tmp_path, arguments, words):
    with pytest.raises(Kd3dError, match=words):
        run(handmade, *arguments, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_gpu_an_architecture_must_be_named(handmade, tmp_path):
    cuda = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-bindings")
    if int(cuda.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("this machine has a GPU")
    with pytest.raises(Kd3dError, match="--arch"):
        run(handmade, "--backend", "tensorrt-rtx", "-o", tmp_path / "out")


def test_an_absent_module_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(Kd3dError, match="JetPack"):
        run(handmade_bundle.write(tmp_path / "a.kd3d"), "--backend", "tensorrt")
