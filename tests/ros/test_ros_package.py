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


def table(path: Path, name: str) -> dict[str, tuple[Any, str]]:
    """A literal dict of a launch file, without importing launch; values may be expressions."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            assert isinstance(node.value, ast.Dict)
            keys = [key.value for key in node.value.keys if isinstance(key, ast.Constant)]
            values = [value for value in node.value.values if isinstance(value, ast.Tuple)]
            return {
                key: (ast.unparse(value.elts[0]), ast.literal_eval(value.elts[1]))
                for key, value in zip(keys, values, strict=True)
            }
    return {}


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


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_arguments_are_described_and_used(path: Path) -> None:
    text = path.read_text()
    arguments = table(path, "ARGUMENTS") | table(path, "PARAMETERS")
    assert arguments
    for name, (_, description) in arguments.items():
        assert description.endswith("."), name
        used = f'LaunchConfiguration("{name}")' in text or name in table(path, "PARAMETERS")
        assert used, name
    assert "large_clouds.xml" in text


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launched_executables_are_entry_points(path: Path) -> None:
    names = re.findall(r'package="kd3d_ros",\s*executable="(\w+)"', path.read_text())
    assert names
    for name in names:
        target = re.search(rf'"{name} = ([\w.]+):(\w+)"', SETUP)
        assert target, f"setup.py has no console script {name}"
        module = ROOT / (target[1].replace(".", "/") + ".py")
        functions = [n.name for n in ast.parse(module.read_text()).body if hasattr(n, "name")]
        assert target[2] in functions


def settings_classes() -> dict[str, Any]:
    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    pytest.importorskip("vision_msgs", reason="run python scripts/build_ros_messages.py first")
    from kd3d_ros.cloud_player_node import CloudPlayerSettings
    from kd3d_ros.detector_settings import DetectorSettings
    from kd3d_ros.simulated_lidar_node import SimulatedLidarSettings

    return {
        "detector": DetectorSettings,
        "simulated_lidar": SimulatedLidarSettings,
        "cloud_player": CloudPlayerSettings,
    }


@pytest.mark.parametrize("name", ["detector", "simulated_lidar", "cloud_player"])
def test_parameter_files_name_exactly_the_declared_parameters(name: str) -> None:
    from kd3d_ros.parameters import fits
    from kd3d_ros.parameters import specs

    table = specs(settings_classes()[name])
    content = yaml.safe_load((ROOT / "config" / "ros" / f"{name}.yaml").read_text())
    ((node, inner),) = content.items()
    assert node.startswith("/**/")
    values = inner["ros__parameters"]
    assert values.keys() == table.keys()
    for key, value in values.items():
        default, spec = table[key]
        assert type(value) is type(default), key
        assert fits(value, spec), key
        assert spec.description


def test_launch_parameters_are_parameters_of_the_node() -> None:
    from kd3d_ros.parameters import specs

    declared = specs(settings_classes()["detector"])
    for name, (kind, _) in table(ROOT / "launch" / "detect.launch.py", "PARAMETERS").items():
        if name != "use_sim_time":
            assert type(declared[name][0]).__name__ == kind


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)
def test_launch_files_load(path: Path) -> None:
    pytest.importorskip("launch_ros", reason="launch has no wheels; it is tested with ROS sourced")
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(str(path))
    assert all(argument.description for argument in description.get_launch_arguments())


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
