"""Files that are either whole or absent."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from collections.abc import Sequence
from pathlib import Path

from kd3d_core.errors import Kd3dError


@contextlib.contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `target` that replaces it when the block ends well.

    When the block raises, the temporary file is removed and an earlier `target` stays as it was.

    Raises:
        Kd3dError: The folder of `target` does not exist and cannot be made, or is not writable.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The same suffix, because writers such as np.savez choose the format by it.
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.stem}.", suffix=target.suffix
        )
    except OSError as error:
        raise Kd3dError(
            f"cannot write {target}: {error.strerror or error}. "
            "Choose a folder that you may write to."
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private; give what the user's umask would have given.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        raise Kd3dError(f"cannot write {target}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(target: Path | str, text: str) -> None:
    """Write `text` as UTF-8 to `target`, atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic_folder(target: Path | str, owned: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a temporary folder whose entries move into `target` when the block ends well.

    When the block raises, nothing of `target` has changed.

    Args:
        target: The folder; made when absent. Entries of other names in it are left alone.
        owned: Names that this writer may write: those of an earlier run go, even when this one
            did not write them again.

    Raises:
        Kd3dError: The folder cannot be written.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as name:
            yield Path(name)
            target.mkdir(exist_ok=True)
            made = {path.name: path for path in Path(name).iterdir()}
            for entry in sorted({*owned, *made}):
                _remove(target / entry)
                if entry in made:
                    made[entry].rename(target / entry)
    except OSError as error:
        raise Kd3dError(
            f"cannot write {target}: {error.strerror or error}. "
            "Choose a folder that you may write to."
        ) from error


def _remove(path: Path) -> None:
    """Delete a file or a folder with all that is in it; what is absent is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
