"""What `gpu_latency.py` says about the machine and its figures."""

import json
import os
import platform
import subprocess
from typing import Any

import torch


def machine(device: str) -> dict[str, Any]:
    """What the figures hold for."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
    }
    if device == "cuda":
        about = torch.cuda.get_device_properties(0)
        found |= {"gpu": about.name, "memory_gb": about.total_memory / 2**30}
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        try:
            told = subprocess.run(query, capture_output=True, text=True, check=False)
            found["driver"] = told.stdout.strip()
        except OSError:
            found["driver"] = "unknown"
    return found


def report(result: dict[str, Any]) -> list[str]:
    """The figures as Markdown."""
    records = result["records"]
    lines = ["", json.dumps(result["machine"])]
    for r in of_kind(records, "ceilings"):
        rates = ", ".join(f"{name} {2e-12 * rate:.1f} TFLOP/s" for name, rate in r["rate"].items())
        copies = f"copy {r['bandwidth'] / 1e9:.0f} GB/s, upload {r['upload'] / 1e9:.1f} GB/s"
        lines.append(f"{copies}, {rates}")
    head = ("model", "precision", "GMAC", "arithmetic ms", "floor once ms", "floor by layer ms")
    lines += ["", row(*head, "upload ms"), row(*["---"] * 7)]
    floor = {(r["model"], r["precision"]): r for r in of_kind(records, "floor")}
    for (model, precision), r in floor.items():
        figures = (r["macs"] / 1e9, r["arithmetic"], r["once"], r["layers"], r["upload"])
        lines.append(row(model, precision, *(f"{figure:.3f}" for figure in figures)))
    head = ("model", "way", "precision", "p50 ms", "p90", "p99", "GPU ms", "GPU / floor by layer")
    lines += ["", row(*head, "same boxes", "input differs"), row(*["---"] * 10)]
    for r in of_kind(records, "time"):
        least = floor.get((r["model"], r["precision"]))
        ratio = r["gpu_ms"] / least["layers"] if least and r["gpu_ms"] else None
        times = (f"{r[name]:.3f}" for name in ("p50_ms", "p90_ms", "p99_ms"))
        alone = f"{r['gpu_ms']:.3f}" if r["gpu_ms"] else ""
        differs = "" if r["input_difference"] is None else f"{r['input_difference']:.1e}"
        lines.append(
            row(
                r["model"],
                r["variant"],
                r["precision"],
                *times,
                alone,
                f"{ratio:.1f}" if ratio else "",
                f"{100 * r['same_boxes']:.0f} %",
                differs,
            )
        )
    for r in of_kind(records, "failure"):
        what = r.get("variant", r["family"]), r.get("precision", "")
        lines.append(f"not run: {r['model']}, {', '.join(filter(None, what))}: {r['error']}")
    return lines


def of_kind(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The records of one kind."""
    return [record for record in records if record["kind"] == kind]


def row(*cells: str) -> str:
    """A line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"
