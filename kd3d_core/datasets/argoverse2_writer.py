"""Labelled frames in the layout of the Argoverse 2 sensor data set."""

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kd3d_core.datasets.argoverse2_classes import ARGOVERSE2_CLASSES
from kd3d_core.datasets.argoverse2_classes import CATEGORY_OF_CLASS
from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.frame import Frame
from kd3d_core.geometry.transforms import quaternion_from_matrix

_TURN = ("qw", "qx", "qy", "qz")
_PLACE = ("tx_m", "ty_m", "tz_m")
_POSE_COLUMNS = ("timestamp_ns", *_TURN, *_PLACE)
_SIZE = ("length_m", "width_m", "height_m")
_LABEL_COLUMNS = (
    *("timestamp_ns", "track_uuid", "category", "num_interior_pts"),
    *(*_PLACE, *_SIZE, *_TURN),
)


def write_argoverse2(
    frames: Iterable[Frame], root: Path | str, *, split: str = "train", log: str = "drive_00000"
) -> Path:
    """Write the frames of one drive as one log.

    Coordinates are written as float32, not as the float16 of the published files: half a
    millimetre at 1 m and 3 cm at 50 m would be lost. Every reader takes either.

    Args:
        frames: Of one drive, by time, with ground truth and pose. A cloud without rings or times
            gets zeros; a box without a track a track of its own.
        root: Folder of the data set.
        split: "train", "val" or "test".
        log: Name of the log.

    Returns:
        The folder of the log.

    Raises:
        Kd3dError: A frame has no pose or no ground truth, a class has no category, two frames
            have one time stamp, or the folder cannot be written.
    """
    folder = Path(root) / split / log
    poses: list[tuple[Any, ...]] = []
    rows: list[tuple[Any, ...]] = []
    stamps: set[int] = set()
    for frame in frames:
        stamp = round(frame.stamp * 1e9)
        if frame.pose is None or frame.boxes is None:
            raise Kd3dError(
                f"{frame.source} has no pose or no ground truth, which Argoverse 2 must have. "
                "Choose another format."
            )
        if stamp in stamps:
            raise Kd3dError(f"{frame.source}: the drive has two frames of time {frame.stamp} s.")
        stamps.add(stamp)
        _write_sweep(folder / "sensors" / "lidar" / f"{stamp}.feather", frame)
        pose = np.asarray(frame.pose, np.float64)
        qx, qy, qz, qw = quaternion_from_matrix(pose[:3, :3])
        poses.append((stamp, qw, qx, qy, qz, *pose[:3, 3].tolist()))
        rows += _annotations(frame, stamp)
    _write(folder / "city_SE3_egovehicle.feather", _columns(_POSE_COLUMNS, poses))
    _write(folder / "annotations.feather", _columns(_LABEL_COLUMNS, rows))
    return folder


def _annotations(frame: Frame, stamp: int) -> list[tuple[Any, ...]]:
    """A row a box."""
    boxes = frame.boxes
    if boxes is None:
        return []
    counts = frame.num_points
    if counts is None:
        counts = boxes.contains(frame.cloud.points).sum(axis=1)
    rows = []
    for i, name in enumerate(boxes.names):
        half = float(boxes.yaw[i]) / 2
        track = i + len(boxes) * stamp if frame.track_id is None else int(frame.track_id[i])
        rows.append(
            (
                stamp,
                str(uuid.UUID(int=track % 2**128)),
                _category(name, frame.source),
                int(counts[i]),
                *boxes.center[i].astype(float).tolist(),
                *boxes.size[i].astype(float).tolist(),
                *(float(np.cos(half)), 0.0, 0.0, float(np.sin(half))),
            )
        )
    return rows


def _category(name: str, source: str) -> str:
    """The category that a class is written as."""
    if name in ARGOVERSE2_CLASSES:
        return name
    if name not in CATEGORY_OF_CLASS:
        raise Kd3dError(f"{source}: class '{name}' has no category in Argoverse 2.")
    return CATEGORY_OF_CLASS[name]


def _write_sweep(path: Path, frame: Frame) -> None:
    """The points of one sweep."""
    cloud = frame.cloud
    count = len(cloud)
    time = np.zeros(count) if cloud.time is None else cloud.time.astype(np.float64)
    columns: dict[str, Any] = {name: cloud.points[:, i] for i, name in enumerate("xyz")}
    columns["intensity"] = np.rint(255 * cloud.points[:, 3]).astype(np.uint8)
    ring = np.zeros(count) if cloud.ring is None else cloud.ring
    columns["laser_number"] = ring.astype(np.uint8)
    columns["offset_ns"] = np.rint(time * 1e9).astype(np.int32)
    _write(path, columns)


def _columns(names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> dict[str, list[Any]]:
    """Rows as columns by name, also when there are none."""
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _write(path: Path, columns: dict[str, Any]) -> None:
    """A Feather file of columns."""
    try:
        import pyarrow
        from pyarrow import feather
    except ImportError as error:
        raise Kd3dError("Argoverse 2 needs pyarrow: pip install 'kd3d_ros[data]'.") from error
    with atomic_path(path) as temporary:
        # A path as text: the file that is there already must be opened, not replaced.
        feather.write_feather(pyarrow.table(columns), str(temporary), compression="lz4")
