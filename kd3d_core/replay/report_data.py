"""What a report is made of."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from kd3d_core.evaluation.agreement import Agreement
from kd3d_core.evaluation.agreement import FrameAgreement
from kd3d_core.evaluation.drift import Alarm
from kd3d_core.pointcloud import PointCloud


@dataclass(frozen=True)
class ReportFrame:
    """One cloud in numbers.

    Attributes:
        source: Where it came from, as `bag:topic#index` or a path.
        stamp: Time of the cloud [s].
        score: How much the two models disagree; larger is worse.
        reasons: Why, in short words, the worst first.
        pairs: Boxes that both models report.
        missed: Boxes that only the teacher reports.
        extra: Boxes that only the student reports.
    """

    source: str
    stamp: float
    score: float
    reasons: tuple[str, ...]
    pairs: int
    missed: int
    extra: int


@dataclass(frozen=True, eq=False)
class WorstFrame:
    """One cloud to show.

    Attributes:
        frame: Its numbers.
        cloud: Its points, in the sensor's frame.
        agreement: The boxes of both models and how they pair.
    """

    frame: ReportFrame
    cloud: PointCloud
    agreement: FrameAgreement


@dataclass(frozen=True, eq=False)
class ReportData:
    """All that `write_report` tells.

    Attributes:
        title: Heading of the page.
        student: Facts of the student to list, by name; "name" is used in sentences.
        teacher: The same of the teacher.
        agreement: The comparison over all clouds.
        frames: Every cloud, bag after bag, each in order of time.
        worst: The clouds to draw, worst first; each is one of `frames`.
        timing: Milliseconds of each cloud by label, such as "student [ms]".
        alarms: Limits that were broken.
        sources: The bags that were compared; a frame's `source` starts with that of its bag.
        mined: Bags of the frames that were kept for distillation.
        notes: Sentences the reader must know, such as bags that failed.
    """

    title: str
    student: Mapping[str, str]
    teacher: Mapping[str, str]
    agreement: Agreement
    frames: Sequence[ReportFrame]
    worst: Sequence[WorstFrame]
    timing: Mapping[str, Sequence[float]] = field(default_factory=dict)
    alarms: Sequence[Alarm] = ()
    sources: Sequence[str] = ()
    mined: Sequence[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Moment:
    """When a cloud was taken.

    Attributes:
        bag: Index into `ReportData.sources`; 0 where the frame names none of them.
        seconds: Since the first cloud of its bag.
    """

    bag: int
    seconds: float


def moments(data: ReportData) -> list[Moment]:
    """The moment of every frame of `data.frames`."""
    bags = [_bag(frame.source, data.sources) for frame in data.frames]
    starts: dict[int, float] = {}
    for bag, frame in zip(bags, data.frames, strict=True):
        starts[bag] = min(frame.stamp, starts.get(bag, frame.stamp))
    return [
        Moment(bag, frame.stamp - starts[bag])
        for bag, frame in zip(bags, data.frames, strict=True)
    ]


def places(data: ReportData) -> list[int]:
    """The index in `data.frames` of each of the worst clouds."""
    known = {(frame.source, frame.stamp): i for i, frame in enumerate(data.frames)}
    return [known[(worst.frame.source, worst.frame.stamp)] for worst in data.worst]


def _bag(source: str, sources: Sequence[str]) -> int:
    """The bag with the longest name that `source` starts with: a/b/2 is not a/b."""
    fitting = [i for i, name in enumerate(sources) if source.startswith(name)]
    return max(fitting, key=lambda i: len(sources[i]), default=0)
