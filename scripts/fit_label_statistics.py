"""Fit the simulator's object sizes and traffic density to a KITTI label archive.

Prints the figures that `kd3d_core.simulation.sizes` holds. Only labels are read, no points.

Usage: python scripts/fit_label_statistics.py kitti_label_statistics.tar.xz
"""

import argparse
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_labels(archive: Path) -> tuple[dict[str, NDArray[np.float64]], int]:
    """Read every label_2/*.txt of the archive.

    Returns:
        Per KITTI class (N, 6) float64: length, width, height, forward, left [m], yaw [rad] in
        the car's frame (x forward, y left); and the number of frames.
    """
    rows: dict[str, list[list[float]]] = defaultdict(list)
    frames = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            if "label_2/" not in member.name or not member.name.endswith(".txt"):
                continue
            stream = tar.extractfile(member)
            if stream is None:
                continue
            frames += 1
            for line in stream.read().decode().splitlines():
                part = line.split()
                if part[0] == "DontCare":
                    continue
                height, width, length, x, _, z, turn = (float(v) for v in part[8:15])
                # The camera looks along z with x to the right; its yaw is clockwise from x.
                rows[part[0]].append([length, width, height, z, -x, -turn - np.pi / 2])
    return {name: np.array(values) for name, values in rows.items()}, frames


def print_sizes(name: str, labels: NDArray[np.float64]) -> None:
    """Print mean and spread of log-size and the 0.5 and 99.5 percentiles of (N, 6) labels."""
    log = np.log(labels[:, :3])
    low, high = np.percentile(labels[:, :3], [0.5, 99.5], axis=0)
    print(f"{name}: {len(labels)} labels")
    print("  mean log (l, w, h):", np.round(log.mean(axis=0), 4).tolist())
    print("  covariance of log:", np.round(np.cov(log.T), 5).tolist())
    print("  median [m]:", np.round(np.median(labels[:, :3], axis=0), 2).tolist())
    print("  clip [m]:", np.round(low, 2).tolist(), np.round(high, 2).tolist())


def print_layout(name: str, labels: NDArray[np.float64], frames: int) -> None:
    """Print how many there are in view, how far, and how they stand to the ego vehicle."""
    distance = np.hypot(labels[:, 3], labels[:, 4])
    counts = np.histogram(distance, [0, 10, 20, 30, 40, 50, 60, 80])[0] / frames
    away = np.abs(np.arctan2(np.sin(labels[:, 5]), np.cos(labels[:, 5])))
    shares = np.histogram(away, [0, 0.26, 1.31, 1.83, 2.88, np.pi + 1e-6])[0] / len(labels)
    print(f"{name}: {len(labels) / frames:.2f} a frame")
    print("  a frame within 10, 20, .. 60, 80 m:", np.round(counts, 3).tolist())
    print("  along, slanted, across, slanted back, opposite:", np.round(shares, 3).tolist())
    print("  |left| 10, 50, 90 %:", np.percentile(np.abs(labels[:, 4]), [10, 50, 90]).round(1))


def main() -> None:
    """Read the archive named on the command line and print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    labels, frames = read_labels(parser.parse_args().archive)
    for name, values in sorted(labels.items()):
        print_sizes(name, values)
        print_layout(name, values, frames)


if __name__ == "__main__":
    main()
