"""A picture of a bench: where the time goes, and how it is spread."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.runtime.bench import Record

_COLORS = {"read": "#8da0cb", "encode": "#66c2a5", "network": "#fc8d62", "decode": "#e78ac3"}
_OTHER = "#b3b3b3"


def plot(own: Sequence[Record], others: Sequence[Record], path: Path, title: str) -> None:
    """Draw stages as bars and whole passes as distributions.

    Args:
        own: Our backends; each is a bar of its stages' medians.
        others: What was timed beside them; distributions only, for beside a peer's second our
            milliseconds would not be seen.
        path: Picture to write, such as bench.png.
        title: Above it all.

    Raises:
        Kd3dError: Matplotlib is not installed, or does not know the file's format.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise Kd3dError("--plot needs Matplotlib: pip install 'kd3d_ros[viz]'.") from error
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    figure.suptitle(title, fontsize=10)
    bars, spread = figure.subplots(1, 2)
    longest = 0.0
    for row, record in enumerate(own):
        left = 0.0
        for stage in record.stages:
            if stage == "total":
                continue
            width = record.times(stage).p50
            name = stage if row == 0 else None
            color = _COLORS.get(stage, _OTHER)
            bars.barh(row, width, height=0.5, left=left, color=color, label=name)
            left += width
        bars.text(left, row, f" {left:.1f} ms", va="center")
        longest = max(longest, left)
    bars.set_yticks(range(len(own)), [record.name for record in own])
    bars.set_ylim(len(own) - 0.4, -0.6)
    bars.set_xlim(0.0, 1.25 * longest)
    bars.set_xlabel("median of each stage [ms]")
    bars.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(_COLORS))
    for record in (*own, *others):
        values = np.sort(record.values("total"))
        values = np.concatenate([values[:1], values])
        shares = np.linspace(0.0, 1.0, len(values))
        spread.step(values, 100 * shares, where="post", label=record.name)
    spread.set_xscale("log")
    spread.set_xlabel("one cloud, all stages [ms], logarithmic")
    spread.set_ylabel("clouds done within [%]")
    spread.grid(visible=True, which="both", alpha=0.3)
    spread.legend(fontsize=8)
    kind = path.suffix.lstrip(".") or "png"
    known = figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise Kd3dError(f"--plot {path}: give a file that ends in {', '.join(sorted(known))}.")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=120)
