"""The package as ROS tools see it: manifest, launch files, parameter files, executables."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
SETUP = (ROOT / "setup.py").read_text()


def test_manifest_is_a_valid_ament_python_package() -> None:
    catkin = pytest.importorskip("catkin_pkg.package")
    warnings: list[str] = []
    package = catkin.parse_package(str(ROOT / "package.xml"), warnings=warnings)
    package.validate(warnings=warnings)
    assert warnings == []
    assert package.name == "kd3d_ros"
    assert package.package_format == 3
    assert package.get_build_type() == "ament_python"
    assert f'version="{package.version}"' in SETUP


def test_manifest_names_every_ros_package_that_is_imported() -> None:
    catkin = pytest.importorskip("catkin_pkg.package")
    package = catkin.parse_package(str(ROOT / "package.xml"))
    named = {dependency.name for dependency in package.exec_depends}
    ros = re.compile(
        r"^(rclpy|launch|launch_ros|ament_index_python|rcl_interfaces|\w+_(msgs|srvs|interfaces))$"
    )
    imported = set()
    for path in [*(ROOT / "kd3d_ros").rglob("*.py"), *LAUNCH_FILES]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
    used = {name for name in imported if ros.match(name)}
    assert "rclpy" in used
    assert used <= named


#: Node -> its executable; the parameter files are called after it.
EXECUTABLES = {
    "kd3d_detector": "detector_node",
    "kd3d_shadow": "shadow_node",
    "simulated_lidar": "simulated_lidar_node",
    "cloud_player": "cloud_player_node",
}
NODES = sorted(EXECUTABLES)


def settings_of(node: str) -> Any:
    """The settings class of a node."""
    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    pytest.importorskip("vision_msgs", reason="run python scripts/build_ros_messages.py first")
    from kd3d_ros.detector.settings import DetectorSettings
    from kd3d_ros.shadow.settings import ShadowSettings
    from kd3d_ros.sources.cloud_player import CloudPlayerSettings
    from kd3d_ros.sources.simulated_lidar import SimulatedLidarSettings

    return {
        "kd3d_detector": DetectorSettings,
        "kd3d_shadow": ShadowSettings,
        "simulated_lidar": SimulatedLidarSettings,
        "cloud_player": CloudPlayerSettings,
    }[node]


@pytest.mark.parametrize("node", NODES)
def test_parameter_files_name_exactly_the_declared_parameters(node: str) -> None:
    declared = settings_of(node)
    from kd3d_ros.common.parameters import fits
    from kd3d_ros.common.parameters import specs

    path = ROOT / "config" / "ros" / f"{EXECUTABLES[node].removesuffix('_node')}.yaml"
    ((key, inner),) = yaml.safe_load(path.read_text()).items()
    assert key == f"/**/{node}"
    values = inner["ros__parameters"]
    assert values.keys() == specs(declared).keys()
    for name, value in values.items():
        default, spec = specs(declared)[name]
        assert type(value) is type(default), name
        if isinstance(value, list):
            assert {type(item) for item in value} == {type(default[0])}, name
        assert fits(value, spec), name
        assert spec.description.rstrip(")").endswith("."), name


def test_executables_are_functions_that_exist() -> None:
    scripts = re.findall(r'"(\w+) = ([\w.]+):(\w+)"', SETUP)
    assert {*EXECUTABLES.values(), "compose_node", "kd3d_core"} == {name for name, *_ in scripts}
    for _, module, function in scripts:
        source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
        assert function in [n.name for n in ast.parse(source).body if hasattr(n, "name")]


def test_every_folder_of_settings_is_installed() -> None:
    folders = {path.name for path in (ROOT / "config").iterdir()}
    assert folders <= set(re.findall(r'"(\w+)"', SETUP))


def section(node: str) -> str:
    """What docs/ros.md says about a node."""
    text = (ROOT / "docs" / "ros.md").read_text()
    return text.split(f"\n## {EXECUTABLES[node]}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("node", NODES)
def test_docs_describe_every_parameter_with_its_default(node: str) -> None:
    declared = settings_of(node)
    from kd3d_ros.common.parameters import specs

    rows = re.findall(r"^\| `(\w+)`( ●)? \| `(.*?)` \|", section(node), re.MULTILINE)
    described = {name: (yaml.safe_load(default), bool(live)) for name, live, default in rows}
    expected = {name: (default, spec.dynamic) for name, (default, spec) in specs(declared).items()}
    assert described == expected


def test_docs_have_a_remedy_for_each_of_the_eleven_complaints() -> None:
    text = (ROOT / "docs" / "ros.md").read_text().split("\n## Troubleshooting\n")[1]
    entries = re.split(r"\n### \d+\. ", text.split("\n### What the shadow says")[0])[1:]
    assert len(entries) == 11
    for entry in entries:
        assert "**Remedy**" in entry
        assert "**Cause**" in entry
    # What is quoted from the diagnostics is what the code says.
    said = fragments()
    quotes = re.findall(r'"(.*?)"', re.sub(r"\s+", " ", " ".join(entries)))
    quotes = [quote for quote in quotes if len(quote) > 11]
    assert len(quotes) > 20
    for quote in quotes:
        fixed = max(re.split(r"\d+(?:\.\d+)?|…", quote), key=len).strip(" .;:")
        assert any(fixed in text or text in quote for text in said), quote


def fragments() -> set[str]:
    """The texts in the code of the nodes, without what is filled in; 12 characters and more."""
    paths = [*(ROOT / "kd3d_ros").rglob("*.py"), *(ROOT / "kd3d_core" / "datasets").glob("*.py")]
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text())))
    values = (node.value for node in nodes if isinstance(node, ast.Constant))
    return {text for value in values if isinstance(value, str) and len(text := value.strip()) > 11}


def test_fastdds_profile_leaves_room_for_whole_clouds() -> None:
    import xml.etree.ElementTree as ET

    from kd3d_ros.environment import fastdds_profile

    space = {"dds": "http://www.eprosima.com"}
    root = ET.parse(fastdds_profile()).getroot()
    sizes = [int(item.text or 0) for item in root.findall(".//dds:segment_size", space)]
    assert sizes == [64 * 2**20]
    kinds = {item.text for item in root.findall(".//dds:transport_descriptor/dds:type", space)}
    assert kinds == {"SHM", "UDPv4"}
    builtin = root.find(".//dds:useBuiltinTransports", space)
    assert builtin is not None
    assert builtin.text == "false"
    named = {item.text for item in root.findall(".//dds:userTransports/dds:transport_id", space)}
    made = {
        item.text for item in root.findall(".//dds:transport_descriptor/dds:transport_id", space)
    }
    assert named == made
