"""Engines on disk. One file an engine: a line that says what it is, its key as JSON, the engine.

A file is used only when its key is the wanted one in every ingredient and its bytes have the
checksum that was noted; else it is as if there were none.
"""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path

_MAGIC = b"kd3d engine 1\n"
#: No header is longer; a damaged one is not followed.
_LONGEST_HEADER = 4096

#: Text and numbers that are kept with a file.
Facts = dict[str, str | int | float]


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on.

    Attributes:
        onnx_sha256: Of the graph, hexadecimal; it fixes its types and all shapes but the free.
        module: "tensorrt" or "tensorrt-rtx".
        version: Of the module.
        architecture: Of the GPU, such as "sm_89".
        precision: "f32", or "auto" where float32 may be rounded to TF32.
        shapes: Smallest, usual and largest size of free dimensions, such as "1/5000/20000".
    """

    onnx_sha256: str
    module: str
    version: str
    architecture: str
    precision: str
    shapes: str

    @property
    def file_name(self) -> str:
        """Readable at the front, unique at the end."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return (
            f"{graph_prefix(self.onnx_sha256)}{self.module}-{self.version}-{self.architecture}-"
            f"{digest}.engine"
        )

    @property
    def timing_name(self) -> str:
        """Of the file of kernel timings, which graphs share."""
        return f"timing-{self.module}-{self.version}-{self.architecture}.cache"


@dataclass(frozen=True)
class Kept:
    """What a sealed file holds.

    Attributes:
        content: The bytes; None when there are none to trust.
        facts: What was noted about them.
        fault: Why there are none; empty when there is no file.
    """

    content: bytes | None = None
    facts: Facts = dataclasses.field(default_factory=dict)
    fault: str = ""


def graph_prefix(onnx_sha256: str) -> str:
    """What the names of all engines of a graph begin with."""
    return f"{onnx_sha256[:16]}-"


def default_folder() -> Path | None:
    """`$XDG_CACHE_HOME/kd3d/engines/tensorrt`, by custom below `~/.cache`; None without a home."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a container whose user has no home
        return None
    return Path(base) / "kd3d" / "engines" / "tensorrt"


def write_sealed(path: Path, key: EngineKey, content: bytes, facts: Facts) -> None:
    """Write bytes with their key and checksum, atomically.

    Raises:
        Kd3dError: The folder cannot be written.
    """
    digest = hashlib.sha256(content).hexdigest()
    header = {"key": dataclasses.asdict(key), "facts": facts, "sha256": digest}
    with atomic_path(path) as temporary:
        temporary.write_bytes(_MAGIC + json.dumps(header).encode() + b"\n" + content)


def read_sealed(path: Path, key: EngineKey) -> Kept:
    """What `write_sealed` wrote for this key, if it can be trusted."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        return Kept(fault=f"{path} cannot be read ({error.strerror or error})")
    if not data.startswith(_MAGIC):
        return Kept(fault=f"{path} is no engine of kd3d")
    end = data.find(b"\n", len(_MAGIC), len(_MAGIC) + _LONGEST_HEADER)
    try:
        header = json.loads(data[len(_MAGIC) : end]) if end >= 0 else {}
    except ValueError:
        return Kept(fault=f"{path} is damaged")
    if not isinstance(header, dict) or header.get("key") != dataclasses.asdict(key):
        return Kept(fault=f"{path} was made for something else")
    content = data[end + 1 :]
    if header.get("sha256") != hashlib.sha256(content).hexdigest():
        return Kept(fault=f"{path} is truncated or damaged")
    return Kept(content, dict(header.get("facts", {})))


def remove_engines(folder: Path, onnx_sha256: str) -> int:
    """Delete all engines of a graph.

    Returns:
        How many there were.

    Raises:
        Kd3dError: One cannot be deleted.
    """
    found = sorted(folder.glob(f"{graph_prefix(onnx_sha256)}*.engine"))
    try:
        for path in found:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise Kd3dError(f"cannot delete {error.filename}: {error.strerror or error}.") from error
    return len(found)
