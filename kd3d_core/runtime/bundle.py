"""The bundle `*.kd3d`: the one artefact that leaves training. A zip of a manifest and a graph."""

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from kd3d_core.config import parse_config
from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.runtime.manifest import FORMAT_VERSION
from kd3d_core.runtime.manifest import Manifest
from kd3d_core.runtime.manifest import Signature

MANIFEST_NAME = "manifest.json"
ONNX_NAME = "model.onnx"
#: The oldest moment that a zip can hold: equal content gives equal bytes, whenever written.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Bundle:
    """A manifest and the graph it describes.

    Attributes:
        manifest: What the graph is and how to feed and decode it.
        onnx: The serialised ONNX model.
    """

    manifest: Manifest
    onnx: bytes


def write_bundle(path: Path | str, manifest: Manifest, onnx: bytes) -> Manifest:
    """Write a bundle, atomically and reproducibly: equal content gives equal bytes.

    Args:
        path: The file to write, by custom `*.kd3d`.
        manifest: Its `onnx_sha256` and `format_version` are set here.
        onnx: The serialised ONNX model.

    Returns:
        The manifest as written.

    Raises:
        Kd3dError: The file cannot be written.
    """
    manifest = manifest.model_copy(
        update={"onnx_sha256": sha256(onnx), "format_version": FORMAT_VERSION}
    )
    text = json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n"
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in ((MANIFEST_NAME, text.encode()), (ONNX_NAME, onnx)):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # the same on every platform
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return manifest


def read_bundle(path: Path | str) -> Bundle:
    """Read and check a bundle.

    Raises:
        Kd3dError: The file cannot be read, is no bundle, is truncated or damaged, has another
            format version, or its parts do not belong together; the message says which.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(4)
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
    except OSError as error:
        raise Kd3dError(f"cannot read the bundle {path}: {error.strerror or error}.") from error
    except zipfile.BadZipFile as error:
        if not head:
            reason = "is empty; write or copy it again"
        elif head.startswith(b"PK"):
            reason = "is truncated or damaged; copy or download it again"
        else:
            reason = "is not a kd3d bundle; make one with `kd3d_core export CHECKPOINT OUT.kd3d`"
        raise Kd3dError(f"{path} {reason}.") from error
    except (zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise Kd3dError(f"{path} is damaged ({error}); copy or download it again.") from error
    manifest = _manifest(members[MANIFEST_NAME], path)
    onnx = members[ONNX_NAME]
    if sha256(onnx) != manifest.onnx_sha256:
        raise Kd3dError(
            f"{path}: {ONNX_NAME} is not the file that the manifest was written for (its sha256 "
            "differs); export the bundle again."
        )
    return Bundle(manifest, onnx)


def check_signature(
    manifest: Manifest, inputs: Signature, outputs: Signature, source: str
) -> None:
    """Refuse a graph whose inputs or outputs are not those that the manifest promises.

    Args:
        manifest: Of the bundle.
        inputs: Names and shapes that the graph has; None is a free dimension.
        outputs: Likewise.
        source: The bundle's name for the message.

    Raises:
        Kd3dError: A name or a shape differs.
    """
    for kind, wanted, found in (
        ("inputs", manifest.inputs, inputs),
        ("outputs", manifest.outputs, outputs),
    ):
        if set(wanted) != set(found):
            raise Kd3dError(
                f"{source}: the graph has the {kind} {', '.join(found) or 'none'}, the manifest "
                f"needs {', '.join(wanted)}; export the bundle again."
            )
        for name, shape in wanted.items():
            if not _fits(shape, found[name]):
                raise Kd3dError(
                    f"{source}: '{name}' of the graph's {kind} has the shape "
                    f"{_words(found[name])}, the manifest needs {_words(shape)}; export the "
                    "bundle again."
                )


def sha256(content: bytes) -> str:
    """The hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    """Both parts of a bundle; zipfile checks their CRC while reading."""
    names = archive.namelist()
    for name in (MANIFEST_NAME, ONNX_NAME):
        if name not in names:
            raise Kd3dError(
                f"{path} is a zip file without {name}, so not a kd3d bundle; make one with "
                "`kd3d_core export CHECKPOINT OUT.kd3d`."
            )
    return {name: archive.read(name) for name in (MANIFEST_NAME, ONNX_NAME)}


def _manifest(content: bytes, path: Path) -> Manifest:
    """Parse the manifest; the version comes first, because it decides what fits."""
    source = f"{path}: {MANIFEST_NAME}"
    try:
        data = json.loads(content)
    except ValueError as error:
        raise Kd3dError(f"{source} is not valid JSON: {error}") from error
    version = data.get("format_version") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise Kd3dError(f"{source} names no format_version; export the bundle again.")
    if version > FORMAT_VERSION:
        raise Kd3dError(
            f"{path} has bundle format {version}, this kd3d reads {FORMAT_VERSION}: update kd3d."
        )
    if version < FORMAT_VERSION:
        raise Kd3dError(
            f"{path} has the outdated bundle format {version}, this kd3d reads "
            f"{FORMAT_VERSION}: export its checkpoint again."
        )
    return parse_config(Manifest, data, source)


def _fits(wanted: tuple[int | None, ...], found: tuple[int | None, ...]) -> bool:
    """Whether shapes agree; a free dimension of the graph takes any size, not the reverse."""
    return len(wanted) == len(found) and all(
        have is None or have == want for want, have in zip(wanted, found, strict=True)
    )


def _words(shape: tuple[int | None, ...]) -> str:
    """A shape for people: free dimensions as *."""
    return "(" + ", ".join("*" if size is None else str(size) for size in shape) + ")"
