"""`kd3d_core bench`: how long each stage takes on this machine."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from kd3d_core.pointcloud import PointCloud
    from kd3d_core.runtime.bench import BenchResult
    from kd3d_core.runtime.bundle import Bundle

#: So many clouds are kept in memory; they take turns.
_KEPT = 32
#: Points of a synthetic cloud: those of a sensor with 64 beams.
_SYNTHETIC_POINTS = 120_000


def bench(
    model: Annotated[
        Path | None, typer.Argument(help="Bundle, *.kd3d. Default: the shipped one.")
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Clouds, folders of them, or bags. Repeatable. Default: --synthetic."),
    ] = None,
    synthetic: Annotated[
        bool,
        typer.Option("--synthetic", help="Made-up clouds of 120,000 points, for timing."),
    ] = False,
    frames: Annotated[int, typer.Option(min=1, help="Clouds to measure.")] = 200,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads. Default: the backend's choice.")
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="What runs the network. Repeatable, to compare. Default: auto."),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Arithmetic: f32, bf16 (OpenVINO) or auto.")
    ] = "f32",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the figures to this JSON file.")
    ] = None,
) -> None:
    """Time every stage from the bytes of a message to boxes, on this machine."""
    import json

    from rich.console import Console

    from kd3d_core.errors import Kd3dError
    from kd3d_core.files import write_text
    from kd3d_core.runtime.bundle import read_bundle
    from kd3d_core.runtime.default import default_bundle_path

    if data and synthetic:
        raise Kd3dError("bench: use --data or --synthetic, not both.")
    console = Console(stderr=as_json)
    path = default_bundle_path() if model is None else model
    bundle = read_bundle(path)
    clouds = _clouds(data, bundle)
    results = [
        _measure(bundle, path, name, clouds, frames, threads, precision, console)
        for name in backend or ["auto"]
    ]
    text = json.dumps([result.to_dict() for result in results], indent=2) + "\n"
    if out is not None:
        write_text(out, text)
    if as_json:
        typer.echo(text, nl=False)
        return
    for result in results:
        console.print(_table(result))
        _print_words(console, result)
    if out is not None:
        console.print(f"wrote {out}", highlight=False)


def _measure(
    bundle: "Bundle",
    path: Path,
    backend: str,
    clouds: "list[PointCloud]",
    frames: int,
    threads: int | None,
    precision: str,
    console: "Console",
) -> "BenchResult":
    """One backend, and OpenVINO's bare loop beside it where it is OpenVINO's turn."""
    from dataclasses import replace

    from rich.progress import Progress

    from kd3d_core.runtime.bench import bare_openvino
    from kd3d_core.runtime.bench import bench as run
    from kd3d_core.runtime.detector import Detector

    detector = Detector.load(path, backend, threads, precision=precision)
    name = detector.backend.name
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"timing {name}", total=frames)
        result = run(
            detector,
            [_reader(cloud) for cloud in clouds],
            frames,
            threads=threads,
            report=lambda: progress.advance(task),
        )
        if name != "openvino":
            return result
        progress.add_task("OpenVINO alone", total=None)
        bare = bare_openvino(bundle, clouds[0], frames, threads, precision)
    return replace(result, bare_ms=bare)


def _clouds(data: list[Path] | None, bundle: "Bundle") -> "list[PointCloud]":
    """At most `_KEPT` clouds: real ones, or noise with the density of a real sweep."""
    from itertools import islice

    import numpy as np

    from kd3d_core.datasets.clouds import iter_clouds
    from kd3d_core.pointcloud import PointCloud

    if data:
        return [frame.cloud for frame in islice(iter_clouds(data), _KEPT)]
    low, high = bundle.manifest.grid.z
    generator = np.random.default_rng(0)
    clouds = []
    for _ in range(4):
        # Beams hit evenly by angle and mostly near by, as on a street.
        angle = generator.uniform(-np.pi, np.pi, _SYNTHETIC_POINTS)
        reach = 3.0 + generator.exponential(12.0, _SYNTHETIC_POINTS)
        columns = (
            reach * np.cos(angle),
            reach * np.sin(angle),
            generator.uniform(low, high, _SYNTHETIC_POINTS),
            generator.uniform(0, 1, _SYNTHETIC_POINTS),
        )
        clouds.append(PointCloud(np.column_stack(columns).astype(np.float32)))
    return clouds


def _reader(cloud: "PointCloud") -> "Callable[[], PointCloud]":
    """What a node does with the message that held this cloud."""
    from types import SimpleNamespace

    from kd3d_core.datasets.pointcloud2 import decode_pointcloud2
    from kd3d_core.datasets.pointcloud2 import encode_pointcloud2_arrays

    fields, step, data = encode_pointcloud2_arrays(cloud)
    names = ("name", "offset", "datatype", "count")
    message = SimpleNamespace(
        height=1,
        width=len(cloud),
        fields=[SimpleNamespace(**dict(zip(names, field, strict=True))) for field in fields],
        is_bigendian=False,
        point_step=step,
        row_step=len(data),
        data=data,
        header=None,
    )
    return lambda: decode_pointcloud2(message)


def _table(result: "BenchResult") -> "Table":
    """A row a stage."""
    from rich.table import Table

    threads = "" if result.threads is None else f", {result.threads} thread(s)"
    table = Table(
        title=f"{result.model} on {result.backend} {result.precision}{threads}: "
        f"{result.frames} clouds of {result.points:,} points"
    )
    table.add_column("stage")
    for name in ("p50 [ms]", "p90", "p99", "least"):
        table.add_column(name, justify="right")
    rows = dict(result.stages)
    if result.bare_ms is not None:
        rows["OpenVINO alone"] = result.bare_ms
    for name, times in rows.items():
        values = (times.p50, times.p90, times.p99, times.least)
        table.add_row(name, *(f"{value:.2f}" for value in values))
    return table


def _print_words(console: "Console", result: "BenchResult") -> None:
    """What no percentile says."""
    words = [f"{result.rate:.1f} clouds/s, {result.cpu_ms:.1f} ms CPU a cloud"]
    if result.network_ratio is not None:
        words.append(f"network {result.network_ratio:.2f} x OpenVINO alone")
    if result.rss_start_mb is not None and result.rss_end_mb is not None:
        words.append(f"memory {result.rss_start_mb:.0f} MB, at the end {result.rss_end_mb:.0f} MB")
    about = result.machine
    load = "" if about["load"] is None else f", load {about['load']:.1f}"
    words.append(f"{about['processor']}, {about['cores']} cores{load}")
    console.print("; ".join(words) + ".", highlight=False)
    if about["load"] is not None and about["load"] > 0.5 * (about["cores"] or 1):
        console.print(
            "The machine was busy: the wall times are too long; repeat it alone.", style="yellow"
        )
