"""Compiled networks on disk, so that the next start does not compile again.

One folder a library version and network: `<root>/openvino-2024.6.0/<sha256 of the graph>/`. What
is in it is sealed with checksums, because a half-written engine may load and detect nonsense.
TensorRT's engines lie in `<root>/tensorrt/`, as `kd3d_core compile` writes them, and carry key and
checksum themselves.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from kd3d_core.errors import Kd3dError
from kd3d_core.files import write_text
from kd3d_core.runtime.backends.base import GPU_BACKENDS
from kd3d_core.runtime.backends.trt_cache import graph_prefix
from kd3d_core.runtime.backends.trt_cache import remove_engines

_SEAL = "sha256.json"
#: The backends that can keep what they compiled, and the package that does it.
_CACHING = {"openvino": "openvino"}


@dataclass(frozen=True)
class EngineSlot:
    """Where the compiled form of one network is kept.

    Attributes:
        folder: For the backend's files; None when nothing is kept.
        filled: Whether a sealed engine was found there.
        note: What the user should know about it, or empty.
        checked: Whether the backend itself checks what it finds there.
    """

    folder: Path | None = None
    filled: bool = False
    note: str = ""
    checked: bool = False


def default_root() -> Path | None:
    """`$XDG_CACHE_HOME/kd3d/engines`, by custom `~/.cache/kd3d/engines`; None without a home."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a container whose user has no home
        return None
    return Path(base) / "kd3d" / "engines"


def open_slot(root: str, backend: str, onnx_sha256: str, *, renew: bool = False) -> EngineSlot:
    """Find or make the folder of a network; what is damaged in it is thrown away.

    Args:
        root: The folder of all engines; empty takes `default_root`.
        backend: As the node's parameter says it, such as "auto" or "openvino".
        onnx_sha256: Of the graph, hexadecimal: another network never meets this one's engine.
        renew: Throw away what is kept.

    Returns:
        The slot; without a folder, and with a note, when the cache cannot be used. A cache is
        never a reason not to start.
    """
    library = _library(backend)
    base = Path(root).expanduser() if root else default_root()
    if base is not None and backend in GPU_BACKENDS:
        return _tensorrt_slot(base / "tensorrt", onnx_sha256, renew)
    if library is None or base is None:
        return EngineSlot()
    folder = base / f"{library}-{importlib.metadata.version(library)}" / onnx_sha256[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = _checksums(folder)
        note = ""
        if files and (renew or files != _sealed(folder)):
            shutil.rmtree(folder)
            folder.mkdir()
            note = "" if renew else f"the engine in {folder} was damaged and is compiled again"
            files = {}
        if not os.access(folder, os.W_OK):
            raise PermissionError(0, "not writable")
    except OSError as error:
        return EngineSlot(
            note=f"engines are not kept, because {folder} cannot be used "
            f"({error.strerror or error}): set the parameter engine_cache"
        )
    return EngineSlot(folder, filled=bool(files), note=note)


def seal(slot: EngineSlot) -> str:
    """Note the checksums of what the backend has written.

    Returns:
        Why that was not possible, or empty.
    """
    if slot.folder is None or slot.checked:
        return ""
    try:
        files = _checksums(slot.folder)
        if files != _sealed(slot.folder):
            write_text(slot.folder / _SEAL, json.dumps(files, indent=2) + "\n")
    except (OSError, Kd3dError) as error:
        return f"the engine in {slot.folder} could not be kept: {error}"
    return ""


def _tensorrt_slot(folder: Path, onnx_sha256: str, renew: bool) -> EngineSlot:
    """The folder of TensorRT's engines, which the backend fills and checks."""
    try:
        if renew:
            remove_engines(folder, onnx_sha256)
    except Kd3dError as error:
        return EngineSlot(note=f"the engine is not made anew: {error}")
    # One for another GPU or version counts too: it costs no more than a word in the log.
    filled = any(folder.glob(f"{graph_prefix(onnx_sha256)}*.engine"))
    return EngineSlot(folder, filled, checked=True)


def _library(backend: str) -> str | None:
    """The package whose engines are kept, or None."""
    name = "openvino" if backend == "auto" else backend
    library = _CACHING.get(name)
    return library if library and importlib.util.find_spec(library) is not None else None


def _checksums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 of everything in a folder but the seal."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name != _SEAL and not path.name.startswith(".")
    }


def _sealed(folder: Path) -> dict[str, str] | None:
    """The checksums that were noted, or None."""
    try:
        content = json.loads((folder / _SEAL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
