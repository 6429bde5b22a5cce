"""`kd3d_core compile`: bundles and engines for a GPU that is not here."""

import handmade_bundle
import preset_graphs
import pytest
import typer
from typer.testing import CliRunner

from kd3d_core.cli.compile import compile_model
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.bundle import write_bundle

pytest.importorskip("onnxruntime", reason="conversions are ONNX Runtime's")

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


def test_all_precisions_side_by_side(tmp_path):
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx, which builds without a GPU")
    made = preset_graphs.bundle("tiny")
    write_bundle(tmp_path / "tiny.kd3d", made.manifest, made.onnx)
    out = tmp_path / "out"
    arguments = (tmp_path / "tiny.kd3d", "--arch", "sm_89", "--frames", 1, "--out", out)
    output = run(*arguments)
    engines = sorted((out / "tensorrt").glob("*.engine"))
    assert len(engines) == 3
    prefixes = {path.name[:16] for path in engines}
    for precision in ("fp32", "fp16", "int8"):
        bundle = read_bundle(out / f"tiny-{precision}.kd3d")
        assert bundle.manifest.onnx_sha256[:16] in prefixes
        row = next(line for line in output.splitlines() if f"│ {precision} " in line)
        assert "sm_89" in row
        assert f"{len(bundle.onnx) / 1e6:.2f}" in row
        assert ("scores within" in row) == (precision != "fp32")
    times = [path.stat().st_mtime_ns for path in engines]
    run(*arguments)
    assert [path.stat().st_mtime_ns for path in engines] == times  # not built again


def test_only_what_was_asked_for(handmade, tmp_path):
    out = tmp_path / "out"
    run(handmade, "--precision", "fp32", "--arch", "sm_86", "--arch", "sm_120", "-o", out)
    names = [path.name for path in (out / "tensorrt").glob("*.engine")]
    assert sorted(name.split("-")[4] for name in names) == ["sm_120", "sm_86"]
    assert [path.name for path in out.glob("*.kd3d")] == ["handmade-fp32.kd3d"]


def test_a_graph_without_inner_layers_has_nothing_for_int8(handmade, tmp_path):
    with pytest.raises(Kd3dError, match="no convolutions"):
        run(handmade, "--precision", "int8", "--arch", "sm_89", "--frames", 1, "-o", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--precision", "fp8"), "fp32, fp16, int8"),
        (("--backend", "openvino"), "tensorrt, tensorrt-rtx"),
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
        run(handmade, "-o", tmp_path / "out")


def test_an_absent_module_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(Kd3dError, match="JetPack"):
        run(handmade_bundle.write(tmp_path / "a.kd3d"), "--backend", "tensorrt")
