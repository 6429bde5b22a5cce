"""The cache of compiled networks: found again, never believed when damaged."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
pytest.importorskip("openvino")

from kd3d_ros.detector import engine_cache
from kd3d_ros.detector.model_swap import load_model
from kd3d_ros.detector.settings import DetectorSettings


@pytest.fixture
def settings(known: Any, tmp_path: Path) -> DetectorSettings:
    return DetectorSettings(
        model=str(known.path), backend="openvino", threads=1, engine_cache=str(tmp_path / "e")
    )


def blobs(settings: DetectorSettings) -> list[Path]:
    """What OpenVINO has written."""
    return sorted(Path(settings.engine_cache).rglob("*.blob"))


def test_the_second_start_takes_the_engine_of_the_first(settings: DetectorSettings) -> None:
    first, second = load_model(settings), load_model(settings)
    assert first.engine.startswith("compiled")
    assert second.engine.startswith("from the cache")
    assert second.notes == ()
    (blob,) = blobs(settings)
    sha = first.detector.manifest.onnx_sha256
    assert blob.parent.name == sha[:16]
    assert blob.parent.parent.name.startswith("openvino-")


@pytest.mark.parametrize("damage", ["truncated", "flipped", "unsealed"])
def test_a_damaged_engine_is_compiled_again(settings: DetectorSettings, damage: str) -> None:
    load_model(settings)
    (blob,) = blobs(settings)
    content = blob.read_bytes()
    if damage == "truncated":
        blob.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        blob.write_bytes(content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :])
    else:
        (blob.parent / "sha256.json").unlink()
    again = load_model(settings)
    assert again.engine.startswith("compiled")
    assert "damaged" in again.notes[0]
    assert load_model(settings).engine.startswith("from the cache")


def test_an_update_can_be_forced(settings: DetectorSettings) -> None:
    load_model(settings)
    forced = load_model(replace(settings, force_engine_update=True))
    assert forced.engine.startswith("compiled")
    assert forced.notes == ()


def test_a_cache_that_cannot_be_used_is_no_reason_to_stop(
    settings: DetectorSettings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    loaded = load_model(replace(settings, engine_cache=str(tmp_path / "file")))
    assert loaded.engine.startswith("compiled")
    assert "engine_cache" in loaded.notes[0]


def test_the_default_place_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine_cache.default_root() == tmp_path / "kd3d" / "engines"
    assert engine_cache.open_slot("", "onnxruntime", "00").folder is None
    slot = engine_cache.open_slot("", "auto", "ab" * 32)
    assert slot.folder is not None
    assert slot.folder.is_relative_to(tmp_path)
