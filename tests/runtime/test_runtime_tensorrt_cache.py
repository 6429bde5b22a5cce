"""Engines on disk are used when they are what is wanted, and never else."""

import dataclasses
import os

import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends.trt_build import BuildRequest
from kd3d_core.runtime.backends.trt_cache import EngineKey
from kd3d_core.runtime.backends.trt_cache import default_folder
from kd3d_core.runtime.backends.trt_cache import read_sealed
from kd3d_core.runtime.backends.trt_cache import remove_engines
from kd3d_core.runtime.backends.trt_cache import write_sealed
from kd3d_core.runtime.backends.trt_module import TrtModule

KEY = EngineKey("ab" * 32, "tensorrt", "10.3.0", "sm_89", "f32", "1/5000/20000")
OTHERS = {
    "onnx_sha256": "cd" * 32,
    "module": "tensorrt-rtx",
    "version": "10.4.0",
    "architecture": "sm_86",
    "precision": "auto",
    "shapes": "1/5000/20001",
}
CONTENT = bytes(range(256)) * 8


@pytest.fixture
def path(tmp_path):
    path = tmp_path / KEY.file_name
    write_sealed(path, KEY, CONTENT, {"layers": 3})
    return path


def test_what_is_written_is_read(path):
    kept = read_sealed(path, KEY)
    assert kept.content == CONTENT
    assert kept.facts == {"layers": 3}
    assert kept.fault == ""


def test_every_ingredient_is_listed():
    assert set(OTHERS) == {field.name for field in dataclasses.fields(EngineKey)}


@pytest.mark.parametrize("field", OTHERS)
def test_each_ingredient_makes_another_file_and_is_checked(field, path):
    other = dataclasses.replace(KEY, **{field: OTHERS[field]})
    assert other.file_name != KEY.file_name
    assert read_sealed(path.with_name(other.file_name), other).content is None
    foreign = read_sealed(path, other)  # as if someone had renamed the file
    assert foreign.content is None
    assert "something else" in foreign.fault


def test_a_request_puts_each_ingredient_into_the_key():
    module = TrtModule("tensorrt", None, "10.3.0")
    request = BuildRequest(b"graph", "sm_89", "f32", 20000)
    keys = {
        request.key(module),
        request.key(TrtModule("tensorrt-rtx", None, "10.3.0")),
        request.key(TrtModule("tensorrt", None, "10.3.1")),
        BuildRequest(b"graphs", "sm_89", "f32", 20000).key(module),
        BuildRequest(b"graph", "sm_87", "f32", 20000).key(module),
        BuildRequest(b"graph", "sm_89", "auto", 20000).key(module),
        BuildRequest(b"graph", "sm_89", "f32", 10000).key(module),
    }
    assert len(keys) == len({key.file_name for key in keys}) == 7


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "no engine"),
        (lambda data: b"not ours" + data, "no engine"),
        (lambda data: data[:-1], "damaged"),
        (lambda data: data + b"\0", "damaged"),
        (lambda data: data[:-700] + b"?" + data[-699:], "damaged"),
        (lambda data: data[:40], "something else"),
        (lambda data: data.replace(b'{"key"', b'["key"', 1), "damaged"),
    ],
    ids=["empty", "foreign", "truncated", "longer", "one byte", "header cut", "header broken"],
)
def test_a_damaged_file_is_not_trusted(path, damage, words):
    path.write_bytes(damage(path.read_bytes()))
    kept = read_sealed(path, KEY)
    assert kept.content is None
    assert words in kept.fault
    assert str(path) in kept.fault


def test_no_file_is_no_fault(tmp_path):
    assert read_sealed(tmp_path / "none.engine", KEY).fault == ""


def test_a_folder_is_a_fault(tmp_path):
    (tmp_path / KEY.file_name).mkdir()
    assert "cannot be read" in read_sealed(tmp_path / KEY.file_name, KEY).fault


def test_a_place_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Kd3dError, match="cannot write"):
        write_sealed(tmp_path / "file" / KEY.file_name, KEY, CONTENT, {})


def test_removing_takes_the_engines_of_one_graph(path):
    other = dataclasses.replace(KEY, onnx_sha256="cd" * 32)
    write_sealed(path.with_name(other.file_name), other, CONTENT, {})
    newer = dataclasses.replace(KEY, version="10.9")
    write_sealed(path.with_name(newer.file_name), newer, CONTENT, {})
    assert remove_engines(path.parent, KEY.onnx_sha256) == 2
    assert os.listdir(path.parent) == [other.file_name]


def test_the_default_place_is_that_of_caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "kd3d" / "engines" / "tensorrt"
