"""What `auto` takes, and that it measures once."""

import json

import handmade_bundle
import numpy as np
import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.backends import choice
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.backends.choice_cache import forget

pytest.importorskip("openvino", reason="OpenVINO is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

GRAPH = handmade_bundle.graph()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "kd3d" / "backends"


class Slowed:
    """A backend that takes its time, or says something else."""

    reason = ""

    def __init__(self, inner, clock, milliseconds, error=0.0):
        self._inner, self._clock, self._ms, self._error = inner, clock, milliseconds, error
        self.name, self.precision = inner.name, inner.precision
        self.inputs, self.outputs = inner.inputs, inner.outputs
        self.runs = 0

    def run(self, arrays):
        self.runs += 1
        self._clock[0] += 1e-3 * self._ms
        return tuple(array + self._error for array in self._inner.run(arrays))


@pytest.fixture
def race(monkeypatch):
    """Chooses between backends of given speeds [ms] and errors; gives the choice and all built."""
    clock = [0.0]
    for name in ("perf_counter", "process_time", "monotonic"):
        monkeypatch.setattr(f"kd3d_core.runtime.backends.choice.time.{name}", lambda: clock[0])

    def run(**speeds):
        built = {}

        def make(name, precision):
            milliseconds, error = speeds[name]
            inner = make_backend(name, GRAPH, threads=1, precision=precision)
            built[name] = Slowed(inner, clock, milliseconds, error)
            return built[name]

        return choice.choose(GRAPH, 1, "f32", make), built

    return run


def test_the_faster_one_is_taken_and_says_why(race):
    taken, built = race(openvino=(30, 0.0), onnxruntime=(12, 0.0))
    assert taken is built["onnxruntime"]
    assert taken.reason.startswith("auto: onnxruntime f32 takes 12.0 ms, openvino f32 30.0 ms")


def test_of_two_that_are_near_it_is_always_the_same(race):
    taken, _ = race(openvino=(20, 0.0), onnxruntime=(19, 0.0))
    assert taken.name == "openvino"


def test_a_wrong_one_is_not_taken_however_fast(race):
    taken, _ = race(openvino=(30, 0.0), onnxruntime=(3, 0.1))
    assert taken.name == "openvino"
    assert "onnxruntime f32 3.0 ms, and its results are wrong" in taken.reason


def test_nan_is_wrong(race):
    taken, _ = race(openvino=(3, np.nan), onnxruntime=(30, 0.0))
    assert taken.name == "onnxruntime"


def test_when_all_are_wrong_none_is_taken(race):
    with pytest.raises(Kd3dError, match="no backend gives the results of the graph"):
        race(openvino=(3, 1.0), onnxruntime=(3, 1.0))


def test_the_second_load_measures_nothing_until_it_is_forgotten(race, cache):
    race(openvino=(30, 0.0), onnxruntime=(12, 0.0))
    (path,) = cache.glob("*.json")
    assert json.loads(path.read_text())["backend"] == "onnxruntime"
    taken, built = race(openvino=(1, 0.0), onnxruntime=(99, 0.0))
    assert list(built) == ["onnxruntime"]
    assert taken.runs == 0
    assert "12.0 ms" in taken.reason
    forget(GRAPH)
    taken, _ = race(openvino=(1, 0.0), onnxruntime=(99, 0.0))
    assert taken.name == "openvino"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"backend": "tensorrt"}'])
def test_a_damaged_or_foreign_choice_is_measured_anew(race, cache, content):
    race(openvino=(30, 0.0), onnxruntime=(12, 0.0))
    (path,) = cache.glob("*.json")
    path.write_text(content)
    taken, built = race(openvino=(1, 0.0), onnxruntime=(99, 0.0))
    assert len(built) == 2
    assert taken.name == "openvino"


def test_a_cache_that_cannot_be_written_is_no_reason_not_to_start(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert make_backend("auto", GRAPH, threads=1).reason


def test_a_slow_machine_is_measured_once_only(race):
    _, built = race(openvino=(3000, 0.0), onnxruntime=(4000, 0.0))
    assert built["openvino"].runs == 2  # the check of its results, and one pass


def test_one_backend_alone_is_not_measured(monkeypatch, cache):
    monkeypatch.setattr(choice, "BACKENDS", ("onnxruntime",))
    backend = make_backend("auto", GRAPH, threads=1)
    assert backend.reason == "auto: onnxruntime f32 is all there is to choose"
    assert not cache.exists()


def test_a_named_backend_gives_no_reason():
    assert make_backend("onnxruntime", GRAPH, threads=1).reason == ""


def test_the_plain_reference_says_the_same():
    from kd3d_core.runtime.backends.onnxruntime import OnnxRuntimeBackend

    probe = choice._probe(make_backend("onnxruntime", GRAPH, threads=1))
    plain = OnnxRuntimeBackend(GRAPH, 1, "f32", plain=True).run(probe)
    for name in ("openvino", "onnxruntime"):
        found = make_backend(name, GRAPH, threads=1).run(probe)
        assert choice._off(plain, found, coarse=False) < 0.1


def test_names_survive_the_casts_of_a_graph_in_fp16():
    pytest.importorskip("onnx", reason="the conversion needs onnx")
    from kd3d_core.deployment.float16 import to_fp16

    found = make_backend("openvino", to_fp16(GRAPH), threads=1)
    assert found.inputs == make_backend("openvino", GRAPH, threads=1).inputs
    assert found.outputs == make_backend("onnxruntime", GRAPH, threads=1).outputs
