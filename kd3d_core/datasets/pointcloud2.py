"""`sensor_msgs/PointCloud2` to `PointCloud` and back, in NumPy; float32 clouds by a numba kernel.

The message is taken by its attributes alone, so the same function serves rclpy, rosbags and
plain objects, and no ROS has to be installed.
"""

from collections.abc import Iterable
from typing import Any
from typing import Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.pointcloud import PointCloud

#: sensor_msgs/PointField datatype numbers, without their byte order.
DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
#: Names that LiDAR drivers give to the same thing, the preferred one first.
INTENSITY_NAMES = ("intensity", "i", "reflectivity", "reflectance", "signal")
TIME_NAMES = ("time", "t", "timestamp", "time_stamp", "offset_time")
RING_NAMES = ("ring", "channel", "line", "laser_id")

_FLOAT32 = 7
_INT16 = 3


class PointField(Protocol):
    """The attributes of sensor_msgs/PointField."""

    name: str
    offset: int
    datatype: int
    count: int


class PointCloud2(Protocol):
    """The attributes of sensor_msgs/PointCloud2 that are read."""

    height: int
    width: int
    fields: Any
    is_bigendian: bool
    point_step: int
    row_step: int
    data: Any


def guess_intensity_scale(values: NDArray[Any]) -> float:
    """The value for full intensity, judged by the values of one cloud.

    Floats up to 1.5 are taken for [0, 1]. Everything else is 8 bit (255), unless more than one in
    a hundred values is above that: then 16 bit (65535). The number is a guess: a sensor with
    another scale (0-100, 0-3300, ...) must be told by `intensity_scale`.

    Args:
        values: (N,) raw intensities of any numeric dtype; NaN is ignored.

    Returns:
        1, 255 or 65535.
    """
    if values.dtype.kind in "iu":
        if values.dtype.itemsize == 1:
            return 255.0
    else:
        if not np.isfinite(values.max(initial=0.0)):  # a pass less where all are finite
            values = values[np.isfinite(values)]
        if not len(values) or values.max() <= 1.5:
            return 1.0
    above = np.count_nonzero(values > 255)
    return 65535.0 if above * 100 > len(values) else 255.0


def decode_pointcloud2(msg: PointCloud2, intensity_scale: float | None = None) -> PointCloud:
    """Read a PointCloud2 of any layout.

    Any offsets, padding between points and rows, byte order, organised clouds and field types.
    Points without a return (not finite, or exactly at the origin) go and are counted in
    `PointCloud.dropped`. A message of no points is an empty cloud, whatever its layout says.

    Args:
        msg: The message; from rclpy, rosbags, or any object with the same attributes.
        intensity_scale: The sensor's value for full intensity; None guesses it from the values,
            see `guess_intensity_scale`.

    Returns:
        The cloud; `time` is relative to the header's stamp [s] where the message has a time field.

    Raises:
        Kd3dError: x, y or z is missing, a field does not fit into the point, or data is truncated.
    """
    fields = {field.name: field for field in reversed(list(msg.fields))}
    if 0 in (msg.height, msg.width):
        # A sensor that sees nothing: many drivers then leave the layout out as well.
        named = _first(INTENSITY_NAMES, fields) is not None
        return PointCloud(np.zeros((0, 4), np.float32), has_intensity=named or not fields)
    missing = [name for name in "xyz" if name not in fields]
    if missing:
        names = ", ".join(field.name for field in msg.fields) or "none"
        raise Kd3dError(
            f"PointCloud2 has no field {', '.join(missing)} (its fields: {names}). Publish a "
            "cloud with x, y and z."
        )
    intensity_name = _first(INTENSITY_NAMES, fields)
    time_name = _first(TIME_NAMES, fields)
    ring_name = _first(RING_NAMES, fields)
    wanted = [name for name in ("x", "y", "z", intensity_name, time_name, ring_name) if name]
    raw = _view(msg, [fields[name] for name in wanted])

    points, keep = _collect(raw, intensity_name, intensity_scale)
    select: Any = slice(None) if len(points) == len(keep) else keep
    return PointCloud(
        points=points,
        time=_relative_time(msg, raw[time_name].ravel()[select]) if time_name else None,
        ring=_rings_from_below(raw[ring_name].ravel()[select], points) if ring_name else None,
        has_intensity=intensity_name is not None,
        dropped=len(keep) - len(points),
    )


def warm_up() -> None:
    """Compile what reads the usual float32 message, so that the first is as quick as any."""
    raw = np.ones(1, [(name, "f4") for name in (*"xyz", "intensity", "time")])
    _collect(raw.reshape(1, 1), "intensity", 1.0)


def encode_pointcloud2_arrays(
    cloud: PointCloud,
) -> tuple[list[tuple[str, int, int, int]], int, bytes]:
    """The parts of a little-endian, unorganised PointCloud2 that hold a cloud.

    Returns:
        The fields as (name, offset, datatype, count), point_step [bytes] and the data: x, y, z,
        intensity as float32, then time (float32) and ring (int16) where the cloud has them.
        height is 1, width `len(cloud)`, row_step `len(data)`.
    """
    columns: list[tuple[str, int, NDArray[Any]]] = [
        (name, _FLOAT32, cloud.points[:, i]) for i, name in enumerate(("x", "y", "z", "intensity"))
    ]
    if cloud.time is not None:
        columns.append(("time", _FLOAT32, cloud.time))
    if cloud.ring is not None:
        columns.append(("ring", _INT16, cloud.ring))
    dtype = np.dtype([(name, "<" + DATATYPES[kind]) for name, kind, _ in columns])
    packed = np.empty(len(cloud), dtype)
    for name, _, values in columns:
        packed[name] = values
    starts = np.cumsum([0, *(values.dtype.itemsize for _, _, values in columns)])
    fields = [(columns[i][0], int(starts[i]), columns[i][1], 1) for i in range(len(columns))]
    return fields, dtype.itemsize, packed.tobytes()


def _first(names: Iterable[str], fields: dict[str, PointField]) -> str | None:
    """The first of `names` that the message has."""
    return next((name for name in names if name in fields), None)


def _view(msg: PointCloud2, fields: list[PointField]) -> NDArray[Any]:
    """(height, width) structured view of the message's bytes; nothing is copied."""
    order = ">" if msg.is_bigendian else "<"
    for field in fields:
        kind = DATATYPES.get(field.datatype)
        if kind is None:
            raise Kd3dError(
                f"PointCloud2: field {field.name} has the unknown datatype {field.datatype}."
            )
        if field.offset + np.dtype(kind).itemsize > msg.point_step:
            raise Kd3dError(
                f"PointCloud2: field {field.name} (offset {field.offset}, {kind}) does not fit "
                f"into a point of {msg.point_step} bytes. The publisher's point_step or fields "
                "are wrong."
            )
    data = msg.data
    buffer = np.asarray(data, np.uint8) if isinstance(data, list) else np.frombuffer(data, "u1")
    shape = (msg.height, msg.width)
    packed = msg.width * msg.point_step
    # Some drivers leave row_step at zero when there is one row.
    row_step = msg.row_step if msg.height > 1 else packed
    needed = (msg.height - 1) * row_step + packed
    if row_step < packed or len(buffer) < needed:
        raise Kd3dError(
            f"PointCloud2 is truncated: {msg.height} x {msg.width} points of {msg.point_step} "
            f"bytes in rows of {row_step} need {max(needed, msg.height * packed)} bytes, "
            f"data has {len(buffer)}."
        )
    # Only now: a point_step beyond the data may be too large for NumPy.
    dtype = np.dtype(
        {
            "names": [field.name for field in fields],
            "formats": [order + DATATYPES[field.datatype] for field in fields],
            "offsets": [field.offset for field in fields],
            "itemsize": msg.point_step,
        }
    )
    return np.ndarray(shape, dtype, buffer, strides=(row_step, msg.point_step))


def _collect(
    raw: NDArray[Any], intensity_name: str | None, intensity_scale: float | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The points with a return, intensity in [0, 1].

    Args:
        raw: Structured view of the message.
        intensity_name: Its field, or None.
        intensity_scale: As for `decode_pointcloud2`.

    Returns:
        (M, 4) float32 C-contiguous points, and (N,) bool: which of the message they are.
    """
    values = None if intensity_name is None else raw[intensity_name].ravel()
    scale = 1.0 if values is None else intensity_scale or guess_intensity_scale(values)
    names = ("x", "y", "z", intensity_name or "x")
    if all(raw.dtype[name] == np.float32 for name in names):  # native byte order
        x, y, z, fourth = (raw[name].reshape(-1) for name in names)
        factor = np.float32(0.0 if values is None else 1.0 / scale)
        points, keep, count = _gather(x, y, z, fourth, factor)
        return points[:count], keep
    points = np.zeros((raw.size, 4), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for column, name in enumerate("xyz"):
            points[:, column] = raw[name].ravel()
        xyz = points[:, :3]
        # One comparison serves for NaN, infinity and the origin, which drivers of organised
        # clouds fill in for "no return".
        square = np.einsum("ij,ij->i", xyz, xyz)
        keep = (square > 0) & (square < np.inf)
    if values is not None:
        column4 = points[:, 3]
        with np.errstate(over="ignore", invalid="ignore"):  # infinite intensity is clipped
            np.multiply(values, np.float32(1.0 / scale), out=column4, casting="unsafe")
        if values.dtype.kind == "f":
            column4[np.isnan(column4)] = 0.0
        np.clip(column4, 0.0, 1.0, out=column4)
    return np.ascontiguousarray(points if keep.all() else points[keep]), keep


@njit(cache=True, nogil=True)
def _gather(
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    z: NDArray[np.float32],
    intensity: NDArray[np.float32],
    factor: np.float32,
) -> tuple[NDArray[np.float32], NDArray[np.bool_], int]:
    """`_collect` in one pass over strided columns (N,).

    Args:
        x: Coordinates [m]; y and z likewise.
        y: See x.
        z: See x.
        intensity: In the sensor's scale.
        factor: One over the value for full intensity; 0 for a cloud without.

    Returns:
        (N, 4) points of which the first M are set; (N,) which those are; M.
    """
    points = np.empty((len(x), 4), np.float32)
    keep = np.empty(len(x), np.bool_)
    count = 0
    for i in range(len(x)):
        square = x[i] * x[i] + y[i] * y[i] + z[i] * z[i]
        keep[i] = 0 < square < np.inf  # as in `_collect`
        if not keep[i]:
            continue
        points[count, 0] = x[i]
        points[count, 1] = y[i]
        points[count, 2] = z[i]
        value = intensity[i] * factor
        # Not-a-number fails the first comparison and becomes 0.
        points[count, 3] = min(value, np.float32(1)) if value > 0 else np.float32(0)
        count += 1
    return points, keep, count


def _relative_time(msg: PointCloud2, values: NDArray[Any]) -> NDArray[np.float32]:
    """(N,) float32 seconds relative to the header's stamp.

    Integers are nanoseconds since the stamp (Ouster, Livox, Autoware). Floats are seconds since
    the stamp (Velodyne), or absolute when they are as large as a clock (Hesai, RoboSense: seconds;
    Livox: nanoseconds).
    """
    seconds = values.astype(np.float64)
    if values.dtype.kind in "iu":
        return (seconds * 1e-9).astype(np.float32)
    # What no clock says is no time; the bound also keeps the result within float32.
    seconds = np.where(np.abs(seconds) < 1e30, seconds, 0.0)
    largest = np.abs(seconds).max(initial=0.0)
    if largest > 1e14:
        seconds *= 1e-9
    if largest > 1e8:
        stamp = getattr(getattr(msg, "header", None), "stamp", None)
        # Without a header the last point stands for the stamp of the sweep.
        seconds -= seconds.max() if stamp is None else _seconds(stamp)
    return seconds.astype(np.float32)


def _seconds(stamp: Any) -> float:
    """builtin_interfaces/Time as seconds."""
    return float(stamp.sec) + 1e-9 * float(stamp.nanosec)


def _rings_from_below(ring: NDArray[Any], points: NDArray[np.float32]) -> NDArray[np.int16]:
    """(N,) int16 beams numbered from the lowest; Ouster and Hesai number them from the top."""
    with np.errstate(invalid="ignore"):  # not-a-number counts as any ring
        rings = ring.astype(np.int16)
    step = max(1, len(rings) // 2048)
    sample = points[::step]
    if len(sample) > 1:
        elevation = sample[:, 2] / np.maximum(np.hypot(sample[:, 0], sample[:, 1]), 1e-6)
        order = rings[::step].astype(np.float32)
        if np.sum((order - order.mean()) * (elevation - elevation.mean())) < 0:
            return (rings.max() - rings).astype(np.int16)
    return rings
