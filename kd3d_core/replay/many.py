"""A student and its teacher over many recordings at a time: in processes, or on a Ray cluster."""

import contextlib
import multiprocessing
import os
import pickle
from collections import deque
from collections.abc import Callable
from collections.abc import Generator
from collections.abc import Iterable
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from kd3d_core.errors import Kd3dError
from kd3d_core.replay.job import Job
from kd3d_core.replay.job import Outcome
from kd3d_core.replay.job import run_job
from kd3d_core.replay.models import ModelSpec
from kd3d_core.replay.results import progress_bar
from kd3d_core.replay.shadow import write_shadow
from kd3d_core.replay.shadow_part import ShadowOptions
from kd3d_core.replay.shadow_part import ShadowPart
from kd3d_core.replay.shadow_part import ShadowResult
from kd3d_core.replay.source import count_sweeps

if TYPE_CHECKING:
    from rich.console import Console

#: Recordings that may be under way or wait to be merged, for each worker: results hold clouds.
_AHEAD = 2
_DIED = (
    "the process that worked on it was killed, perhaps for want of memory. Compare it on its own, "
    "with fewer --processes, or keep less with --mine."
)


def shadow_many(
    student: ModelSpec,
    teacher: ModelSpec,
    bags: Sequence[Path],
    out: Path,
    options: ShadowOptions,
    *,
    processes: int = 1,
    ray: bool = False,
    console: "Console | None" = None,
) -> ShadowResult:
    """Compare two models on many recordings and write one result of all, as `shadow` does of one.

    The parts are merged in the order of `bags`, so that the files do not depend on the number of
    processes. A recording that fails is named in the report and in `failed` of the result.

    Args:
        student: The model to judge.
        teacher: The model that it is compared with.
        bags: Recordings, see `source.find_recordings`.
        out: Folder of the results.
        options: What is compared and kept.
        processes: Recordings at a time. Each process loads the models once and gives each one
            thread, unless the specification says how many; 1 works in this process.
        ray: Spread over a Ray cluster instead: the one that RAY_ADDRESS names or that runs here,
            else a new one on this machine. Its machines must see the same files and have kd3d.
        console: Where a progress bar is shown.

    Raises:
        Kd3dError: No recording could be compared, Ray is wanted and absent, or the results cannot
            be written.
    """
    spread = ray or processes > 1
    specs = [_one_thread(spec) if spread else spec for spec in (student, teacher)]
    jobs = [Job(specs[0], specs[1], bag, options) for bag in bags]
    merged: ShadowPart | None = None
    failed: list[str] = []
    with (
        progress_bar(console, "comparing", lambda: _steps(jobs, spread)) as advance,
        contextlib.closing(_outcomes(jobs, processes, ray, advance)) as outcomes,
    ):
        for outcome in outcomes:
            if outcome.part is None:
                failed.append(f"{outcome.recording} failed: {outcome.error}")
            elif merged is None:
                merged = outcome.part
            else:
                merged.merge(outcome.part, options)
            if spread:
                advance(1)
    if merged is None:
        raise Kd3dError("no recording could be compared:\n  " + "\n  ".join(failed))
    merged.notes += failed
    return replace(write_shadow(out, merged, options), failed=tuple(failed))


def _outcomes(
    jobs: Sequence[Job], processes: int, ray: bool, advance: Callable[[int], None]
) -> Generator[Outcome, None, None]:
    """The outcomes of all jobs in order; `advance` is told of clouds only without processes."""
    if ray:
        yield from _on_ray(jobs)
    elif processes > 1:
        yield from _in_processes(jobs, processes)
    else:
        for job in jobs:
            yield run_job(job, advance)


def _one_thread(spec: ModelSpec) -> ModelSpec:
    """A model for one of several processes, which together use all cores."""
    return spec if spec.threads else spec.model_copy(update={"threads": 1})


def _steps(jobs: Sequence[Job], spread: bool) -> int:
    """The length of the progress bar: recordings, or their clouds when worked on here."""
    if spread:
        return len(jobs)
    total = 0
    for job in jobs:
        try:
            total += count_sweeps(job.recording, job.options.clouds, job.options.every)
        except Kd3dError:  # it is told when its turn comes
            continue
    return total


def _in_processes(jobs: Sequence[Job], processes: int) -> Generator[Outcome, None, None]:
    """The outcomes of all jobs in order, from a pool that is replaced when a process dies."""
    left = deque(jobs)
    while left:
        workers = min(processes, len(left))
        with _pool(workers) as pool:
            flying: deque[tuple[Job, Future[Outcome]]] = deque()
            try:
                while left or flying:
                    while left and len(flying) < _AHEAD * workers:
                        flying.append((left[0], pool.submit(run_job, left[0])))
                        left.popleft()
                    yield flying[0][1].result()
                    flying.popleft()
            except BrokenProcessPool:
                # Any of those under way may have brought it down: each gets a process of its own.
                doubtful = [job for job, _ in flying]
            else:
                return
        yield from (_alone(job) for job in doubtful)


def _alone(job: Job) -> Outcome:
    """The outcome of a job in a process of its own, which it may bring down."""
    try:
        with _pool(1) as pool:
            return pool.submit(run_job, job).result()
    except BrokenProcessPool:
        return Outcome(job.recording, None, _DIED)


def _pool(workers: int) -> ProcessPoolExecutor:
    """Fresh processes: a forked one would share the threads and locks of the backends."""
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _on_ray(jobs: Iterable[Job]) -> Generator[Outcome, None, None]:
    """The outcomes of all jobs in order, from a Ray cluster.

    Raises:
        Kd3dError: Ray is not installed, or the cluster cannot be reached.
    """
    ray: Any = _import_ray()
    started = not ray.is_initialized()
    try:
        if started:
            ray.init(log_to_driver=False, logging_level="warning")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise Kd3dError(
            f"Ray cannot be reached or started: {error}. Check RAY_ADDRESS, or unset it to use "
            "this machine alone."
        ) from error
    try:
        remote = ray.remote(_run_in)
        ahead = _AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)
        flying: deque[tuple[Job, Any]] = deque()
        left = deque(jobs)
        while left or flying:
            while left and len(flying) < ahead:
                job = left.popleft()
                flying.append((job, remote.remote(job, str(Path.cwd()))))
            job, reference = flying.popleft()
            try:
                yield pickle.loads(ray.get(reference))
            except ray.exceptions.RayError as error:
                yield Outcome(job.recording, None, f"Ray: {error}")
    finally:
        if started:
            ray.shutdown()


def _run_in(job: Job, folder: str) -> bytes:
    """Do a job where relative paths mean what they mean to who asked for it.

    Returns:
        The pickled outcome: what Ray itself unpacks has read-only arrays, which cannot be merged.
    """
    try:
        os.chdir(folder)
        outcome = run_job(job)
    except OSError as error:
        told = f"this worker does not see {folder}: {error.strerror}"
        outcome = Outcome(job.recording, None, told)
    return pickle.dumps(outcome)


def _import_ray() -> Any:
    """The module, which is imported only when it is wanted."""
    try:
        import ray
    except ImportError as error:
        raise Kd3dError(
            f"--ray needs Ray ({error}): pip install ray, or pip install 'kd3d_ros[fleet]'. "
            "Without it, --processes uses the cores of this machine."
        ) from error
    return ray
