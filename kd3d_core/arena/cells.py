"""The cells of an arena: one training each, and what tells a finished one from another."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from kd3d_core.arena.config import ArenaConfig
from kd3d_core.arena.result import FORMAT
from kd3d_core.config import parse_config
from kd3d_core.errors import Kd3dError
from kd3d_core.training.config import TrainConfig

#: Settings that change neither weights nor cost, so a cell need not be trained anew for them.
_NOT_DECISIVE = ("out", "checkpoint_interval", "val_interval")


@dataclass(frozen=True)
class Cell:
    """One training and its evaluation.

    Attributes:
        student: Name of the student.
        method: Name of the method.
        seed: Of the training.
        train: The training, its `out` being the cell's folder.
        hash: Of everything that decides the outcome.
    """

    student: str
    method: str
    seed: int
    train: TrainConfig
    hash: str

    @property
    def folder(self) -> Path:
        """Where everything of this cell lies."""
        return self.train.out

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.student} {self.method} seed {self.seed}"


def expand(config: ArenaConfig, out: Path, source: str) -> list[Cell]:
    """All cells, in the order in which they run: every method with the first seed comes first.

    Args:
        config: The comparison.
        out: Folder of the arena.
        source: Where `config` came from, for error messages.

    Raises:
        Kd3dError: A method, student or the budget does not fit; the message names it.
    """
    digest = file_digest(config.teacher, f"{source}: teacher")
    cells = []
    for seed in config.seeds:
        for student in config.students:
            for method in config.methods:
                train = _train_config(config, student, method, seed, out, source)
                key = fingerprint(train, digest)
                cells.append(Cell(student, method, seed, train, key))
    return cells


def select(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """The cells of the methods and students named; naming no student means all of them.

    Raises:
        Kd3dError: A name is neither a student's nor a method's.
    """
    students = {cell.student for cell in cells}
    methods = {cell.method for cell in cells}
    unknown = [name for name in only if name not in students | methods]
    if unknown:
        raise Kd3dError(
            f"--only: there is no student or method {unknown[0]!r}; there are the students "
            f"{', '.join(sorted(students))} and the methods {', '.join(sorted(methods))}."
        )
    chosen = [names & set(only) or names for names in (students, methods)]
    return [cell for cell in cells if cell.student in chosen[0] and cell.method in chosen[1]]


def fingerprint(train: TrainConfig, teacher: str) -> str:
    """A hash of what decides the outcome of a cell: settings, network, teacher, data.

    Settings at their default are left out, so that a setting which a later version adds does not
    make every earlier result worthless; `result.FORMAT` is raised when a default changes.

    Args:
        train: The training.
        teacher: sha256 of the teacher's checkpoint; counts only when there is a teacher.
    """
    settings = essentials(train)
    for name in _NOT_DECISIVE:
        settings.pop(name, None)
    # Contents count, not where they lie.
    places = (("data", "train"), ("data", "also"), ("data", "val"), ("distill", "teacher"))
    for section, name in places:
        settings.get(section, {}).pop(name, None)
    settings["model"] = essentials(train.model_config_resolved())
    settings["format"] = FORMAT
    roots = [train.data.train, train.data.val, *train.data.also]
    settings["data sets"] = [data_digest(root) for root in roots]
    if train.distill is not None:
        settings["teacher"] = teacher
    if train.init is not None:
        settings["init"] = file_digest(train.init, "train.init")
    return digest_of(settings)


def teacher_fingerprint(train: TrainConfig, teacher: str) -> str:
    """A hash of what decides the teacher's figures: its checkpoint, the frames, what counts.

    Args:
        train: Any training of the arena; all share the frames.
        teacher: sha256 of the checkpoint.
    """
    data = train.data
    judged = [data_digest(data.val), data.val_frames, essentials(train.eval)]
    return digest_of([FORMAT, teacher, judged])


def essentials(value: Any) -> Any:
    """Plain data of a configuration without what is at its default; the tag of a union stays."""
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {
            name: essentials(item)
            for name, item in value
            if name == "type" or item != fields[name].get_default(call_default_factory=True)
        }
    if isinstance(value, dict):
        return {str(name): essentials(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [essentials(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def digest_of(data: Any) -> str:
    """The first 16 digits of the sha256 of plain data, whatever the order of its keys."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: Path, what: str) -> str:
    """sha256 of a file.

    Raises:
        Kd3dError: It cannot be read; the message begins with `what`.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise Kd3dError(
            f"{what}: cannot read {path} ({error.strerror}). Give a checkpoint (.ckpt) that "
            "`kd3d_core train` wrote."
        ) from error


def data_digest(root: Path | None) -> str:
    """What tells a data set from others: the hash of its index, else its path."""
    if root is None:
        return ""
    index = root / "dataset.json"
    return hashlib.sha256(index.read_bytes()).hexdigest() if index.is_file() else str(root)


def _train_config(
    config: ArenaConfig, student: str, method: str, seed: int, out: Path, source: str
) -> TrainConfig:
    """The training of one cell.

    Merged as plain data and then validated, so that whatever `TrainConfig` takes can be written
    in the arena's file.
    """
    overlay = dict(config.methods[method] or {})
    model = config.students[student]
    merged: dict[str, Any] = config.train | {
        "model": model if isinstance(model, str) else model.model_dump(mode="json"),
        "seed": seed,
        "out": str(out / "cells" / student / method / f"seed_{seed}"),
    }
    if "detection_weight" in overlay:
        merged["detection_weight"] = overlay.pop("detection_weight")
    if overlay:
        merged["distill"] = overlay | {"teacher": str(config.teacher)}
    place = f"{source}, students.{student} with methods.{method}"
    train = parse_config(TrainConfig, merged, place)
    if train.data.val is None:
        raise Kd3dError(f"{source}: train.data.val: name the frames that decide.")
    try:
        train.model_config_resolved()
    except Kd3dError as error:
        raise Kd3dError(f"{place}: {error}") from error
    return train
