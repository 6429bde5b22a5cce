"""KITTI's raw drives: clouds with times and poses, and tracklets where there are.

The layout is that of the synchronised downloads: `<date>/<drive>/{velodyne_points/{data/*.bin,
timestamps.txt}, oxts/data/*.txt, tracklet_labels.xml}` and, in the folder of the date,
`calib_imu_to_velo.txt`. Without OXTS or calibration frames have no pose; without tracklets they
have no boxes, and serve as unlabelled clouds.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.datasets.kitti import SENSOR_HEIGHT
from kd3d_core.datasets.kitti_calibration import read_rows
from kd3d_core.datasets.kitti_calibration import text_lines
from kd3d_core.datasets.kitti_oxts import poses_from_oxts
from kd3d_core.datasets.kitti_oxts import read_oxts
from kd3d_core.datasets.kitti_tracklets import read_tracklets
from kd3d_core.datasets.kitti_tracks import TrackedBoxes
from kd3d_core.datasets.kitti_tracks import with_velocities
from kd3d_core.datasets.recent import Recent
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose


@dataclass(frozen=True, eq=False)
class _Drive:
    """What is known of a drive besides its clouds, by number of the frame."""

    stamps: dict[int, float]
    poses: dict[int, NDArray[np.float64]]
    tracked: dict[int, TrackedBoxes] | None


def is_kitti_raw(root: Path | str) -> bool:
    """Whether a folder is a raw drive, or holds some (of one date or of many)."""
    return bool(_drives(Path(root)))


class KittiRawDataset:
    """Frames of all drives below a folder, in order."""

    def __init__(self, root: Path | str, classes: tuple[str, ...] = DEFAULT_CLASSES) -> None:
        """Find the frames.

        Args:
            root: A drive, or a folder that holds drives, or one that holds dates.
            classes: What the labels point into; boxes of other classes are left out.

        Raises:
            Kd3dError: There is no drive, or no cloud in any.
        """
        self.root = Path(root)
        drives = _drives(self.root)
        if not drives:
            raise Kd3dError(
                f"{root} holds no KITTI raw drive: a drive has a folder velodyne_points/data."
            )
        self.paths = [
            path
            for drive in drives
            for path in sorted((drive / "velodyne_points" / "data").glob("*.bin"))
        ]
        if not self.paths:
            raise Kd3dError(f"the raw drives in {root} hold no .bin files.")
        self._classes = tuple(classes)
        self._drive = Recent(self._read_drive)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self._classes

    def drive(self, index: int) -> str:
        """Name of the drive that a frame belongs to."""
        return self.paths[index].parents[2].name

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Frame:
        """One frame; `boxes` is None when its drive has no tracklets."""
        path = self.paths[index]
        number = _number(path)
        cloud = read_cloud(path, CloudOptions(intensity_scale=1.0, columns=4))
        drive = self._drive(path.parents[2])
        tracked = None
        if drive.tracked is not None:
            nothing = TrackedBoxes(Boxes3D.empty(self._classes), np.zeros(0, np.int64))
            tracked = drive.tracked.get(number, nothing)
        count = None if tracked is None else tracked.boxes.contains(cloud.points).sum(axis=1)
        return Frame(
            cloud=cloud,
            source=str(path),
            stamp=drive.stamps[number],
            boxes=None if tracked is None else tracked.boxes,
            num_points=None if count is None else count.astype(np.int64),
            track_id=None if tracked is None else tracked.track_id,
            pose=drive.poses.get(number),
            sensor="hdl64e",
            sensor_height=SENSOR_HEIGHT,
        )

    def _read_drive(self, drive: Path) -> _Drive:
        """Times, poses and tracklets of a drive."""
        numbers = [_number(path) for path in self.paths if path.parents[2] == drive]
        stamps = _read_stamps(drive / "velodyne_points" / "timestamps.txt", numbers)
        poses = _read_poses(drive)
        tracklets = drive / "tracklet_labels.xml"
        tracked = None
        if tracklets.is_file():
            known = {
                number: boxes
                for number, boxes in read_tracklets(tracklets, self._classes).items()
                if number in stamps
            }
            tracked = with_velocities(known, poses, stamps)
        return _Drive(stamps, poses, tracked)


def _drives(root: Path) -> list[Path]:
    """Drives at `root`, one or two folders below it."""
    for pattern in ("velodyne_points/data", "*/velodyne_points/data", "*/*/velodyne_points/data"):
        found = sorted(path.parents[1] for path in root.glob(pattern) if path.is_dir())
        if found:
            return found
    return []


def _number(path: Path) -> int:
    """The number of the frame of a file."""
    try:
        return int(path.stem)
    except ValueError as error:
        raise Kd3dError(f"{path}: clouds of a KITTI raw drive are named by number.") from error


def _read_stamps(path: Path, numbers: list[int]) -> dict[int, float]:
    """Seconds since 1970 of each frame."""
    lines = text_lines(path)
    try:
        # A line is "2011-09-26 13:02:25.594360375".
        times = np.array([line.strip().replace(" ", "T") for line in lines], "datetime64[ns]")
    except ValueError as error:
        raise Kd3dError(f"{path} holds something that is not a date with a time.") from error
    if max(numbers) >= len(times):
        raise Kd3dError(
            f"{path} has {len(times)} lines, but there is a cloud with the number {max(numbers)}: "
            "download the timestamps of this drive again."
        )
    seconds = times.astype(np.int64) * 1e-9
    return {number: float(seconds[number]) for number in numbers}


def _read_poses(drive: Path) -> dict[int, NDArray[np.float64]]:
    """(4, 4) world_from_lidar by number; empty without OXTS or calibration."""
    files = sorted((drive / "oxts" / "data").glob("*.txt"))
    path = drive.parent / "calib_imu_to_velo.txt"
    if not files or not path.is_file():
        return {}
    rows = read_rows(path)
    turn, shift = rows.get("R", np.empty(0)), rows.get("T", np.empty(0))
    if turn.size != 9 or shift.size != 3:
        raise Kd3dError(f"{path}: R is not 9 or T not 3 numbers.")
    lidar_from_imu = np.eye(4)
    lidar_from_imu[:3, :3], lidar_from_imu[:3, 3] = turn.reshape(3, 3), shift
    tables = [read_oxts(file)[:, :6] for file in files]
    poses = poses_from_oxts(np.concatenate(tables)) @ invert_pose(lidar_from_imu)
    return dict(zip(map(_number, files), poses, strict=True))
