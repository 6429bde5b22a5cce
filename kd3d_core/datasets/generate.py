"""Filling a simulated data set over all cores, resumably."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import as_completed
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kd3d_core.datasets.simulated import INDEX
from kd3d_core.datasets.simulated import frame_path
from kd3d_core.datasets.simulated import read_index
from kd3d_core.datasets.simulated import write_frame
from kd3d_core.datasets.simulated import write_index
from kd3d_core.errors import Kd3dError
from kd3d_core.simulation.drives import SimulationConfig
from kd3d_core.simulation.drives import simulate_drive

#: Set in a worker process: asks it to stop after the frame in hand.
_stop: Event | None = None


def generate(
    root: Path,
    config: SimulationConfig,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> int:
    """Fill `root` with the frames of `config`; frames that are there already are kept.

    An interrupted run is resumed by the same call, and gives the same files. A data set grows by
    a call with more drives.

    Args:
        root: Folder of the data set; made when absent.
        config: What to simulate.
        workers: Processes; all cores by default.
        progress: Is told the number of frames done since the last call, those found included.

    Returns:
        How many frames were simulated in this call.

    Raises:
        Kd3dError: `root` holds something else, or a data set of other settings.
    """
    _claim(root, config)
    workers = min(workers or os.cpu_count() or 1, config.drives)
    made = 0
    tasks = [(root, config, drive) for drive in range(config.drives)]
    with contextlib.ExitStack() as stack:
        if workers == 1:
            results: Iterator[tuple[int, int]] = (
                outcome for task in tasks for outcome in _fill_steps(*task)
            )
        else:
            results = stack.enter_context(_pool(tasks, workers))
        for found, new in results:
            made += new
            progress(found + new)
    return made


def _settings(recorded: dict[str, Any]) -> dict[str, Any]:
    """Those of a data set on disk, with what came after its version at the defaults."""
    try:
        return SimulationConfig.model_validate(recorded).model_dump(mode="json")
    except ValidationError:
        return recorded


def _claim(root: Path, config: SimulationConfig) -> None:
    """Write `dataset.json`, or check that it has the same settings but for the drives."""
    wanted = config.model_dump(mode="json")
    if (root / INDEX).exists():
        old = _settings(read_index(root).get("config", {}))
        differing = sorted(
            key
            for key in wanted.keys() | old.keys()
            if key != "drives" and wanted.get(key) != old.get(key)
        )
        if differing:
            raise Kd3dError(
                f"{root} holds a data set made with other settings ({', '.join(differing)}). "
                "Choose another folder, or give the same settings to go on with it."
            )
        if old.get("drives", 0) >= config.drives:
            return
    elif root.is_dir() and any(root.iterdir()):
        raise Kd3dError(f"{root} is not empty and no simulated data set. Choose another folder.")
    write_index(root, wanted, config.drives * config.frames_per_drive)


def _fill_steps(root: Path, config: SimulationConfig, drive: int) -> Iterator[tuple[int, int]]:
    """Simulate what is missing of one drive; yields (frames found, frames made) as it goes."""
    there = [n for n in range(config.frames_per_drive) if frame_path(root, drive, n).exists()]
    if there:
        yield len(there), 0
    for number, frame in simulate_drive(config, drive, there):
        write_frame(frame_path(root, drive, number), frame)
        yield 0, 1
        if _stop is not None and _stop.is_set():
            return


def _fill(root: Path, config: SimulationConfig, drive: int) -> tuple[int, int]:
    """`_fill_steps` as one step, for a worker process."""
    steps = list(_fill_steps(root, config, drive))
    return sum(step[0] for step in steps), sum(step[1] for step in steps)


def _start_worker(stop: Event) -> None:
    """Leave Ctrl-C to the parent process, which tells the workers to stop."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _pool(
    tasks: list[tuple[Path, SimulationConfig, int]], workers: int
) -> Iterator[Iterator[tuple[int, int]]]:
    """Run `_fill` on each task in `workers` processes; gives the results as they come."""
    # Not fork: the parent may have threads, of which a forked child would inherit held locks.
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    with ProcessPoolExecutor(workers, context, _start_worker, (stop,)) as pool:
        futures = [pool.submit(_fill, *task) for task in tasks]
        try:
            yield (future.result() for future in as_completed(futures))
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
