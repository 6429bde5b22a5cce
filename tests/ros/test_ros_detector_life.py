"""The life of the detector node: transitions, resources, building only."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from detector_bench import Bench
from detector_bench import cluster
from detector_bench import message

from kd3d_core.errors import Kd3dError


def resident() -> int:
    """Memory of this process [bytes]."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cycle(bench: Bench, offset: int) -> None:
    """Activate, detect once, deactivate."""
    from rclpy.lifecycle import TransitionCallbackReturn

    assert bench.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    bench.graph.until(bench.connected)
    assert len(bench.detect(message(cluster(1.25, 1.25), offset=offset)).detections) == 1
    bench.node.trigger_deactivate()
    bench.graph.until(lambda: bench.clouds.get_subscription_count() == 0)


def test_twenty_activations_leave_neither_threads_nor_memory(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, autostart=False, sweeps=2)
    bench.node.trigger_configure()
    for i in range(3):
        cycle(bench, i)
    subscriptions = len(list(bench.node.subscriptions))
    threads, memory = threading.active_count(), resident()
    for i in range(20):
        cycle(bench, 10 + i)
    assert threading.active_count() == threads
    assert len(list(bench.node.subscriptions)) == subscriptions
    assert resident() - memory < 12 * 2**20
    bench.graph.until(bench.accounted)
    assert bench.count("processed") == 23


def test_cleanup_frees_the_model_and_its_publishers(graph: Any, known: Any) -> None:
    import gc
    import weakref

    bench = Bench(graph, known).start()
    bench.detect(message(cluster(1.25, 1.25)))
    detector = weakref.ref(bench.node.pipeline.loaded.detector)
    publishers = len(list(bench.node.publishers))
    bench.node.trigger_deactivate()
    bench.node.trigger_cleanup()
    gc.collect()
    assert detector() is None
    assert len(list(bench.node.publishers)) == publishers - 8


def test_a_transition_that_raises_leaves_a_node_that_can_be_configured(
    graph: Any, known: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rclpy.lifecycle import TransitionCallbackReturn

    bench = Bench(graph, known, autostart=False)
    bench.node.trigger_configure()
    with monkeypatch.context() as patch:
        patch.setattr("kd3d_ros.detector.node.CloudInput", None)  # calling it raises
        assert bench.node.trigger_activate() == TransitionCallbackReturn.ERROR
    assert bench.status("model").level == b"\x02"
    bench.node.trigger_configure()
    cycle(bench, 0)


def test_configuring_with_a_wrong_class_says_which_there_are(graph: Any, known: Any) -> None:
    bench = Bench(graph, known, score_thresholds=["van=0.4"])
    with pytest.raises(Kd3dError):
        bench.node.start()
    status = bench.status("model")
    assert status.level == status.ERROR
    assert "'van'" in status.message
    assert "cyclist" in status.message
    assert bench.set(score_thresholds=["car=0.4"]) == []
    bench.start()


def test_build_only_fills_the_cache_and_ends(graph: Any, known: Any, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    bench = Bench(
        graph, known, build_only=True, backend="openvino", engine_cache=str(tmp_path / "cache")
    )
    bench.node.start()
    assert bench.node.finished
    assert bench.clouds.get_subscription_count() == 0
    assert list(tmp_path.rglob("*.blob"))


def test_build_only_ends_the_process_well(ros_environment: dict[str, str], known: Any) -> None:
    import subprocess
    import sys

    code = "import sys; from kd3d_ros.executables import detector_node; sys.exit(detector_node())"
    arguments = ["--ros-args", "-p", f"model:={known.path}", "-p", "build_only:=true"]
    arguments += ["-p", f"engine_cache:={known.path.parent / 'engines'}"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=ros_environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "build_only" in done.stderr + done.stdout


def test_what_is_read_at_configuration_is_locked_and_the_rest_is_not(bench: Bench) -> None:
    (reason,) = bench.set(sweeps=3)
    assert "configuration" in reason
    assert bench.set(roi=[0.0, -5.0, 8.0, 5.0], roi_crops="both") == []
    (reason,) = bench.set(roi=[1.0, 0.0])
    assert "4 numbers" in reason
    descriptor = bench.node.describe_parameter("ego_box")
    assert "z_max" in descriptor.description


@pytest.fixture
def bench(graph: Any, known: Any) -> Bench:
    return Bench(graph, known).start()
