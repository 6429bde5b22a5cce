"""What a timing depends on: the machine, its load, versions; and the memory of this process."""

import os
import platform
from pathlib import Path
from typing import Any

_LIBRARIES = ("numpy", "numba", "openvino", "onnxruntime")


def machine() -> dict[str, Any]:
    """Processor, cores, load of the last minute, system, versions of Python and the libraries."""
    from importlib import metadata

    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": load(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **versions,
    }


def load() -> float | None:
    """How many processes wanted a core in the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    # Boards with ARM cores name no model but their parts' numbers.
    for key in ("model name", "CPU part"):
        names = [line.partition(":")[2].strip() for line in lines if line.startswith(key)]
        if names:
            return names[0] if key == "model name" else f"{platform.machine()} part {names[0]}"
    return platform.machine()


def resident_mb() -> float | None:
    """Memory of this process [MB], where the system tells (Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
