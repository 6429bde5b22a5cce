"""Configuration: unknown keys, wrong values and unreadable files are named, nothing is guessed."""

import pytest
from pydantic import ValidationError

from kd3d_core.codec.grid import BevGrid
from kd3d_core.config import dump_config
from kd3d_core.config import load_config
from kd3d_core.config import parse_config
from kd3d_core.errors import Kd3dError
from kd3d_core.models.config import BlockConfig
from kd3d_core.models.config import ModelConfig

SMALL = ModelConfig(name="small", blocks=(BlockConfig(channels=8, layers=1),), neck_channels=8)


def test_dump_and_load_round_trip(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text(dump_config(SMALL))
    assert load_config(ModelConfig, path) == SMALL


def test_empty_file_gives_the_defaults(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("")
    assert load_config(BevGrid, path) == BevGrid()


def test_unknown_key_names_file_key_and_remedy(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("cel: 0.2\n")
    with pytest.raises(Kd3dError) as error:
        load_config(BevGrid, path)
    message = str(error.value)
    assert "grid.yaml" in message
    assert "cel: unknown key" in message
    assert "cell, x, y, z" in message


def test_nested_unknown_key_lists_the_keys_of_its_own_section():
    data = SMALL.model_dump() | {"head": {"shared": 3}}
    with pytest.raises(
        Kd3dError,
        match=r"head\.shared: unknown key.*branch_channels, output_kernel, shared_channels, tasks",
    ):
        parse_config(ModelConfig, data, "test")


def test_every_wrong_value_is_listed(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("cell: -1\nz: [1]\n")
    with pytest.raises(Kd3dError, match=r"2 setting\(s\) do not fit") as error:
        load_config(BevGrid, path)
    assert "cell:" in str(error.value)
    assert "z.1:" in str(error.value)


@pytest.mark.parametrize("text", ["a: [", "\x00"])
def test_broken_yaml_is_an_error_with_the_path(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(Kd3dError, match=r"broken\.yaml is not valid YAML"):
        load_config(BevGrid, path)


def test_missing_file_is_an_error_with_the_path(tmp_path):
    with pytest.raises(Kd3dError, match=r"nowhere\.yaml"):
        load_config(BevGrid, tmp_path / "nowhere.yaml")


def test_configs_are_frozen():
    with pytest.raises(ValidationError):
        SMALL.name = "other"


def test_grid_refuses_what_is_not_a_whole_number_of_cells():
    with pytest.raises(ValidationError, match="whole number of cells"):
        BevGrid(x=(0.0, 10.0), cell=0.3)


def test_model_refuses_a_grid_its_strides_do_not_divide():
    with pytest.raises(ValidationError, match="not a multiple of 16"):
        ModelConfig(
            name="deep",
            grid=BevGrid(x=(-4, 4), y=(-4, 4), cell=0.32),
            blocks=tuple(BlockConfig(channels=8, layers=1) for _ in range(4)),
            neck_channels=8,
        )
