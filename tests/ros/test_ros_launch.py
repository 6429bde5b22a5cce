"""The launch files: loaded by real launch where it is installed, read as text where it is not."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
SETUP = (ROOT / "setup.py").read_text()
WITHOUT = (
    "launch and launch_ros have no wheels: this part runs where a ROS installation is sourced"
)

by_name = pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name)


@pytest.fixture
def real_launch() -> None:
    """Skip where ROS's launch is not: PyPI's package of that name is another program."""
    pytest.importorskip("launch_ros", reason=WITHOUT)


def calls(path: Path, name: str) -> list[ast.Call]:
    """The calls of a function or class in a file, with or without a module before it."""
    tree = ast.parse(path.read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in found if ast.unparse(call.func).split(".")[-1] == name]


def texts(node: ast.AST) -> list[str]:
    """The texts below a node."""
    return [
        item.value
        for item in ast.walk(node)
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    ]


def test_there_is_a_launch_file_for_each_use() -> None:
    names = [path.name.removesuffix(".launch.py") for path in LAUNCH_FILES]
    assert names == ["demo", "detect", "replay", "shadow"]


@by_name
def test_started_nodes_are_entry_points(path: Path) -> None:
    parts = [texts(call)[0] for call in calls(path, "Part")]
    parts += [texts(call)[0] for call in calls(ROOT / "kd3d_ros" / "launching.py", "Part")]
    assert parts
    for name in (*parts, "compose_node"):
        assert re.search(rf'"{name} = [\w.]+:\w+"', SETUP), name


@by_name
def test_named_files_exist(path: Path) -> None:
    for call in calls(path, "config"):
        kind, name = texts(call)
        assert (ROOT / "config" / kind / name).is_file()
    for call in calls(path, "parameter_file"):
        assert (ROOT / "config" / "ros" / f"{texts(call.args[-1])[0]}.yaml").is_file()
    (rviz,) = [call for call in calls(path, "rviz") if len(call.args) == 3]
    assert (ROOT / "config" / "rviz" / texts(rviz)[0]).is_file()


@by_name
def test_arguments_are_described_and_used(path: Path) -> None:
    text = path.read_text()
    for call in calls(path, "Argument"):
        assert texts(call)[-1].endswith(".") or texts(call)[-2].endswith(".")
    # Those of the file itself; tables of parameters are taken as a whole.
    tables = {"PLAYER", "LIDAR", "SHADOW", "TEACHER"}
    (arguments,) = [
        node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ARGUMENTS"
    ]
    assert isinstance(arguments, ast.Dict)
    for key, value in zip(arguments.keys, arguments.values, strict=True):
        if key is not None:
            assert f"given[{ast.unparse(key)}]".replace("'", '"') in text or (
                f"given.on({ast.unparse(key)})".replace("'", '"') in text
            )
        elif isinstance(value, ast.Name) and value.id in tables:
            assert f"given.parameters({value.id}" in text


def test_tables_are_parameters_of_the_nodes() -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    pytest.importorskip("vision_msgs", reason="run python scripts/build_ros_messages.py first")
    from kd3d_ros.common.parameters import specs
    from kd3d_ros.sources.cloud_player import CloudPlayerSettings
    from kd3d_ros.sources.simulated_lidar import SimulatedLidarSettings

    for name, table, kind in (
        ("replay", "PLAYER", CloudPlayerSettings),
        ("demo", "LIDAR", SimulatedLidarSettings),
    ):
        path = ROOT / "launch" / f"{name}.launch.py"
        (given,) = [
            node.value
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == table
        ]
        assert isinstance(given, ast.Dict)
        for key, call in zip(given.keys, given.values, strict=True):
            assert isinstance(call, ast.Call)
            default = specs(kind)[ast.literal_eval(key)][0]
            example = ast.literal_eval(call.args[2]) if len(call.args) > 2 else ""
            assert type(example) is type(default), ast.unparse(key)


def test_every_parameter_of_a_node_is_an_argument() -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    from kd3d_ros.common.parameters import specs
    from kd3d_ros.detector.settings import DetectorSettings
    from kd3d_ros.launch_arguments import of_settings
    from kd3d_ros.launch_arguments import parse
    from kd3d_ros.shadow.settings import ShadowSettings

    for kind in (DetectorSettings, ShadowSettings):
        arguments = of_settings(kind)
        assert arguments.keys() == specs(kind).keys()
        for name, (default, spec) in specs(kind).items():
            assert arguments[name].default == ""
            assert spec.description in arguments[name].description
            assert parse(name, str(default), arguments[name].example) == default
    assert list(of_settings(ShadowSettings, ("threads",), "teacher_")) == ["teacher_threads"]
    # A name that both nodes have goes to both, so it must mean the same kind of value.
    both = specs(DetectorSettings).keys() & specs(ShadowSettings).keys()
    for name in both:
        kinds = {type(specs(kind)[name][0]) for kind in (DetectorSettings, ShadowSettings)}
        assert len(kinds) == 1, name


@pytest.mark.parametrize(
    ("text", "example", "value"),
    [
        ("true", False, True),
        ("4", 0, 4),
        ("1", 0.0, 1.0),
        ("007", "", "007"),
        ("[-40, -20.5, 80, 20]", [0.0], [-40.0, -20.5, 80.0, 20.0]),
        ("car=0.4,0.25@30", [""], ["car=0.4,0.25@30"]),
        ("['car=0.4,0.25@30', '*=0.2']", [""], ["car=0.4,0.25@30", "*=0.2"]),
    ],
)
def test_arguments_become_values_of_the_parameters_type(
    text: str, example: Any, value: Any
) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    from kd3d_ros.launch_arguments import parse

    parsed = parse("name", text, example)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(("text", "example"), [("4.5", 0), ("yes please", False), ("x", [0.0])])
def test_arguments_of_the_wrong_kind_are_named(text: str, example: Any) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    from kd3d_ros.launch_arguments import parse

    with pytest.raises(Kd3dError, match=f"threads:={text} must be"):
        parse("threads", text, example)


def test_frame_of_a_bag_is_read_without_ros(tmp_path: Path) -> None:
    from kd3d_core.datasets.bag_writer import write_bag
    from kd3d_core.datasets.bags import cloud_to_cdr
    from kd3d_core.pointcloud import PointCloud
    from kd3d_ros.sources.recording import cloud_frame

    with write_bag(tmp_path / "bag") as writer:
        writer.add_topic("/points", "sensor_msgs/msg/PointCloud2")
        cloud = PointCloud.from_arrays(np.ones((5, 3)), np.ones(5))
        writer.write("/points", 10**18, cloud_to_cdr(cloud, 10**18, "top_lidar"))
    assert cloud_frame(tmp_path / "bag") == "top_lidar"
    with pytest.raises(Kd3dError, match="does not exist"):
        cloud_frame(tmp_path / "nothing")


@by_name
def test_real_launch_describes_every_argument(path: Path, real_launch: None) -> None:
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(str(path))
    arguments = description.get_launch_arguments()
    assert len(arguments) > 20
    assert all(argument.description for argument in arguments)


_RUN = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
service = LaunchService()
arguments = [tuple(item.split(":=", 1)) for item in sys.argv[2:]]
source = PythonLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(
    IncludeLaunchDescription(source, launch_arguments=arguments)
)
sys.exit(service.run())
"""


def launched(name: str, environment: dict[str, str], *arguments: str) -> str:
    """Run a launch file to its end with real launch and the installed package; what it said."""
    from ament_index_python.packages import get_packages_with_prefixes

    if "kd3d_ros" not in get_packages_with_prefixes():
        pytest.skip("kd3d_ros is not installed in a ROS workspace (colcon build)")
    path = ROOT / "launch" / f"{name}.launch.py"
    command = [sys.executable, "-c", _RUN, str(path), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=180, check=False, env=environment
    )
    return done.stdout + done.stderr


def test_real_launch_hands_arguments_to_the_detector(
    real_launch: None, known: Any, ros_environment: dict[str, str], tmp_path: Path
) -> None:
    said = launched(
        "detect",
        ros_environment,
        *(f"model:={known.path}", "build_only:=true", f"engine_cache:={tmp_path}"),
        *("namespace:=front", "roi:=[-40, -20, 80, 20]", "score_thresholds:=car=0.4,0.25@30"),
    )
    assert "[front.kd3d_detector]" in said
    assert str(known.path) in said
    assert "process has finished cleanly" in said


def test_real_launch_composes_and_ends_with_its_nodes(
    real_launch: None, ros_environment: dict[str, str]
) -> None:
    said = launched(
        "demo", ros_environment, "compose:=true", "rviz:=false", "score_threshold:=7.0"
    )
    assert "compose_node" in said
    assert "parameter score_threshold is 7.0, but must be a number from 0 to 1" in said
