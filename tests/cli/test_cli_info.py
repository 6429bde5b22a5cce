"""`kd3d_core info` for presets, checkpoints and bundles."""

import handmade_bundle
import pytest
import small_checkpoint
import typer
from typer.testing import CliRunner

from kd3d_core.cli.info import info
from kd3d_core.errors import Kd3dError
from kd3d_core.models.complexity import count
from kd3d_core.models.presets import PRESETS
from kd3d_core.models.presets import preset

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(info)


def run(*arguments):
    result = CliRunner(env={"COLUMNS": "160"}).invoke(
        app, [str(each) for each in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.output


def test_presets_with_their_costs():
    output = run()
    for name in PRESETS:
        cost = count(preset(name))
        row = next(line for line in output.splitlines() if f" {name} " in line)
        assert f"{cost.parameters:,}" in row
        assert f"{cost.macs / 1e9:.2f}" in row


def test_layers_of_a_preset_with_sums():
    output = run("quarter", "--pillars", 7000)
    cost = count(preset("quarter"), 7000)
    for layer in cost.layers:
        assert layer.name in output
    assert f"{cost.macs / 1e6:,.1f}" in output
    assert "7000 pillars" in output


def test_a_checkpoint(tmp_path):
    path = small_checkpoint.write(
        tmp_path / "model.ckpt", step=1234, teacher={"name": "big", "sha256": "ab"}
    )
    output = run(path)
    assert "1234" in output
    assert "teacher.name" in output
    assert "small-pillars" in output
    assert "head.outputs.heatmap" in output


def test_a_bundle(tmp_path):
    path = handmade_bundle.write(tmp_path / "model.kd3d")
    output = run(path)
    assert "handmade" in output
    assert "onnx_sha256" in output
    assert "grid.cell" in output


@pytest.mark.parametrize(
    ("target", "words"),
    [("huge", "no model preset"), ("no/such.ckpt", "no checkpoint"), ("no.kd3d", "no.kd3d")],
)
def test_what_is_not_there_is_said(target, words):
    with pytest.raises(Kd3dError, match=words):
        run(target)
