"""What happens to one cloud in the detector node, from message to messages."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.detector import Detection
from kd3d_ros.common import conversions
from kd3d_ros.common.statistics import Statistics
from kd3d_ros.detector.box_watch import BoxWatch
from kd3d_ros.detector.budget_stage import BudgetStage
from kd3d_ros.detector.cloud_input import describe_layout
from kd3d_ros.detector.health import HealthWatch
from kd3d_ros.detector.model_swap import LoadedModel
from kd3d_ros.detector.model_view import ModelView
from kd3d_ros.detector.outputs import Outputs
from kd3d_ros.detector.settings import DetectorSettings
from kd3d_ros.detector.tf_stage import TfStage

_LOG_PERIOD = 5.0


@dataclass(frozen=True, eq=False)
class Job:
    """A cloud on its way to the worker.

    Attributes:
        pipeline: Works on it.
        message: As received.
        received: When, by `time.monotonic` [s].
        arrival: How old it was then [ms]; None where no clock says it.
        epoch: How often time had gone back by then; a latency across such a jump means nothing.
    """

    pipeline: "Pipeline"
    message: PointCloud2
    received: float
    arrival: float | None
    epoch: int


@dataclass(frozen=True, eq=False)
class Seen:
    """What the detector made of one cloud, for other parts of the same process.

    Attributes:
        header: Of the cloud.
        cloud: Decoded, in the frame the model looks in, and cropped, before sweeps are merged;
            shared, so not to be written to.
        boxes: As published, in the frame `frame_id`.
        frame_id: The target frame, or the one the model looks in.
    """

    header: Header
    cloud: PointCloud
    boxes: Boxes3D
    frame_id: str


@dataclass(frozen=True, eq=False)
class _Current:
    """What the next cloud is worked on with; replaced as a whole, between two clouds."""

    loaded: LoadedModel
    view: ModelView
    health: HealthWatch
    boxes: BoxWatch


class Pipeline:
    """A loaded model and the publishers of its results.

    `process` runs in the worker's thread, everything else in the executor's.

    Attributes:
        tf: The part that needs /tf, or None; set while the node is active.
        budget: Says how much of a cloud is looked at.
        observers: Called with each result, in the worker's thread, after it was published.
    """

    def __init__(
        self,
        node: LifecycleNode,
        loaded: LoadedModel,
        settings: DetectorSettings,
        stats: Statistics,
    ) -> None:
        """Make the publishers; they speak once the node is active.

        Args:
            node: That owns them.
            loaded: The model.
            settings: Of the node; they fit the model.
            stats: Where counts and latencies go.
        """
        self.outputs = Outputs(node)
        self.tf: TfStage | None = None
        self.observers: list[Callable[[Seen], None]] = []
        self.epoch = 0
        self._worked_epoch = 0
        self._stats = stats
        self._clock = node.get_clock()
        self._log = node.get_logger()
        self._changing = threading.Lock()
        self._layout = ""
        self._quiet_since: float | None = None
        self.budget = BudgetStage(self.outputs.budget, self._log.info)
        self.use(loaded, settings)

    @property
    def loaded(self) -> LoadedModel:
        """The model in use."""
        return self._current.loaded

    @property
    def view(self) -> ModelView:
        """Its thresholds, names and regions."""
        return self._current.view

    @property
    def health(self) -> HealthWatch:
        """What its clouds look like."""
        return self._current.health

    @property
    def boxes(self) -> BoxWatch:
        """What its boxes look like."""
        return self._current.boxes

    @property
    def quiet_for(self) -> float:
        """How long nothing has been detected [s]."""
        since = self._quiet_since
        return 0.0 if since is None else time.monotonic() - since

    def use(self, loaded: LoadedModel, settings: DetectorSettings) -> None:
        """Take another model, or other settings, from the next cloud on.

        Raises:
            Kd3dError: They do not fit each other; everything stays as it was.
        """
        # With an executor of several threads, parameters and ~/load_model may come at once.
        with self._changing:
            current: _Current | None = getattr(self, "_current", None)
            before = None if current is None else current.view
            view = ModelView.make(loaded.detector, settings, loaded.crops or (), before)
            if current is not None and current.loaded.detector is loaded.detector:
                self._current = _Current(loaded, view, current.health, current.boxes)
            else:
                manifest = loaded.detector.manifest
                self._current = _Current(loaded, view, HealthWatch(manifest), BoxWatch())
            self.outputs.labels(view.classes, view.least_score)
            self.budget.use(loaded, settings)

    def objection(self, settings: DetectorSettings) -> str:
        """Why settings do not fit the model, or empty."""
        try:
            ModelView.make(self.loaded.detector, settings)
        except Kd3dError as error:
            return str(error)
        return ""

    @property
    def wanted(self) -> bool:
        """Whether anybody in or outside this process waits for results."""
        return bool(self.observers) or self.outputs.wanted

    def job(self, message: PointCloud2) -> Job:
        """A cloud that has just come, for `process`; its age is noted."""
        age = self._age_ms(message.header)
        if age is not None:
            self._stats.latency("arrival", age)
        return Job(self, message, time.monotonic(), age, self.epoch)

    def stop_tf(self) -> None:
        """Unsubscribe from /tf; the worker must not run."""
        if self.tf is not None:
            self.tf.destroy()
            self.tf = None

    def process(self, job: Job) -> None:
        """Detect in one cloud and publish.

        Raises:
            Kd3dError: The cloud is malformed or in a frame that the settings refuse.
        """
        start = time.perf_counter()
        current, header = self._current, job.message.header
        settings, step = current.view.settings, self.budget.step
        waiting = 1e3 * (time.monotonic() - job.received)
        self._stats.latency("waiting", waiting)
        sweep, frame_id = self._place(self._read(job.message, settings), job, settings)
        cropped = current.view.crop(sweep)
        cloud = self._merge(cropped, header, frame_id, settings, step.sweeps)
        prepared = time.perf_counter()
        detection, boxes = current.view.detect(cloud, step.extent)
        boxes, frame_id = self._to_target(boxes, header, frame_id, settings)
        answer = Header(stamp=header.stamp, frame_id=frame_id)
        self.outputs.detections(boxes, answer)
        latency = self._age_ms(header)
        work = 1e3 * (time.perf_counter() - start)
        if settings.publish_markers:
            self.outputs.markers(boxes, answer, settings.marker_lifetime)
        times = {
            "preprocess": 1e3 * (prepared - start) + detection.preprocess_ms,
            "inference": detection.inference_ms,
            "postprocess": 1e3 * (time.perf_counter() - prepared)
            - detection.preprocess_ms
            - detection.inference_ms,
        }
        if latency is not None and job.epoch == self.epoch:
            times["pipeline_latency"] = latency
        self.budget.observe(job.arrival if job.epoch == self.epoch else None, waiting, work)
        # Known already where the network saw just this sweep, all of it; else counted anew.
        inside = None if cloud is not sweep or step.extent else detection.points_in_range
        self._watch(current, sweep, inside, detection, boxes)
        for observer in tuple(self.observers):
            observer(Seen(header, cropped, boxes, frame_id))
        for stage, milliseconds in times.items():
            self._stats.latency(stage, milliseconds)
        self.outputs.times(times)
        self._stats.count("processed")

    def destroy(self) -> None:
        """Take the publishers back."""
        self.outputs.destroy()

    def _age_ms(self, header: Header) -> float | None:
        """How old a cloud is by the node's clock [ms]; None while that clock stands at 0."""
        now = self._clock.now().nanoseconds
        return None if now == 0 else 1e-6 * (now - conversions.nanoseconds(header.stamp))

    def _read(self, message: PointCloud2, settings: DetectorSettings) -> PointCloud:
        """A message as its cloud.

        Raises:
            Kd3dError: It is malformed or in a frame that the settings refuse.
        """
        wanted, frame_id = settings.frame_id, message.header.frame_id
        if wanted and frame_id != wanted:
            raise Kd3dError(
                f"a cloud is in the frame '{frame_id}', but the parameter frame_id is "
                f"'{wanted}': remap ~/input/points or change the parameter"
            )
        sweep = decode_pointcloud2(message, settings.intensity_scale or None)
        # Drivers that see nothing often leave the layout out as well: that is no other sensor.
        layout = describe_layout(message) if message.fields else self._layout
        if layout != self._layout:
            if self._layout:
                self._stats.count("layout_changes")
                self._log.warning(
                    f"the clouds' layout is now {layout}; it was {self._layout}",
                    throttle_duration_sec=_LOG_PERIOD,
                )
            self._layout = layout
        self._stats.note(frame_id=frame_id, layout=layout)
        return sweep

    def _place(
        self, sweep: PointCloud, job: Job, settings: DetectorSettings
    ) -> tuple[PointCloud, str]:
        """The sweep in the frame the model looks in, and that frame."""
        went_back, self._worked_epoch = job.epoch != self._worked_epoch, job.epoch
        header = job.message.header
        if self.tf is None:
            return sweep, header.frame_id
        if went_back:
            self.tf.forget()
        stamp_ns = conversions.nanoseconds(header.stamp)
        return self.tf.place(sweep, stamp_ns, header.frame_id, settings.tf_timeout)

    def _merge(
        self,
        cloud: PointCloud,
        header: Header,
        frame_id: str,
        settings: DetectorSettings,
        most: int,
    ) -> PointCloud:
        """The cloud with the sweeps before it, at most so many, where the settings want them."""
        if self.tf is None:
            return cloud
        stamp_ns = conversions.nanoseconds(header.stamp)
        return self.tf.merge(cloud, stamp_ns, frame_id, settings.tf_timeout, most)

    def _to_target(
        self, boxes: Boxes3D, header: Header, frame_id: str, settings: DetectorSettings
    ) -> tuple[Boxes3D, str]:
        """The boxes and the frame they are in, which is the target frame where one is known."""
        if self.tf is None:
            return boxes, frame_id
        stamp_ns = conversions.nanoseconds(header.stamp)
        moved = self.tf.to_target(boxes, stamp_ns, frame_id, settings.tf_timeout)
        if self.tf.reasons:
            self._stats.count("without_tf")
            self._log.warning("; ".join(self.tf.reasons), throttle_duration_sec=_LOG_PERIOD)
        return moved

    def _watch(
        self,
        current: _Current,
        sweep: PointCloud,
        points_in_range: int | None,
        detection: Detection,
        boxes: Boxes3D,
    ) -> None:
        """Remember what diagnostics judge by."""
        self._stats.note(
            detections=len(boxes),
            found=len(detection.boxes),
            sweeps=1 if self.tf is None else self.tf.sweeps,
            dropped_cells=detection.dropped_cells,
        )
        self._quiet_since = None if len(boxes) else self._quiet_since or time.monotonic()
        current.health.offer(
            sweep,
            points_in_range=points_in_range,
            dropped_cells=detection.dropped_cells,
            levelling=detection.levelling,
        )
        manifest = current.loaded.detector.manifest
        current.boxes.add(boxes, has_velocity=manifest.sweeps > 1)
