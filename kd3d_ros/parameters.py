"""Node parameters as a typed dataclass: one line says name, type, default, range and meaning."""

import dataclasses
import difflib
from dataclasses import dataclass
from typing import Any
from typing import TypeVar

from rcl_interfaces.msg import FloatingPointRange
from rcl_interfaces.msg import IntegerRange
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node

from kd3d_core.errors import Kd3dError

#: Parameters that rclpy itself reads from overrides.
_RCLPY_PARAMETERS = ("use_sim_time", "start_type_description_service")
_RCLPY_PREFIXES = ("qos_overrides.",)
_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class ParameterSpec:
    """What a parameter may be.

    Attributes:
        description: One sentence for `ros2 param describe`.
        low: Least value of a number, or None.
        high: Largest value of a number, or None.
        choices: The allowed texts, or empty for any.
        dynamic: Whether it may change while the node is configured.
    """

    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    dynamic: bool = False


def parameter(
    default: bool | int | float | str,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    dynamic: bool = False,
) -> Any:
    """A dataclass field that is a node parameter; see `ParameterSpec`."""
    spec = ParameterSpec(description, low, high, choices, dynamic)
    return dataclasses.field(default=default, metadata={"spec": spec})


SettingsT = TypeVar("SettingsT")


def specs(kind: type[Any]) -> dict[str, tuple[Any, ParameterSpec]]:
    """Name -> (default, spec) of every parameter of a settings class."""
    return {
        field.name: (field.default, field.metadata["spec"]) for field in dataclasses.fields(kind)
    }


def declare(node: Node, kind: type[SettingsT]) -> SettingsT:
    """Declare every parameter of a settings class and return the values given to the node.

    Raises:
        Kd3dError: An override is unknown, of the wrong type or out of range.
    """
    table = specs(kind)
    # rclpy has no public list of the overrides that nobody declared.
    given = dict(getattr(node, "_parameter_overrides", {}))
    for name in given:
        if name in table or name in _RCLPY_PARAMETERS or name.startswith(_RCLPY_PREFIXES):
            continue
        close = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {close[0]}?" if close else f"use one of: {', '.join(sorted(table))}"
        raise Kd3dError(f"{node.get_name()}: unknown parameter {name}; {hint}")
    for name, (default, spec) in table.items():
        try:
            node.declare_parameter(name, default, _descriptor(default, spec))
        except (InvalidParameterTypeException, InvalidParameterValueException) as error:
            value = getattr(given.get(name), "value", None)
            raise Kd3dError(_complaint(node.get_name(), name, value, default, spec)) from error
    return read(node, kind)


def read(node: Node, kind: type[SettingsT]) -> SettingsT:
    """The current values of declared parameters.

    Raises:
        Kd3dError: A text is not one of its choices.
    """
    values = {name: node.get_parameter(name).value for name in specs(kind)}
    for name, value in values.items():
        default, spec = specs(kind)[name]
        if not fits(value, spec):
            raise Kd3dError(_complaint(node.get_name(), name, value, default, spec))
    return kind(**values)


def fits(value: Any, spec: ParameterSpec) -> bool:
    """Whether a value of the right type is within range and choices."""
    if spec.choices:
        return value in spec.choices
    low_ok = spec.low is None or value >= spec.low
    return low_ok and (spec.high is None or value <= spec.high)


def refusal(kind: type[Any], name: str, value: Any, *, locked: bool) -> str:
    """Why a parameter may not be set to a value now; empty when it may.

    Args:
        kind: The settings class.
        name: Of the parameter; one that is not in `kind` may be set.
        value: The new value, of the declared type (rclpy checks that).
        locked: Whether the node is configured, so that only dynamic parameters may change.
    """
    if name not in specs(kind):
        return ""
    default, spec = specs(kind)[name]
    if locked and not spec.dynamic:
        return (
            f"{name} is read at configuration: deactivate and clean up the node, set it, "
            "then configure and activate it again"
        )
    return "" if fits(value, spec) else _complaint("", name, value, default, spec).lstrip(": ")


def _descriptor(default: Any, spec: ParameterSpec) -> ParameterDescriptor:
    """The ROS form of a spec."""
    descriptor = ParameterDescriptor(description=spec.description)
    if spec.choices:
        descriptor.additional_constraints = f"one of: {', '.join(spec.choices)}"
    if spec.low is not None and spec.high is not None:
        if isinstance(default, int):
            descriptor.integer_range = [
                IntegerRange(from_value=int(spec.low), to_value=int(spec.high), step=1)
            ]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(spec.low), to_value=float(spec.high))
            ]
    return descriptor


def _complaint(node: str, name: str, value: Any, default: Any, spec: ParameterSpec) -> str:
    """One sentence that says what the value is and what it may be."""
    allowed = _TYPE_NAMES[type(default)]
    if spec.choices:
        allowed = f"one of: {', '.join(spec.choices)}"
    elif spec.low is not None:
        allowed += f" from {spec.low:g}" + (f" to {spec.high:g}" if spec.high is not None else "")
    hint = ""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        hint = f"; write {value}.0, because ROS tells {value} from {value}.0"
    return f"{node}: parameter {name} is {value!r}, but must be {allowed}{hint}"
