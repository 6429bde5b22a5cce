"""What is known of a Waymo segment besides its range images."""

import hashlib
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets import waymo_schema as schema
from kd3d_core.datasets.waymo_range_image import LaserCalibration
from kd3d_core.datasets.waymo_rows import ImageRows
from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.boxes import Boxes3D


@dataclass(frozen=True, eq=False)
class WaymoLabels:
    """The labels of a frame whose types have a class: N boxes.

    Attributes:
        boxes: In the vehicle frame, with velocities.
        points: (N,) int64 points of all lasers inside, as Waymo counts them.
        top_points: (N,) int64 of the top laser alone.
        difficulty: (N,) int64: 1 or 2 as annotated, 0 where the points decide.
        track_id: (N,) int64.
        object_id: Waymo's own names of the objects.
    """

    boxes: Boxes3D
    points: NDArray[np.int64]
    top_points: NDArray[np.int64]
    difficulty: NDArray[np.int64]
    track_id: NDArray[np.int64]
    object_id: tuple[str, ...]

    @classmethod
    def nothing(cls, classes: Sequence[str]) -> "WaymoLabels":
        """A frame without any."""
        none = np.zeros(0, np.int64)
        return cls(Boxes3D.empty(classes), none, none, none, none, ())


@dataclass(frozen=True, eq=False)
class Segment:
    """A segment: dictionaries by the time of the frame [us], but calibrations by laser.

    Attributes:
        calibrations: Of each laser.
        poses: (4, 4) float64 world_from_vehicle.
        labels: Of the frames that have some; None where the split has no labels.
        images: The range images.
        pixel_poses: Of the top laser, None where that component is not there.
    """

    calibrations: dict[int, LaserCalibration]
    poses: dict[int, NDArray[np.float64]]
    labels: dict[int, WaymoLabels] | None
    images: ImageRows
    pixel_poses: ImageRows | None


def read_poses(path: Path) -> dict[int, NDArray[np.float64]]:
    """(4, 4) world_from_vehicle by time [us] from a `vehicle_pose` file.

    Raises:
        Kd3dError: The file cannot be read, or lacks a column or a value.
    """
    table = schema.read_component(path, [schema.TIME, schema.VEHICLE_POSE])
    return {
        time: _matrix(values, path)
        for time, values in zip(table[schema.TIME], table[schema.VEHICLE_POSE], strict=True)
    }


def read_calibrations(path: Path) -> dict[int, LaserCalibration]:
    """The calibration of each laser from a `lidar_calibration` file.

    Raises:
        Kd3dError: The file cannot be read, or lacks a column or a value.
    """
    low, high, values = (schema.INCLINATION.format(key) for key in ("min", "max", "values"))
    table = schema.read_component(path, [schema.LASER, schema.EXTRINSIC, low, high, values])
    return {
        laser: LaserCalibration(
            extrinsic=_matrix(table[schema.EXTRINSIC][row], path),
            lowest=float(table[low][row]),
            highest=float(table[high][row]),
            beams=np.array(table[values][row], np.float64) if table[values][row] else None,
        )
        for row, laser in enumerate(table[schema.LASER])
    }


def read_labels(
    path: Path,
    poses: Mapping[int, NDArray[np.float64]],
    classes: tuple[str, ...],
    class_of_type: Mapping[str, str],
) -> dict[int, WaymoLabels]:
    """The labels of each frame that has some, by time [us], from a `lidar_box` file.

    Args:
        path: The file.
        poses: (4, 4) world_from_vehicle by time, to turn velocities.
        classes: What the labels point into; boxes of other classes are left out.
        class_of_type: The class that each of Waymo's types is read as.

    Raises:
        Kd3dError: The file cannot be read or lacks a column, or a time has no pose.
    """
    columns = [
        schema.TIME,
        schema.OBJECT,
        schema.TYPE,
        *schema.CENTER,
        *schema.SIZE,
        schema.HEADING,
        schema.POINTS,
        schema.TOP_POINTS,
        *schema.SPEED,
        schema.DIFFICULTY,
    ]
    table = schema.read_component(path, columns)
    names = [class_of_type.get(schema.TYPES.get(kind, "")) for kind in table[schema.TYPE]]
    kept = np.array([name in classes for name in names], bool)
    label = np.array([classes.index(name) if name in classes else 0 for name in names], np.int64)
    numbers = {name: _column(table[name]) for name in columns[3:]}
    times = np.array(table[schema.TIME], np.int64)
    ids = np.array(table[schema.OBJECT], object)
    result = {}
    for time in np.unique(times).tolist():
        rows = np.flatnonzero((times == time) & kept)
        if time not in poses:
            raise Kd3dError(
                f"{path} has labels at {time}, when vehicle_pose of the segment has no pose: "
                "download both components again."
            )
        speed = np.stack([numbers[name][rows] for name in schema.SPEED], axis=1)
        boxes = Boxes3D.make(
            np.stack([numbers[name][rows] for name in schema.CENTER], axis=1),
            np.stack([numbers[name][rows] for name in schema.SIZE], axis=1),
            numbers[schema.HEADING][rows],
            label[rows],
            # Speeds are those over ground in the axes of the world.
            velocity=(speed @ poses[time][:3, :3])[:, :2],
            classes=classes,
        )
        points, top_points, difficulty = (
            np.nan_to_num(numbers[name][rows]).astype(np.int64)
            for name in (schema.POINTS, schema.TOP_POINTS, schema.DIFFICULTY)
        )
        track = np.array([track_number(name) for name in ids[rows]], np.int64)
        result[time] = WaymoLabels(boxes, points, top_points, difficulty, track, tuple(ids[rows]))
    return result


def track_number(name: str) -> int:
    """A number for the name of an object: the same in every file and on every machine."""
    if name.isdecimal() and len(name) < 18:
        return int(name)
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _column(values: list[Any]) -> NDArray[np.float64]:
    """(N,) float64, NaN where there is no value."""
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _matrix(values: Any, path: Path) -> NDArray[np.float64]:
    """(4, 4) float64 of 16 numbers."""
    matrix = np.array(values if values is not None else [], np.float64)
    if matrix.size != 16:
        raise Kd3dError(f"{path}: a transform has {matrix.size} numbers, not 16.")
    return matrix.reshape(4, 4)
