"""docs/data.md says what is there."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kd3d_core.cli.main import app
from kd3d_core.datasets.opening import FORMATS
from kd3d_core.training.config import DataConfig
from kd3d_core.training.config import TrainConfig

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "data.md").read_text()


def test_every_file_that_is_named_exists():
    named = set(re.findall(r"\b((?:config|benchmarks|docs)/[\w/]+\.\w+)", TEXT))
    assert len(named) > 10
    assert not [name for name in sorted(named) if not (ROOT / name).is_file()]


def test_every_published_configuration_is_named():
    kinds = ("nuscenes", "waymo", "kitti", "argoverse2")
    files = [p for kind in kinds for p in (ROOT / "config").glob(f"*/{kind}_*.yaml")]
    assert len(files) >= 12
    assert not [p.name for p in files if f"{p.parent.name}/{p.name}" not in TEXT]


def test_every_layout_has_its_row():
    assert re.findall(r"^\| `([\w-]+)` \|", TEXT, re.MULTILINE)[: len(FORMATS)] == [
        *sorted(FORMATS, key=lambda name: TEXT.index(f"\n| `{name}` |"))
    ]


def test_settings_that_are_named_exist():
    for name in re.findall(r"`data\.(\w+)", TEXT):
        assert name in DataConfig.model_fields, name
    assert "max_epochs" in TrainConfig.model_fields


@pytest.mark.parametrize("verb", ["train", "distill", "evaluate", "simulate", "check", "convert"])
def test_options_that_are_named_exist(verb):
    words = ["data", verb] if verb in ("check", "convert") else [verb]
    lines = re.findall(rf"kd3d_core +{' '.join(words)} ([^#\n]*(?:\\\n[^#\n]*)?)", TEXT)
    assert lines
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    for option in set(re.findall(r"(--[a-z-]+)", " ".join(lines))):
        assert option in plain, option
