"""Node parameters as a typed dataclass: one line says name, type, default, range and meaning."""

import array
import dataclasses
import difflib
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import TypeVar

from rcl_interfaces.msg import FloatingPointRange
from rcl_interfaces.msg import IntegerRange
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException
from rclpy.exceptions import InvalidParameterValueException
from rclpy.exceptions import ParameterUninitializedException
from rclpy.node import Node

from kd3d_core.errors import Kd3dError

#: Parameters that rclpy itself reads from overrides.
_RCLPY_PARAMETERS = ("use_sim_time", "start_type_description_service")
_RCLPY_PREFIXES = ("qos_overrides.",)
_REFUSALS = (
    InvalidParameterTypeException,
    InvalidParameterValueException,
    ParameterUninitializedException,
)
_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}

Default = bool | int | float | str | Sequence[str] | Sequence[float]


@dataclass(frozen=True)
class ParameterSpec:
    """What a parameter may be.

    Attributes:
        description: One sentence for `ros2 param describe`.
        low: Least value of a number, or None.
        high: Largest value of a number, or None.
        choices: The allowed texts, or empty for any.
        dynamic: Whether it may change while the node is configured.
        check: Says what is wrong with a value of the right type, for what a range cannot say;
            the empty text means that nothing is.
    """

    description: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    dynamic: bool = False
    check: Callable[[Any], str] | None = None


def parameter(
    default: Default,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    dynamic: bool = False,
    check: Callable[[Any], str] | None = None,
) -> Any:
    """A dataclass field that is a node parameter; see `ParameterSpec`.

    A list takes any number of values and must not be empty by default, because ROS cannot tell
    the type of an empty list; `[""]` is the custom for "no texts".
    """
    spec = ParameterSpec(description, low, high, choices, dynamic, check)
    return dataclasses.field(
        default=default if isinstance(default, (bool, int, float, str)) else tuple(default),
        metadata={"spec": spec},
    )


SettingsT = TypeVar("SettingsT")


def specs(kind: type[Any]) -> dict[str, tuple[Any, ParameterSpec]]:
    """Name -> (default, spec) of every parameter of a settings class; lists are lists."""
    return {
        field.name: (
            list(field.default) if isinstance(field.default, tuple) else field.default,
            field.metadata["spec"],
        )
        for field in dataclasses.fields(kind)
    }


def declare(node: Node, kind: type[SettingsT]) -> SettingsT:
    """Declare every parameter of a settings class and return the values given to the node.

    Raises:
        Kd3dError: An override is unknown, of the wrong type or out of range.
    """
    table = specs(kind)
    # rclpy has no public list of the overrides that nobody declared.
    overrides = getattr(node, "_parameter_overrides", {})
    given = dict(overrides)
    for name in given:
        if name in table:
            # `[]` in a parameter file arrives without a type, which rclpy would refuse.
            if isinstance(table[name][0], list) and given[name].value is None:
                del overrides[name]
            continue
        if name in _RCLPY_PARAMETERS or name.startswith(_RCLPY_PREFIXES):
            continue
        close = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {close[0]}?" if close else f"use one of: {', '.join(sorted(table))}"
        raise Kd3dError(f"{node.get_name()}: unknown parameter {name}; {hint}")
    for name, (default, spec) in table.items():
        try:
            node.declare_parameter(name, default, _descriptor(default, spec))
        except _REFUSALS as error:
            value = getattr(given.get(name), "value", None)
            raise Kd3dError(_complaint(node.get_name(), name, value, default, spec)) from error
    return read(node, kind)


def read(node: Node, kind: type[SettingsT]) -> SettingsT:
    """The current values of declared parameters; lists come as tuples.

    Raises:
        Kd3dError: A text is not one of its choices, or a value is otherwise unfit.
    """
    values = {name: node.get_parameter(name).value for name in specs(kind)}
    for name, value in values.items():
        default, spec = specs(kind)[name]
        if isinstance(value, array.array):
            value = value.tolist()
        if not fits(value, spec):
            raise Kd3dError(_complaint(node.get_name(), name, value, default, spec))
        values[name] = tuple(value) if isinstance(default, list) else value
    return kind(**values)


def updated(settings: SettingsT, values: Mapping[str, Any]) -> SettingsT:
    """Settings with some values replaced, as `read` would give them once they are set.

    Args:
        settings: The present ones.
        values: New values by name; names that are not in the settings are left out.
    """
    known = specs(type(settings))
    plain = {
        name: tuple(value) if isinstance(known[name][0], list) else value
        for name, value in values.items()
        if name in known
    }
    return dataclasses.replace(settings, **plain)  # type: ignore[type-var]


def fits(value: Any, spec: ParameterSpec) -> bool:
    """Whether a value of the right type is within range and choices, each value of a list."""
    items = value if isinstance(value, (list, tuple)) else [value]
    if spec.choices:
        return all(item in spec.choices for item in items)
    low_ok = spec.low is None or all(item >= spec.low for item in items)
    high_ok = spec.high is None or all(item <= spec.high for item in items)
    return low_ok and high_ok and not (spec.check and spec.check(value))


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
    if isinstance(value, array.array):  # what a service call brings for a list of numbers
        value = value.tolist()
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
        number = default[0] if isinstance(default, list) else default
        if isinstance(number, int):
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
    if spec.check and type(value) is type(default) and (wrong := spec.check(value)):
        return f"{node}: parameter {name}: {wrong}"
    if isinstance(default, list):
        kind = "texts" if isinstance(default[0], str) else "numbers with a decimal point"
        allowed = f"a list of {kind}"
    else:
        allowed = _TYPE_NAMES[type(default)]
    if spec.choices:
        allowed = f"one of: {', '.join(spec.choices)}"
    elif spec.low is not None:
        allowed += f" from {spec.low:g}" + (f" to {spec.high:g}" if spec.high is not None else "")
    hint = ""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        hint = f"; write {value}.0, because ROS tells {value} from {value}.0"
    return f"{node}: parameter {name} is {value!r}, but must be {allowed}{hint}"
