"""`adapt`: measure the sensor, try the steps, keep what measures better."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from kd3d_core.adaptation.config import AdaptConfig
from kd3d_core.adaptation.findings import sensor_findings
from kd3d_core.adaptation.judge import Judge
from kd3d_core.adaptation.judge import MirrorJudge
from kd3d_core.adaptation.judge import Progress
from kd3d_core.adaptation.judge import TeacherJudge
from kd3d_core.adaptation.recording import Recording
from kd3d_core.adaptation.result import Adaptation
from kd3d_core.adaptation.result import Survey
from kd3d_core.adaptation.sensor import measure_sensor
from kd3d_core.adaptation.steps import Attempts
from kd3d_core.adaptation.steps import intensity_options
from kd3d_core.adaptation.steps import mount_options
from kd3d_core.adaptation.steps import thresholds_by_teacher
from kd3d_core.adaptation.subject import Expectation
from kd3d_core.adaptation.subject import Subject
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.frame import FrameDataset
from kd3d_core.replay.results import progress_bar

if TYPE_CHECKING:
    from rich.console import Console


def survey(subject: Subject, recording: Recording, reference: Expectation | None = None) -> Survey:
    """Measure a sensor, and tell what it means for a model.

    Args:
        subject: The model.
        recording: Clouds of the sensor.
        reference: What the model was trained on, before what it says itself.
    """
    report = measure_sensor(recording)
    known, given = subject.expects, reference or Expectation()
    expects = Expectation(given.quantiles or known.quantiles, given.height or known.height)
    return Survey(report, expects, sensor_findings(report, expects, subject.settings))


def adapt(
    subject: Subject,
    recording: Recording,
    found: Survey,
    config: AdaptConfig = AdaptConfig(),  # noqa: B008 - frozen
    *,
    teacher: Subject | None = None,
    labelled: FrameDataset | None = None,
    console: "Console | None" = None,
) -> Adaptation:
    """Suit a model to the sensor of a recording, without labels. Nothing is written.

    Every change is measured on the half of the recording that it was not made on, and kept only
    if it measures better.

    Args:
        subject: The model; stays as it is.
        recording: Clouds of the sensor.
        found: What `survey` said of both.
        config: Which steps are tried.
        teacher: A better model, or None.
        labelled: Frames with ground truth to train on beside the recording, or None.
        console: Where progress is shown.

    Raises:
        Kd3dError: A step needs a checkpoint or a teacher that is not given, or there is too little
            to judge by.
    """
    check(subject, teacher, config)
    progress = _progress(console)
    attempts = Attempts(subject, config.least_gain)

    @cache
    def mirror() -> MirrorJudge:
        return MirrorJudge(subject, recording.judging, config.min_boxes, progress)

    _suit_input(attempts, found, config, mirror)
    if not (config.batch_norm or config.steps or config.thresholds):
        return Adaptation(attempts.subject, recording, found, attempts.made)
    if teacher is None:
        _suit_weights(attempts, recording, config, None, labelled, mirror(), console)
    else:
        teacher = _settled(teacher, recording, found, config, progress)
        judge = TeacherJudge(teacher, recording.judging, config.min_boxes, progress)
        _suit_weights(attempts, recording, config, teacher, labelled, judge, console)
        if config.thresholds:
            learning = TeacherJudge(teacher, recording.learning, config.min_boxes, progress)
            attempts.subject, made = thresholds_by_teacher(attempts.subject, learning, judge)
            attempts.made.append(made)
    return Adaptation(attempts.subject, recording, found, attempts.made)


def _suit_input(
    attempts: Attempts, found: Survey, config: AdaptConfig, judge: Callable[[], Judge]
) -> None:
    """The steps that change what a network sees; the judge is called when there is one."""
    if config.mount:
        options = list(mount_options(attempts.subject, found.report, found.expects))
        if options:
            attempts.try_one("mount", options, judge())
    options = list(intensity_options(attempts.subject, found.report, found.expects, config))
    if options:
        attempts.try_one("intensity", options, judge())


def _suit_weights(
    attempts: Attempts,
    recording: Recording,
    config: AdaptConfig,
    teacher: Subject | None,
    labelled: FrameDataset | None,
    judge: Judge,
    console: "Console | None",
) -> None:
    """The steps that change weights, for checkpoints."""
    if config.batch_norm:
        option = _batch_norm(attempts.subject, recording, config, _progress(console))
        attempts.try_one("batch norm", [option], judge)
    if config.steps and teacher is not None:
        option = _self_training(attempts.subject, teacher, recording, config, labelled, console)
        attempts.try_one("self-training", [option], judge)


def check(subject: Subject, teacher: Subject | None, config: AdaptConfig) -> None:
    """Refuse steps that cannot be done, before anything slow.

    Raises:
        Kd3dError: A step needs a checkpoint or a teacher that is not given.
    """
    if (config.batch_norm or config.steps) and subject.path.suffix == ".kd3d":
        raise Kd3dError(
            f"{subject.path} is a bundle: its weights are compiled. --batch-norm and --steps need "
            "the checkpoint (.ckpt) that it was exported from, or one of it: kd3d_core restore."
        )
    if config.steps and (teacher is None or teacher.path.suffix == ".kd3d"):
        raise Kd3dError("--steps trains on a teacher's labels: give --teacher, a checkpoint.")
    if config.thresholds and teacher is None:
        raise Kd3dError("--thresholds are chosen by agreement with a teacher: give --teacher.")
    if teacher is not None and set(teacher.classes) != set(subject.classes):
        raise Kd3dError(
            f"the teacher knows the classes {', '.join(teacher.classes)}, the model "
            f"{', '.join(subject.classes)}: they must be the same."
        )


def _settled(
    teacher: Subject,
    recording: Recording,
    found: Survey,
    config: AdaptConfig,
    progress: Progress,
) -> Subject:
    """The teacher, suited to the sensor by its own mirror.

    What it does not say of its training is taken to be as the student's.
    """
    known, student = teacher.expects, found.expects
    expects = Expectation(known.quantiles or student.quantiles, known.height or student.height)

    def quietly(frames: Sequence[Frame], text: str) -> Iterable[Frame]:
        return progress(frames, "suiting the teacher to the sensor")

    @cache
    def mirror() -> MirrorJudge:
        return MirrorJudge(teacher, recording.learning, config.min_boxes, quietly)

    attempts = Attempts(teacher, config.least_gain)
    _suit_input(attempts, replace(found, expects=expects), config, mirror)
    return attempts.subject


def _batch_norm(
    subject: Subject, recording: Recording, config: AdaptConfig, progress: Progress
) -> tuple[str, Subject]:
    """The model with statistics of the user's clouds in its batch norms."""
    from kd3d_core.adaptation.checkpoint_subject import CheckpointSubject
    from kd3d_core.adaptation.norm import with_statistics

    assert isinstance(subject, CheckpointSubject)
    network = with_statistics(
        subject.network,
        subject.checkpoint.model,
        recording.learning,
        subject.settings,
        config.batch_norm,
        lambda frames: progress(frames, "taking statistics"),
    )
    what = f"batch norm with {config.batch_norm:.0%} of the recording's statistics"
    return what, subject.with_network(network)


def _self_training(
    subject: Subject,
    teacher: Subject,
    recording: Recording,
    config: AdaptConfig,
    labelled: FrameDataset | None,
    console: "Console | None",
) -> tuple[str, Subject]:
    """The model after some steps on the teacher's labels."""
    from kd3d_core.adaptation.checkpoint_subject import CheckpointSubject
    from kd3d_core.adaptation.self_training import self_train

    assert isinstance(subject, CheckpointSubject)
    assert isinstance(teacher, CheckpointSubject)
    trained = self_train(subject, teacher, recording.learning, config, labelled, console)
    return f"{config.steps} training steps on the teacher's boxes", trained


def _progress(console: "Console | None") -> Progress:
    """Frames with a bar."""

    def shown(frames: Sequence[Frame], text: str) -> Iterable[Frame]:
        with progress_bar(console, text, lambda: len(frames)) as advance:
            for frame in frames:
                yield frame
                advance(1)

    return shown
