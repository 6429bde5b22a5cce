"""One run of the demo."""

import json
import os
import threading
import time

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rich.console import Console

from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.files import write_text
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.default import bundle_path
from kd3d_core.visualization.bev import draw_bev
from kd3d_ros import environment
from kd3d_ros.demo.monitor import DETECTIONS
from kd3d_ros.demo.monitor import DETECTOR
from kd3d_ros.demo.monitor import POINTS
from kd3d_ros.demo.monitor import HeardFrame
from kd3d_ros.demo.monitor import Monitor
from kd3d_ros.demo.options import DemoOptions
from kd3d_ros.demo.processes import Processes
from kd3d_ros.demo.recorder import Recorder
from kd3d_ros.demo.score import Score
from kd3d_ros.demo.view import View
from kd3d_ros.demo.view import nan_free
from kd3d_ros.demo.view import summary

#: How long to wait at most for the last clouds to be worked on and counted [s].
_DRAIN = 10.0


def run_demo(options: DemoOptions, console: Console, interrupted: threading.Event) -> None:
    """Start everything, watch, sum up, end everything.

    Args:
        options: What to run.
        console: Where it is shown.
        interrupted: Set from outside to end early.

    Raises:
        KeyboardInterrupt: `interrupted` was set before the time was over.
        Kd3dError: A process died, no detection came, or the model or the input is missing.
    """
    bundle = bundle_path(options.model, options.backend)
    classes = read_bundle(bundle).manifest.classes
    if options.input is not None and not options.input.exists():
        raise Kd3dError(f"the input {options.input} does not exist")
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment.local_environment(environment.free_domain(os.getpid())))
    name, module, arguments = options.source()
    processes = Processes(options.out, os.environ)
    recorder = Recorder(options.out / "recording")
    try:
        # Before any thread of this process: forking with threads is fragile.
        processes.start("detector", "kd3d_ros.detector.node", options.detector())
        processes.start(name, module, arguments)
        with _Spinning(recorder, classes, has_truth=options.input is None) as monitor:
            score = Score(EvalConfig())
            _warm_up(score)
            with View(console, options.seconds) as view:
                last = _watch(options, processes, monitor, score, view, name, interrupted)
            processes.stop(name)
            _drain(monitor)
            facts = _facts(monitor, score, f"{name}: source")
        processes.stop("detector")
        bag = recorder.close()
    except BaseException:
        recorder.discard()
        raise
    finally:
        processes.stop_all()
    picture = options.out / "bev.png"
    draw_bev(last.cloud, last.found, last.truth, picture, title="the last frame of the demo")
    write_text(options.out / "summary.json", json.dumps(facts, indent=2) + "\n")
    summary(console, facts, score)
    console.print(f"recording: {bag}   (ros2 bag play, Foxglove)", highlight=False)
    console.print(f"picture:   {picture}", highlight=False)


class _Spinning:
    """The monitor, spun in a thread while the block runs."""

    def __init__(self, recorder: Recorder, classes: tuple[str, ...], *, has_truth: bool) -> None:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self._monitor = Monitor(recorder, classes, has_truth=has_truth)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._monitor)
        self._thread = threading.Thread(target=self._spin, name="monitor", daemon=True)

    def __enter__(self) -> Monitor:
        self._thread.start()
        return self._monitor

    def __exit__(self, *_: object) -> None:
        self._monitor.close_recording()
        self._executor.shutdown()
        self._thread.join(5.0)
        self._monitor.destroy_node()
        rclpy.try_shutdown()

    def _spin(self) -> None:
        """Until the executor is shut down."""
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return


def _watch(
    options: DemoOptions,
    processes: Processes,
    monitor: Monitor,
    score: Score,
    view: View,
    name: str,
    interrupted: threading.Event,
) -> HeardFrame:
    """Show the view until the time is over; the last frame.

    Raises:
        Kd3dError: A process died, or no detection came.
        KeyboardInterrupt: `interrupted` was set.
    """
    source = f"{name}: source"
    start = time.monotonic()
    first: float | None = None
    last: HeardFrame | None = None
    while last is None or first is None or time.monotonic() - first < options.seconds:
        processes.check()
        now = time.monotonic()
        last = _score(monitor, score) or last
        if first is None and last is not None:
            first = now
        if first is None and now - start > options.patience:
            raise Kd3dError(_silence(monitor, processes, source, options.patience))
        if first is not None and now - first >= options.record:
            monitor.close_recording()
        elapsed = 0.0 if first is None else now - first
        status = monitor.status(source)[0] or "starting the processes"
        view.show(elapsed, monitor, score, last.found if last else None, status)
        if interrupted.wait(0.2):
            raise KeyboardInterrupt
    return last


def _drain(monitor: Monitor) -> None:
    """Wait until the detector has counted the last clouds: two of its reports from now on."""
    heard = monitor.reports(DETECTOR)
    end = time.monotonic() + _DRAIN
    while monitor.reports(DETECTOR) < heard + 2 and time.monotonic() < end:
        time.sleep(0.1)


def _score(monitor: Monitor, score: Score) -> HeardFrame | None:
    """Score the latest frame, if there is a new one.

    At the view's pace, not at the sensor's: neighbouring sweeps say the same, and the processor
    belongs to the detector.
    """
    frame = monitor.latest_frame()
    if frame is not None and frame.truth is not None:
        score.add(frame.cloud, frame.found, frame.truth)
    return frame


def _warm_up(score: Score) -> None:
    """Compile the matching before the clock runs; nothing is counted."""
    box = Boxes3D.make([[5, 0, 0]], [[4, 2, 2]], [0], [0])
    Score(score.config).add(PointCloud(np.zeros((1, 4), np.float32)), box, box)


def _silence(monitor: Monitor, processes: Processes, source: str, seconds: float) -> str:
    """Why nothing was detected, as far as can be told."""
    said = [monitor.status(name)[0] for name in (source, f"{DETECTOR[1:]}: input")]
    return (
        f"no detection arrived within {seconds:.0f} s ({monitor.counts[POINTS]} clouds were "
        f"heard; source: {said[0] or 'silent'}; detector: {said[1] or 'silent'}). "
        f"See {processes.log('detector')}."
    )


def _facts(monitor: Monitor, score: Score, source: str) -> dict[str, float | int | None]:
    """The numbers of `summary.json`; None where there are none."""
    _, sent = monitor.status(source)
    _, heard = monitor.status(f"{DETECTOR[1:]}: input")
    _, worked = monitor.status(f"{DETECTOR[1:]}: detector")
    facts: dict[str, float | int | None] = {
        "clouds_published": int(sent.get("published", 0)),
        "clouds_received": int(heard.get("received", 0)),
        "clouds_processed": int(worked.get("processed", 0)),
        "clouds_dropped": int(worked.get("dropped", 0)),
        "clouds_skipped": int(worked.get("skipped", 0)),
        "clouds_recorded": monitor.counts[POINTS],
        "detection_messages": monitor.counts[DETECTIONS],
    }
    for stage, times in (*monitor.latency.items(), ("stamp_to_subscriber", monitor.age)):
        facts[f"{stage}_p50_ms"], facts[f"{stage}_p99_ms"] = nan_free(times)
    facts["precision"], facts["recall"] = score.precision(), score.recall()
    return facts
