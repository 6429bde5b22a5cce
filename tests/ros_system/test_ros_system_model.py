"""Another model while clouds keep coming: no cloud is lost, and a broken one changes nothing."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.bundle import write_bundle


def name(answer: Any) -> str:
    """The class of the only box, which tells the models apart."""
    (found,) = answer.detections
    return found.results[0].hypothesis.class_id


def test_hot_swap_under_load_loses_no_cloud(
    detector: Any, clouds: Any, system_models: dict[str, Path], tmp_path: Path
) -> None:
    # Each cloud follows the answer to the one before, so the detector is always busy and none may
    # be dropped, however slow the machine is.
    cloud = clouds.wire(clouds.scene())
    before, first = detector.settle(), len(detector.sensor.stamps)
    # Reading the bundle takes as long as this test wants: it waits for bytes in a pipe, while a
    # real bundle already lies at the path, which is read after the first bytes.
    slow = tmp_path / "slow.kd3d"
    os.mkfifo(slow)
    pipe = os.open(slow, os.O_RDWR)
    try:
        loading = detector.begin_to_load(slow)
        names = [name(detector.detect(cloud)) for _ in range(20)]
        assert names == ["car"] * 20
        assert not loading.done()
        refused = detector.load(slow)
        assert not refused.success
        assert "already" in refused.message
        shutil.copy(system_models["second"], tmp_path / "second.kd3d")
        os.replace(tmp_path / "second.kd3d", slow)
        os.write(pipe, b"PK\x03\x04")
        while not loading.done():
            names.append(name(detector.detect(cloud)))
    finally:
        os.close(pipe)
    assert loading.result().success, loading.result().message
    names += [name(detector.detect(cloud)) for _ in range(5)]
    assert names[-5:] == ["van"] * 5
    assert names == sorted(names)  # never back to the old model
    for model in ("first", "second", "first"):
        answer = detector.load(system_models[model])
        assert answer.success, answer.message
        names.append(name(detector.detect(cloud)))
    assert names[-3:] == ["car", "van", "car"]
    counted = detector.accounted(before, len(names))
    assert counted["processed"] == len(names) == len(detector.sensor.stamps) - first


@pytest.mark.parametrize("kind", ["truncated", "no network", "missing"])
def test_broken_new_model_leaves_the_old_one_running_and_says_why(
    detector: Any, clouds: Any, system_models: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    broken, cloud = tmp_path / "broken.kd3d", clouds.wire(clouds.scene())
    good = system_models["second"].read_bytes()
    if kind == "truncated":
        broken.write_bytes(good[: len(good) // 2])
    elif kind == "no network":
        write_bundle(broken, read_bundle(system_models["second"]).manifest, b"not a network")
    loading, names = detector.begin_to_load(broken), []
    while not loading.done() or len(names) < 5:
        names.append(name(detector.detect(cloud)))
    answer = loading.result()
    words = {"truncated": "truncated", "missing": "No such file", "no network": "model"}[kind]
    assert not answer.success
    assert "the old model still runs" in answer.message
    assert str(broken) in answer.message
    assert words in answer.message
    detector.says("model", "WARN", "the old model still runs", words)
    names += [name(detector.detect(cloud)) for _ in range(3)]
    assert set(names) == {"car"}
    assert detector.load(system_models["first"]).success
    detector.says("model", "OK")
