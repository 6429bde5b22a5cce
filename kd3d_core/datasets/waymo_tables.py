"""Tables in the schema of the Waymo Open Dataset v2, for writing."""

import contextlib
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kd3d_core.datasets import waymo_schema as schema
from kd3d_core.files import atomic_path


def column_types() -> dict[str, Mapping[str, Any]]:
    """The Arrow type of each column of each component.

    Raises:
        Kd3dError: pyarrow is not installed.
    """
    schema.parquet()
    import pyarrow as pa

    keys = {schema.SEGMENT: pa.string(), schema.TIME: pa.int64()}
    laser = {schema.LASER: pa.int8()}
    matrix = pa.list_(pa.float64(), 16)
    image = {"values": pa.list_(pa.float32()), "shape": pa.list_(pa.int32(), 3)}
    box = [*schema.CENTER, *schema.SIZE, schema.HEADING]
    counts = {schema.TYPE: pa.int8(), schema.POINTS: pa.int64(), schema.TOP_POINTS: pa.int64()}
    inclination = {"min": pa.float64(), "max": pa.float64(), "values": pa.list_(pa.float64())}
    images = [schema.LIDAR.format(number) for number in (1, 2)]
    return {
        "lidar": keys | laser | {f"{i}.{part}": t for i in images for part, t in image.items()},
        "lidar_pose": keys
        | laser
        | {f"{schema.PIXEL_POSE}.{part}": kind for part, kind in image.items()},
        "lidar_calibration": {schema.SEGMENT: pa.string()}
        | laser
        | {schema.EXTRINSIC: matrix}
        | {schema.INCLINATION.format(part): kind for part, kind in inclination.items()},
        "vehicle_pose": keys | {schema.VEHICLE_POSE: matrix},
        "lidar_box": keys
        | {schema.OBJECT: pa.string()}
        | dict.fromkeys(box, pa.float64())
        | counts
        | dict.fromkeys((*schema.SPEED, *schema.ACCELERATION), pa.float64())
        | dict.fromkeys((schema.DIFFICULTY, schema.TRACKING_DIFFICULTY), pa.int8()),
    }


def arrow_table(rows: list[dict[str, Any]], component: str) -> Any:
    """An Arrow table of a component; what a row lacks is null.

    Args:
        rows: Values by name of the column.
        component: A key of `column_types`.
    """
    import pyarrow as pa

    return pa.table(
        {
            name: pa.array([row.get(name) for row in rows], kind)
            for name, kind in column_types()[component].items()
        }
    )


@contextlib.contextmanager
def row_writer(home: Path, component: str, name: str) -> Iterator[Any]:
    """A `ParquetWriter`: each table is a row group; the file is there when all went well.

    Args:
        home: The folder of the split.
        component: A key of `column_types`.
        name: Of the segment.
    """
    module = schema.parquet()
    import pyarrow as pa

    kinds = pa.schema(list(column_types()[component].items()))
    with (
        atomic_path(home / component / f"{name}.parquet") as temporary,
        module.ParquetWriter(temporary, kinds) as writer,
    ):
        yield writer
