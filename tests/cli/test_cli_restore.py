"""`kd3d_core restore`: a bundle becomes a checkpoint that every other verb takes."""

import pytest
import small_checkpoint
import typer
from typer.testing import CliRunner

from kd3d_core.cli import restore as verb
from kd3d_core.deployment.export import ExportOptions
from kd3d_core.deployment.export import draft
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.bundle import write_bundle
from kd3d_core.training.checkpoint import read_checkpoint

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(verb.restore)


def run(*arguments):
    result = CliRunner(env={"COLUMNS": "160"}).invoke(
        app, [str(each) for each in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.output


def test_a_bundle_of_ones_own(tmp_path):
    """On simulated streets, without any data at hand."""
    checkpoint = small_checkpoint.write(tmp_path / "model.ckpt")
    bundle = draft(checkpoint, ExportOptions(name="mine")).bundle
    write_bundle(tmp_path / "mine.kd3d", bundle.manifest, bundle.onnx)
    output = run(tmp_path / "mine.kd3d", tmp_path / "again.ckpt")
    assert "16 frame(s)" in output
    assert "again.ckpt" in output
    assert read_checkpoint(tmp_path / "again.ckpt").model.name == "mine"


@pytest.mark.parametrize("name", ["default", "teacher"])
def test_the_shipped_models(name, tmp_path, monkeypatch):
    monkeypatch.setattr(verb, "_SWEEPS", 2)
    output = run(name, tmp_path / "shipped.ckpt")
    assert "2 frame(s)" in output
    checkpoint = read_checkpoint(tmp_path / "shipped.ckpt")
    assert "simulated sweeps" in checkpoint.data["words"]
    assert checkpoint.ground_height == 1.73


def test_a_checkpoint_is_called_one(tmp_path):
    with pytest.raises(Kd3dError, match=r"x.kd3d: a checkpoint's name ends in .ckpt"):
        run("default", tmp_path / "x.kd3d")
    assert not list(tmp_path.iterdir())
