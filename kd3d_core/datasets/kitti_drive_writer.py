"""Drives written in the layouts of the KITTI tracking benchmark and of the raw recordings."""

from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.kitti_calibration import Calibration
from kd3d_core.datasets.kitti_oxts import oxts_from_poses
from kd3d_core.datasets.kitti_tracklets import write_tracklets
from kd3d_core.datasets.kitti_tracks import TrackedBoxes
from kd3d_core.datasets.kitti_writer import CAMERA
from kd3d_core.datasets.kitti_writer import calibration_text
from kd3d_core.datasets.kitti_writer import seen_boxes
from kd3d_core.datasets.kitti_writer import write_cloud
from kd3d_core.errors import Kd3dError
from kd3d_core.files import write_text
from kd3d_core.frame import Frame

#: The day that raw drives are written under; KITTI's have theirs.
DATE = "2026_01_01"
#: The tracking benchmark's truncation 1 and 2 begin at these shares outside the image.
_TRUNCATION = (0.15, 0.5)


def write_kitti_tracking(
    drives: Sequence[Sequence[Frame]],
    root: Path | str,
    *,
    calibration: Calibration = CAMERA,
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Write drives as sequences 0000, 0001 and so on of `training`.

    Their frames should be 0.1 s apart: the layout has no times.

    Args:
        drives: Frames with ground truth, track ids and poses.
        root: The folder that gets `training`; files of the same names are replaced.
        calibration: Of camera and IMU.
        progress: Is told 1 after each frame.

    Raises:
        Kd3dError: A frame lacks one of them, or the folder cannot be written.
    """
    home = Path(root) / "training"
    for sequence, frames in enumerate(drives):
        name = f"{sequence:04d}"
        lines, poses = [], []
        for number, frame in enumerate(frames):
            ids = _tracks(frame)
            seen = seen_boxes(frame, calibration)
            for i, line in zip(seen.index, seen.lines(), strict=True):
                words = line.split()
                words[1] = str(np.searchsorted(_TRUNCATION, float(words[1]), side="right"))
                lines.append(f"{number} {ids[i]} {' '.join(words)}\n")
            poses.append(_imu_pose(frame, calibration))
            write_cloud(home / "velodyne" / name / f"{number:06d}.bin", frame)
            progress(1)
        write_text(home / "label_02" / f"{name}.txt", "".join(lines))
        write_text(home / "calib" / f"{name}.txt", calibration_text(calibration, tracking=True))
        rows = oxts_from_poses(np.stack(poses))
        write_text(home / "oxts" / f"{name}.txt", "".join(map(_oxts_line, rows)))


def write_kitti_raw(
    drives: Sequence[Sequence[Frame]],
    root: Path | str,
    *,
    calibration: Calibration = CAMERA,
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Write drives as synchronised raw recordings below `<root>/<DATE>`.

    Drives whose frames all have ground truth and track ids get tracklets, all around the sensor.

    Args:
        drives: Frames with poses.
        root: The folder that gets the date; files of the same names are replaced.
        calibration: Of the IMU.
        progress: Is told 1 after each frame.

    Raises:
        Kd3dError: A frame has no pose, or the folder cannot be written.
    """
    imu = _lidar_from_imu(calibration)
    parts = {"R": imu[:3, :3].ravel(), "T": imu[:3, 3]}
    lines = [f"{k}: {' '.join(f'{value:.12e}' for value in part)}\n" for k, part in parts.items()]
    date = Path(root) / DATE
    write_text(date / "calib_imu_to_velo.txt", "".join(lines))
    for index, frames in enumerate(drives):
        drive = date / f"{DATE}_drive_{index:04d}_sync"
        stamps, poses, tracked = [], [], {}
        for number, frame in enumerate(frames):
            poses.append(_imu_pose(frame, calibration))
            stamps.append(_time_line(frame.stamp))
            if frame.boxes is not None and frame.track_id is not None:
                tracked[number] = TrackedBoxes(frame.boxes, frame.track_id)
            write_cloud(drive / "velodyne_points" / "data" / f"{number:010d}.bin", frame)
            progress(1)
        for number, row in enumerate(oxts_from_poses(np.stack(poses))):
            write_text(drive / "oxts" / "data" / f"{number:010d}.txt", _oxts_line(row))
        for part in ("velodyne_points", "oxts"):
            write_text(drive / part / "timestamps.txt", "".join(stamps))
        if len(tracked) == len(stamps):
            write_tracklets(drive / "tracklet_labels.xml", tracked)


def _tracks(frame: Frame) -> NDArray[np.int64]:
    """The track ids of a frame."""
    if frame.track_id is None:
        raise Kd3dError(f"{frame.source} has no track ids, which the tracking layout needs.")
    return frame.track_id


def _imu_pose(frame: Frame, calibration: Calibration) -> NDArray[np.float64]:
    """(4, 4) float64 world_from_imu."""
    if frame.pose is None:
        raise Kd3dError(f"{frame.source} has no pose, which KITTI's drives have (oxts).")
    return np.asarray(frame.pose, np.float64) @ _lidar_from_imu(calibration)


def _lidar_from_imu(calibration: Calibration) -> NDArray[np.float64]:
    """The (4, 4) pose of the IMU, or a sentence."""
    if calibration.lidar_from_imu is None:
        raise Kd3dError("the calibration to write has no lidar_from_imu; give it one.")
    return calibration.lidar_from_imu


def _oxts_line(row: NDArray[np.float64]) -> str:
    """A line of an OXTS file: positions to below a micrometre."""
    return " ".join(f"{value:.13f}" for value in row) + "\n"


def _time_line(stamp: float) -> str:
    """A line of a timestamps file."""
    moment = np.datetime64(round(stamp * 1e9), "ns")
    return str(moment).replace("T", " ") + "\n"
