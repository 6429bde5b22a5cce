"""What the Argoverse 2 metrics are asked and what they tell."""

from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import PositiveFloat
from pydantic import PositiveInt
from pydantic import model_validator
from rich.table import Table

from kd3d_core.config import Config


class Argoverse2Config(Config):
    """Settings of the benchmark; the defaults are its own."""

    thresholds: tuple[PositiveFloat, ...] = (0.5, 1.0, 2.0, 4.0)
    """Distances within which a detection is right [m]."""
    error_threshold: PositiveFloat = 2.0
    """The one of `thresholds` at which the errors are measured [m]."""
    max_range: PositiveFloat = 150.0
    """Boxes farther than this do not count [m]."""
    max_detections: PositiveInt = 100
    """Detections of a class that count in a frame."""
    recalls: PositiveInt = 101
    """Recalls at which the precision is read off."""

    @model_validator(mode="after")
    def _check(self) -> "Argoverse2Config":
        if self.error_threshold not in self.thresholds:
            raise ValueError(f"error_threshold {self.error_threshold:g} is not in thresholds")
        return self

    @property
    def worst(self) -> tuple[float, float, float]:
        """Translation [m], scale and orientation [rad] errors where nothing is right."""
        return self.error_threshold, 1.0, float(np.pi)


@dataclass(frozen=True)
class Argoverse2Metrics:
    """Metrics of one class, or their means over classes.

    Attributes:
        truths: Ground-truth boxes that count.
        ap_at: Average precision in [0, 1] for each distance.
        ap: Their mean.
        ate: Translation error [m].
        ase: Scale error in [0, 1].
        aoe: Orientation error [rad].
        cds: Composite detection score in [0, 1].
    """

    truths: int
    ap_at: tuple[float, ...]
    ap: float
    ate: float
    ase: float
    aoe: float
    cds: float


@dataclass(frozen=True)
class Argoverse2Result:
    """Metrics of a detector on a set of frames.

    Attributes:
        frames: How many frames were seen.
        config: What was counted.
        classes: By class name.
        mean: Over all classes, those without ground truth too, as the benchmark takes it.
    """

    frames: int
    config: Argoverse2Config
    classes: dict[str, Argoverse2Metrics]
    mean: Argoverse2Metrics

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "frames": self.frames,
            "config": self.config.model_dump(mode="json"),
            "mean": asdict(self.mean),
            "classes": {name: asdict(entry) for name, entry in self.classes.items()},
        }


def argoverse2_table(result: Argoverse2Result, title: str = "Argoverse 2") -> Table:
    """A rich table: one row a class, AP at each distance, the errors and CDS."""
    table = Table(
        title=f"{title}: {result.frames} frames",
        caption=f"ground truth with a point inside within {result.config.max_range:g} m; errors "
        f"within {result.config.error_threshold:g} m; means over all classes, as the benchmark",
    )
    table.add_column("class")
    table.add_column("boxes", justify="right")
    heads = [f"AP {threshold:g} m" for threshold in result.config.thresholds]
    for head in (*heads, "AP", "ATE [m]", "ASE", "AOE [rad]", "CDS"):
        table.add_column(head, justify="right")
    for name, entry in result.classes.items():
        table.add_row(name, *_cells(entry))
    table.add_section()
    table.add_row("mean", *_cells(result.mean))
    return table


def _cells(entry: Argoverse2Metrics) -> list[str]:
    """The columns after the name."""
    shares = [f"{100 * value:.1f}" for value in (*entry.ap_at, entry.ap)]
    errors = [f"{value:.3f}" for value in (entry.ate, entry.ase, entry.aoe)]
    return [str(entry.truths), *shares, *errors, f"{100 * entry.cds:.1f}"]
