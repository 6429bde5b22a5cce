"""Draw a simulated HDL-64E sweep beside a recorded one: docs/images/simulated_vs_kitti.png.

Run it as `python scripts/make_simulation_picture.py KITTI_BIN [OUT] [--seed N]`, where KITTI_BIN
is a sweep of the KITTI object data set (training/velodyne/*.bin), which is not part of the
repository.
"""

import argparse
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from kd3d_core.simulation.drives import SimulationConfig
from kd3d_core.simulation.drives import simulate_drive
from kd3d_core.simulation.sensors import SENSORS

matplotlib.use("Agg")
import matplotlib.pyplot as plt

BACKGROUND = "#10141a"


def simulated(seed: int) -> NDArray[np.float32]:
    """(N, 4) points of one simulated sweep."""
    config = SimulationConfig(drives=1, frames_per_drive=4, seed=seed, tilt_jitter_deg=0)
    frames = simulate_drive(config, 0, skip=(0, 1, 2))
    return next(frames)[1].cloud.points


def draw_above(axes: Axes, points: NDArray[np.float32], title: str) -> None:
    """From above, coloured by height; forward is up."""
    order = np.argsort(points[:, 2])
    x, y, z, _ = points[order].T
    axes.scatter(-y, x, c=z, s=0.25, lw=0, cmap="turbo", vmin=-2.2, vmax=2.5)
    axes.set(xlim=(-40, 40), ylim=(-40, 40), aspect="equal", facecolor=BACKGROUND)
    axes.set_title(title, color="white", fontsize=13)
    axes.set_xticks([])
    axes.set_yticks([])


def draw_image(axes: Axes, points: NDArray[np.float32], label: str, by: str) -> None:
    """The forward 120 degrees as the sensor sees them, coloured by reflectance or range."""
    distance = np.linalg.norm(points[:, :3], axis=1)
    azimuth = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    elevation = np.degrees(np.arcsin(points[:, 2] / distance))
    beams = np.array(SENSORS["hdl64e"].elevation_deg)
    row = np.digitize(elevation, (beams[1:] + beams[:-1]) / 2)
    column = np.floor((60 - azimuth) / 120 * 720).astype(int)
    ahead = (column >= 0) & (column < 720)
    value = points[:, 3] if by == "reflectance" else np.log(distance)
    image = np.full((len(beams), 720), np.nan)
    image[row[ahead], column[ahead]] = value[ahead]
    low, high, colours = (0, 0.6, "magma") if by == "reflectance" else (1.4, 4.2, "turbo_r")
    axes.imshow(
        image, cmap=colours, vmin=low, vmax=high, origin="lower", aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.set_facecolor("black")
    axes.set_ylabel(f"{label}\n{by}", color="white", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])


def main() -> None:
    """Read, simulate, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recorded", type=Path)
    default = Path(__file__).resolve().parents[1] / "docs/images/simulated_vs_kitti.png"
    parser.add_argument("out", type=Path, nargs="?", default=default)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    real = np.fromfile(arguments.recorded, np.float32).reshape(-1, 4)
    synthetic = simulated(arguments.seed)

    figure = plt.figure(figsize=(14, 13), facecolor=BACKGROUND)
    grid = figure.add_gridspec(5, 2, height_ratios=[7, 1.5, 1.5, 1.5, 1.5], hspace=0.06)
    sides = ((0, synthetic, "simulated"), (1, real, "KITTI, recorded"))
    for column, points, name in sides:
        title = f"{name}: {len(points):,} points"
        draw_above(figure.add_subplot(grid[0, column]), points, title)
    for row, (by, (_, points, name)) in enumerate(
        (by, side) for by in ("reflectance", "range") for side in sides
    ):
        draw_image(figure.add_subplot(grid[row + 1, :]), points, name, by)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.out, dpi=100, bbox_inches="tight", facecolor=BACKGROUND)


if __name__ == "__main__":
    main()
