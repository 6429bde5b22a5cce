"""How good a model is on clouds without labels: what must rise for a change to be kept.

One measure is how far a model agrees with itself in the mirror: it should see the same things in a
cloud whose left and right are exchanged. It needs nobody else, and follows the truth where the
input changes. The other is the agreement with a teacher, for changed weights. docs/adapt.md shows
how far both follow the truth.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kd3d_core.adaptation.subject import Subject
from kd3d_core.adaptation.subject import sure
from kd3d_core.datasets.augment import flip
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.ap import ApAccumulator
from kd3d_core.evaluation.ap import EvalResult
from kd3d_core.evaluation.config import EvalConfig
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D

#: Wraps frames while they are looked at, for a progress bar: (frames, what is going on).
Progress = Callable[[Sequence[Frame], str], Iterable[Frame]]

#: A model that is surer of less than this share of what it was sure of has collapsed.
_COLLAPSED = 0.5


@dataclass(frozen=True)
class Verdict:
    """What a judge says of a model.

    Attributes:
        score: Mean over the classes that count, in [0, 1].
        by_class: Average precision of each of them.
        best_threshold: The score with the best F1, of each of them.
        boxes: Boxes that reach the model's thresholds, in all clouds.
    """

    score: float
    by_class: dict[str, float]
    best_threshold: dict[str, float]
    boxes: int

    def losses(self, after: "Verdict") -> dict[str, tuple[float, float]]:
        """Classes that measure worse in a later verdict: before and after, in [0, 1]."""
        pairs = {name: (value, after.by_class[name]) for name, value in self.by_class.items()}
        return {name: pair for name, pair in pairs.items() if pair[1] < pair[0]}


class Judge(Protocol):
    """Looks at the same clouds each time."""

    @property
    def name(self) -> str:
        """The measure in words."""
        ...

    def __call__(self, subject: Subject, text: str = "") -> Verdict:
        """The verdict on a model; `text` names the attempt on the progress bar."""
        ...


def better(before: Verdict, after: Verdict, least_gain: float) -> tuple[bool, str]:
    """Whether a change is to be kept, and why."""
    if after.boxes < _COLLAPSED * before.boxes:
        return False, f"it finds {after.boxes} boxes instead of {before.boxes}"
    gain = after.score - before.score
    if gain < least_gain:
        return False, "it does not measure better"
    return True, "it measures better"


class TeacherJudge:
    """Agreement with a teacher.

    Args:
        teacher: A better model of at least one of the classes.
        frames: The clouds.
        min_boxes: Classes of which the teacher is sure in fewer boxes do not count.
        progress: Shows a bar.

    Raises:
        Kd3dError: The teacher is not sure of enough boxes of any class.
    """

    def __init__(
        self, teacher: Subject, frames: Sequence[Frame], min_boxes: int, progress: Progress
    ) -> None:
        self.frames = list(frames)
        self._progress = progress
        shown = progress(self.frames, "asking the teacher")
        self.boxes = [sure(teacher(frame), teacher.settings.thresholds) for frame in shown]
        self.classes = _frequent(self.boxes, min_boxes)
        if not self.classes:
            counts = sum(map(len, self.boxes))
            raise Kd3dError(
                f"the teacher {teacher.path.name} is sure of {counts} boxes in {len(frames)} "
                f"clouds, and of no class of {min_boxes}: too few to judge by. Record where there "
                "is traffic, lower --min-boxes, or leave --teacher out."
            )

    @property
    def name(self) -> str:
        """The measure in words."""
        return "agreement with the teacher (mAP)"

    def __call__(self, subject: Subject, text: str = "") -> Verdict:
        """Mean average precision of the model's boxes against the teacher's."""
        found = [subject(frame) for frame in self._progress(self.frames, text)]
        return _verdict(subject, found, self.boxes, self.classes)

    def f1(self, subject: Subject, text: str = "") -> float:
        """Mean over the classes of the F1 at the model's thresholds."""
        found = [subject(frame) for frame in self._progress(self.frames, text)]
        values = []
        for name in self.classes:
            settings = EvalConfig(score_threshold=min(subject.settings.thresholds[name], 1.0))
            accumulator = ApAccumulator((name,), settings)
            for pred, other in zip(found, self.boxes, strict=True):
                accumulator.add(pred, other)
            entry = accumulator.result().metrics["all"][name]
            right, complete = entry.precision or 0.0, entry.recall or 0.0
            values.append(2 * right * complete / max(right + complete, 1e-9))
        return sum(values) / len(values)


class MirrorJudge:
    """Agreement of a model with itself on mirrored clouds.

    Args:
        first: The model before all changes; its frequent classes are those that count.
        frames: The clouds.
        min_boxes: Classes of which it is sure in fewer boxes do not count.
        progress: Shows a bar.

    Raises:
        Kd3dError: The model is not sure of enough boxes of any class.
    """

    def __init__(
        self, first: Subject, frames: Sequence[Frame], min_boxes: int, progress: Progress
    ) -> None:
        self.frames = list(frames)
        self._progress = progress
        shown = progress(self.frames, "looking at the recording")
        seen = [sure(first(frame), first.settings.thresholds) for frame in shown]
        self.classes = _frequent(seen, min_boxes)
        if not self.classes:
            raise Kd3dError(
                f"the model {first.path.name} is sure of {sum(map(len, seen))} boxes in "
                f"{len(frames)} clouds, and of no class of {min_boxes}: too few to judge a change "
                "by. Record where there is traffic, lower --min-boxes, or give a --teacher; and "
                "look at the clouds with `kd3d_core detect --png`."
            )

    @property
    def name(self) -> str:
        """The measure in words."""
        return "agreement with itself in the mirror (mAP)"

    def __call__(self, subject: Subject, text: str = "") -> Verdict:
        """Mean average precision against the sure boxes of the mirrored clouds."""
        found, mirrored = [], []
        for frame in self._progress(self.frames, text):
            found.append(subject(frame))
            seen = subject(flip(frame, "y"))
            mirrored.append(sure(_back(frame, seen), subject.settings.thresholds))
        return _verdict(subject, found, mirrored, self.classes)


def _back(frame: Frame, seen: Boxes3D) -> Boxes3D:
    """Boxes of a mirrored cloud as they lie in the cloud."""
    bare = Frame(frame.cloud[:0], frame.source, boxes=seen)
    boxes = flip(bare, "y").boxes
    assert boxes is not None
    return boxes


def _frequent(boxes: Sequence[Boxes3D], least: int) -> tuple[str, ...]:
    """The classes with at least so many boxes."""
    names = [name for each in boxes for name in each.names]
    order = boxes[0].classes if boxes else ()
    return tuple(name for name in order if names.count(name) >= least)


def _verdict(
    subject: Subject,
    found: Sequence[Boxes3D],
    truth: Sequence[Boxes3D],
    classes: Sequence[str],
) -> Verdict:
    """Average precision of boxes against others that stand for the truth."""
    accumulator = ApAccumulator(classes, EvalConfig())
    for pred, other in zip(found, truth, strict=True):
        accumulator.add(pred, other)
    result: EvalResult = accumulator.result()
    metrics = result.metrics["all"]
    by_class = {name: float(metrics[name].ap or 0.0) for name in classes}
    best = {
        name: float(value)
        for name in classes
        if (value := metrics[name].best_threshold) is not None
    }
    return Verdict(
        score=sum(by_class.values()) / len(by_class),
        by_class=by_class,
        best_threshold=best,
        boxes=sum(len(sure(boxes, subject.settings.thresholds)) for boxes in found),
    )
