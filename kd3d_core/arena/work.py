"""What happens in the process of a cell: train, evaluate, leave a result.

Everything heavy is imported here, and once for all cells: see `processes`.
"""

import os
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numba
import torch
from rich.console import Console

import kd3d_core
from kd3d_core.arena.cells import file_digest
from kd3d_core.arena.curves import read_log
from kd3d_core.arena.judge import judge
from kd3d_core.arena.result import CellResult
from kd3d_core.arena.result import Cost
from kd3d_core.arena.result import Machine
from kd3d_core.arena.result import Network
from kd3d_core.arena.result import TeacherResult
from kd3d_core.arena.result import write_result
from kd3d_core.arena.task import Task
from kd3d_core.arena.task import read_task
from kd3d_core.config import parse_config
from kd3d_core.models.complexity import count
from kd3d_core.models.config import ModelConfig
from kd3d_core.training.checkpoint import read_checkpoint
from kd3d_core.training.config import TrainConfig
from kd3d_core.training.run import train

MODEL = "model.ckpt"
LAST = "last.ckpt"


def work(folder: Path) -> None:
    """Do what `task.json` in `folder` says, going on from where an earlier process stopped.

    Raises:
        Kd3dError: The training does not fit together, or files cannot be read or written.
    """
    task = read_task(folder)
    config = parse_config(TrainConfig, task.train, str(folder))
    if config.threads:
        torch.set_num_threads(config.threads)
        # It takes no more than it has begun with.
        numba.set_num_threads(min(config.threads, numba.get_num_threads()))
    if task.teacher is not None:
        _judge_teacher(task, task.teacher, config)
    else:
        _run_cell(task, config)


def _run_cell(task: Task, config: TrainConfig) -> None:
    """Train what is left to train, and evaluate."""
    model = task.folder / MODEL
    if not model.is_file():
        # The evaluation below looks at the same frames in more ways than a validation does.
        data = config.data.model_copy(update={"val": None})
        resume = (task.folder / LAST).is_file()
        train(config.model_copy(update={"data": data}), resume=resume, console=_console())
    if int(os.environ.get("LOCAL_RANK", 0)) or int(os.environ.get("NODE_RANK", 0)):
        return  # of several devices, the first one evaluates
    started = time.monotonic()
    scores = judge(model, config)
    seconds = time.monotonic() - started
    log = read_log(task.folder, config.max_steps)
    cost = Cost(
        steps=config.max_steps,
        step_seconds=round(log.step_seconds, 5),
        train_seconds=round(log.train_seconds, 2),
        eval_seconds=round(seconds, 2),
        **_peaks(),
    )
    result = CellResult(
        hash=task.hash,
        student=task.student,
        method=task.method,
        seed=config.seed,
        network=_network(config.model_config_resolved()),
        scores=scores,
        cost=cost,
        machine=_machine(),
        curves=log.curves,
    )
    write_result(task.folder, result)
    (task.folder / LAST).unlink(missing_ok=True)


def _judge_teacher(task: Task, path: Path, config: TrainConfig) -> None:
    """Evaluate the teacher on the frames that decide."""
    result = TeacherResult(
        hash=task.hash,
        sha256=file_digest(path, "teacher"),
        network=_network(read_checkpoint(path).model),
        scores=judge(path, config),
        machine=_machine(),
    )
    write_result(task.folder, result)


def _network(model: ModelConfig) -> Network:
    """How large a model is."""
    found = count(model)
    return Network(name=model.name, parameters=found.parameters, macs=found.macs)


def _machine() -> Machine:
    """This device and the versions that matter."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return Machine(
        device=device,
        kd3d=kd3d_core.__version__,
        torch=torch.__version__,
        python=platform.python_version(),
    )


def _processor() -> str:
    """The name of the CPU as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"CPU: {next(names, platform.processor() or platform.machine())}"


def _peaks() -> dict[str, Any]:
    """Largest memory of this process [MiB]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts in KiB, macOS in bytes.
    scale = 2**20 if sys.platform == "darwin" else 2**10
    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    return {
        "peak_memory_mb": round(peak / scale, 1),
        "peak_gpu_mb": None if gpu is None else round(gpu, 1),
    }


def _console() -> Console:
    """Plain lines for the log file."""
    return Console(width=110, force_terminal=False, color_system=None)
