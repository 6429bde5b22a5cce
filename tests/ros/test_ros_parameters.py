"""Parameters from a typed dataclass: lists, ranges, checks, parameter files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")

from kd3d_core.errors import Kd3dError
from kd3d_ros.common.parameters import declare
from kd3d_ros.common.parameters import parameter
from kd3d_ros.common.parameters import read
from kd3d_ros.common.parameters import refusal
from kd3d_ros.common.parameters import updated


@dataclass(frozen=True)
class Settings:
    """A node's parameters."""

    names: Sequence[str] = parameter([""], "Names.", dynamic=True)
    box: Sequence[float] = parameter(
        [0.0, 0.0],
        "A range.",
        low=-5.0,
        high=5.0,
        check=lambda v: "" if len(v) == 2 else f"{list(v)}: give 2 numbers",
    )
    count: int = parameter(1, "A count.", low=1, high=9)


def make(graph: Any, tmp_path: Path, text: str) -> tuple[Any, Settings]:
    """A node with a parameter file, and its settings."""
    from rclpy.node import Node

    path = tmp_path / "p.yaml"
    path.write_text(f"/**:\n  ros__parameters: {{{text}}}\n")
    arguments = ["--ros-args", "--params-file", str(path)]
    node = graph.add(Node("n", context=graph.context, cli_args=arguments))
    return node, declare(node, Settings)


def test_lists_come_from_files_even_when_they_are_empty(graph: Any, tmp_path: Path) -> None:
    node, settings = make(graph, tmp_path, "names: [a, b], box: []")
    assert settings == Settings(names=("a", "b"), box=(0.0, 0.0))
    descriptor = node.describe_parameter("box")
    assert descriptor.floating_point_range[0].from_value == -5.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: 3", "list of texts"),
        ("box: [1, 2]", "decimal point"),
        ("box: [1.0]", "give 2 numbers"),
        ("box: [1.0, 7.5]", "from -5 to 5"),
        ("count: 12", "from 1 to 9"),
    ],
)
def test_what_does_not_fit_is_refused_at_start(
    graph: Any, tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(Kd3dError) as raised:
        make(graph, tmp_path, text)
    assert words in str(raised.value)


def test_lists_are_set_through_the_service_of_the_node(graph: Any, tmp_path: Path) -> None:
    from rcl_interfaces.srv import SetParametersAtomically
    from rclpy.parameter import Parameter

    node, _ = make(graph, tmp_path, "count: 2")
    peer = graph.node("peer")
    client = peer.create_client(SetParametersAtomically, "/n/set_parameters_atomically")
    graph.until(client.service_is_ready)
    values = {"box": [1.5, 2.0], "names": ["x"]}
    given = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    future = client.call_async(SetParametersAtomically.Request(parameters=given))
    graph.until(future.done)
    assert future.result().result.successful
    assert read(node, Settings) == Settings(names=("x",), box=(1.5, 2.0), count=2)


def test_refusals_and_updates_know_lists() -> None:
    import array

    assert refusal(Settings, "box", array.array("d", [1.0, 2.0]), locked=False) == ""
    assert "give 2" in refusal(Settings, "box", array.array("d", [1.0]), locked=False)
    assert "configuration" in refusal(Settings, "box", [1.0, 2.0], locked=True)
    assert refusal(Settings, "names", ["a"], locked=True) == ""
    changed = updated(Settings(), {"names": ["a"], "unknown": 1})
    assert changed == Settings(names=("a",))
