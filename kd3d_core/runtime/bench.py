"""How long each stage of a detector takes, cloud after cloud, as a robot would run it."""

import os
import platform
import time
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kd3d_core.codec.inputs import encode
from kd3d_core.errors import Kd3dError
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.detector import Detector

#: The stages in their order; `total` is the whole way from message to boxes.
STAGES = ("read", "encode", "network", "decode", "total")


@dataclass(frozen=True)
class StageTimes:
    """Wall times of one stage [ms], and the least of them, which other processes disturb least."""

    p50: float
    p90: float
    p99: float
    least: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> "StageTimes":
        """Take the percentiles of N times, at least one of them."""
        p50, p90, p99 = np.percentile(milliseconds, (50, 90, 99))
        return cls(float(p50), float(p90), float(p99), float(min(milliseconds)))


@dataclass(frozen=True)
class BenchResult:
    """What one backend did.

    Attributes:
        model: Name of the bundle.
        backend: As the backend calls itself.
        precision: Its arithmetic.
        threads: CPU threads of the network; None: the backend's choice.
        frames: Clouds measured.
        points: Their mean number of points.
        boxes: Their mean number of boxes.
        stages: Times by the names of `STAGES`: bytes of the message to points, points to the
            network's input, the network, its maps to boxes, all of it.
        cpu_ms: CPU time a cloud, of all threads [ms]: what stays the same on a busy machine.
        rate: Clouds a second, one after the other.
        rss_start_mb: Memory of the process before the first measured cloud [MB]; None where the
            system does not tell.
        rss_end_mb: After the last.
        bare_ms: The graph alone, run by OpenVINO itself on one input again and again [ms], None
            without OpenVINO.
        machine: Processor, cores, system, versions of the libraries.
    """

    model: str
    backend: str
    precision: str
    threads: int | None
    frames: int
    points: int
    boxes: float
    stages: dict[str, StageTimes]
    cpu_ms: float
    rate: float
    rss_start_mb: float | None
    rss_end_mb: float | None
    bare_ms: StageTimes | None
    machine: dict[str, Any]

    @property
    def network_ratio(self) -> float | None:
        """Median of the network stage over that of OpenVINO's bare loop."""
        return None if self.bare_ms is None else self.stages["network"].p50 / self.bare_ms.p50

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "network_ratio": self.network_ratio}


def bench(
    detector: Detector,
    readers: Sequence[Callable[[], PointCloud]],
    frames: int,
    *,
    threads: int | None = None,
    report: Callable[[], None] = lambda: None,
) -> BenchResult:
    """Run a detector over clouds, in turn, and time its stages.

    Args:
        detector: Loaded; it is warmed up here.
        readers: Each makes one cloud from a message; timed as the stage `read`.
        frames: How many clouds to measure; `readers` begin again when they are at their end.
        threads: What the detector was loaded with, for the record.
        report: Called after each cloud.

    Raises:
        Kd3dError: There is no reader.
    """
    if not readers:
        raise Kd3dError("bench: there is no cloud to run on.")
    detector.warm_up()
    for reader in readers[:3]:
        detector(reader())
    times: dict[str, list[float]] = {name: [] for name in STAGES}
    points = boxes = 0
    before, cpu, began = resident_mb(), time.process_time(), time.perf_counter()
    for number in range(frames):
        start = time.perf_counter()
        cloud = readers[number % len(readers)]()
        read = time.perf_counter()
        found = detector(cloud)
        done = time.perf_counter()
        parts = (found.preprocess_ms, found.inference_ms, found.postprocess_ms)
        for name, taken in zip(
            STAGES, (1e3 * (read - start), *parts, 1e3 * (done - start)), strict=True
        ):
            times[name].append(taken)
        points, boxes = points + len(cloud), boxes + len(found.boxes)
        report()
    elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    return BenchResult(
        model=detector.manifest.name,
        backend=detector.backend.name,
        precision=detector.backend.precision,
        threads=threads,
        frames=frames,
        points=points // frames,
        boxes=boxes / frames,
        stages={name: StageTimes.of(values) for name, values in times.items()},
        cpu_ms=1e3 * cpu / frames,
        rate=frames / elapsed,
        rss_start_mb=before,
        rss_end_mb=resident_mb(),
        bare_ms=None,
        machine=machine(),
    )


def bare_openvino(
    bundle: Bundle, cloud: PointCloud, frames: int, threads: int | None, precision: str = "f32"
) -> StageTimes | None:
    """The graph in OpenVINO alone: one input, set once, and nothing but inference in the loop.

    This is what OpenVINO's `benchmark_app -hint latency -nstreams 1 -api sync` measures; the
    detector's network stage is held against it.

    Args:
        bundle: Its graph is run.
        cloud: Makes the input.
        frames: Passes to measure.
        threads: CPU threads; None leaves it to OpenVINO.
        precision: "f32", "bf16" or "auto".

    Returns:
        The times, or None where OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError:
        return None
    config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    if precision != "auto":
        config["INFERENCE_PRECISION_HINT"] = precision
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    core = openvino.Core()
    request = core.compile_model(
        core.read_model(bundle.onnx), "CPU", config
    ).create_infer_request()
    about = bundle.manifest
    fed = encode(cloud.points, about.grid, about.input, cloud.time)
    for name, array in fed.arrays.items():
        request.set_tensor(name, openvino.Tensor(array[None] if name == "image" else array))
    for _ in range(3):
        request.infer()
    times = []
    for _ in range(frames):
        start = time.perf_counter()
        request.infer()
        times.append(1e3 * (time.perf_counter() - start))
    return StageTimes.of(times)


def resident_mb() -> float | None:
    """Memory of this process [MB], where the system tells (Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def machine() -> dict[str, Any]:
    """What a figure depends on: processor, cores, load, versions."""
    from importlib import metadata

    versions = {}
    for name in ("numpy", "numba", "openvino", "onnxruntime"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": load,
        "system": platform.platform(),
        "python": platform.python_version(),
        **versions,
    }


def _processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
