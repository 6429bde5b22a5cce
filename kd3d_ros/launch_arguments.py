"""Launch arguments as data: a node's parameters are arguments of the same names.

Free of launch, so that the tables are tested where launch is not installed.
"""

from dataclasses import dataclass
from typing import Any

import yaml

from kd3d_core.errors import Kd3dError
from kd3d_ros.common.parameters import ParameterSpec
from kd3d_ros.common.parameters import specs


@dataclass(frozen=True)
class Argument:
    """One `name:=value` of a launch file.

    Attributes:
        default: What it is when not given; empty leaves a parameter to the parameter file, None
            asks for it.
        description: One sentence or more for `--show-args`.
        example: A value of the type of the parameter that it sets.
    """

    default: str | None
    description: str
    example: Any = ""


Arguments = dict[str, Argument]

USE_SIM_TIME: Arguments = {
    "use_sim_time": Argument("", "Take the time from /clock, as when a bag is played.", False)
}
INPUT_TOPIC: Arguments = {
    "input_topic": Argument("/points", "Topic of the clouds (sensor_msgs/PointCloud2).")
}
NAMESPACE: Arguments = {"namespace": Argument("", "Namespace of the nodes.")}
PARAMS_FILE: Arguments = {
    "params_file": Argument(
        "", "YAML file of parameters instead of detector.yaml; arguments overrule it."
    )
}
COMPOSE: Arguments = {
    "compose": Argument("false", "Run the source of the clouds and the detector in one process.")
}


def of_settings(kind: type[Any], only: tuple[str, ...] = (), prefix: str = "") -> Arguments:
    """An argument for each parameter of a node, described in the node's own words.

    Args:
        kind: The node's settings class.
        only: Names of the parameters; empty is all.
        prefix: Before each name.
    """
    return {
        prefix + name: Argument("", _description(spec), default)
        for name, (default, spec) in specs(kind).items()
        if not only or name in only
    }


def rviz(default: bool, frame: str) -> Arguments:
    """The arguments about RViz.

    Args:
        default: Whether it is opened.
        frame: The fixed frame.
    """
    return {
        "rviz": Argument(str(default).lower(), "Open RViz with clouds and boxes."),
        "rviz_frame": Argument(frame, "Fixed frame of RViz: the clouds' frame_id or one of /tf."),
    }


def parse(name: str, text: str, example: Any) -> Any:
    """The value of an argument, of the type of its parameter.

    Args:
        name: Of the argument.
        text: As given; a list is written as YAML, one value may stand alone.
        example: A value of that type; a list has at least one item.

    Raises:
        Kd3dError: The text is no such value.
    """
    if isinstance(example, str):
        return text
    if isinstance(example, list):
        single = isinstance(example[0], str) and not text.lstrip().startswith("[")
        items = [text] if single else _yaml(text)
        items = items if isinstance(items, list) else [items]
        return [parse(name, str(item), example[0]) for item in items]
    value = _yaml(text)
    fits = isinstance(value, bool) == isinstance(example, bool)
    if isinstance(example, float) and fits and isinstance(value, (int, float)):
        return float(value)
    if fits and type(value) is type(example):
        return value
    kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(example)]
    raise Kd3dError(f"the launch argument {name}:={text} must be {kind}")


def _description(spec: ParameterSpec) -> str:
    """What a parameter means, and its choices."""
    choices = f" One of: {', '.join(spec.choices)}." if spec.choices else ""
    return spec.description + choices


def _yaml(text: str) -> Any:
    """A value in YAML; what is no YAML is itself."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
