"""Labelled frames as a folder of clouds and boxes."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import yaml

from kd3d_core.datasets.folder import CONFIG
from kd3d_core.datasets.folder_tables import BOX_COLUMNS
from kd3d_core.datasets.folder_tables import POSE_COLUMNS
from kd3d_core.datasets.folder_tables import csv_text
from kd3d_core.datasets.folder_tables import read_poses
from kd3d_core.files import atomic_path
from kd3d_core.files import write_text
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import quaternion_from_matrix
from kd3d_core.pointcloud import PointCloud


def write_folder(
    frames: Iterable[Frame], root: Path | str, *, drive: str = "drive_00000"
) -> list[str]:
    """Write the frames of one drive; a folder may be filled drive after drive.

    Args:
        frames: Of one drive, by time, of equal classes.
        root: The folder that gets `clouds`, `boxes`, `poses.csv` and `dataset.yaml`.
        drive: The sub-folder.

    Returns:
        The names of the frames.

    Raises:
        Kd3dError: A file cannot be written, or `poses.csv` of another drive is malformed.
    """
    root = Path(root)
    names: list[str] = []
    poses = root / "poses.csv"
    places = read_poses(poses) if poses.is_file() else {}
    rows = [
        (name, place.stamp, *_seven(place.pose))
        for name, place in places.items()
        if place.pose is not None and not name.startswith(f"{drive}/")
    ]
    for number, frame in enumerate(frames):
        name = f"{drive}/{number:06d}"
        names.append(name)
        _write_cloud(root / "clouds" / f"{name}.npy", frame.cloud)
        if frame.boxes is not None:
            tracks = None if frame.track_id is None else frame.track_id.tolist()
            write_text(root / "boxes" / f"{name}.csv", boxes_csv(frame.boxes, tracks))
        if frame.pose is not None:
            rows.append((name, frame.stamp, *_seven(frame.pose)))
        if not number:
            _write_config(root / CONFIG, frame)
    if rows:
        write_text(poses, csv_text(POSE_COLUMNS, rows))
    return names


def boxes_csv(boxes: Boxes3D, tracks: list[int] | None = None) -> str:
    """The text of a box file; `tracks` has N entries."""
    columns = (*BOX_COLUMNS, "vx", "vy", *(["track"] if tracks is not None else []))
    lines = []
    for i, name in enumerate(boxes.names):
        speed = ["" if np.isnan(v) else float(v) for v in boxes.velocity[i]]
        values = [*boxes.center[i].tolist(), *boxes.size[i].tolist(), float(boxes.yaw[i])]
        lines.append((name, *values, *speed, *([tracks[i]] if tracks is not None else [])))
    return csv_text(columns, lines)


def _seven(pose: np.ndarray) -> tuple[float, ...]:
    """x, y, z, qx, qy, qz, qw of a (4, 4) pose."""
    pose = np.asarray(pose, np.float64)
    return (*pose[:3, 3].tolist(), *quaternion_from_matrix(pose[:3, :3]))


def _write_cloud(path: Path, cloud: PointCloud) -> None:
    """A structured array whose fields `read_cloud` knows."""
    columns = dict(zip(("x", "y", "z"), cloud.points.T, strict=False))
    if cloud.has_intensity:
        columns["intensity"] = cloud.points[:, 3]
    if cloud.time is not None:
        columns["time"] = cloud.time
    if cloud.ring is not None:
        columns["ring"] = cloud.ring
    table = np.zeros(len(cloud), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        table[name] = values
    with atomic_path(path) as temporary:
        np.save(temporary, table)


def _write_config(path: Path, frame: Frame) -> None:
    """`dataset.yaml` from the first frame."""
    data: dict[str, object] = {"intensity_scale": 1.0, "sensor": frame.sensor}
    if frame.boxes is not None:
        data["classes"] = list(frame.boxes.classes)
    if frame.sensor_height is not None:
        data["sensor_height"] = float(frame.sensor_height)
    write_text(path, yaml.safe_dump(data, sort_keys=False))
