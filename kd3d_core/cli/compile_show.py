"""What `kd3d_core compile` prints and writes: precisions side by side."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kd3d_core.cli.compile_compare import ENOUGH_FRAMES
from kd3d_core.cli.compile_compare import Material
from kd3d_core.cli.compile_compare import Quality
from kd3d_core.cli.compile_compare import warnings
from kd3d_core.files import write_text
from kd3d_core.runtime.bench import Record
from kd3d_core.runtime.bench_machine import machine
from kd3d_core.runtime.bundle import Bundle

#: Records by precision and CPU backend.
Latencies = Mapping[tuple[str, str], Record]


def show(
    bundles: Mapping[str, Bundle],
    found: dict[str, Quality],
    times: Latencies,
    material: Material,
    console: Console,
) -> None:
    """Print size, latency and accuracy side by side, and every warning.

    Args:
        bundles: By precision.
        found: What each finds; fp32 always among them.
        times: Latencies from message to boxes.
        material: What was judged on.
        console: To print to.
    """
    backends = list(dict.fromkeys(name for _, name in times))
    table = Table(title="precisions side by side")
    table.add_column("precision")
    table.add_column("graph MB", justify="right")
    for name in backends:
        table.add_column(f"{name} p50 [ms] (CPU)", justify="right")
    if material.labelled:
        table.add_column("mean AP", justify="right")
    table.add_column("boxes against fp32")
    told = warnings(found)
    base = found["fp32"].mean_ap
    for precision, bundle in bundles.items():
        quality = found[precision]
        cells = [precision, f"{len(bundle.onnx) / 1e6:.2f}"]
        for name in backends:
            record = times.get((precision, name))
            cells.append("" if record is None else _milliseconds(record))
        if material.labelled:
            cells.append(_ap(quality.mean_ap, base if precision != "fp32" else None))
        cells.append("" if precision == "fp32" else _boxes(quality))
        table.add_row(*cells, style="yellow" if precision in told else None)
    table.caption = (
        f"accuracy on {material.words}, latency from the bytes of a message to boxes, in turns"
    )
    console.print(table)
    for sentence in told.values():
        console.print(f"[bold red]warning:[/] {sentence}", highlight=False)
    frames = None if found["fp32"].result is None else found["fp32"].result.frames
    if frames is not None and frames < ENOUGH_FRAMES:
        console.print(
            f"[yellow]note:[/] average precision over {frames} frames says little; give --data "
            f"with {ENOUGH_FRAMES} labelled frames or more before you choose.",
            highlight=False,
        )


def write(
    path: Path,
    bundles: Mapping[str, Bundle],
    found: dict[str, Quality],
    times: Latencies,
    material: Material,
    refused: Mapping[str, str],
) -> None:
    """Write the same as JSON: by precision `bytes`, `latency_ms` by backend, accuracy, warning.

    Args:
        path: File to write.
        bundles: See `show`; likewise the rest.
        found: See `show`.
        times: See `show`.
        material: See `show`.
        refused: Why a precision could not be made.
    """
    told = warnings(found)
    precisions = {}
    for precision, bundle in bundles.items():
        latency = {
            name: {"wall": asdict(record.times("total")), "cpu": asdict(record.cpu)}
            for (each, name), record in times.items()
            if each == precision
        }
        precisions[precision] = {
            "bytes": len(bundle.onnx),
            "sha256": bundle.manifest.onnx_sha256,
            "latency_ms": latency,
            **found[precision].to_dict(),
            "warning": told.get(precision),
        }
    content = {
        "machine": machine(),
        "judged_on": material.words,
        "precisions": precisions,
        "refused": dict(refused),
    }
    write_text(path, json.dumps(content, indent=2) + "\n")


def _milliseconds(record: Record) -> str:
    """Wall time, and CPU time of all threads."""
    return f"{record.times('total').p50:.1f} ({record.cpu.p50:.1f})"


def _ap(value: float | None, base: float | None) -> str:
    """A mean AP, and its difference to fp32's where there is one."""
    if value is None:
        return "no truth"
    return f"{value:.3f}" if base is None else f"{value:.3f} ({value - base:+.3f})"


def _boxes(quality: Quality) -> str:
    """What became of the boxes of fp32."""
    return (
        f"{quality.kept} kept, {quality.lost} lost, {quality.new} new; scores within "
        f"{quality.score_gap:.3f}"
    )
