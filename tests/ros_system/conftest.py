"""Fixtures of the system tests: a private ROS graph, and detectors in processes of their own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kd3d_ros import environment

FIRST = ("car", "truck", "bus", "pedestrian", "cyclist", "motorcycle")
#: The same network by other names, so that an answer tells which of both models gave it.
SECOND = ("van", *FIRST[1:])


@pytest.fixture(scope="session")
def system_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The bundles "first" (says car) and "second" (says van)."""
    pytest.importorskip("onnx")
    import handmade_bundle

    folder = tmp_path_factory.mktemp("models")
    return {
        name: handmade_bundle.write(folder / f"{name}.kd3d", name=name, classes=classes)
        for name, classes in (("first", FIRST), ("second", SECOND))
    }


@pytest.fixture(scope="session")
def bench() -> Iterator[Any]:
    """A ROS graph of this test process alone; skips where ROS is not installed."""
    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    environment.prepare()
    pytest.importorskip("vision_msgs", reason="run python scripts/build_ros_messages.py first")
    from system_bench import Bench

    bench = Bench(environment.free_domain(os.getpid()))
    yield bench
    bench.close()


@pytest.fixture(scope="session")
def clouds(bench: Any) -> Any:
    """The module `system_clouds`, which needs ROS to be imported."""
    import system_clouds

    return system_clouds


@pytest.fixture(scope="session")
def system_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For logs and engines."""
    return tmp_path_factory.mktemp("system")


def make_detector(bench: Any, name: str, model: Path, folder: Path, **values: Any) -> Any:
    """A detector that has not been started."""
    from system_detector import Detector
    from system_process import NodeProcess

    values = {"model": model, "threads": 1, "engine_cache": folder / "engines", **values}
    given = [part for key, value in values.items() for part in ("-p", f"{key}:={value}")]
    arguments = ["kd3d_ros.detector.node", "--ros-args", "-r", f"__node:={name}", *given]
    return Detector(bench, name, NodeProcess(name, arguments, bench.environment, folder))


@pytest.fixture(scope="session")
def _main(bench: Any, system_models: dict[str, Path], system_folder: Path) -> Any:
    """The detector that most tests share; see `detector`."""
    return make_detector(bench, "main", system_models["first"], system_folder)


@pytest.fixture
def detector(_main: Any, clouds: Any, system_models: dict[str, Path]) -> Any:
    """A detector on wall time that runs the first model, whatever became of the test before."""
    usable = (
        _main.process.running
        and _main.values("detector")["state"] == "active"
        and _main.values("model")["bundle"] == str(system_models["first"])
    )
    if not usable:
        _main.process.stop()
        _main.process.start()
        _main.wait_for_answer(clouds.wire(clouds.scene(2000)))
        _main.sensor.catch_up()
    return _main


@pytest.fixture(scope="module")
def world(bench: Any, clouds: Any, system_models: dict[str, Path], system_folder: Path) -> Any:
    """A detector of two sweeps with boxes in odom on simulated time, and all around it."""
    from system_world import World

    values = {"use_sim_time": True, "sweeps": 2, "target_frame": "odom", "tf_timeout": 2.0}
    detector = make_detector(bench, "sim", system_models["first"], system_folder, **values)
    world = World(bench, detector)
    detector.process.start()
    world.begin()
    yield world
    detector.process.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Show diagnostics and logs with every failure of these tests."""
    report = yield
    bench = getattr(item, "funcargs", {}).get("bench")
    if report.failed and bench is not None:
        report.sections.append(("the nodes under test", bench.report()))
    return report
