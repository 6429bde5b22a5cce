"""A student and its teacher over recordings: agreement, worst frames, one report."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from kd3d_core.datasets.bags import cloud_from_cdr
from kd3d_core.datasets.bags import seconds
from kd3d_core.datasets.mined import MinedFrame
from kd3d_core.datasets.mined import WorstFrames
from kd3d_core.datasets.mined import write_mined
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.agreement import AgreementWindow
from kd3d_core.evaluation.agreement import FrameAgreement
from kd3d_core.evaluation.agreement import compare
from kd3d_core.evaluation.disagreement import Disagreement
from kd3d_core.evaluation.disagreement import judge
from kd3d_core.evaluation.drift import alarms
from kd3d_core.files import atomic_folder
from kd3d_core.replay.models import model_facts
from kd3d_core.replay.models import shared_classes
from kd3d_core.replay.report_data import ReportData
from kd3d_core.replay.report_data import ReportFrame
from kd3d_core.replay.report_data import WorstFrame
from kd3d_core.replay.results import JsonLines
from kd3d_core.replay.results import percentiles
from kd3d_core.replay.results import progress_bar
from kd3d_core.replay.results import write_json
from kd3d_core.replay.shadow_part import ShadowOptions
from kd3d_core.replay.shadow_part import ShadowPart
from kd3d_core.replay.shadow_part import ShadowResult
from kd3d_core.replay.source import Sweep
from kd3d_core.replay.source import count_sweeps
from kd3d_core.replay.source import is_bag
from kd3d_core.replay.source import iter_sweeps
from kd3d_core.runtime.detector import Detector

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "ShadowOptions",
    "ShadowPart",
    "ShadowResult",
    "shadow",
    "shadow_bag",
    "write_shadow",
]

#: Names of the result files.
OWNED = ("agreement.json", "frames.jsonl", "mined", "report.html", "timing.json")


def shadow(
    student: Detector,
    teacher: Detector,
    bag: Path,
    out: Path,
    options: ShadowOptions | None = None,
    *,
    console: "Console | None" = None,
) -> ShadowResult:
    """Compare two models on every cloud of a recording and write what came out.

    All files but `timing.json` and the report's charts of it depend on the recording and the
    models alone. They appear together at the end, or not at all.

    Args:
        student: The model to judge.
        teacher: The model that it is compared with.
        bag: A bag, or a file or folder of clouds.
        out: Folder of the results; those of an earlier run are replaced.
        options: The defaults when None.
        console: Where a progress bar is shown.

    Raises:
        Kd3dError: The recording cannot be read, the models share no class, or the results cannot
            be written.
    """
    options = options or ShadowOptions()

    def total() -> int:
        return count_sweeps(bag, options.clouds, options.every)

    student.warm_up()
    teacher.warm_up()
    with progress_bar(console, "comparing", total) as advance:
        part = shadow_bag(student, teacher, bag, options, advance)
    return write_shadow(out, part, options)


def shadow_bag(
    student: Detector,
    teacher: Detector,
    bag: Path,
    options: ShadowOptions,
    progress: Callable[[int], None] = lambda count: None,
) -> ShadowPart:
    """Compare two models on one recording; nothing is written.

    Args:
        student: The model to judge.
        teacher: The model that it is compared with.
        bag: A bag, or a file or folder of clouds.
        options: What is compared and kept.
        progress: Is told 1 after each cloud.

    Raises:
        Kd3dError: The recording cannot be read, or the models share no class.
    """
    window = AgreementWindow(shared_classes(student, teacher), options.agreement)
    part = ShadowPart([str(bag)], model_facts(student), model_facts(teacher), window)
    times: dict[str, list[float]] = {"student [ms]": [], "teacher [ms]": []}
    part.timing = times
    gap = options.min_gap if is_bag(bag) else 0.0
    keeper = WorstFrames(options.kept, options.mine_bytes, gap)
    for sweep in iter_sweeps(bag, options.clouds, options.every):
        if sweep.cloud is None:
            part.malformed.append(sweep.error)
        else:
            mine, theirs = student(sweep.cloud), teacher(sweep.cloud)
            times["student [ms]"].append(mine.total_ms)
            times["teacher [ms]"].append(theirs.total_ms)
            frame = compare(
                mine.boxes,
                theirs.boxes,
                options.agreement,
                stamp=sweep.stamp,
                source=sweep.source,
            )
            verdict = judge(frame, options.disagreement)
            window.add(frame)
            part.frames.append(_in_numbers(frame, verdict))
            _keep(keeper, sweep, frame, verdict)
        progress(1)
    part.worst = list(keeper.worst)
    return part


def write_shadow(out: Path, part: ShadowPart, options: ShadowOptions) -> ShadowResult:
    """Write what one recording, or many merged ones, gave.

    Args:
        out: Folder of the results; those of an earlier run are replaced.
        part: All that is told.
        options: As the parts were made with.

    Raises:
        Kd3dError: No cloud was compared, or the folder cannot be written.
    """
    if not part.frames:
        why = part.malformed or part.notes or ["the recording is empty"]
        raise Kd3dError(f"{', '.join(part.sources)}: no cloud could be compared: {why[0]}")
    agreement = part.window.result()
    found = alarms(agreement, options.drift)
    mined = part.worst[: options.mine]
    result = ShadowResult(
        out=out,
        agreement=agreement,
        alarms=found,
        frames=len(part.frames),
        mined=len(mined),
        malformed=tuple(part.malformed),
        notes=tuple(part.notes),
        timing={label: percentiles(values) for label, values in part.timing.items()},
    )
    with atomic_folder(out, OWNED) as folder:
        write_json(folder / "agreement.json", _summary_dict(result, part, options))
        write_json(folder / "timing.json", result.timing)
        with JsonLines(folder / "frames.jsonl") as lines:
            for frame in part.frames:
                lines.write(asdict(frame))
        if mined:
            write_mined(folder / "mined", mined, part.student["name"], part.teacher["name"])
        _write_report(folder / "report.html", result, part, options)
    return result


def _in_numbers(frame: FrameAgreement, verdict: Disagreement) -> ReportFrame:
    """A compared cloud in numbers."""
    pairing = frame.pairing
    return ReportFrame(
        source=frame.source,
        stamp=frame.stamp,
        score=round(verdict.score, 6),
        reasons=verdict.reasons,
        pairs=len(pairing.student),
        missed=len(pairing.missed),
        extra=len(pairing.extra),
    )


def _keep(keeper: WorstFrames, sweep: Sweep, frame: FrameAgreement, verdict: Disagreement) -> None:
    """Offer a sweep to the keeper; it is packed only when it may stay."""
    if keeper.wants(verdict.score, sweep.stamp_ns):
        keeper.offer(
            MinedFrame(
                stamp_ns=sweep.stamp_ns,
                frame_id=sweep.frame_id,
                cloud_cdr=sweep.packed(),
                student=frame.student,
                teacher=frame.reference,
                disagreement=verdict,
                source=sweep.source,
            )
        )


def _summary_dict(
    result: ShadowResult, part: ShadowPart, options: ShadowOptions
) -> dict[str, Any]:
    """`agreement.json`: nothing that a clock measured."""
    return {
        "student": part.student,
        "teacher": part.teacher,
        "recordings": part.sources,
        "clouds": result.frames + len(part.malformed),
        "malformed": part.malformed,
        "notes": part.notes,
        "agreement": result.agreement.to_dict(),
        "alarms": [asdict(alarm) for alarm in result.alarms],
        "mined": result.mined,
        "options": options.model_dump(mode="json"),
    }


def _write_report(
    path: Path, result: ShadowResult, part: ShadowPart, options: ShadowOptions
) -> None:
    """`report.html`."""
    from kd3d_core.replay.report import write_report

    worst = [_to_draw(frame, options) for frame in part.worst[: options.pictures]]
    notes = [*part.notes]
    if part.malformed:
        notes.append(f"{len(part.malformed)} cloud(s) could not be read: {part.malformed[0]}")
    data = ReportData(
        title=f"{part.student['name']} against {part.teacher['name']}",
        student=part.student,
        teacher=part.teacher,
        agreement=result.agreement,
        frames=part.frames,
        worst=worst,
        timing=part.timing,
        alarms=result.alarms,
        sources=part.sources,
        mined=_mined_names(result),
        notes=notes,
    )
    write_report(path, data)


def _mined_names(result: ShadowResult) -> Sequence[str]:
    """The mined bag as the reader finds it."""
    return (str(result.out / "mined"),) if result.mined else ()


def _to_draw(frame: MinedFrame, options: ShadowOptions) -> WorstFrame:
    """A kept frame with its cloud unpacked and its boxes paired again."""
    stamp = seconds(frame.stamp_ns)
    agreement = compare(
        frame.student, frame.teacher, options.agreement, stamp=stamp, source=frame.source
    )
    cloud = cloud_from_cdr(frame.cloud_cdr, options.intensity_scale)
    return WorstFrame(_in_numbers(agreement, frame.disagreement), cloud, agreement)
