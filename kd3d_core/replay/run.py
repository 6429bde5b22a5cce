"""A recording through one detector, in this process: every cloud counted, nothing dropped."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pydantic import PositiveFloat
from pydantic import PositiveInt

from kd3d_core.config import Config
from kd3d_core.datasets.bag_writer import write_bag
from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.detection3d import DETECTIONS
from kd3d_core.datasets.detection3d import to_cdr
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.agreement import Agreement
from kd3d_core.evaluation.agreement import AgreementConfig
from kd3d_core.evaluation.agreement import AgreementWindow
from kd3d_core.evaluation.agreement import compare
from kd3d_core.evaluation.ap import ApAccumulator
from kd3d_core.evaluation.ap import EvalConfig
from kd3d_core.evaluation.ap import EvalResult
from kd3d_core.files import atomic_folder
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.replay.models import model_facts
from kd3d_core.replay.models import shared_classes
from kd3d_core.replay.results import JsonLines
from kd3d_core.replay.results import StageTimes
from kd3d_core.replay.results import box_records
from kd3d_core.replay.results import progress_bar
from kd3d_core.replay.results import write_json
from kd3d_core.replay.source import Sweep
from kd3d_core.replay.source import count_sweeps
from kd3d_core.replay.source import iter_sweeps
from kd3d_core.replay.source import read_truth
from kd3d_core.runtime.detector import Detection
from kd3d_core.runtime.detector import Detector

if TYPE_CHECKING:
    from rich.console import Console

#: Where the detector node publishes, so that layouts made for it show a replay too.
TOPIC = "/kd3d_detector/output/detections"
OWNED = ("detections", "detections.jsonl", "summary.json", "timing.json")
#: A point this far outside a ground-truth box still belongs to it [m]: labels are not exact.
_MARGIN = 0.05


class ReplayOptions(Config):
    """What a recording does not say about itself, and what is compared."""

    topic: str | None = None
    """PointCloud2 topic of the bag; None takes the only one."""
    truth: str | None = None
    """Topic of the ground truth (Detection3DArray); None scores nothing."""
    intensity_scale: PositiveFloat | None = None
    """The sensor's value for full intensity; None guesses it."""
    columns: PositiveInt | None = None
    """float32 values of a point in `.bin` files."""
    agreement: AgreementConfig = AgreementConfig()
    """What counts in the comparison with a teacher."""
    evaluation: EvalConfig = EvalConfig()
    """What counts in the comparison with the ground truth."""

    @property
    def clouds(self) -> CloudOptions:
        """How clouds are read."""
        return CloudOptions(self.intensity_scale, self.columns, self.topic)


@dataclass(frozen=True, eq=False)
class ReplaySummary:
    """What came out.

    Attributes:
        out: Folder with `detections.jsonl`, `detections/` (mcap), `summary.json`, `timing.json`.
        clouds: In the recording, malformed ones too.
        malformed: A sentence for each cloud that could not be read.
        boxes: Class -> detections.
        overflowing: Clouds with more occupied cells than the model takes.
        agreement: With the teacher, None without one.
        metrics: Against the ground truth, None without any.
        without_truth: Clouds that no ground truth has the stamp of; None without a topic.
        timing: What a clock measured, as in `timing.json`.
    """

    out: Path
    clouds: int
    malformed: tuple[str, ...]
    boxes: Mapping[str, int]
    overflowing: int
    agreement: Agreement | None
    metrics: EvalResult | None
    without_truth: int | None
    timing: Mapping[str, Any]


def replay(
    detector: Detector,
    bag: Path,
    out: Path,
    options: ReplayOptions | None = None,
    *,
    teacher: Detector | None = None,
    console: "Console | None" = None,
) -> ReplaySummary:
    """Run a detector over every cloud of a recording.

    `detections.jsonl`, `detections/` and `summary.json` depend on the recording and the models
    alone: a second run writes the same bytes. The files appear together at the end, or not at all.

    Args:
        detector: The model.
        bag: A bag, or a file or folder of clouds; see `find_recordings`.
        out: Folder of the results; those of an earlier replay are replaced.
        options: The defaults when None.
        teacher: Another model to compare with on the same clouds.
        console: Where a progress bar is shown.

    Raises:
        Kd3dError: The recording cannot be read, or the results cannot be written.
    """
    options = options or ReplayOptions()
    classes = detector.manifest.classes
    truth = None if options.truth is None else read_truth(bag, options.truth, classes)
    run = _Run(detector, teacher, options, truth)
    detector.warm_up()
    if teacher is not None:
        teacher.warm_up()

    def total() -> int:
        return count_sweeps(bag, options.clouds)

    with atomic_folder(out, OWNED) as folder:
        with (
            progress_bar(console, "replaying", total) as advance,
            write_bag(folder / "detections") as found,
            JsonLines(folder / "detections.jsonl") as lines,
        ):
            found.add_topic(TOPIC, DETECTIONS)
            start = time.perf_counter()
            for sweep in iter_sweeps(bag, options.clouds):
                boxes = run.add(sweep)
                lines.write(_line(sweep, boxes))
                if boxes is not None:
                    data = to_cdr(boxes, sweep.stamp_ns, sweep.frame_id)
                    found.write(TOPIC, sweep.log_ns, data)
                advance(1)
            wall = time.perf_counter() - start
        if not run.clouds:
            raise Kd3dError(f"{bag} holds no cloud.")
        summary = run.summary(out, wall)
        write_json(folder / "summary.json", _summary_dict(summary, run, bag))
        write_json(folder / "timing.json", summary.timing)
    return summary


@dataclass(eq=False)
class _Run:
    """Detectors, and all that is counted."""

    detector: Detector
    teacher: Detector | None
    options: ReplayOptions
    truth: dict[int, Boxes3D] | None
    clouds: int = 0
    malformed: list[str] = field(default_factory=list)
    boxes: Counter[str] = field(default_factory=Counter)
    overflowing: int = 0
    without_truth: int = 0
    times: StageTimes = field(default_factory=StageTimes)
    teacher_times: StageTimes = field(default_factory=StageTimes)

    def __post_init__(self) -> None:
        classes = self.detector.manifest.classes
        self.metrics = ApAccumulator(classes, self.options.evaluation)
        if self.teacher is not None:
            shared = shared_classes(self.detector, self.teacher)
            self.window = AgreementWindow(shared, self.options.agreement)

    def add(self, sweep: Sweep) -> Boxes3D | None:
        """Detect in one sweep and account for it; None for a malformed one."""
        self.clouds += 1
        if sweep.cloud is None:
            self.malformed.append(sweep.error)
            return None
        detection: Detection = self.detector(sweep.cloud)
        self.times.add(detection)
        self.boxes.update(detection.boxes.names)
        self.overflowing += detection.dropped_cells > 0
        if self.teacher is not None:
            other = self.teacher(sweep.cloud)
            self.teacher_times.add(other)
            self.window.add(compare(detection.boxes, other.boxes, self.options.agreement))
        if self.truth is not None:
            truth = self.truth.get(sweep.stamp_ns)
            self.without_truth += truth is None
            if truth is not None:
                points = truth.contains(sweep.cloud.points, _MARGIN).sum(axis=1)
                self.metrics.add(detection.boxes, truth, points)
        return detection.boxes

    def summary(self, out: Path, wall: float) -> ReplaySummary:
        """What came out, after `wall` seconds."""
        timing: dict[str, Any] = {
            "clouds": self.clouds,
            "wall_s": round(wall, 3),
            "clouds_per_s": round(self.clouds / wall, 2),
            "detector_ms": self.times.summary(),
        }
        if self.teacher is not None:
            timing["teacher_ms"] = self.teacher_times.summary()
        return ReplaySummary(
            out=out,
            clouds=self.clouds,
            malformed=tuple(self.malformed),
            boxes={name: self.boxes[name] for name in self.detector.manifest.classes},
            overflowing=self.overflowing,
            agreement=None if self.teacher is None else self.window.result(),
            metrics=None if self.truth is None else self.metrics.result(),
            without_truth=None if self.truth is None else self.without_truth,
            timing=timing,
        )


def _line(sweep: Sweep, boxes: Boxes3D | None) -> dict[str, Any]:
    """The JSON line of a sweep."""
    head = {"index": sweep.index, "source": sweep.source, "stamp_ns": sweep.stamp_ns}
    if boxes is None or sweep.cloud is None:
        return head | {"error": sweep.error}
    more = {"frame_id": sweep.frame_id, "points": len(sweep.cloud), "boxes": box_records(boxes)}
    return head | more


def _summary_dict(summary: ReplaySummary, run: _Run, bag: Path) -> dict[str, Any]:
    """`summary.json`: nothing that a clock measured."""
    data: dict[str, Any] = {
        "model": model_facts(run.detector),
        "recording": str(bag),
        "clouds": summary.clouds,
        "malformed": list(summary.malformed),
        "clouds_with_dropped_cells": summary.overflowing,
        "boxes": dict(summary.boxes),
    }
    if run.teacher is not None and summary.agreement is not None:
        settings = run.options.agreement.model_dump(mode="json")
        data["teacher"] = model_facts(run.teacher)
        data["agreement"] = summary.agreement.to_dict() | {"config": settings}
    if summary.metrics is not None:
        data["clouds_without_truth"] = summary.without_truth
        data["metrics"] = summary.metrics.to_dict()
    return data
