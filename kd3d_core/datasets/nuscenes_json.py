"""Reading the JSON tables of nuScenes record by record.

`sample_data.json` of the full set has 2.6 million records, of which a LiDAR user needs one in six
and a few fields of each. Parsing it in one go takes several gigabytes, so a table is read in
pieces and each record is given away before the next one is made.
"""

import json
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from kd3d_core.errors import Kd3dError

#: The tables that are read.
TABLES = (
    "scene",
    "sample",
    "sample_data",
    "ego_pose",
    "sensor",
    "calibrated_sensor",
    "category",
    "attribute",
    "instance",
    "sample_annotation",
)
#: Characters that are read at a time.
PIECE = 1 << 20
#: No record is longer than this [characters]: what does not parse by then is damaged.
LONGEST = 16 * PIECE
_BLANK = " \t\r\n"


def find_version(root: Path, version: str | None, preferred: str | None = None) -> Path:
    """The folder of the tables.

    Args:
        root: Folder of the data set, or the folder of the tables itself.
        version: Name of the folder; None takes the only one, or `preferred` among several.
        preferred: See `version`.

    Raises:
        Kd3dError: There is none, or it is not clear which.
    """
    if not root.is_dir():
        raise Kd3dError(f"there is no folder {root}.")
    if version is None and (root / "sample.json").is_file():
        return root
    found = sorted(path.parent for path in root.glob("*/sample.json"))
    names = [path.name for path in found]
    wanted = version or (preferred if preferred in names else None)
    if not found:
        raise Kd3dError(
            f"{root} is not a nuScenes data set: no folder in it holds the tables (sample.json "
            "...). Unpack the metadata archive there, so that v1.0-mini, v1.0-trainval or "
            "v1.0-test lies beside samples and sweeps."
        )
    if wanted is None and len(found) > 1:
        raise Kd3dError(f"{root} holds several versions; choose one: {', '.join(names)}.")
    if wanted is not None and wanted not in names:
        raise Kd3dError(f"{root} holds no version {wanted!r}; it holds: {', '.join(names)}.")
    return found[0] if wanted is None else root / wanted


def is_nuscenes(root: Path) -> bool:
    """Whether a folder looks like a nuScenes data set."""
    root = Path(root)
    folders = [root, *(path.parent for path in root.glob("*/sample_data.json"))]
    needed = ("sample.json", "sample_data.json", "calibrated_sensor.json")
    return any(all((folder / name).is_file() for name in needed) for folder in folders)


def read_table(folder: Path, name: str, *fields: str) -> Iterator[tuple[Any, ...]]:
    """Some fields of the records of one table, one record after the other.

    Args:
        folder: Of the tables.
        name: Of the table.
        fields: Two or more; every record must have them.

    Raises:
        Kd3dError: The file is missing, cannot be read, or is not a JSON array of objects with
            these fields.
    """
    path = folder / f"{name}.json"
    pick = itemgetter(*fields)
    try:
        with path.open(encoding="utf-8") as file:
            for record in _objects(file):
                yield pick(record)
    except FileNotFoundError as error:
        raise Kd3dError(
            f"{path} is missing. A nuScenes version has the tables {', '.join(TABLES)}: unpack "
            "its metadata archive again."
        ) from error
    except KeyError as error:
        raise Kd3dError(
            f"{path}: a record has no field {error}. Unpack the metadata of nuScenes v1.0 again."
        ) from error
    except (OSError, ValueError) as error:
        raise Kd3dError(f"{path} is not a whole JSON table ({error}): unpack it again.") from error


def _objects(file: Any) -> Iterator[dict[str, Any]]:
    """The objects of a JSON array; raises ValueError when it is none or ends early."""
    decode = json.JSONDecoder().raw_decode
    text, place, ended = "", 0, False

    def skip(characters: str) -> str:
        """Move to the next character that is none of these; "" at the end of the file."""
        nonlocal text, place, ended
        while True:
            while place < len(text) and text[place] in characters:
                place += 1
            if place < len(text):
                return text[place]
            text, place = file.read(PIECE), 0
            if not text:
                ended = True
                return ""

    if skip(_BLANK) != "[":
        raise ValueError("it is no array")
    place += 1
    while (first := skip(_BLANK + ",")) != "]":
        if first != "{":
            raise ValueError("it ends early" if ended else "an entry is no object")
        while True:
            try:
                record, after = decode(text, place)
                break
            except ValueError as error:
                more = file.read(PIECE)
                if not more or len(text) - place > LONGEST:
                    raise ValueError(f"it ends early or is damaged: {error}") from error
                text, place = text[place:] + more, 0
        yield record
        place = after
