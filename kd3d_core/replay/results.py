"""Result files: exact, readable, and equal byte for byte whenever the results are."""

import contextlib
import json
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.runtime.detector import Detection

if TYPE_CHECKING:
    from rich.console import Console

#: Stages of a detection, as `Detection` has them in `<stage>_ms`.
STAGES = ("preprocess", "inference", "postprocess", "total")


def box_records(boxes: Boxes3D) -> list[dict[str, Any]]:
    """Boxes as plain data for JSON, to a tenth of a millimetre; an unknown velocity is null."""
    return [
        {
            "label": name,
            "score": round(float(boxes.score[i]), 4),
            "center": [_rounded(v, 4) for v in boxes.center[i]],
            "size": [_rounded(v, 4) for v in boxes.size[i]],
            "yaw": _rounded(boxes.yaw[i], 5),
            "velocity": [None if np.isnan(v) else _rounded(v, 4) for v in boxes.velocity[i]],
        }
        for i, name in enumerate(boxes.names)
    ]


def _rounded(value: float, digits: int) -> float:
    """A number to so many digits; the sum turns -0.0 into 0.0."""
    return round(float(value), digits) + 0.0


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write indented JSON into a folder that is not yet public."""
    path.write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")


class JsonLines:
    """A file with a JSON object a line, in a folder that is not yet public."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "JsonLines":
        self._file = self._path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one object."""
        self._file.write(json.dumps(record, allow_nan=False) + "\n")


class StageTimes:
    """Milliseconds of each stage, cloud by cloud."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {stage: [] for stage in STAGES}

    def add(self, detection: Detection) -> None:
        """Note one detection."""
        for stage, values in self.values.items():
            values.append(float(getattr(detection, f"{stage}_ms")))

    def summary(self) -> dict[str, dict[str, float]]:
        """Stage -> percentiles; see `percentiles`."""
        return {stage: percentiles(values) for stage, values in self.values.items()}


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90, p99, max and mean of some milliseconds, to a microsecond; empty without any."""
    if not values:
        return {}
    p50, p90, p99 = np.percentile(values, (50, 90, 99))
    found = {"p50": p50, "p90": p90, "p99": p99, "max": max(values), "mean": np.mean(values)}
    return {name: round(float(value), 3) for name, value in found.items()}


@contextlib.contextmanager
def progress_bar(
    console: "Console | None", text: str, total: Callable[[], int]
) -> Iterator[Callable[[int], None]]:
    """A bar that goes when it is done; yields what advances it.

    Args:
        console: Where it is shown; None shows none.
        text: What is going on.
        total: Gives the number of steps; called only when it is shown.
    """
    if console is None:
        yield lambda count: None
        return
    from rich.progress import BarColumn
    from rich.progress import MofNCompleteColumn
    from rich.progress import Progress
    from rich.progress import TextColumn
    from rich.progress import TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(text, total=total())
        yield lambda count: progress.advance(task, count)
