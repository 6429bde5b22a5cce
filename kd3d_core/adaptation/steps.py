"""The steps of an adaptation that need no torch: mount, intensity, thresholds."""

from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

from kd3d_core.adaptation.config import AdaptConfig
from kd3d_core.adaptation.intensity import match_intensity
from kd3d_core.adaptation.judge import Judge
from kd3d_core.adaptation.judge import TeacherJudge
from kd3d_core.adaptation.judge import Verdict
from kd3d_core.adaptation.judge import better
from kd3d_core.adaptation.sensor import SensorReport
from kd3d_core.adaptation.subject import Expectation
from kd3d_core.adaptation.subject import Subject
from kd3d_core.codec.intensity import NO_INTENSITY

#: Mounts closer to the training's than this need no levelling: augmentation showed them [m, deg].
_SAME_HEIGHT, _SAME_TILT = 0.3, 3.0


@dataclass(frozen=True)
class Attempt:
    """Something that was tried.

    Attributes:
        step: Name of the step.
        what: What was changed, in a sentence.
        measure: What had to rise, in words.
        before: The measure before.
        after: The measure after.
        kept: Whether the change stays.
        why: Why, or why not.
        lost: Classes whose own measure fell, with it before and after.
    """

    step: str
    what: str
    measure: str
    before: float
    after: float
    kept: bool
    why: str
    lost: dict[str, tuple[float, float]] = field(default_factory=dict)


class Attempts:
    """Changes one after the other, each kept only when it measures better.

    Args:
        subject: The model as it came.
        least_gain: By how much a measure must rise.
    """

    def __init__(self, subject: Subject, least_gain: float) -> None:
        self.subject = subject
        self.made: list[Attempt] = []
        self._least_gain = least_gain
        self._known: dict[str, Verdict] = {}

    def try_one(self, step: str, options: list[tuple[str, Subject]], judge: Judge) -> None:
        """Measure alternatives of a step and keep the best of them, if it is good enough.

        Args:
            step: Its name.
            options: What each does, and the model after it; none is fine.
            judge: Whose measure must rise.
        """
        if not options:
            return
        before = self._known.get(judge.name)
        before = before or judge(self.subject, "measuring the model before")
        verdicts = [judge(after, f"measuring: {what}") for what, after in options]
        self._known[judge.name] = before
        answers = [better(before, verdict, self._least_gain) for verdict in verdicts]
        good = [i for i, (kept, _) in enumerate(answers) if kept]
        best = max(good, key=lambda i: verdicts[i].score, default=None)
        for i, (what, after) in enumerate(options):
            kept, why = answers[i]
            if kept and i != best:
                kept, why = False, "another way measures better still"
            scores, lost = (before.score, verdicts[i].score), before.losses(verdicts[i])
            self.made.append(Attempt(step, what, judge.name, *scores, kept, why, lost))
            if kept:
                # Other judges have not seen the changed model.
                self.subject, self._known = after, {judge.name: verdicts[i]}


def mount_options(
    subject: Subject, report: SensorReport, expects: Expectation
) -> Iterator[tuple[str, Subject]]:
    """Level the clouds of a mount that the model does not know; nothing where it does.

    Args:
        subject: A model that levels already is left alone.
        report: Of the sensor.
        expects: Of the training.
    """
    height, known, settings = report.height, expects.height, subject.settings
    if height is None or known is None or settings.ground_height is not None:
        return
    tilt = max(abs(report.pitch_deg or 0.0), abs(report.roll_deg or 0.0))
    near = known.low - _SAME_HEIGHT <= height <= known.high + _SAME_HEIGHT
    if report.up != "+z" or (near and tilt < _SAME_TILT):
        return
    what = f"clouds levelled from {height:.2f} m to the training's {known.mean:.2f} m"
    yield what, subject.changed(replace(settings, ground_height=known.mean))


def intensity_options(
    subject: Subject, report: SensorReport, expects: Expectation, config: AdaptConfig
) -> Iterator[tuple[str, Subject]]:
    """What can be done about intensities.

    Args:
        subject: Its present map, if any, is replaced.
        report: Of the sensor.
        expects: Of the training.
        config: Its `intensity` chooses.
    """
    if config.intensity == "keep" or not report.has_intensity:
        return
    settings = subject.settings
    found = match_intensity(report.intensity, expects.quantiles)
    if config.intensity in ("auto", "match") and found is not None:
        yield (
            "intensities brought onto those of the training",
            subject.changed(replace(settings, intensity=found)),
        )
    if config.intensity in ("auto", "drop"):
        yield "intensities taken away", subject.changed(replace(settings, intensity=NO_INTENSITY))


def thresholds_by_teacher(
    subject: Subject, learning: TeacherJudge, judging: TeacherJudge
) -> tuple[Subject, Attempt]:
    """Thresholds with the best F1 against the teacher's boxes.

    Args:
        subject: The model.
        learning: Chooses them.
        judging: Judges them, on other clouds.

    Returns:
        The model, changed if F1 rose, and what was tried.
    """
    old = subject.settings.thresholds
    chosen = {
        # Rounded down: the box that set the threshold must stay above it.
        name: int(1000 * value) / 1000
        for name, value in learning(subject, "choosing thresholds").best_threshold.items()
    }
    after = subject.changed(replace(subject.settings, thresholds=old | chosen))
    score, gained = (judging.f1(each, "measuring: thresholds") for each in (subject, after))
    kept = gained > score
    words = ", ".join(f"{name} {old[name]:.2f} -> {new:.2f}" for name, new in chosen.items())
    attempt = Attempt(
        "thresholds",
        f"thresholds chosen by the teacher ({words})",
        "F1 against the teacher's boxes",
        score,
        gained,
        kept,
        "it measures better" if kept else "it does not measure better",
    )
    return (after if kept else subject), attempt
