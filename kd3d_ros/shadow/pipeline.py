"""What happens to a cloud and its answer in the shadow node, from bytes to messages."""

import functools
import os
from pathlib import Path

from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode

from kd3d_core.datasets.mined import WorstFrames
from kd3d_core.datasets.mined import write_mined
from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.detector import Detector
from kd3d_core.runtime.levelling import leveller_for_stream
from kd3d_ros.common.statistics import Statistics
from kd3d_ros.common.worker import LatestWorker
from kd3d_ros.shadow.comparison import Comparison
from kd3d_ros.shadow.comparison import Verdict
from kd3d_ros.shadow.frames import FrameBridge
from kd3d_ros.shadow.matching import Match
from kd3d_ros.shadow.mining import Miner
from kd3d_ros.shadow.mining import MiningCounts
from kd3d_ros.shadow.outputs import ShadowOutputs
from kd3d_ros.shadow.pace import Pace
from kd3d_ros.shadow.settings import ShadowSettings


class ShadowPipeline:
    """A loaded teacher, the thread that it works in, and what comes out.

    Attributes:
        teacher: The detector, with the thresholds that are wanted of it.
        outputs: The publishers.
        pace: When it works.
        frames: Finds the transforms that are needed.
    """

    def __init__(self, node: LifecycleNode, settings: ShadowSettings, stats: Statistics) -> None:
        """Load the teacher and run it once; make the publishers.

        Args:
            node: That owns them.
            settings: Of the node.
            stats: Where counts, latencies and faults go.

        Raises:
            Kd3dError: There is no such teacher, or a setting does not fit.
        """
        self._node = node
        self._settings = settings
        self._stats = stats
        self.pace = Pace(settings.every, settings.cpu_budget)
        self.frames = FrameBridge(node)
        detector = _load(settings)
        if settings.mine_frames:
            _mine_folder(settings)
        self._comparison = Comparison(detector, settings, self.frames.lookup)
        self.teacher = self._comparison.teacher
        self.outputs = ShadowOutputs(node, self._comparison.classes)
        self._miner: Miner | None = None
        self._worker: LatestWorker[Match] = LatestWorker(self._process, self._failed, "shadow")

    def follow(self, settings: ShadowSettings) -> None:
        """Take over changed settings from the next cloud on."""
        self._settings = settings
        self.pace.every, self.pace.budget = settings.every, settings.cpu_budget

    def start(self) -> None:
        """Start working; what is mined goes to a bag of its own until the stop."""
        if self._settings.mine_frames:
            student = self._node.resolve_topic_name("~/input/detections")
            self._miner = _make_miner(self._settings, student, self.teacher.source)
            self._miner.start()
        self.pace.start()
        self._worker.start()

    def stop(self) -> None:
        """Finish the current cloud and write what was mined; harmless when stopped."""
        self.pace.wake()
        if not self._worker.stop():
            self._node.get_logger().error("the teacher did not finish its cloud within 10 s")
        if self._miner is not None and self._miner.running:
            counts = self._miner.close()
            if counts.error:
                self.complain(counts.error)
            elif counts.saved:
                self._node.get_logger().info(f"{counts.kept} mined clouds are in {counts.saved}")

    def submit(self, match: Match) -> None:
        """Compare this, if it is its turn and no newer match comes before there is time."""
        if self.pace.due():
            self._worker.submit(match)

    def save(self) -> MiningCounts | None:
        """Write what was mined now; None when nothing is mined."""
        return self._miner.save() if self._miner is not None else None

    @property
    def mining(self) -> MiningCounts | None:
        """What was mined; None when nothing is."""
        return self._miner.counts if self._miner is not None else None

    @property
    def dropped(self) -> int:
        """Matches that were replaced by newer ones while the teacher worked or rested."""
        return self._worker.counts.dropped

    def verdict(self) -> Verdict:
        """How things stand."""
        return self._comparison.verdict()

    def destroy(self) -> None:
        """Take publishers and subscriptions back."""
        self.frames.close()
        self.outputs.destroy(self._node)

    def complain(self, text: str) -> None:
        """Count a fault, for diagnostics, and log it now and then."""
        self._stats.fault(text)
        self._node.get_logger().error(text, throttle_duration_sec=5.0)

    def _process(self, match: Match) -> None:
        """In the worker's thread: compare, tell, rest."""
        with self.pace.work():
            compared = self._comparison.compare(match, self._settings.intensity_scale)
            self._stats.count("compared")
            self._stats.latency("teacher", compared.teacher_ms)
            if compared.strangers:
                self._stats.count("with_strangers")
                self._stats.note(strangers=", ".join(sorted(compared.strangers)))
            if self._miner is not None:
                self._miner.offer(compared.mined)
            if self._settings.publish_markers:
                whole, rest = divmod(match.stamp_ns, 10**9)
                self.outputs.publish_markers(
                    compared, Time(sec=whole, nanosec=rest), self._settings.marker_lifetime
                )

    def _failed(self, match: Match, error: Exception) -> None:
        """In the worker's thread: tell of a cloud that could not be compared, and go on."""
        known = isinstance(error, Kd3dError)
        self.complain(
            str(error) if known else f"comparison failed: {type(error).__name__}: {error}"
        )


def _load(settings: ShadowSettings) -> Detector:
    """The teacher, warm.

    Raises:
        Kd3dError: It cannot be read or run.
    """
    teacher = settings.teacher or "teacher"
    detector = Detector.load(teacher, settings.backend, settings.threads or None)
    detector.warm_up()
    return detector.with_leveller(leveller_for_stream(detector.manifest))


def _mine_folder(settings: ShadowSettings) -> Path:
    """The folder of the bags, which exists and may be written to.

    Raises:
        Kd3dError: It cannot be made, or is not writable.
    """
    folder = Path(settings.mine_folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Kd3dError(
            f"cannot make the folder {folder}: {error.strerror or error}. Give the parameter "
            "mine_folder one that you may write to, or set mine_frames to 0"
        ) from error
    if not os.access(folder, os.W_OK):
        raise Kd3dError(
            f"the folder {folder} is not writable: give the parameter mine_folder another one, "
            "or set mine_frames to 0"
        )
    return folder


def _make_miner(settings: ShadowSettings, student: str, teacher: str) -> Miner:
    """What keeps the worst clouds of one activation.

    Args:
        settings: Of the node.
        student: What the bag names as the student: the topic of its detections.
        teacher: What the bag names as the teacher: the path of its bundle.
    """
    keeper = WorstFrames(settings.mine_frames, settings.mine_bytes, settings.mine_gap)
    write = functools.partial(write_mined, student=student, teacher=teacher)
    return Miner(keeper, _mine_folder(settings), settings.save_period, write)
