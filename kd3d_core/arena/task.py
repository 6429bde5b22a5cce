"""What a worker is told: a file in the folder where its result will lie."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kd3d_core.arena.cells import Cell
from kd3d_core.config import Config
from kd3d_core.config import load_config
from kd3d_core.files import write_text

TASK = "task.json"
LOG = "log.txt"


class Task(Config):
    """A cell to train and evaluate, or a teacher to evaluate."""

    name: str
    """For people."""
    folder: Path
    """Where everything of it lies; shared by the machines that work."""
    hash: str
    """Of what decides the outcome."""
    train: dict[str, Any]
    """The training as plain data; of the teacher's task only frames and metrics matter."""
    student: str = ""
    method: str = ""
    teacher: Path | None = None
    """The checkpoint to evaluate; None for a cell."""

    @property
    def log(self) -> Path:
        """What the worker has said."""
        return self.folder / LOG


def cell_task(cell: Cell) -> Task:
    """The task of a cell."""
    return Task(
        name=cell.name,
        folder=cell.folder,
        hash=cell.hash,
        train=cell.train.model_dump(mode="json"),
        student=cell.student,
        method=cell.method,
    )


def prepare_folder(task: Task) -> None:
    """Write down what to do; leftovers of other settings go, those of the same ones stay.

    Raises:
        Kd3dError: The folder cannot be written.
    """
    path = task.folder / TASK
    if path.is_file() and load_config(Task, path).hash != task.hash:
        shutil.rmtree(task.folder)
    write_text(path, json.dumps(task.model_dump(mode="json"), indent=2) + "\n")


def read_task(folder: Path) -> Task:
    """What `prepare_folder` wrote.

    Raises:
        Kd3dError: There is no such file, or another program wrote it.
    """
    return load_config(Task, folder / TASK)


@dataclass(frozen=True)
class Finished:
    """A task that has come to its end.

    Attributes:
        task: Which.
        error: What went wrong, with the end of its log; None when there is a result.
    """

    task: Task
    error: str | None = None


def explain(task: Task, code: int | None) -> str | None:
    """What the exit status of a task means, with the end of its log; None for a good end."""
    if code == 0:
        return None
    what = f"it ended with status {code}"
    if code is not None and code < 0:
        what = f"it was killed by signal {-code}"
        what += ", perhaps for want of memory" if code == -9 else ""
    tail = "".join(f"\n    {line}" for line in log_tail(task.log))
    return f"{what}; {task.log} ends with:{tail}" if tail else f"{what}; {task.log} is empty"


def log_tail(path: Path, lines: int = 8) -> list[str]:
    """The last lines of a log that say something."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    return [line.rstrip() for line in text.splitlines() if line.strip()][-lines:]
