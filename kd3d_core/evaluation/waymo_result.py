"""What Waymo's metric is asked and what it answers; see `waymo` for the definition."""

from dataclasses import asdict
from dataclasses import dataclass
from typing import Any

from pydantic import Field
from rich.table import Table

from kd3d_core.config import Config

#: The Waymo type that each class of ours is evaluated as.
TYPE_OF_CLASS = {
    "car": "vehicle",
    "truck": "vehicle",
    "bus": "vehicle",
    "motorcycle": "vehicle",
    "vehicle": "vehicle",
    "pedestrian": "pedestrian",
    "cyclist": "cyclist",
    "sign": "sign",
}
#: Names and lower bounds [m] of the ranges.
RANGES = {"0-30": 0.0, "30-50": 30.0, "50+": 50.0}
LEVELS = (1, 2)


class WaymoConfig(Config):
    """What counts.

    Attributes:
        overlap: Least 3D overlap of a match, by Waymo type; the types that are evaluated.
        cutoffs: Number of score cutoffs, evenly from 0 to 1.
        recall_step: Of the area under the curve.
        types: The Waymo type that each class is evaluated as; boxes of other classes are left out.
    """

    overlap: dict[str, float] = Field(default={"vehicle": 0.7, "pedestrian": 0.5, "cyclist": 0.5})
    cutoffs: int = Field(default=101, gt=1)
    recall_step: float = Field(default=0.05, gt=0, le=1)
    types: dict[str, str] = TYPE_OF_CLASS


@dataclass(frozen=True)
class WaymoScore:
    """One type in one range at one level.

    Attributes:
        truths: Ground truths of this level and easier ones.
        ap: Average precision in [0, 1], None without ground truth of any level.
        aph: The same weighted by heading.
        precision: At each cutoff, lowest first.
        precision_heading: Weighted by heading.
        recall: At each cutoff.
    """

    truths: int
    ap: float | None
    aph: float | None
    precision: tuple[float, ...]
    precision_heading: tuple[float, ...]
    recall: tuple[float, ...]


@dataclass(frozen=True)
class WaymoResult:
    """All of Waymo's figures for a detector.

    Attributes:
        frames: How many frames were seen.
        config: What was counted.
        scores: scores[type][range][level], with range "all" or a key of `RANGES`.
    """

    frames: int
    config: WaymoConfig
    scores: dict[str, dict[str, dict[int, WaymoScore]]]

    def mean_ap(self, level: int = 2, ring: str = "all") -> float | None:
        """Mean AP over the types that have ground truth."""
        return _mean([by_range[ring][level].ap for by_range in self.scores.values()])

    def mean_aph(self, level: int = 2, ring: str = "all") -> float | None:
        """Mean APH over the types that have ground truth: the figure of the leaderboard."""
        return _mean([by_range[ring][level].aph for by_range in self.scores.values()])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the means of both levels."""
        means = {
            f"level_{level}": {"map": self.mean_ap(level), "maph": self.mean_aph(level)}
            for level in LEVELS
        }
        return asdict(self) | {"config": self.config.model_dump(mode="json"), "mean": means}


def waymo_table(result: WaymoResult, title: str = "Waymo") -> Table:
    """AP / APH of both levels by type and range, in per cent."""
    table = Table(title=f"{title}: {result.frames} frames", caption="AP / APH [%]")
    table.add_column("type")
    table.add_column("range [m]")
    for level in LEVELS:
        table.add_column(f"boxes L{level}", justify="right")
        table.add_column(f"LEVEL_{level}", justify="right")
    for name, by_range in result.scores.items():
        for ring, by_level in by_range.items():
            cells = []
            for score in by_level.values():
                cells += [str(score.truths), f"{_percent(score.ap)} / {_percent(score.aph)}"]
            table.add_row(name if ring == "all" else "", ring, *cells)
        table.add_section()
    means = []
    for level in LEVELS:
        means += ["", f"{_percent(result.mean_ap(level))} / {_percent(result.mean_aph(level))}"]
    table.add_row("mean", "all", *means)
    return table


def _mean(values: list[float | None]) -> float | None:
    """Mean of what there is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _percent(value: float | None) -> str:
    """A share in [0, 1] as per cent, or a dash."""
    return "-" if value is None else f"{100 * value:.2f}"
