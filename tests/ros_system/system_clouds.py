"""Clouds as they go over the wire: serialised once, stamped often.

The network of `handmade_bundle` sees a car in every output cell of 0.64 m that has points, within
10.24 m of the sensor. So a clump is one box at a known place, and everything else lies outside.
"""

import array
import struct
from collections.abc import Sequence

import numpy as np
from handmade_bundle import clump
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from sensor_msgs.msg import PointCloud2
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

#: The middle of an output cell of the handmade network.
PLACE = (2.88, -3.52)
#: One output cell [m].
CELL = 0.64
FULL = 120_000
_KINDS = {"u1": 2, "u2": 4, "f4": 7, "f8": 8}
_CDR_STAMP = 4  # behind the four bytes that name the encoding


class WireCloud:
    """A serialised PointCloud2 whose stamp can be set."""

    def __init__(self, message: PointCloud2) -> None:
        self._bytes = bytearray(serialize_message(message))

    def stamped(self, nanoseconds: int) -> bytes:
        """The cloud with this stamp."""
        seconds, rest = divmod(nanoseconds, 10**9)
        struct.pack_into("<iI", self._bytes, _CDR_STAMP, seconds, rest)
        return bytes(self._bytes)


def scene(count: int = FULL, place: tuple[float, float] = PLACE) -> NDArray[np.float32]:
    """(N, 4) x, y, z, intensity in [0, 1]: a clump at `place`, ground from 16 to 60 m."""
    spot = clump(*place).points
    generator = np.random.default_rng(1)
    ground = np.zeros((max(count - len(spot), 0), 4), np.float32)
    angle = generator.uniform(0, 2 * np.pi, len(ground))
    distance = generator.uniform(16, 60, len(ground))
    ground[:, 0], ground[:, 1] = distance * np.cos(angle), distance * np.sin(angle)
    ground[:, 2] = generator.normal(-1.7, 0.02, len(ground))
    ground[:, 3] = generator.uniform(0, 1, len(ground))
    return np.concatenate([spot, ground])


def wire(
    points: NDArray[np.float32],
    fields: Sequence[tuple[str, str, int]] = (
        ("x", "f4", 0),
        ("y", "f4", 4),
        ("z", "f4", 8),
        ("intensity", "f4", 12),
    ),
    *,
    point_step: int = 16,
    rows: int = 1,
    row_padding: int = 0,
    big_endian: bool = False,
    frame_id: str = "lidar",
) -> WireCloud:
    """A cloud of any layout.

    Args:
        points: (N, 4) x, y, z, intensity; N is a multiple of `rows`.
        fields: (name, NumPy kind, offset); intensity of kind u1 is in [0, 255], and a name that
            is none of the four is filled with ones.
        point_step: Bytes from point to point; what no field covers is filled with rubbish.
        rows: More than one makes an organised cloud.
        row_padding: Bytes behind each row.
        big_endian: Byte order.
        frame_id: Of the header.
    """
    order = ">" if big_endian else "<"
    dtype = np.dtype(
        {
            "names": [name for name, _, _ in fields],
            "formats": [order + kind for _, kind, _ in fields],
            "offsets": [offset for _, _, offset in fields],
            "itemsize": point_step,
        }
    )
    packed = np.full(len(points) * point_step, 0x5A, np.uint8).view(dtype)
    columns = {name: points[:, i] for i, name in enumerate(("x", "y", "z", "intensity"))}
    for name, kind, _ in fields:
        values = columns.get(name, np.ones(len(points), np.float32))
        packed[name] = np.round(values * 255) if kind == "u1" else values
    table = packed.view(np.uint8).reshape(rows, -1)
    table = np.pad(table, ((0, 0), (0, row_padding)), constant_values=0x5A)
    message = PointCloud2(
        header=Header(frame_id=frame_id),
        height=rows,
        width=len(points) // rows,
        is_bigendian=big_endian,
        point_step=point_step,
        row_step=table.shape[1],
        fields=[
            PointField(name=name, offset=offset, datatype=_KINDS[kind], count=1)
            for name, kind, offset in fields
        ],
    )
    message.data = array.array("B", table.tobytes())
    return WireCloud(message)


def bare(frame_id: str = "lidar") -> WireCloud:
    """A cloud of no points whose driver left the layout out as well."""
    return WireCloud(PointCloud2(header=Header(frame_id=frame_id)))
