"""What `latency_budget_ms` does, by CPU time: whatever else the machine does.

    python benchmarks/latency_budget_model.py --clouds ../shared/data/kitti_odometry_00

The CPU time of the whole network and of its crops is measured on real clouds, with one thread.
Then a minute of clouds is played through a worker that takes the latest one, as the node's does,
on a clock of its own: for half of the minute other programs take a share of the processor, so that
everything takes so much longer. `latency_budget.py` measures the node itself, on a machine that is
really busy.
"""

import argparse
import time
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.runtime.backends.base import Backend
from kd3d_core.runtime.backends.base import make_backend
from kd3d_core.runtime.budget import CloudTimes
from kd3d_core.runtime.budget import LatencyBudget
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.cropping import load_crops
from kd3d_core.runtime.default import bundle_path
from kd3d_core.runtime.detector import Detector
from kd3d_core.runtime.steps import make_steps

#: The minute, and when in it the machine is busy [s].
MINUTE, BUSY = 60.0, (10.0, 40.0)
REPEATS = 5


@dataclass
class Minute:
    """What became of a minute of clouds.

    Attributes:
        latency: From arrival to result [ms], of each cloud that was worked on.
        busy: Whether it came while the machine was busy.
        dropped: Clouds that were replaced by newer ones.
        skipped: Clouds that were left out on purpose.
    """

    latency: list[float] = field(default_factory=list)
    busy: list[bool] = field(default_factory=list)
    dropped: int = 0
    skipped: int = 0


def main() -> None:
    """Measure, play and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clouds", type=Path, required=True, help="folder of KITTI's *.bin")
    parser.add_argument("--model", type=Path, default=bundle_path())
    parser.add_argument("--backend", default="openvino")
    parser.add_argument("--budget", type=float, default=100.0, help="latency_budget_ms")
    parser.add_argument("--rate", type=float, default=10.0, help="clouds a second")
    options = parser.parse_args()
    extents = load(options.model, options.backend)
    cost = measure(extents, sorted(options.clouds.glob("*.bin")))
    for detector, row in zip(extents, cost, strict=True):
        grid = detector.manifest.grid
        print(f"x {grid.x[0]:g} to {grid.x[1]:g} m: {row.mean():.1f} ms of CPU time a cloud")
    steps = make_steps(1, [detector.manifest.grid for detector in extents])
    heads = f"{'others take':>12} {'budget':>8} {'p50':>6} {'p99':>6} {'busy p99':>9}"
    print(f"\n{heads} dropped skipped")
    for share in (0.0, 1 / 2, 2 / 3, 3 / 4):
        for limit in (0.0, options.budget):
            budget = LatencyBudget(steps, limit)
            minute = play(budget, cost, 1 / (1 - share), 1 / options.rate)
            latency = np.array(minute.latency)
            p50, p99 = np.percentile(latency, [50, 99])
            busy = np.percentile(latency[minute.busy], 99)
            print(
                f"{100 * share:>10.0f} % {limit:>8.0f} {p50:>6.0f} {p99:>6.0f} {busy:>9.0f} "
                f"{minute.dropped:>7} {minute.skipped:>7}"
            )


def load(model: Path, backend: str) -> tuple[Detector, ...]:
    """The whole network and its crops, one thread each."""
    bundle = read_bundle(model)

    def compile_graph(onnx: bytes) -> Backend:
        return make_backend(backend, onnx, threads=1, largest=bundle.manifest.largest)

    full = Detector(bundle, compile_graph(bundle.onnx), str(model))
    full.warm_up()
    return (full, *load_crops(full, bundle, compile_graph).detectors)


def measure(extents: tuple[Detector, ...], paths: list[Path]) -> NDArray[np.float64]:
    """(extents, clouds) CPU time [ms]: the median of some repeats."""
    clouds = [read_cloud(path) for path in paths]
    times = np.empty((len(extents), len(clouds), REPEATS))
    for repeat in range(REPEATS):
        for j, cloud in enumerate(clouds):
            for i, detector in enumerate(extents):
                start = time.process_time()
                detector(cloud)
                times[i, j, repeat] = 1e3 * (time.process_time() - start)
    return np.median(times, axis=2)


def play(budget: LatencyBudget, cost: NDArray[np.float64], slower: float, period: float) -> Minute:
    """A minute of clouds.

    Args:
        budget: Is asked and told.
        cost: (extents, clouds) CPU time [ms].
        slower: How many times as long everything takes while the machine is busy.
        period: Between clouds [s].
    """
    minute, noise = Minute(), np.random.default_rng(0)
    free, waiting = 0.0, -1

    def work(number: int, start: float) -> float:
        came = number * period
        busy = BUSY[0] <= start < BUSY[1]
        took = cost[budget.step.extent, number % cost.shape[1]] * noise.lognormal(0.0, 0.1)
        took *= slower if busy else 1.0
        done = start + took / 1e3
        budget.observe(CloudTimes(done, 0.0, 1e3 * (start - came), took))
        minute.latency.append(1e3 * (done - came))
        minute.busy.append(busy)
        return done

    for number in range(round(MINUTE / period)):
        now = number * period
        if waiting >= 0 and free <= now:
            free, waiting = work(waiting, free), -1
        if not budget.admit(now):
            minute.skipped += 1
        elif free <= now:
            free = work(number, now)
        else:
            if waiting >= 0:
                minute.dropped += 1
                budget.drop()
            waiting = number
    return minute


if __name__ == "__main__":
    main()
