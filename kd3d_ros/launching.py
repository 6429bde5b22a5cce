"""What the launch files share: declared arguments, nodes, RViz and the Fast DDS profile."""

import json
import typing
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

from launch.actions import DeclareLaunchArgument
from launch.actions import OpaqueFunction
from launch.actions import SetEnvironmentVariable
from launch.actions import Shutdown
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from kd3d_ros import environment
from kd3d_ros.detector.settings import DetectorSettings
from kd3d_ros.launch_arguments import USE_SIM_TIME
from kd3d_ros.launch_arguments import Arguments
from kd3d_ros.launch_arguments import of_settings
from kd3d_ros.launch_arguments import parse
from launch import LaunchContext
from launch import LaunchDescription

#: Every parameter of the detector is an argument of the launch files.
DETECTOR = of_settings(DetectorSettings)


def config(kind: str, name: str) -> str:
    """The path of a file of the package's `config/` folder."""
    return str(environment.share_folder() / "config" / kind / name)


def description(arguments: Arguments, make: Callable[["Given"], list[Any]]) -> LaunchDescription:
    """A launch description whose actions are made once the arguments are known.

    Args:
        arguments: All that may be given.
        make: Makes the actions out of what was given.
    """

    def actions(context: LaunchContext) -> list[Any]:
        return make(Given(context, arguments))

    # Fast DDS loses large clouds with its default shared memory; the file says more.
    profile = config("fastdds", "large_clouds.xml")
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    name, default_value=argument.default, description=argument.description
                )
                for name, argument in arguments.items()
            ),
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", profile),
            SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", profile),
            OpaqueFunction(function=actions),
        ]
    )


class Given:
    """The values of the arguments of one launch."""

    def __init__(self, context: LaunchContext, arguments: Arguments) -> None:
        """Take them.

        Args:
            context: Of the launch.
            arguments: All that are declared.
        """
        self._values = {
            name: str(LaunchConfiguration(name).perform(context)) for name in arguments
        }

    def __getitem__(self, name: str) -> str:
        """The value of an argument as text: given, or its default."""
        return self._values[name]

    def on(self, name: str) -> bool:
        """Whether an argument is true; one that is empty or not declared is not."""
        text = self._values.get(name)
        return bool(text and parse(name, text, False))

    def parameters(self, arguments: Arguments, prefix: str = "") -> dict[str, Any]:
        """The parameters that some arguments set; what is empty is left to the parameter file.

        Args:
            arguments: That are parameters of one node.
            prefix: Cut off the names.
        """
        return {
            name.removeprefix(prefix): parse(name, self[name], argument.example)
            for name, argument in arguments.items()
            if self._values.get(name)
        }


@dataclass(frozen=True)
class Part:
    """A node of this package, in a process of its own or composed with others.

    Attributes:
        executable: Its console script.
        name: Its name.
        file: Its parameter file.
        values: Parameters that overrule the file.
        topics: Remappings, topic -> topic.
    """

    executable: str
    name: str
    file: str
    values: dict[str, Any] = field(default_factory=dict)
    topics: dict[str, str] = field(default_factory=dict)


def nodes(given: Given, *parts: Part, compose: bool = False) -> list[Node]:
    """The processes of some nodes; all ends when one of them ends.

    Args:
        given: The arguments, with `namespace`.
        parts: The nodes.
        compose: Whether they share one process.
    """
    common: dict[str, Any] = {
        "package": environment.PACKAGE,
        "namespace": given["namespace"],
        "output": "screen",
        # After Ctrl-C a node finishes its cloud and the shadow writes its bag: on a busy machine
        # that takes longer than the 5 s of launch.
        "sigterm_timeout": "20",
    }
    if compose:
        return [
            Node(
                executable="compose_node",
                arguments=[part.executable for part in parts],
                ros_arguments=[text for part in parts for text in ros_arguments(part)],
                on_exit=Shutdown(reason="the nodes ended"),
                **common,
            )
        ]
    return [
        Node(
            executable=part.executable,
            name=part.name,
            parameters=[part.file, {name: _typed(value) for name, value in part.values.items()}],
            remappings=list(part.topics.items()),
            on_exit=Shutdown(reason=f"{part.name} ended"),
            **common,
        )
        for part in parts
    ]


def ros_arguments(part: Part) -> list[str]:
    """A part's file, parameters and remappings as a command line that names the node."""
    texts = ["--params-file", part.file]
    for name, value in part.values.items():
        # JSON is YAML in one line, with its texts in quotes.
        texts += ["-p", f"{part.name}:{name}:={json.dumps(value)}"]
    for topic, target in part.topics.items():
        texts += ["-r", f"{part.name}:{topic}:={target}"]
    return texts


def detector(given: Given, topic: str, **values: Any) -> Part:
    """The detector with everything that the arguments say.

    Args:
        given: The arguments, with `DETECTOR` and `PARAMS_FILE`, perhaps `USE_SIM_TIME`.
        topic: Of the clouds.
        values: Parameters that overrule the arguments.
    """
    return Part(
        "detector_node",
        "kd3d_detector",
        parameter_file(given["params_file"], "detector"),
        given.parameters(DETECTOR | USE_SIM_TIME) | values,
        {"~/input/points": topic},
    )


def rviz(
    given: Given,
    layout: str,
    topics: dict[str, str],
    *,
    frame: str = "",
    use_sim_time: bool | None = None,
) -> Node:
    """RViz, if it is wanted.

    Args:
        given: The arguments, with `rviz`, `rviz_frame` and `namespace`.
        layout: A file of `config/rviz`.
        topics: Topic in the layout -> topic to show.
        frame: The fixed frame when the argument does not say.
        use_sim_time: None leaves it to the argument.
    """
    sim_time = given.on("use_sim_time") if use_sim_time is None else use_sim_time
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", config("rviz", layout), "-f", given["rviz_frame"] or frame],
        namespace=given["namespace"],
        parameters=[{"use_sim_time": sim_time}],
        remappings=list(topics.items()),
        condition=IfCondition(given["rviz"]),
    )


def parameter_file(path: str, name: str) -> str:
    """The parameter file that was given, or the package's own.

    Args:
        path: As given; may be empty.
        name: Of the package's file, without suffix.
    """
    return str(Path(path).expanduser().resolve()) if path else config("ros", f"{name}.yaml")


def _typed(value: Any) -> Any:
    """A value that launch_ros does not guess another type for."""
    if isinstance(value, str):
        return ParameterValue(value, value_type=str)
    if isinstance(value, list) and isinstance(value[0], str):
        # launch knows typing's list only, not the built-in one.
        return ParameterValue(value, value_type=typing.List[str])  # noqa: UP006
    return value
