"""What is known of an arena: its cells, and the results that its folder has."""

from dataclasses import dataclass
from pathlib import Path

from kd3d_core.arena.cells import Cell
from kd3d_core.arena.cells import digest_of
from kd3d_core.arena.cells import expand
from kd3d_core.arena.cells import file_digest
from kd3d_core.arena.cells import teacher_fingerprint
from kd3d_core.arena.config import ArenaConfig
from kd3d_core.arena.result import CellResult
from kd3d_core.arena.result import TeacherResult
from kd3d_core.arena.result import read_cell
from kd3d_core.arena.result import read_teacher
from kd3d_core.arena.summary import Row
from kd3d_core.arena.summary import summarize
from kd3d_core.arena.task import Task
from kd3d_core.config import load_config


@dataclass(frozen=True)
class Arena:
    """An arena with what is known of it.

    Attributes:
        config: The comparison.
        out: Its folder.
        cells: All cells, in the order in which they run.
        results: Of the cells that are done, in the same order.
        teacher: On the frames that decide; None while it is not evaluated.
    """

    config: ArenaConfig
    out: Path
    cells: tuple[Cell, ...]
    results: tuple[CellResult, ...]
    teacher: TeacherResult | None

    @property
    def hash(self) -> str:
        """Of all cells and the teacher: two arenas with the same hash compare the same things."""
        return digest_of([sorted(cell.hash for cell in self.cells), self.teacher_task.hash])

    @property
    def rows(self) -> list[Row]:
        """How students and methods stand."""
        return summarize(
            self.results, self.teacher, list(self.config.students), list(self.config.methods)
        )

    @property
    def teacher_task(self) -> Task:
        """The evaluation of the teacher."""
        train = self.cells[0].train
        digest = file_digest(self.config.teacher, "teacher")
        return Task(
            name="teacher",
            folder=self.out / "teacher",
            hash=teacher_fingerprint(train, digest),
            train=train.model_dump(mode="json"),
            teacher=self.config.teacher,
        )


def open_arena(path: Path, out: Path | None = None) -> Arena:
    """Read an arena's file and the results that its folder already has.

    Args:
        path: YAML file of an `ArenaConfig`.
        out: Folder of the arena, instead of the file's.

    Raises:
        Kd3dError: The file does not fit, or a method or student in it.
    """
    config = load_config(ArenaConfig, path)
    folder = config.out if out is None else out
    arena = Arena(config, folder, tuple(expand(config, folder, str(path))), (), None)
    return reread(arena)


def reread(arena: Arena) -> Arena:
    """The arena with all results that its folder has by now."""
    found = (read_cell(cell.folder, cell.hash) for cell in arena.cells)
    task = arena.teacher_task
    return Arena(
        arena.config,
        arena.out,
        arena.cells,
        tuple(result for result in found if result is not None),
        read_teacher(task.folder, task.hash),
    )
