"""Which backend was chosen for a graph on this machine, kept in a small file each."""

import hashlib
import importlib.util
import json
import logging
import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from kd3d_core.errors import Kd3dError
from kd3d_core.files import write_text
from kd3d_core.runtime.backends.base import BACKENDS
from kd3d_core.runtime.bench_machine import processor

_LOG = logging.getLogger(__name__)


def forget(onnx: bytes) -> None:
    """Measure a graph anew at its next load."""
    folder = _folder()
    for path in [] if folder is None else folder.glob(f"{_prefix(onnx)}-*.json"):
        path.unlink(missing_ok=True)


def _folder() -> Path | None:
    """`$XDG_CACHE_HOME/kd3d/backends`, by custom below `~/.cache`; None without a home."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a container whose user has no home
        return None
    return Path(base) / "kd3d" / "backends"


def _prefix(onnx: bytes) -> str:
    """The graph in the names of files."""
    return hashlib.sha256(onnx).hexdigest()[:16]


def choice_path(onnx: bytes, threads: int | None, precision: str) -> Path | None:
    """Where the choice for this graph, machine and wish is kept."""
    folder = _folder()
    if folder is None:
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = [metadata.version(n) for n in BACKENDS if importlib.util.find_spec(n) is not None]
    facts = json.dumps([processor(), cores, threads, precision, versions])
    machine = hashlib.sha256(facts.encode()).hexdigest()[:16]
    return folder / f"{_prefix(onnx)}-{machine}.json"


def recall(path: Path | None, wanted: Sequence[tuple[str, str]]) -> tuple[str, str, str] | None:
    """Name, precision and reason of the choice made before; None where there is none."""
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        name, arithmetic, reason = (str(found[key]) for key in ("backend", "precision", "reason"))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return (name, arithmetic, reason) if (name, arithmetic) in wanted else None


def remember(path: Path | None, name: str, arithmetic: str, reason: str) -> None:
    """Keep a choice; a cache that cannot be written is no reason not to start."""
    if path is None:
        return
    content = {"backend": name, "precision": arithmetic, "reason": reason}
    try:
        write_text(path, json.dumps(content, indent=2) + "\n")
    except (OSError, Kd3dError) as error:
        _LOG.info("the choice of a backend is not kept: %s", error)
