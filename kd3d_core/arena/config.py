"""`ArenaConfig`: who competes, with whom for a teacher, under which budget."""

import re
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic import PositiveInt
from pydantic import model_validator

from kd3d_core.config import Config
from kd3d_core.models.config import ModelConfig

#: The method that every other one is compared with: the student on ground truth alone.
BASELINE = "none"
#: Fields of `TrainConfig` that tell the cells apart, so the shared budget may not set them.
CELL_FIELDS = ("model", "distill", "detection_weight", "seed", "out")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class ArenaConfig(Config):
    """A comparison. `kd3d_core arena` reads this from YAML."""

    teacher: Path
    """Checkpoint of the teacher of every method."""
    students: dict[str, str | ModelConfig] = Field(min_length=1)
    """Students by the name they have in the report: a preset, or a model spelt out."""
    methods: dict[str, dict[str, Any] | None] = Field(min_length=1)
    """Methods by name: fields of `DistillConfig` (methods, labels, start ...) and
    `detection_weight`. `none`, which has no fields, is the student alone; gains and the share of
    the gap are told against it."""
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    """Every method trains every student once with each seed: initial weights, order of the frames,
    augmentation. Intervals need at least two."""
    train: dict[str, Any]
    """The budget that all share, as fields of `TrainConfig` (data, optimizer, max_steps,
    batch_size, grid, loss, threads, devices ...). `data.val` and `data.val_frames` are the frames
    that decide, `eval` says what counts on them."""
    jobs: PositiveInt = 1
    """Trainings at a time; each takes `train.threads` threads and its data workers."""
    out: Path = Path("runs/arena")
    """Folder of the trainings, `results.json` and `report.html`."""

    @model_validator(mode="after")
    def _check(self) -> "ArenaConfig":
        for section in ("students", "methods"):
            for name in getattr(self, section):
                if not _NAME.fullmatch(name):
                    raise ValueError(
                        f"{section}: {name!r} cannot name a folder; use letters, digits, _ . -"
                    )
        both = sorted(set(self.students) & set(self.methods))
        if both:
            raise ValueError(f"{both[0]!r} names a student and a method: rename one of them")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one is given twice, which would count a training twice")
        if self.methods.get(BASELINE):
            raise ValueError(f"methods.{BASELINE} is the student alone and takes no fields")
        taken = sorted(set(CELL_FIELDS) & set(self.train))
        if taken:
            raise ValueError(
                f"train.{taken[0]} is not shared by all cells: remove it (students, methods, "
                "seeds and out say it)"
            )
        return self
