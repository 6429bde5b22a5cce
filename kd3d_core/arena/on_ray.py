"""Tasks on a Ray cluster: a fresh worker a task, as many at a time as there is room for."""

import contextlib
import os
from collections.abc import Generator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd3d_core.arena.task import Finished
from kd3d_core.arena.task import Task
from kd3d_core.arena.task import explain
from kd3d_core.errors import Kd3dError


def on_ray(tasks: Sequence[Task]) -> Generator[Finished, None, None]:
    """Run every task on a cluster, and tell as they end.

    The cluster is the one that RAY_ADDRESS names or that runs here, else a new one on this
    machine. Its machines must see the same files and have kd3d. A task takes the CPUs of its
    threads and data workers, and its GPUs where the cluster has any. When the generator is closed
    or interrupted, the tasks are asked to stop, and write their checkpoints.

    Raises:
        Kd3dError: Ray is not installed, or the cluster cannot be reached.
    """
    ray = _import_ray()
    started = not ray.is_initialized()
    try:
        if started:
            ray.init(log_to_driver=False, logging_level="warning")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise Kd3dError(
            f"Ray cannot be reached or started: {error}. Check RAY_ADDRESS, or unset it to use "
            "this machine alone."
        ) from error
    running: dict[Any, Task] = {}
    try:
        room = ray.cluster_resources()
        # A worker that is used once: the largest memory is the task's own, and no crash spreads.
        remote = ray.remote(max_calls=1, max_retries=0)(_work_in)
        for task in tasks:
            wanted = remote.options(**_resources(task, room))
            running[wanted.remote(str(task.folder), str(task.log), str(Path.cwd()))] = task
        while running:
            done, _ = ray.wait(list(running), num_returns=1)
            task = running.pop(done[0])
            yield Finished(task, _outcome(ray, task, done[0]))
    finally:
        _stop(ray, list(running))
        if started:
            ray.shutdown()


def _resources(task: Task, room: dict[str, float]) -> dict[str, Any]:
    """What a task takes of a cluster, no more than the whole cluster has."""
    threads = task.train.get("threads") or 1
    workers = task.train.get("data", {}).get("workers", 0)
    wanted: dict[str, Any] = {"num_cpus": min(threads + workers, room.get("CPU", 1))}
    if room.get("GPU"):
        wanted["num_gpus"] = min(task.train.get("devices", 1), room["GPU"])
    return wanted


def _work_in(folder: str, log: str, home: str) -> int:
    """Do a task where relative paths mean what they mean to who asked for it; its status."""
    from kd3d_core.arena.child import run_logged

    os.chdir(home)
    return run_logged(folder, log)


def _outcome(ray: Any, task: Task, reference: Any) -> str | None:
    """What went wrong with a task that has ended; None when nothing did."""
    try:
        return explain(task, ray.get(reference))
    except ray.exceptions.RayError as error:
        return f"Ray: {error}"


def _stop(ray: Any, left: list[Any]) -> None:
    """Ask tasks to end as Ctrl-C would, and wait until they have."""
    for reference in left:
        ray.cancel(reference, force=False)
    for reference in left:
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(reference)


def _import_ray() -> Any:
    """The module, which is imported only when it is wanted.

    Raises:
        Kd3dError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise Kd3dError(
            f"--ray needs Ray ({error}): pip install ray, or pip install 'kd3d_ros[fleet]'. "
            "Without it, --jobs uses the cores of this machine."
        ) from error
    return ray
