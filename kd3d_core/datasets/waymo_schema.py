"""The Parquet tables of the Waymo Open Dataset v2: names of columns, and reading them.

Names and meanings are those of the data set's public format (perception components of v2). A
component is a folder with one file a segment; rows of components are joined by their keys.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd3d_core.errors import Kd3dError

SEGMENT = "key.segment_context_name"
TIME = "key.frame_timestamp_micros"
LASER = "key.laser_name"
OBJECT = "key.laser_object_id"

LIDAR = "[LiDARComponent].range_image_return{}"
PIXEL_POSE = "[LiDARPoseComponent].range_image_return1"
EXTRINSIC = "[LiDARCalibrationComponent].extrinsic.transform"
INCLINATION = "[LiDARCalibrationComponent].beam_inclination.{}"
VEHICLE_POSE = "[VehiclePoseComponent].world_from_vehicle.transform"
_BOX = "[LiDARBoxComponent]."
CENTER = tuple(f"{_BOX}box.center.{axis}" for axis in "xyz")
SIZE = tuple(f"{_BOX}box.size.{axis}" for axis in "xyz")
HEADING = f"{_BOX}box.heading"
TYPE = f"{_BOX}type"
POINTS = f"{_BOX}num_lidar_points_in_box"
TOP_POINTS = f"{_BOX}num_top_lidar_points_in_box"
SPEED = tuple(f"{_BOX}speed.{axis}" for axis in "xyz")
ACCELERATION = tuple(f"{_BOX}acceleration.{axis}" for axis in "xyz")
DIFFICULTY = f"{_BOX}difficulty_level.detection"
TRACKING_DIFFICULTY = f"{_BOX}difficulty_level.tracking"

#: Numbers of the lasers by name.
LASERS = {"top": 1, "front": 2, "side_left": 3, "side_right": 4, "rear": 5}
#: Names of the types by number; 0 is unknown.
TYPES = {1: "vehicle", 2: "pedestrian", 3: "sign", 4: "cyclist"}


def parquet() -> Any:
    """The module `pyarrow.parquet`.

    Raises:
        Kd3dError: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise Kd3dError(
            "Waymo's data is in Parquet files, which pyarrow reads. Install it: "
            "pip install 'kd3d_ros[data]'"
        ) from error
    return pyarrow.parquet


def open_component(path: Path, columns: Sequence[str]) -> Any:
    """A `pyarrow.parquet.ParquetFile`, sure to have the columns.

    Raises:
        Kd3dError: The file is missing, no Parquet, or lacks a column.
    """
    import pyarrow

    module = parquet()
    try:
        file = module.ParquetFile(path)
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise Kd3dError(
            f"cannot read {path}: {error}. Download this component of the segment (again)."
        ) from error
    there = set(file.schema_arrow.names)
    missing = [name for name in columns if name not in there]
    if missing:
        raise Kd3dError(
            f"{path} lacks the column {missing[0]}: it is not this component of the Waymo Open "
            "Dataset v2. The v1 records (.tfrecord) are another format: download v2."
        )
    return file


def read_component(path: Path, columns: Sequence[str]) -> dict[str, list[Any]]:
    """The columns of a small component as lists of Python values.

    Raises:
        Kd3dError: See `open_component`.
    """
    table = open_component(path, columns).read(columns=list(columns))
    return {name: table.column(name).to_pylist() for name in columns}
