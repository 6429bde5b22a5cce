"""docs/data.md names what exists."""

import re
from pathlib import Path

import pytest

from kd3d_core.cli.main import app
from kd3d_core.datasets.opening import FORMATS
from kd3d_core.training.config import DataConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"config/\w+/[\w.]+\.yaml", PAGE))))
def test_named_configuration_exists(path):
    if Path(path).stem in {"X", "Y"}:  # placeholders of the first example
        return
    assert (ROOT / path).is_file()


def test_every_layout_is_on_the_page():
    assert [name for name in FORMATS if f"| `{name}` |" not in PAGE] == []


def test_named_settings_exist():
    named = set(re.findall(r"`data\.(\w+)", PAGE))
    assert named
    assert named <= set(DataConfig.model_fields)


def test_named_verbs_exist():
    verbs = {command.callback.__name__ for command in app.registered_commands}
    verbs |= {group.name for group in app.registered_groups}
    assert set(re.findall(r"^kd3d_core (\w+)", PAGE, re.MULTILINE)) <= verbs
