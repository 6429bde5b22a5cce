"""Which thread settings of OpenVINO and ONNX Runtime serve one cloud at a time best.

    .venv/bin/python benchmarks/threads.py [--model MODEL.kd3d] [--rounds 20] [--load 2]

Variants take turns of a few passes, with a pause after each pass as between clouds, so that what
threads do while they wait counts too. `--load` keeps so many processes busy beside them: how a
setting behaves where other nodes run.
"""

import argparse
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kd3d_core.runtime.bundle import Bundle
from kd3d_core.runtime.bundle import read_bundle
from kd3d_core.runtime.default import bundle_path

#: Passes in a turn, after one that is not timed, and the pause after each [s].
_PASSES, _PAUSE = 4, 0.02
OPENVINO: dict[str, dict[str, Any]] = {
    "openvino, as kd3d has it": {},
    "openvino, pinned": {"ENABLE_CPU_PINNING": True},
    "openvino, performance cores only": {"SCHEDULING_CORE_TYPE": "PCORE_ONLY"},
    "openvino, hyper-threads too": {"ENABLE_HYPER_THREADING": True},
    "openvino, 1 thread": {"INFERENCE_NUM_THREADS": 1},
}
ONNX_RUNTIME = {
    "onnxruntime, as kd3d has it": {"session.intra_op.allow_spinning": "0"},
    "onnxruntime, spinning": {},
}


def variants(bundle: Bundle, image: np.ndarray) -> dict[str, Callable[[], Any]]:
    """A pass of each variant.

    Args:
        bundle: Takes one image.
        image: In the shape of its input, float32.
    """
    import onnxruntime
    import openvino

    (name,) = bundle.manifest.inputs
    core, found = openvino.Core(), {}
    base = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    for label, config in OPENVINO.items():
        model = core.compile_model(core.read_model(bundle.onnx), "CPU", {**base, **config})
        request = model.create_infer_request()
        request.set_tensor(name, openvino.Tensor(image))
        found[label] = request.infer
    for label, entries in ONNX_RUNTIME.items():
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        for key, value in entries.items():
            options.add_session_config_entry(key, value)
        session = onnxruntime.InferenceSession(
            bundle.onnx, options, providers=["CPUExecutionProvider"]
        )
        found[label] = lambda session=session: session.run(None, {name: image})
    return found


def measure(passes: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """(N, 2) wall time of a pass, and CPU time of it and its pause, by variant [ms]."""
    times: dict[str, list[tuple[float, float]]] = {label: [] for label in passes}
    for _ in range(rounds):
        for label, run in passes.items():
            run()
            for _ in range(_PASSES):
                cpu, start = time.process_time(), time.perf_counter()
                run()
                wall = time.perf_counter() - start
                time.sleep(_PAUSE)
                times[label].append((1e3 * wall, 1e3 * (time.process_time() - cpu)))
    return {label: np.array(values) for label, values in times.items()}


def _busy() -> None:
    """Work for ever."""
    while True:
        sum(range(100_000))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=bundle_path())
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--load", type=int, default=0)
    options = parser.parse_args()
    bundle = read_bundle(options.model)
    (shape,) = bundle.manifest.inputs.values()
    generator = np.random.default_rng(0)
    image = generator.random(shape, np.float32)
    image *= generator.random((1, 1, *shape[2:])) < 0.1  # most cells of a street are empty
    others = [multiprocessing.Process(target=_busy, daemon=True) for _ in range(options.load)]
    for other in others:
        other.start()
    for label, times in measure(variants(bundle, image), options.rounds).items():
        wall, cpu = times.T
        print(
            f"{label:32s} wall p50 {np.median(wall):6.1f} p99 {np.percentile(wall, 99):6.1f} "
            f"least {wall.min():6.1f}   CPU p50 {np.median(cpu):6.1f} ms"
        )
    for other in others:
        other.terminate()


if __name__ == "__main__":
    main()
