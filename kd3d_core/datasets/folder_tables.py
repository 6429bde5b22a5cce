"""Box files and poses of a folder of clouds: CSV and JSON."""

import csv
import json
import math
from collections.abc import Iterable
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.transforms import matrix_from_quaternion

BOX_COLUMNS = ("class", "x", "y", "z", "length", "width", "height", "yaw")
POSE_COLUMNS = ("name", "stamp", "x", "y", "z", "qx", "qy", "qz", "qw")


@dataclass(frozen=True)
class BoxRow:
    """One line of a box file.

    Attributes:
        name: Of the class.
        values: x, y, z, length, width, height [m], yaw [rad].
        velocity: vx, vy [m/s]; NaN where it is not given.
        track: Or None.
    """

    name: str
    values: tuple[float, ...]
    velocity: tuple[float, float]
    track: int | None


@dataclass(frozen=True, eq=False)
class Place:
    """When and where a sweep was taken.

    Attributes:
        stamp: [s].
        pose: (4, 4) float64 world_from_sensor, or None when unknown.
    """

    stamp: float = 0.0
    pose: NDArray[np.float64] | None = None


def read_boxes(path: Path) -> list[BoxRow]:
    """Read a `.csv` or `.json` box file.

    Raises:
        Kd3dError: It cannot be read, lacks a column, or holds something that is not a number.
    """
    records = _json(path) if path.suffix.lower() == ".json" else _csv(path)
    rows = []
    for number, record in enumerate(records, start=1):
        missing = [name for name in BOX_COLUMNS if record.get(name) in (None, "")]
        if missing:
            raise Kd3dError(
                f"{path}, box {number} has no {', '.join(missing)}: a box has "
                f"{', '.join(BOX_COLUMNS)} and may have vx, vy and track."
            )
        try:
            track = record.get("track")
            rows.append(
                BoxRow(
                    name=str(record["class"]).strip(),
                    values=tuple(float(record[name]) for name in BOX_COLUMNS[1:]),
                    velocity=(_optional(record.get("vx")), _optional(record.get("vy"))),
                    track=None if track in (None, "") else int(track),
                )
            )
        except (TypeError, ValueError) as error:
            raise Kd3dError(f"{path}, box {number}: {error}.") from error
    return rows


def read_poses(path: Path) -> dict[str, Place]:
    """Read `poses.csv`: the place of each cloud by its name.

    Raises:
        Kd3dError: It cannot be read, lacks a column, or holds something that is not a number.
    """
    places = {}
    for number, record in enumerate(_csv(path), start=2):
        try:
            stamp, x, y, z, *turn = (float(record[name]) for name in POSE_COLUMNS[1:])
        except (KeyError, TypeError, ValueError) as error:
            raise Kd3dError(
                f"{path}, line {number} does not have the numbers {', '.join(POSE_COLUMNS)}."
            ) from error
        if not math.hypot(*turn) > 0:
            raise Kd3dError(f"{path}, line {number}: qx, qy, qz, qw is no rotation.")
        pose = np.eye(4)
        pose[:3, :3] = matrix_from_quaternion(turn)
        pose[:3, 3] = x, y, z
        places[str(record["name"]).strip()] = Place(stamp, pose)
    return places


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A header line and a line a row; floats so that they read back equal."""
    lines = [",".join(columns)]
    lines += [",".join(repr(v) if isinstance(v, float) else str(v) for v in row) for row in rows]
    return "\n".join(lines) + "\n"


def _optional(value: Any) -> float:
    """A number that may be left out."""
    return math.nan if value in (None, "") else float(value)


def _csv(path: Path) -> list[Mapping[str, Any]]:
    """The lines of a CSV file by the names in its header."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Kd3dError(f"cannot read {path}: {error}.") from error


def _json(path: Path) -> list[Mapping[str, Any]]:
    """The objects of a JSON list."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Kd3dError(f"cannot read {path}: {error}.") from error
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise Kd3dError(f"{path} must hold a list of boxes, each an object with the columns.")
    return data
