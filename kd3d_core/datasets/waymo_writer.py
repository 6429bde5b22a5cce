"""Frames written in the Parquet schema of the Waymo Open Dataset v2.

A sweep becomes the two range images of the top laser: a row is a beam, at the mean inclination of
its points, and a column 1 / `width` of a turn, at whose middle a point comes back: up to
pi / width times its range aside (59 mm at 50 m with 2,650 columns), with its range and height as
they were. A pixel holds the two nearest points; the rare further ones are lost.

The laser stands `Frame.sensor_height` above the vehicle's origin, with level axes. Intensities
are stored so that the reader's tanh gives them back. Boxes without a Waymo type are left out.
"""

import contextlib
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets import waymo_schema as schema
from kd3d_core.datasets.waymo_range_image import CHANNELS
from kd3d_core.datasets.waymo_range_image import images_from_points
from kd3d_core.datasets.waymo_tables import arrow_table
from kd3d_core.datasets.waymo_tables import row_writer
from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.frame import Frame
from kd3d_core.geometry.transforms import invert_pose

#: The Waymo type that each class is written as.
TYPE_OF_CLASS = {
    "car": "vehicle",
    "truck": "vehicle",
    "bus": "vehicle",
    "motorcycle": "vehicle",
    "pedestrian": "pedestrian",
    "cyclist": "cyclist",
    "sign": "sign",
}
#: Columns of the top laser's images.
WIDTH = 2650
_TOP = schema.LASERS["top"]


def write_waymo(
    drives: Sequence[Sequence[Frame]],
    root: Path | str,
    *,
    split: str = "training",
    width: int = WIDTH,
    pixel_poses: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> int:
    """Write each drive as a segment.

    Args:
        drives: Frames of one sensor with ground truth, track ids, poses and rings.
        root: The folder that gets the split; files of the same names are replaced.
        split: "training", "validation" or "testing".
        width: Columns of the range images.
        pixel_poses: Also write `lidar_pose`, in which the vehicle stands still during a sweep.
        progress: Is told 1 after each frame.

    Returns:
        How many points had no room in the range images.

    Raises:
        Kd3dError: A frame lacks something, pyarrow is missing, or a file cannot be written.
    """
    home, lost = Path(root) / split, 0
    for number, frames in enumerate(drives):
        name = f"kd3d_drive_{number:05d}"
        lost += _write_segment(frames, home, name, width, pixel_poses, progress)
    return lost


def _write_segment(
    frames: Sequence[Frame],
    home: Path,
    name: str,
    width: int,
    pixel_poses: bool,
    progress: Callable[[int], None],
) -> int:
    """One drive; gives how many points had no room. Images are written as they are made."""
    beams = _inclinations(frames)
    poses: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    lost = 0
    with contextlib.ExitStack() as stack:
        images = stack.enter_context(row_writer(home, "lidar", name))
        pixels = stack.enter_context(row_writer(home, "lidar_pose", name)) if pixel_poses else None
        for frame in frames:
            row, more = _image_row(name, frame, len(beams), width)
            lost += more
            images.write_table(arrow_table([row], "lidar"))
            if pixels is not None:
                row = _pixel_pose_row(name, frame, len(beams), width)
                pixels.write_table(arrow_table([row], "lidar_pose"))
            poses.append(_pose_row(name, frame))
            boxes += _box_rows(name, frame)
            progress(1)
    tables = {
        "lidar_calibration": [_calibration_row(name, frames[0], beams)],
        "vehicle_pose": poses,
        "lidar_box": boxes,
    }
    for component, rows in tables.items():
        with atomic_path(home / component / f"{name}.parquet") as temporary:
            schema.parquet().write_table(arrow_table(rows, component), temporary)
    return lost


def _inclinations(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """(H,) float64 mean inclination of each beam from the lowest up [rad], over all frames."""
    count, total = np.zeros(0), np.zeros(0)
    for frame in frames:
        ring, xyz = _ring(frame), frame.cloud.xyz.astype(np.float64)
        size = max(len(count), int(ring.max(initial=-1)) + 1)
        angle = np.arctan2(xyz[:, 2], np.hypot(xyz[:, 0], xyz[:, 1]))
        count = np.pad(count, (0, size - len(count))) + np.bincount(ring, minlength=size)
        total = np.pad(total, (0, size - len(total))) + np.bincount(ring, angle, size)
    seen = np.flatnonzero(count)
    if not len(seen):
        raise Kd3dError("a drive to write in Waymo's layout has no point in any frame.")
    # A beam that never came back is between its neighbours.
    return np.interp(np.arange(len(count)), seen, total[seen] / count[seen])


def _ring(frame: Frame) -> NDArray[np.int64]:
    """(N,) int64 beam of each point."""
    if frame.cloud.ring is None:
        raise Kd3dError(f"{frame.source} has no rings, of which Waymo's range images are made.")
    return frame.cloud.ring.astype(np.int64)


def _extrinsic(frame: Frame) -> NDArray[np.float64]:
    """(4, 4) vehicle_from_laser."""
    pose = np.eye(4)
    pose[2, 3] = frame.sensor_height or 0.0
    return pose


def _time(frame: Frame) -> int:
    """Microseconds."""
    return round(frame.stamp * 1e6)


def _keys(name: str, frame: Frame) -> dict[str, Any]:
    """The keys of a frame."""
    return {schema.SEGMENT: name, schema.TIME: _time(frame)}


def _world_from_vehicle(frame: Frame) -> NDArray[np.float64]:
    """(4, 4) pose of the vehicle."""
    if frame.pose is None:
        raise Kd3dError(f"{frame.source} has no pose, which Waymo's layout has for every frame.")
    return np.asarray(frame.pose, np.float64) @ invert_pose(_extrinsic(frame))


def _calibration_row(name: str, frame: Frame, beams: NDArray[np.float64]) -> dict[str, Any]:
    """The row of the top laser."""
    return {
        schema.SEGMENT: name,
        schema.LASER: _TOP,
        schema.EXTRINSIC: _extrinsic(frame).ravel().tolist(),
        schema.INCLINATION.format("min"): float(beams.min()),
        schema.INCLINATION.format("max"): float(beams.max()),
        schema.INCLINATION.format("values"): beams.tolist(),
    }


def _pose_row(name: str, frame: Frame) -> dict[str, Any]:
    """The row of a frame in `vehicle_pose`."""
    return _keys(name, frame) | {schema.VEHICLE_POSE: _world_from_vehicle(frame).ravel().tolist()}


def _image_row(name: str, frame: Frame, height: int, width: int) -> tuple[dict[str, Any], int]:
    """The row of a frame in `lidar`, and how many points it has no room for."""
    cloud = frame.cloud
    intensity = np.arctanh(np.minimum(cloud.points[:, 3], np.float32(1 - 1e-6)))
    first, second, lost = images_from_points(cloud.points, _ring(frame), intensity, height, width)
    row = _keys(name, frame) | {schema.LASER: _TOP}
    for number, image in ((1, first), (2, second)):
        row[f"{schema.LIDAR.format(number)}.values"] = image.ravel()
        row[f"{schema.LIDAR.format(number)}.shape"] = [height, width, CHANNELS]
    return row, lost


def _pixel_pose_row(name: str, frame: Frame, height: int, width: int) -> dict[str, Any]:
    """The row of a frame in `lidar_pose`."""
    pose = _world_from_vehicle(frame)
    turn = pose[:3, :3]
    angles = [
        np.arctan2(turn[2, 1], turn[2, 2]),
        np.arcsin(np.clip(-turn[2, 0], -1, 1)),
        np.arctan2(turn[1, 0], turn[0, 0]),
    ]
    pixels = np.tile(np.r_[angles, pose[:3, 3]].astype(np.float32), height * width)
    return (
        _keys(name, frame)
        | {schema.LASER: _TOP}
        | {f"{schema.PIXEL_POSE}.values": pixels, f"{schema.PIXEL_POSE}.shape": [height, width, 6]}
    )


def _box_rows(name: str, frame: Frame) -> list[dict[str, Any]]:
    """The rows of a frame in `lidar_box`."""
    if frame.boxes is None or frame.num_points is None or frame.track_id is None:
        raise Kd3dError(f"{frame.source} lacks ground truth or track ids.")
    boxes = frame.boxes.transformed(_extrinsic(frame))
    numbers = {kind: number for number, kind in schema.TYPES.items()}
    turn = np.asarray(frame.pose, np.float64)[:3, :3]
    rows = []
    for i, kind in enumerate(boxes.names):
        if kind not in TYPE_OF_CLASS:
            continue
        row = _keys(name, frame) | {schema.OBJECT: str(int(frame.track_id[i]))}
        row |= dict(zip(schema.CENTER, boxes.center[i].tolist(), strict=True))
        row |= dict(zip(schema.SIZE, boxes.size[i].tolist(), strict=True))
        row |= {
            schema.HEADING: float(boxes.yaw[i]),
            schema.TYPE: numbers[TYPE_OF_CLASS[kind]],
            schema.POINTS: int(frame.num_points[i]),
            schema.TOP_POINTS: int(frame.num_points[i]),
            schema.DIFFICULTY: 0,
            schema.TRACKING_DIFFICULTY: 0,
        }
        velocity = np.append(boxes.velocity[i].astype(np.float64), 0.0)
        if np.isfinite(velocity).all():
            row |= dict(zip(schema.SPEED, (turn @ velocity).tolist(), strict=True))
        rows.append(row)
    return rows
