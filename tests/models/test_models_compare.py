"""The networks of the papers cost what the papers say."""

import json
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from kd3d_core.cli.info import info
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.errors import Kd3dError
from kd3d_core.models.compare import PUBLISHED
from kd3d_core.models.compare import TOLERANCE
from kd3d_core.models.compare import compare
from kd3d_core.models.complexity import count
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import ModelConfig
from kd3d_core.models.presets import PAPER_PRESETS
from kd3d_core.models.presets import PRESETS
from kd3d_core.models.presets import preset

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(info)


def run(*arguments):
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


@pytest.fixture(scope="module")
def rows():
    return compare()


def test_every_published_figure_is_reproduced_within_one_per_cent(rows):
    assert TOLERANCE == 0.01
    assert len(rows) == len(PUBLISHED) == 21
    for row in rows:
        assert row.ok, f"{row.published}: {row.ours}"
        assert row.ours == pytest.approx(row.published.value, rel=0.01)
    assert {row.published.quantity for row in rows} >= {"parameters", "charged", "macs"}


def test_a_figure_off_by_more_is_told(rows):
    wrong = replace(rows[0], ours=1.02 * rows[0].published.value)
    assert not wrong.ok
    assert wrong.difference == pytest.approx(0.02)
    assert wrong.to_dict()["ok"] is False


def test_the_table_and_the_json_have_every_row(rows):
    output = run("--compare")
    told = json.loads(run("--compare", "--json"))
    assert len(told) == len(rows)
    for row, entry in zip(rows, told, strict=True):
        assert entry["ours"] == pytest.approx(row.ours)
        assert entry["model"] == row.published.model
        assert any(
            row.published.model in line and f"{row.ours:.2f}" in line and "OK" in line
            for line in output.splitlines()
        )
    assert "differs" not in output
    with pytest.raises(Kd3dError, match="--json with --compare"):
        run("--json")
    with pytest.raises(Kd3dError, match="without a target"):
        run("--compare", "tiny")


def test_both_conventions_by_hand():
    model = ModelConfig(
        name="x",
        blocks=(BlockConfig(channels=8, layers=1), BlockConfig(channels=12, layers=1)),
        neck_channels=5,
    )
    cost = count(model, pillars=0)
    up = next(layer for layer in cost.layers if layer.name == "neck.levels.1.0")
    assert up.macs == 80 * 80 * 12 * 5 * 4  # each of the 80 x 80 pixels meets four weights
    assert up.charged == 4 * up.macs
    rest = [layer for layer in cost.layers if layer is not up]
    assert all(layer.charged == layer.macs for layer in rest)
    assert cost.charged - cost.macs == 3 * up.macs


def test_the_networks_of_the_papers_have_their_layouts():
    assert not set(PRESETS) & set(PAPER_PRESETS)
    for name in PAPER_PRESETS:
        config = preset(name)
        assert config.name == name
        assert ModelConfig.model_validate_json(config.model_dump_json()) == config
        kind = VoxelInput if "voxel" in name or "second" in name else PillarInput
        assert isinstance(config.input, kind)
        out = [cells // config.output_stride for cells in config.grid.shape]
        if name.startswith("waymo-voxel"):
            assert out == [188, 188]
            assert config.grid.x == (-75.2, 75.2)
        elif name in ("waymo-pillar", "waymo-pillar-half", "waymo-pillar-quarter"):
            assert out == [468, 468]
            assert config.grid.x == (-74.88, 74.88)
        elif name.startswith("pillar"):  # for kd3d's own range
            assert (config.grid.x, config.grid.y) == (preset("teacher").grid.x,) * 2
            assert config.classes == preset("teacher").classes
        elif name.startswith("nuscenes"):
            assert len(config.classes) == 10
            assert len(config.head.tasks) == 6
        elif name.startswith("kitti-pointpillars"):
            assert out == [248, 216]
        elif name.startswith("kitti-second"):
            assert out == [200, 176]
    # The reference implementation's (OpenPCDet) sizes of the published KITTI networks.
    assert count(preset("kitti-pointpillars")).parameters / 1e6 == pytest.approx(4.83, abs=0.01)
    assert count(preset("kitti-second")).parameters / 1e6 == pytest.approx(5.33, abs=0.01)


def test_every_preset_has_a_row_and_layers():
    output = run()
    for name in (*PRESETS, *PAPER_PRESETS):
        assert f" {name} " in output
    assert "head.outputs.heatmap.5" in run("nuscenes-voxel-xxs")
    assert "head.outputs.direction" in run("kitti-pointpillars-xs")
