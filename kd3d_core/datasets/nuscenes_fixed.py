"""The records of nuScenes' tables that are the same for everything that is written."""

import struct
import uuid
import zlib
from typing import Any

from kd3d_core.datasets.nuscenes_classes import ATTRIBUTES
from kd3d_core.datasets.nuscenes_classes import CLASS_OF_CATEGORY

#: Every log needs a map, and the devkit a picture of it.
MAP_FILE = "maps/simulated.png"
_VISIBILITY = ("v0-40", "v40-60", "v60-80", "v80-100")
#: Tables that fill with the drives.
_GROWING = (
    "instance",
    "calibrated_sensor",
    "ego_pose",
    "log",
    "scene",
    "sample",
    "sample_data",
    "sample_annotation",
)

Record = dict[str, Any]


def make_token(*parts: object) -> str:
    """32 hexadecimal digits that depend on the parts alone."""
    return uuid.uuid5(uuid.NAMESPACE_OID, "/".join(map(str, parts))).hex


def blank_png(side: int = 10) -> bytes:
    """A black square picture, one byte a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        """Length, kind, data, checksum."""
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(side * (side + 1)))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def category_of_class(name: str) -> str:
    """The category that an official class is written as: the commonest that counts as it."""
    if name == "bus":
        return "vehicle.bus.rigid"
    return next(category for category, kind in CLASS_OF_CATEGORY.items() if kind == name)


def fixed_tables() -> dict[str, list[Record]]:
    """Every table but `map`: categories, attributes, visibilities and the sensor are filled."""
    return {
        "category": [
            {"token": make_token("category", name), "name": name, "description": kind}
            for name, kind in CLASS_OF_CATEGORY.items()
        ],
        "attribute": [
            {"token": make_token("attribute", name), "name": name, "description": ""}
            for name in ATTRIBUTES
        ],
        "visibility": [
            {"token": str(i), "level": level, "description": f"visible: {level[1:]} %"}
            for i, level in enumerate(_VISIBILITY, start=1)
        ],
        "sensor": [
            {
                "token": make_token("sensor", "LIDAR_TOP"),
                "channel": "LIDAR_TOP",
                "modality": "lidar",
            }
        ],
        **{name: [] for name in _GROWING},
    }
