"""The node finds TensorRT's engines where `kd3d_core compile` puts them."""

import pytest

from kd3d_core.runtime.backends.trt_cache import EngineKey
from kd3d_core.runtime.backends.trt_cache import write_sealed
from kd3d_ros.detector import engine_cache

KEY = EngineKey("ab" * 32, "tensorrt-rtx", "1.7.1", "sm_89", "f32", "1/1/1")


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "tensorrt" / KEY.file_name
    write_sealed(path, KEY, b"engine", {})
    return path


def open_slot(tmp_path, sha256=KEY.onnx_sha256, **options):
    return engine_cache.open_slot(str(tmp_path), "tensorrt-rtx", sha256, **options)


def test_the_engine_of_this_graph_is_seen(tmp_path, engine):
    assert open_slot(tmp_path) == engine_cache.EngineSlot(engine.parent, filled=True, checked=True)
    assert not open_slot(tmp_path, "cd" * 32).filled


def test_sealing_adds_nothing(tmp_path, engine):
    assert engine_cache.seal(open_slot(tmp_path)) == ""
    assert list(engine.parent.iterdir()) == [engine]


def test_renewal_removes_the_engines_of_this_graph_only(tmp_path, engine):
    open_slot(tmp_path, "cd" * 32, renew=True)
    assert engine.exists()
    assert not open_slot(tmp_path, renew=True).filled
    assert not engine.exists()
