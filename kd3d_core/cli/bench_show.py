"""What `kd3d_core bench` prints and writes."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from kd3d_core.pointcloud import PointCloud
from kd3d_core.runtime.bench import Record
from kd3d_core.runtime.bench_machine import machine
from kd3d_core.runtime.bench_peers import PEERS
from kd3d_core.runtime.bench_peers import ratios
from kd3d_core.runtime.bench_runners import BareOpenVino


def report(
    records: Sequence[Record], clouds: Sequence[PointCloud], absent: Mapping[str, str]
) -> dict[str, Any]:
    """The figures, ready for JSON.

    Args:
        records: Of `race`; the first is one of our backends.
        clouds: That were run on.
        absent: Why peers did not run, by name.

    Returns:
        `machine`, `clouds` (count and mean points), `results` (a dictionary a record, with the
        `network_ratio` over OpenVINO alone where it was timed), `ratios` of each backend of ours
        against each peer, and `absent`.
    """
    own = [each for each in records if "read" in each.stages]
    peers = [each for each in records if each.name in PEERS]
    bare = next((each for each in records if each.name == BareOpenVino.name), None)
    results = []
    for record in records:
        result = record.to_dict()
        if bare is not None and record.about.get("backend") == "openvino":
            ratio = record.times("network").p50 / bare.times("network").p50
            result["network_ratio"] = ratio
        results.append(result)
    return {
        "machine": machine(),
        "clouds": {
            "count": len(clouds),
            "points": int(np.mean([len(cloud) for cloud in clouds])),
        },
        "results": results,
        "ratios": [ratio for record in own for ratio in ratios(record, peers)],
        "absent": dict(absent),
    }


def show(records: Sequence[Record], found: Mapping[str, Any], console: Console) -> None:
    """Print tables and what no percentile says.

    Args:
        records: Of `race`.
        found: Their `report`.
        console: To print to.
    """
    results = {result["name"]: result for result in found["results"]}
    for record in records:
        console.print(_table(record, found["clouds"]["points"]))
        _words(results[record.name], console)
    _ratios(found["ratios"], console)
    for sentence in found["absent"].values():
        console.print(sentence, style="yellow", highlight=False)
    about = found["machine"]
    busy = "" if about["load"] is None else f", load {about['load']:.1f}"
    console.print(f"{about['processor']}, {about['cores']} cores{busy}.", highlight=False)
    if about["load"] is not None and about["load"] > 1.5 * (about["cores"] or 1):
        console.print(
            "The machine was busy: wall times are too long, and those of a few milliseconds mean "
            "nothing; ratios of whole passes and CPU times hold better. Repeat it alone.",
            style="yellow",
        )


def _table(record: Record, points: int) -> Table:
    """A row a stage."""
    about = record.about
    model = about.get("model", "")
    arithmetic = f" {about['precision']}" if "precision" in about else ""
    threads = f", {about['threads']} thread(s)" if about.get("threads") else ""
    name = about.get("backend", record.name)
    table = Table(
        title=f"{model} on {name}{arithmetic}{threads}: {len(record.passes)} clouds of "
        f"{points:,} points"
    )
    table.add_column("stage")
    for heading in ("p50 [ms]", "p90", "p99", "least"):
        table.add_column(heading, justify="right")
    rows = {stage: record.times(stage) for stage in record.stages}
    rows["CPU time, all threads"] = record.cpu
    for stage, times in rows.items():
        values = (times.p50, times.p90, times.p99, times.least)
        table.add_row(stage, *(f"{value:.2f}" for value in values))
    return table


def _words(result: Mapping[str, Any], console: Console) -> None:
    """What no percentile says."""
    words = [f"{result['rate']:.1f} clouds/s"]
    if result.get("network_ratio"):
        words.append(f"network {result['network_ratio']:.2f} x OpenVINO alone")
    if result["memory_mb"] is not None:
        growth = result["memory_growth_mb"]
        state = "steady" if result["memory_steady"] else f"grew by {growth:.1f} MB"
        words.append(f"memory {result['memory_mb']:.0f} MB, {state}")
    energy = result["joules_per_cloud"]
    if energy is None:
        words.append("energy not reported by this device")
    else:
        words += [f"{joules:.3f} J a cloud ({name})" for name, joules in energy.items()]
    console.print("; ".join(words) + ".", highlight=False)
    if result.get("reason"):
        console.print(result["reason"], highlight=False)


def _ratios(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """How many times as long peers take."""
    if not rows:
        return
    table = Table(title="how many times as long it takes, in the same run")
    table.add_column("peer")
    table.add_column("compared")
    for heading in ("wall p50", "wall least", "CPU p50"):
        table.add_column(heading, justify="right")
    for row in rows:
        cpu = "" if row["cpu"] is None else f"{row['cpu']:.1f} x"
        walls = (f"{row[kind]:.1f} x" for kind in ("wall", "least"))
        table.add_row(row["peer"], f"{row['stage']}, {row['against']}", *walls, cpu)
    console.print(table)
