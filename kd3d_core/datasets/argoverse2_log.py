"""One drive ("log") of Argoverse 2: poses and annotations, read from its Feather files."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.errors import Kd3dError
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import matrix_from_quaternion

if TYPE_CHECKING:
    import pyarrow

#: Annotations further apart than this [s] tell nothing about the speed in between.
_LONGEST_GAP = 0.55

_POSE_COLUMNS = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
_BOX_COLUMNS = ("tx_m", "ty_m", "tz_m", "length_m", "width_m", "height_m")


@dataclass(frozen=True, eq=False)
class Argoverse2Labels:
    """The annotations of one sweep, of all categories.

    Attributes:
        category: N names.
        center: (N, 3) float64 x, y, z in the frame of the vehicle [m].
        size: (N, 3) float64 length, width, height [m].
        yaw: (N,) float64 [rad].
        velocity: (N, 2) float64 over ground, in the axes of the vehicle [m/s]; NaN where the
            track has no neighbouring annotation.
        num_points: (N,) int64 points inside the box, as the data set states them.
        track: (N,) int64, the number of the track within the log.
    """

    category: tuple[str, ...]
    center: NDArray[np.float64]
    size: NDArray[np.float64]
    yaw: NDArray[np.float64]
    velocity: NDArray[np.float64]
    num_points: NDArray[np.int64]
    track: NDArray[np.int64]


class Argoverse2Log:
    """Poses and annotations of one log.

    Args:
        folder: Holds `city_SE3_egovehicle.feather`, `sensors/lidar` and, where it is labelled,
            `annotations.feather`.

    Raises:
        Kd3dError: A file is missing, damaged, or lacks a column.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._poses = _read_poses(folder / "city_SE3_egovehicle.feather")
        path = folder / "annotations.feather"
        self.labelled = path.is_file()
        self._labels = self._read_labels(path) if self.labelled else {}

    def pose(self, timestamp: int) -> NDArray[np.float64]:
        """(4, 4) float64 city_from_vehicle at a time stamp [ns].

        Raises:
            Kd3dError: The log has no pose of that time.
        """
        pose = self._poses.get(timestamp)
        if pose is None:
            raise Kd3dError(
                f"{self.folder / 'city_SE3_egovehicle.feather'} has no pose of {timestamp}: the "
                "log is incomplete; download it again."
            )
        return pose

    def labels(self, timestamp: int) -> Argoverse2Labels:
        """The annotations of a sweep, by its time stamp [ns]; none when nobody saw any object."""
        empty = np.zeros(0, np.int64)
        return self._labels.get(
            timestamp,
            Argoverse2Labels(
                (), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 2)), empty, empty
            ),
        )

    def _read_labels(self, path: Path) -> dict[int, Argoverse2Labels]:
        """The annotations by time stamp."""
        names = ("timestamp_ns", "track_uuid", "category", "num_interior_pts", *_BOX_COLUMNS)
        columns = read_columns(path, (*names, "qw", "qx", "qy", "qz"))
        stamps = columns["timestamp_ns"].astype(np.int64)
        track = np.unique(columns["track_uuid"].astype(str), return_inverse=True)[1]
        center = np.stack([columns[name] for name in _BOX_COLUMNS[:3]], axis=1)
        velocity = self._velocities(stamps, track, center)
        qw, qx, qy, qz = (columns[name] for name in ("qw", "qx", "qy", "qz"))
        yaw = np.arctan2(2 * (qw * qz + qx * qy), 1 - 2 * (qy * qy + qz * qz))
        size = np.stack([columns[name] for name in _BOX_COLUMNS[3:]], axis=1)
        found = {}
        order = np.argsort(stamps, kind="stable")
        starts = np.flatnonzero(np.diff(stamps[order], prepend=-1))
        for rows in np.split(order, starts[1:]):
            if len(rows):
                found[int(stamps[rows[0]])] = Argoverse2Labels(
                    category=tuple(columns["category"][rows].tolist()),
                    center=center[rows],
                    size=size[rows],
                    yaw=yaw[rows],
                    velocity=velocity[rows],
                    num_points=columns["num_interior_pts"][rows].astype(np.int64),
                    track=track[rows].astype(np.int64),
                )
        return found

    def _velocities(
        self,
        stamps: NDArray[np.int64],
        track: NDArray[np.int64],
        center: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """(N, 2) m/s: central differences along each track, one-sided at its ends.

        Args:
            stamps: (N,) [ns].
            track: (N,) number of the track.
            center: (N, 3) in the frame of the vehicle at that time [m].
        """
        velocity = np.full((len(stamps), 2), np.nan)
        if len(stamps) < 2:
            return velocity
        times, which = np.unique(stamps, return_inverse=True)
        poses = np.stack([self.pose(int(time)) for time in times])
        city = np.einsum("nij,nj->ni", poses[which, :3, :3], center) + poses[which, :3, 3]
        order = np.lexsort((stamps, track))
        same = np.diff(track[order]) == 0
        near = same & (np.diff(stamps[order]) * 1e-9 <= _LONGEST_GAP)
        index = np.arange(len(order))
        before = np.where(np.append(False, near), index - 1, index)
        after = np.where(np.append(near, False), index + 1, index)
        seconds = (stamps[order[after]] - stamps[order[before]]) * 1e-9
        moved = city[order[after]] - city[order[before]]
        with np.errstate(invalid="ignore", divide="ignore"):
            over_ground = np.where(seconds[:, None] > 0, moved / seconds[:, None], np.nan)
        back = np.stack([invert_pose(pose)[:3, :3] for pose in poses])[which[order]]
        velocity[order] = np.einsum("nij,nj->ni", back, over_ground)[:, :2]
        return velocity


def read_columns(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Columns of a Feather file as arrays of equal length.

    Raises:
        Kd3dError: pyarrow is missing, or the file is, or is damaged, or lacks a column.
    """
    table = _read_table(path)
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise Kd3dError(
            f"{path} has no column {', '.join(missing)}: it is no Argoverse 2 file of this kind "
            f"(its columns: {', '.join(table.column_names)})."
        )
    return {name: table[name].to_numpy() for name in names}


def _read_table(path: Path) -> "pyarrow.Table":
    """A Feather file as a table."""
    try:
        from pyarrow import ArrowException
        from pyarrow import feather
    except ImportError as error:
        raise Kd3dError("Argoverse 2 needs pyarrow: pip install 'kd3d_ros[data]'.") from error
    try:
        return feather.read_table(path)
    except FileNotFoundError as error:
        raise Kd3dError(
            f"there is no {path}: the log is incomplete; download it again."
        ) from error
    except (OSError, ArrowException) as error:
        raise Kd3dError(f"{path} is not a readable Feather file ({error}).") from error


def _read_poses(path: Path) -> dict[int, NDArray[np.float64]]:
    """(4, 4) city_from_vehicle by time stamp [ns]."""
    columns = read_columns(path, ("timestamp_ns", *_POSE_COLUMNS))
    rows = np.stack([columns[name] for name in _POSE_COLUMNS], axis=1)
    poses = {}
    for stamp, (qw, qx, qy, qz, *place) in zip(columns["timestamp_ns"], rows, strict=True):
        pose = np.eye(4)
        pose[:3, :3] = matrix_from_quaternion((qx, qy, qz, qw))
        pose[:3, 3] = place
        poses[int(stamp)] = pose
    return poses
