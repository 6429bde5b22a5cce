"""vision_msgs and tf2_msgs in a pip environment are those of every other ROS installation."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "build_ros_messages.py"

#: As `ros2 topic info --verbose` shows them on ROS 2 Jazzy.
OFFICIAL = {
    "vision_msgs/msg/Detection3DArray": (
        "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"
    ),
    "tf2_msgs/msg/TFMessage": (
        "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"
    ),
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_ros_messages", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def hashes(script: ModuleType) -> dict[str, str]:
    """The hash of every interface by a second implementation of RIHS01 (REP 2016)."""
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    types: dict[str, Any] = {}
    for package, messages in script.INTERFACES.items():
        for name, fields in messages.items():
            types |= typesys.get_types_from_msg(fields, f"{package}/msg/{name}")
    store.register({name: kind for name, kind in types.items() if name not in store.types})
    return {name: store.hash_rihs01(name) for name in types}


def test_field_lists_have_the_official_type_hashes(hashes: dict[str, str]) -> None:
    assert {name: hashes[name] for name in OFFICIAL} == OFFICIAL


def test_installed_messages_have_the_hashes_of_their_field_lists(
    graph: Any, hashes: dict[str, str]
) -> None:
    node = graph.node("hashes")
    for name in hashes:
        package, _, kind = name.split("/")
        message = getattr(importlib.import_module(f"{package}.msg"), kind)
        node.create_publisher(message, f"/{kind}", 1)
        (info,) = node.get_publishers_info_by_topic(f"/{kind}")
        assert info.topic_type == name
        assert str(info.topic_type_hash) == hashes[name]


def test_the_build_is_skipped_when_nothing_changed(
    script: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = [script.PREFIX / "share" / name / "kd3d_build.sha256" for name in script.INTERFACES]
    if not all(stamp.is_file() for stamp in stamps):
        pytest.skip("these messages come from a ROS installation, not from the script")
    monkeypatch.setattr(sys, "argv", ["build_ros_messages.py"])
    monkeypatch.setattr(script, "build", lambda package: pytest.fail(f"built {package}"))
    assert script.main() == 0
    assert capsys.readouterr().out.count("up to date") == len(stamps)


def test_absent_header_folders_are_replaced_and_present_ones_kept(script: ModuleType) -> None:
    here = {"/include/python": "/here/python", "/numpy/": "/here/numpy"}
    line = (
        '  INTERFACE_INCLUDE_DIRECTORIES "${_IMPORT_PREFIX}/include;/none/include/python3.11;'
        '/none/site-packages/numpy/_core/include;/usr"\n'
    )
    wanted = (
        '  INTERFACE_INCLUDE_DIRECTORIES "${_IMPORT_PREFIX}/include;/here/python;'
        '/here/numpy;/usr"\n'
    )
    assert script._replace_folders(line, here) == wanted
