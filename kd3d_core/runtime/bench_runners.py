"""What is timed in this process: a detector, and OpenVINO alone."""

import time
from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from kd3d_core.codec.inputs import encode
from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.backends.base import Backend
from kd3d_core.runtime.bench import STAGES
from kd3d_core.runtime.bench import Pass
from kd3d_core.runtime.bench_machine import resident_mb
from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.detector import Detector


class OwnRunner:
    """A loaded detector, from the bytes of a message to boxes."""

    def __init__(
        self, detector: Detector, readers: Sequence[Callable[[], PointCloud]], **about: Any
    ) -> None:
        """Warm it up.

        Args:
            detector: Loaded.
            readers: Each makes one cloud from a message; timed as the stage `read`.
            about: More for the record.
        """
        detector.warm_up()
        for reader in readers[:3]:
            detector(reader())
        self._detector, self._readers = detector, readers
        backend = detector.backend
        self.name = backend.name if backend.precision == "f32" else _named(backend)
        self.about = {
            "model": detector.manifest.name,
            "backend": backend.name,
            "precision": backend.precision,
            "reason": backend.reason,
            **about,
        }

    def turn(self, clouds: Sequence[int]) -> list[Pass]:
        """Run clouds; see `Runner`."""
        self._detector(self._readers[clouds[0]]())
        passes = []
        for number in clouds:
            cpu, start = time.process_time(), time.perf_counter()
            cloud = self._readers[number]()
            read = time.perf_counter()
            found = self._detector(cloud)
            done = time.perf_counter()
            used = 1e3 * (time.process_time() - cpu)
            parts = (found.preprocess_ms, found.inference_ms, found.postprocess_ms)
            taken = (1e3 * (read - start), *parts, 1e3 * (done - start))
            passes.append(Pass(dict(zip(STAGES, taken, strict=True)), used, len(found.boxes)))
        return passes

    def memory_mb(self) -> float | None:
        """Of this process, which all backends share."""
        return resident_mb()


class BareOpenVino:
    """The graph in OpenVINO alone: one input, set once, and nothing but inference in the loop.

    This is what OpenVINO's `benchmark_app -hint latency -nstreams 1 -api sync` measures; the
    detector's network stage is held against it.
    """

    name = "OpenVINO alone"

    def __init__(
        self, bundle: Bundle, cloud: PointCloud, threads: int | None, precision: str = "f32"
    ) -> None:
        """Compile the graph.

        Args:
            bundle: Its graph is run.
            cloud: Makes the input.
            threads: CPU threads; None leaves it to OpenVINO.
            precision: "f32", "bf16" or "auto".

        Raises:
            ImportError: OpenVINO is not installed.
        """
        import openvino

        config: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if precision != "auto":
            config["INFERENCE_PRECISION_HINT"] = precision
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        core = openvino.Core()
        model = core.compile_model(core.read_model(bundle.onnx), "CPU", config)
        self._request = model.create_infer_request()
        about = bundle.manifest
        fed = encode(cloud.points, about.grid, about.input, cloud.time)
        for name, array in fed.arrays.items():
            value = array[None] if name == "image" else array
            self._request.set_tensor(name, openvino.Tensor(value))
        self.about = {"model": about.name, "precision": precision, "threads": threads}
        self.turn([0, 0])

    def turn(self, clouds: Sequence[int]) -> list[Pass]:
        """One pass for each number; see `Runner`."""
        self._request.infer()
        passes = []
        for _ in clouds:
            cpu, start = time.process_time(), time.perf_counter()
            self._request.infer()
            taken = 1e3 * (time.perf_counter() - start)
            used = 1e3 * (time.process_time() - cpu)
            passes.append(Pass({"network": taken, "total": taken}, used, 0))
        return passes

    def memory_mb(self) -> float | None:
        """Not told apart from that of the backends in this process."""
        return None


def _named(backend: Backend) -> str:
    """A backend and its arithmetic, where that is not the usual one."""
    return f"{backend.name} {backend.precision}"
