"""What makes a cell, in which order they run, and when a finished one still counts."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from arena_toys import settings
from arena_toys import write_files

from kd3d_core.arena.cells import expand
from kd3d_core.arena.cells import select
from kd3d_core.arena.config import ArenaConfig
from kd3d_core.arena.state import open_arena
from kd3d_core.config import load_config
from kd3d_core.errors import Kd3dError

CONFIGS = Path(__file__).resolve().parents[2] / "config" / "arena"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("arena"))


def cells(files, **changes):
    config = ArenaConfig.model_validate(settings(files, **changes))
    return expand(config, config.out, "test.yaml")


def by_name(found):
    return {cell.name: cell.hash for cell in found}


def test_the_first_seed_of_every_method_comes_first(files):
    found = cells(files, seeds=[5, 3])
    assert [(c.seed, c.method) for c in found] == [
        (5, "none"),
        (5, "kl"),
        (3, "none"),
        (3, "kl"),
    ]
    assert len({cell.folder for cell in found}) == 4
    none, kl = found[:2]
    assert none.train.distill is None
    assert kl.train.distill.methods[0].type == "heatmap_kl"
    assert kl.train.seed == 5


def test_the_hash_knows_what_decides_and_nothing_else(files, tmp_path):
    base = by_name(cells(files))
    assert len(set(base.values())) == 4
    train = settings(files)["train"]
    # A default spelt out, another order of the keys, another folder.
    same = dict(reversed(train.items()))
    same |= {"optimizer": {"clip": 35.0}, "checkpoint_interval": 3}
    assert by_name(cells(files, train=same, out=str(tmp_path))) == base
    moved = shutil.copytree(files, tmp_path / "moved")
    assert by_name(cells(moved)) == base
    for changed in ({"max_steps": 7}, {"optimizer": {"lr_max": 0.1}}, {"batch_size": 3}):
        assert not set(by_name(cells(files, train=train | changed)).values()) & set(base.values())


def test_the_hash_holds_in_the_next_version(files):
    """Settings at their default do not enter, so a new setting leaves old results valid."""
    from kd3d_core.arena.cells import essentials

    told = essentials(cells(files)[1].train)
    assert "optimizer" not in told
    assert told["distill"]["methods"] == [{"type": "heatmap_kl"}]
    assert json.dumps(told)


def test_another_teacher_matters_only_to_the_taught(files):
    before = by_name(cells(files))
    path = files / "teacher.ckpt"
    content = path.read_bytes()
    path.write_bytes(content + b"\0")
    after = by_name(cells(files))
    path.write_bytes(content)
    assert after["small none seed 0"] == before["small none seed 0"]
    assert after["small kl seed 0"] != before["small kl seed 0"]


def test_selection(files):
    found = cells(files)
    assert {c.method for c in select(found, ["kl"])} == {"kl"}
    assert len(select(found, ["small", "none"])) == 2
    assert select(found, []) == found
    with pytest.raises(Kd3dError, match="no student or method 'x'; there are the students small"):
        select(found, ["x"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"students": {"s": "huge"}}, r"a.yaml, students.s with methods.none.*preset 'huge'"),
        ({"methods": {"kl": {"methods": [{"type": "magic"}]}}}, r"methods.kl: .*'magic'"),
        ({"methods": {"kl": {"metods": []}}}, r"distill.metods: unknown key"),
        ({"methods": {"none": {"methods": []}}}, r"none is the student alone"),
        ({"methods": {"small": {}}}, r"'small' names a student and a method"),
        ({"methods": {"a/b": {}}}, r"'a/b' cannot name a folder"),
        ({"seeds": [1, 1]}, r"given twice"),
        ({"seeds": []}, r"seeds"),
        ({"teacher": "absent.ckpt"}, r"a.yaml: teacher: cannot read absent.ckpt"),
        ({"train": {"model": "tiny"}}, r"train.model is not shared"),
        ({"train": {"max_steps": 0}}, r"max_steps"),
        ({"train": {}}, r"train.data.val: name the frames"),
        ({"metods": {}}, r"metods: unknown key"),
    ],
)
def test_what_does_not_fit_is_named(files, tmp_path, changes, words):
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(settings(files, **changes), sort_keys=False))
    with pytest.raises(Kd3dError, match=f"(?s){words}") as told:
        open_arena(path)
    assert "a.yaml" in str(told.value)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_arenas_fit(path, files):
    config = load_config(ArenaConfig, path)
    config = config.model_copy(update={"teacher": files / "teacher.ckpt"})
    found = expand(config, files, str(path))
    assert len(found) == len(config.students) * len(config.methods) * len(config.seeds)
    assert "none" in config.methods
    assert len({cell.hash for cell in found}) == len(found)
