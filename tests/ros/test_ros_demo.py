"""The demo as a user starts it: real processes, a real recording, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud


@pytest.fixture
def clouds(tmp_path: Path) -> Path:
    """A folder of three KITTI-like clouds with an object each."""
    folder = tmp_path / "clouds"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        spot = rng.uniform((5.05, -3.45, -1.5, 0), (5.45, -3.05, 0, 1), (60, 4))
        ground = rng.uniform((-15, -15, -1.7, 0), (15, 15, -1.6, 1), (500, 4))
        np.concatenate([spot, ground]).astype(np.float32).tofile(folder / f"{i:06d}.bin")
    return folder


def command(known: Any, clouds: Path, out: Path, seconds: float) -> list[str]:
    module = [sys.executable, "-m", "kd3d_ros.demo", "--threads", "1", "--seconds", str(seconds)]
    return [*module, "--input", str(clouds), "--model", str(known.path), "--out", str(out)]


def children(out: Path) -> list[int]:
    """Processes whose standard output is a log in `out`, whoever their parent is."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            target = os.readlink(entry / "fd" / "1")
        except OSError:
            continue
        if target.startswith(str(out)):
            found.append(int(entry.name))
    return found


def test_demo_detects_records_and_sums_up(
    ros_environment: dict[str, str], known: Any, clouds: Path, tmp_path: Path
) -> None:
    anyreader = pytest.importorskip("rosbags.highlevel")
    out = tmp_path / "out"
    done = subprocess.run(
        command(known, clouds, out, 2.0),
        env=ros_environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads((out / "summary.json").read_text())
    assert 0 < facts["clouds_processed"] <= facts["clouds_received"] <= facts["clouds_published"]
    assert facts["inference_p50_ms"] > 0
    assert (out / "bev.png").read_bytes().startswith(b"\x89PNG")
    with anyreader.AnyReader([out / "recording"]) as bag:
        counts = {connection.topic: connection.msgcount for connection in bag.connections}
        boxes = [c for c in bag.connections if c.topic == "/kd3d_detector/output/detections"]
        _, _, raw = next(bag.messages(boxes))
        message = bag.deserialize(raw, boxes[0].msgtype)
    assert counts["/points"] > 0
    assert message.detections[0].results[0].hypothesis.class_id == "car"
    assert message.detections[0].bbox.center.position.x == pytest.approx(5.25, abs=0.01)
    assert children(out) == []


def test_interrupted_demo_leaves_no_process(
    ros_environment: dict[str, str], known: Any, clouds: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    demo = subprocess.Popen(
        command(known, clouds, out, 60.0), env=ros_environment, stdout=subprocess.PIPE, text=True
    )
    try:
        end = time.monotonic() + 60
        while len(children(out)) < 2:
            assert demo.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 130
    finally:
        demo.kill()
        demo.communicate()
    assert children(out) == []


def test_demo_says_which_bundle_is_missing(
    ros_environment: dict[str, str], known: Any, clouds: Path, tmp_path: Path
) -> None:
    arguments = command(known, clouds, tmp_path / "out", 1.0)
    arguments[arguments.index(str(known.path))] = str(tmp_path / "none.kd3d")
    done = subprocess.run(
        arguments, env=ros_environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 1
    assert "none.kd3d" in done.stderr
    assert "Traceback" not in done.stderr


def test_score_counts_found_missed_and_invented_objects() -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed (pip install '.[ros]')")
    from kd3d_ros.demo.score import Score

    centers = np.array([[10, 0, 0], [20, 5, 0], [30, -5, 0], [5, 9, 0]], float)
    size = np.tile([4.0, 2, 2], (4, 1))
    truth = Boxes3D.make(centers, size, np.zeros(4), [0, 0, 0, 3])
    rng = np.random.default_rng(0)
    # Ten points in each object but the third, which therefore does not count.
    points = np.concatenate([centers[i] + rng.uniform(-0.5, 0.5, (10, 3)) for i in (0, 1, 3)])
    cloud = PointCloud.from_arrays(points)
    pred = Boxes3D.make(
        [[10.2, 0, 0], [30, -5, 0], [-20, 0, 0]],
        size[:3],
        np.zeros(3),
        [0, 0, 0],
        score=[0.9, 0.8, 0.7],
    )
    score = Score()
    score.add(cloud, pred, truth)
    assert (score.found["car"], score.truths["car"], score.wrong["car"]) == (1, 2, 1)
    assert score.truths["pedestrian"] == 1
    assert score.precision() == pytest.approx(1 / 2)
    assert score.recall() == pytest.approx(1 / 3)
    assert score.latest == (1, 3)
