"""Cloud to boxes on a GPU: kd3d against PyTorch, ONNX Runtime and TensorRT, in one run.

    python benchmarks/gpu_latency.py                      # a CUDA GPU, below 8 minutes, unattended
    python benchmarks/gpu_latency.py --device cpu --quick # a small grid, to try the script

It needs this repository and torch; `pip install pydantic numba cuda-bindings nvidia-cuda-nvrtc`
where they are missing. TensorRT (`tensorrt` or `tensorrt_rtx`) and `onnxruntime-gpu` take part
where they import. Every family of variants runs in a process of its own, so that none can harm the
others; what fails is a row that says why.

Times are wall times of one cloud after the other, from NumPy points in ordinary memory to
`Boxes3D` after suppression. "GPU" is the time of the replayed pass without copies and host work.
Networks have drawn weights, which take the same time; about 200 peaks enter suppression. The
floors are explained in gpu_floor.py.
"""

import argparse
import dataclasses
import gc
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where kd3d is not installed

import gpu_floor
import gpu_variants
import numpy as np
import torch
from gpu_report import machine
from gpu_report import report
from gpu_subject import Subject
from gpu_subject import small
from gpu_subject import synthetic

from kd3d_core.models.presets import preset

#: Families of variants in the order of their weight, and the package that each needs.
FAMILIES: dict[str, tuple[str, Callable[[Subject], Iterator[gpu_variants.Variant]]]] = {
    "eager": ("torch", gpu_variants.eager),
    "kernels": ("cuda", gpu_variants.kernels),
    "onnxruntime": ("onnxruntime", gpu_variants.onnxruntime),
    "tensorrt": ("tensorrt", lambda s: gpu_variants.tensorrt(s, backend="tensorrt")),
    "tensorrt-rtx": ("tensorrt_rtx", lambda s: gpu_variants.tensorrt(s, backend="tensorrt-rtx")),
    "operations": ("torch", lambda s: gpu_variants.operations(s, compiled=True)),
    "operations-eager": ("torch", lambda s: gpu_variants.operations(s, compiled=False)),
}
#: Those that a CPU can run.
ON_CPU = ("eager", "onnxruntime", "operations-eager")
#: Seconds that a family may take for a model.
LONGEST = 200.0


def main() -> None:
    """Run all, print, write."""
    options = parse()
    if options.child:
        with options.into.open("a", encoding="utf-8") as file:
            for record in run_family(options, *options.child):
                file.write(json.dumps(record) + "\n")
                file.flush()
        return
    deadline = time.monotonic() + 60 * options.minutes
    records: list[dict[str, Any]] = []
    result = {"machine": machine(options.device), "records": records}
    for record in run_all(options, deadline):
        records.append(record)
        if options.output:  # what there is survives whatever ends the run
            options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n".join(report(result)))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="a small grid and few passes")
    parser.add_argument("--models", nargs="+", default=["teacher", "tiny"])
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--clouds", nargs="*", type=Path, default=[], help="KITTI .bin files too")
    parser.add_argument("--passes", type=int, default=300, help="clouds timed for each variant")
    parser.add_argument("--minutes", type=float, default=7.5, help="what is not run then is left")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA GPU; --device cpu --quick tries the script without one")
    return options


def run_all(options: argparse.Namespace, deadline: float) -> Iterator[dict[str, Any]]:
    """The records of all families and models."""
    for family in options.families:
        package = FAMILIES[family][0]
        for model in options.models:
            what = {"kind": "failure", "family": family, "model": model}
            if options.device == "cpu" and family not in ON_CPU:
                continue
            if importlib.util.find_spec(package) is None:
                yield {**what, "error": f"the package {package} is not installed"}
            elif time.monotonic() > deadline:
                yield {**what, "error": "left out: the time was up"}
            elif options.device == "cpu":
                yield from run_family(options, family, model)
            else:
                limit = min(LONGEST, deadline + 20 - time.monotonic())
                yield from in_process(options, family, model, limit)


def in_process(
    options: argparse.Namespace, family: str, model: str, limit: float
) -> Iterator[dict[str, Any]]:
    """The records of a family from a process of its own, however it ends."""
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "records"
        into.touch()
        given = ["--device", options.device, "--passes", str(options.passes)]
        given += ["--quick"] if options.quick else []
        given += ["--clouds", *map(str, options.clouds)]
        command = [sys.executable, __file__, *given, "--into", str(into), "--child", family, model]
        try:
            status: Any = subprocess.run(command, timeout=limit, check=False).returncode
        except subprocess.TimeoutExpired:
            status = f"stopped after {limit:.0f} s"
        whole = [line for line in into.read_text().splitlines(True) if line.endswith("\n")]
        yield from map(json.loads, whole)
        if status:
            error = f"the process ended with {status}"
            yield {"kind": "failure", "family": family, "model": model, "error": error}


def run_family(options: argparse.Namespace, family: str, model: str) -> Iterator[dict[str, Any]]:
    """Measure the variants of a family on a model; a fault is a record, and the next one runs."""
    note(f"{model}: {family}")
    about = {"family": family, "model": model}
    try:
        torch.backends.cudnn.benchmark = True
        config = small(preset(model)) if options.quick else preset(model)
        subject = Subject(config, options.device, make_clouds(options))
        reference = next(gpu_variants.eager(subject)).make().detect(subject.clouds[0])
        variants = list(FAMILIES[family][1](subject))
        if family == "eager":
            yield from floors(subject, options)
    except Exception as error:  # a row that says why; the other families go on
        yield failure(about, error)
        return
    for variant in variants:
        named = {**about, "variant": variant.name, "precision": variant.precision}
        try:
            with gpu_floor.arithmetic(variant.precision):
                figures = measure(variant.make(), subject, reference, options)
            yield {"kind": "time", **named, **figures}
            note(f"  {variant.name}, {variant.precision}: p50 {figures['p50_ms']:.3f} ms")
        except Exception as error:
            yield failure(named, error)


def failure(about: dict[str, Any], error: Exception) -> dict[str, Any]:
    """A record of what did not run, and why; the whole story goes to the log."""
    traceback.print_exception(error)
    lines = str(error).splitlines() or [""]
    return {"kind": "failure", **about, "error": f"{type(error).__name__}: {lines[0][:200]}"}


def measure(
    running: gpu_variants.Running, subject: Subject, reference: Any, options: argparse.Namespace
) -> dict[str, Any]:
    """Time a variant and compare its boxes with those of torch in float32."""
    clouds, passes = subject.clouds, 2 if options.quick else options.passes
    for cloud in (clouds * 5)[: 1 if options.quick else 20]:
        running.detect(cloud)
    gc.collect()
    gc.freeze()
    times, until = [], time.perf_counter() + 8.0
    for number in range(passes):
        start = time.perf_counter()
        running.detect(clouds[number % len(clouds)])
        times.append(1e3 * (time.perf_counter() - start))
        if time.perf_counter() > until:
            break
    boxes = running.detect(clouds[0])
    p50, p90, p99 = np.percentile(times, (50, 90, 99))
    figures = {
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "least_ms": min(times),
        "passes": len(times),
        "gpu_ms": None,
        "boxes": len(boxes),
        "same_boxes": shared(reference, boxes),
        "input_difference": None if running.check is None else running.check(clouds[0]),
    }
    if running.repeat is not None:
        again, repeat = 2 if options.quick else 50, running.repeat
        seconds = gpu_floor.timed(lambda: repeat(again), subject.device, 3)
        figures["gpu_ms"] = 1e3 * seconds / again
    return figures


def shared(wanted: Any, found: Any) -> float:
    """Share of the wanted boxes beside which there is a found one of their class, within 0.2 m."""
    if len(wanted) == 0:
        return 1.0
    gaps = np.linalg.norm(wanted.center[:, None] - found.center[None], axis=2)
    near = (gaps < 0.2) & (wanted.label[:, None] == found.label[None])
    return float(near.any(axis=1).mean())


def floors(subject: Subject, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What the chip can do, and what the network asks of it."""
    chip = gpu_floor.measure_ceilings(subject.device, options.quick)
    yield {"kind": "ceilings", **dataclasses.asdict(chip)}
    inputs = subject.inputs(subject.clouds[0])
    points = subject.clouds[0].nbytes
    for precision in chip.rate:
        found = gpu_floor.network_floor(subject.detector, inputs, precision, chip)
        yield {
            "kind": "floor",
            "model": subject.config.name,
            "precision": precision,
            **dataclasses.asdict(found),
            "upload": 1e3 * points / chip.upload,
        }


def make_clouds(options: argparse.Namespace) -> list[np.ndarray]:
    """Four made-up sweeps, and those of the files."""
    made = [synthetic(seed, 64, 200 if options.quick else 1875) for seed in range(4)]
    return made + [np.fromfile(path, np.float32).reshape(-1, 4) for path in options.clouds]


def note(text: str) -> None:
    """Progress, apart from the figures."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
