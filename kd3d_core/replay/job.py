"""One recording of many: what a process is asked for, and what it answers."""

import functools
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kd3d_core.errors import Kd3dError
from kd3d_core.replay.models import ModelSpec
from kd3d_core.replay.shadow import shadow_bag
from kd3d_core.replay.shadow_part import ShadowOptions
from kd3d_core.replay.shadow_part import ShadowPart
from kd3d_core.runtime.detector import Detector


@dataclass(frozen=True)
class Job:
    """One recording and what to do with it; plain data that any process understands.

    Attributes:
        student: The model to judge.
        teacher: The model that it is compared with.
        recording: A bag, or a folder of clouds.
        options: What is compared and kept.
    """

    student: ModelSpec
    teacher: ModelSpec
    recording: Path
    options: ShadowOptions


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a job.

    Attributes:
        recording: The job's.
        part: The comparison; None when it failed.
        error: Why it failed, in words.
    """

    recording: Path
    part: ShadowPart | None
    error: str = ""


def run_job(job: Job, progress: Callable[[int], None] = lambda count: None) -> Outcome:
    """Do one job in this process, whatever becomes of it.

    Args:
        job: What to do.
        progress: Is told 1 after each cloud.
    """
    try:
        student, teacher = _models(job.student, job.teacher)
        part = shadow_bag(student, teacher, job.recording, job.options, progress)
    except Kd3dError as error:
        return Outcome(job.recording, None, str(error))
    # One damaged recording must not cost the results of a night: the fault is told in full.
    except Exception:
        return Outcome(job.recording, None, traceback.format_exc().rstrip())
    if not part.frames:
        why = part.malformed[0] if part.malformed else "it has no clouds."
        return Outcome(job.recording, None, why)
    return Outcome(job.recording, part)


@functools.lru_cache(maxsize=1)
def _models(student: ModelSpec, teacher: ModelSpec) -> tuple[Detector, Detector]:
    """Both models, loaded once a process and ready to run."""
    loaded = student.load(), teacher.load()
    for detector in loaded:
        detector.warm_up()
    return loaded
