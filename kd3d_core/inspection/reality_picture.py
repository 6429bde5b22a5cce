"""The statistics of simulated and recorded sweeps as one picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.inspection.reality_statistics import Histogram

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as _error:
    raise Kd3dError("pictures need matplotlib: pip install 'kd3d_ros[viz]'.") from _error

_COLUMNS = 3
_COLOURS = {"recorded": "#1c2128", "simulated": "#c77700"}


def draw_statistics(histograms: Sequence[Histogram], path: Path, title: str) -> None:
    """Draw each statistic as two outlines: recorded and simulated.

    Args:
        histograms: Of `StatisticsAccumulator.result`.
        path: The PNG to write, atomically.
        title: Above everything.

    Raises:
        Kd3dError: The file cannot be written.
    """
    rows = -(-len(histograms) // _COLUMNS)
    figure = Figure(figsize=(11.0, 2.55 * rows + 0.5), dpi=90, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.ravel()[len(histograms) :]:
        axes.set_visible(False)
    for axes, histogram in zip(grid.ravel(), histograms, strict=False):
        for kind, colour in _COLOURS.items():
            shares = histogram.real if kind == "recorded" else histogram.simulated
            axes.stairs(100 * shares, histogram.edges, color=colour, label=kind, linewidth=1.3)
        words = f"{histogram.name}: {100 * histogram.distance:.0f} % apart"
        if histogram.floor is not None:
            words += f" (recorded halves {100 * histogram.floor:.0f} %)"
        axes.set_title(words, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.set_ylabel("%", fontsize=7)
        used = np.flatnonzero((histogram.real + histogram.simulated) > 2e-4)
        if len(used):
            axes.set_xlim(histogram.edges[used[0]], histogram.edges[used[-1] + 1])
    grid[0, 0].legend(fontsize=8, frameon=False)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        canvas.print_png(file, metadata={"Software": "kd3d"})
