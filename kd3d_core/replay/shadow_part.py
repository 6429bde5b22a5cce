"""What a comparison of two models is asked for, and what it gives."""

from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

from pydantic import NonNegativeFloat
from pydantic import NonNegativeInt
from pydantic import PositiveFloat
from pydantic import PositiveInt

from kd3d_core.config import Config
from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.mined import MinedFrame
from kd3d_core.evaluation.agreement import Agreement
from kd3d_core.evaluation.agreement import AgreementConfig
from kd3d_core.evaluation.agreement import AgreementWindow
from kd3d_core.evaluation.disagreement import DisagreementConfig
from kd3d_core.evaluation.drift import Alarm
from kd3d_core.evaluation.drift import DriftConfig
from kd3d_core.replay.report_data import ReportFrame


class ShadowOptions(Config):
    """What is compared, and what is kept."""

    agreement: AgreementConfig = AgreementConfig()
    """What counts, and what counts as the same object."""
    disagreement: DisagreementConfig = DisagreementConfig()
    """How much each fault weighs when the worst frames are chosen."""
    drift: DriftConfig = DriftConfig()
    """Which agreement is too low."""
    mine: NonNegativeInt = 100
    """At most so many of the worst frames go into the mined bag; 0 writes none."""
    mine_bytes: PositiveInt = 2**30
    """At most so much memory for them."""
    min_gap: NonNegativeFloat = 1.0
    """Least time between two mined frames of one bag [s]; cloud files carry no time and have
    none."""
    pictures: NonNegativeInt = 8
    """How many of the worst frames the report draws."""
    every: PositiveInt = 1
    """Compare on every n-th cloud only."""
    topic: str | None = None
    """PointCloud2 topic of the bags; None takes the only one."""
    intensity_scale: PositiveFloat | None = None
    """The sensor's value for full intensity; None guesses it."""
    columns: PositiveInt | None = None
    """float32 values of a point in `.bin` files."""

    @property
    def clouds(self) -> CloudOptions:
        """How clouds are read."""
        return CloudOptions(self.intensity_scale, self.columns, self.topic)

    @property
    def kept(self) -> int:
        """How many of the worst frames are held until the end."""
        return max(self.mine, self.pictures)


@dataclass(eq=False)
class ShadowPart:
    """What one recording gave. Pickles; parts of many recordings merge.

    Attributes:
        sources: The recordings.
        student: Facts of the student, see `model_facts`.
        teacher: Facts of the teacher.
        window: Agreement over all clouds.
        frames: Every compared cloud in numbers.
        worst: The worst frames, the worst first.
        timing: Milliseconds of each cloud, by label.
        malformed: A sentence for each cloud that could not be read.
        notes: What else the reader must know.
    """

    sources: list[str]
    student: dict[str, str]
    teacher: dict[str, str]
    window: AgreementWindow
    frames: list[ReportFrame] = field(default_factory=list)
    worst: list[MinedFrame] = field(default_factory=list)
    timing: dict[str, list[float]] = field(default_factory=dict)
    malformed: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def merge(self, other: "ShadowPart", options: ShadowOptions) -> None:
        """Take in another recording of the same two models.

        Args:
            other: Of the recording that follows in order; equal orders give equal results.
            options: As for both parts.
        """
        self.window.merge(other.window)
        self.sources += other.sources
        self.frames += other.frames
        self.malformed += other.malformed
        self.notes += other.notes
        for label, values in other.timing.items():
            self.timing.setdefault(label, []).extend(values)
        ranked = sorted([*self.worst, *other.worst], key=lambda item: -item.disagreement.score)
        self.worst, size = [], 0
        for frame in ranked[: options.kept]:
            size += frame.size
            if size > options.mine_bytes:
                break
            self.worst.append(frame)


@dataclass(frozen=True, eq=False)
class ShadowResult:
    """What came out.

    Attributes:
        out: Folder with `agreement.json`, `frames.jsonl`, `timing.json`, `mined/`, `report.html`.
        agreement: Over all clouds.
        alarms: Where it is too low.
        frames: Compared clouds.
        mined: How many frames the mined bag holds.
        malformed: A sentence for each cloud that could not be read.
        notes: What else there is to know.
        timing: Label -> percentiles [ms].
        failed: A sentence for each recording of several that could not be compared.
    """

    out: Path
    agreement: Agreement
    alarms: tuple[Alarm, ...]
    frames: int
    mined: int
    malformed: tuple[str, ...]
    notes: tuple[str, ...]
    timing: dict[str, dict[str, float]]
    failed: tuple[str, ...] = ()
