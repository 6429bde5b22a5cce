"""The Argoverse 2 sensor data set, converted into the project's one convention.

Layout, as it is downloaded (Wilson et al., NeurIPS Datasets and Benchmarks 2021):

    <root>/<split>/<log>/annotations.feather              boxes; absent in `test`
    <root>/<split>/<log>/city_SE3_egovehicle.feather      poses
    <root>/<split>/<log>/sensors/lidar/<timestamp ns>.feather
    <root>/<split>/<log>/map/                             for the region of interest only

Clouds and boxes are in the frame of the vehicle (x forward, y left, z up, the origin at the middle
of the rear axle), compensated for its motion to the time stamp. Intensity is 0-255 on disk.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from kd3d_core.datasets.argoverse2_classes import ARGOVERSE2_CLASSES
from kd3d_core.datasets.argoverse2_classes import label_of
from kd3d_core.datasets.argoverse2_log import Argoverse2Labels
from kd3d_core.datasets.argoverse2_log import Argoverse2Log
from kd3d_core.datasets.argoverse2_log import read_columns
from kd3d_core.datasets.bags import seconds
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.pointcloud import PointCloud
from kd3d_core.pointcloud import merge_sweeps

SPLITS = ("train", "val", "test")
#: Two HDL-32-like sensors of 32 beams each, one above the other, as one cloud.
SENSOR = "argoverse2"
#: Height of the origin of the vehicle's frame above the ground [m], about the radius of a wheel.
ORIGIN_HEIGHT = 0.33
#: Logs whose tables are kept in memory by each process.
_LOGS_KEPT = 4


class Argoverse2Dataset:
    """Frames of Argoverse 2, log after log in order of time.

    `ring` is the laser number (0-31 the one sensor, 32-63 the other; they are not sorted by
    elevation), `time` the offset of a point from the time stamp [s].
    """

    def __init__(
        self,
        root: Path | str,
        *,
        split: str | None = None,
        classes: Sequence[str] = ARGOVERSE2_CLASSES,
        sweeps: int = 1,
    ) -> None:
        """Find the sweeps.

        Args:
            root: The folder that holds the splits, one split, or one log.
            split: "train", "val" or "test"; None takes every log below `root`.
            classes: What the labels point into: the benchmark's categories, or names of ours,
                which `CLASS_OF_CATEGORY` translates. Boxes of other categories are left out.
            sweeps: So many sweeps make a cloud: the newest and those before it in its log, moved
                to where the vehicle is.

        Raises:
            Kd3dError: There is no such split, or no log in it.
        """
        self.root = Path(root)
        self._classes = tuple(classes)
        self._sweeps = sweeps
        folder = self.root if split is None else self.root / split
        logs = _find_logs(folder)
        if not logs:
            raise Kd3dError(
                f"{folder} is not an Argoverse 2 data set: no folder in it has a "
                "sensors/lidar/. Give the folder of the splits, a split, or a log."
            )
        self._frames = [
            (log, int(path.stem))
            for log in logs
            for path in sorted((log / "sensors" / "lidar").glob("*.feather"), key=_timestamp)
        ]
        if not self._frames:
            raise Kd3dError(f"{folder}: sensors/lidar holds no .feather files.")
        self._first = {log: i for i, (log, _) in reversed(list(enumerate(self._frames)))}
        self._log = lru_cache(_LOGS_KEPT)(Argoverse2Log)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self._classes

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Frame:
        """One frame; `num_points` is the data set's own `num_interior_pts` of the newest sweep."""
        folder, timestamp = self._frames[index]
        log = self._log(folder)
        labels = log.labels(timestamp) if log.labelled else None
        known = None if labels is None else self._known(labels)
        return Frame(
            cloud=self._cloud(index),
            source=str(_sweep_path(folder, timestamp)),
            stamp=seconds(timestamp),
            boxes=None if labels is None or known is None else self._boxes(labels, known),
            num_points=None if labels is None or known is None else labels.num_points[known],
            track_id=None if labels is None or known is None else labels.track[known],
            pose=log.pose(timestamp),
            sensor=SENSOR,
            sensor_height=ORIGIN_HEIGHT,
        )

    def boxes(self, index: int) -> Boxes3D | None:
        """The ground truth of a frame, without its cloud."""
        folder, timestamp = self._frames[index]
        log = self._log(folder)
        if not log.labelled:
            return None
        labels = log.labels(timestamp)
        return self._boxes(labels, self._known(labels))

    def drive(self, index: int) -> str:
        """Name of the log that a frame belongs to."""
        return self._frames[index][0].name

    def log(self, index: int) -> Argoverse2Log:
        """The log that a frame belongs to."""
        return self._log(self._frames[index][0])

    def timestamp(self, index: int) -> int:
        """Time stamp of a frame [ns], as in the name of its file."""
        return self._frames[index][1]

    def _cloud(self, index: int) -> PointCloud:
        """The points of a frame, of `sweeps` sweeps."""
        folder, timestamp = self._frames[index]
        newest = read_sweep(_sweep_path(folder, timestamp))
        oldest = max(index - self._sweeps + 1, self._first[folder])
        if oldest == index:
            return newest
        log = self._log(folder)
        here = invert_pose(log.pose(timestamp))
        earlier = []
        for other in range(index - 1, oldest - 1, -1):
            stamp = self._frames[other][1]
            cloud = read_sweep(_sweep_path(folder, stamp))
            earlier.append((cloud, here @ log.pose(stamp), (timestamp - stamp) * 1e-9))
        return merge_sweeps(newest, earlier)

    def _known(self, labels: Argoverse2Labels) -> list[int]:
        """Rows whose category has a class."""
        return [i for i, c in enumerate(labels.category) if label_of(c, self._classes) >= 0]

    def _boxes(self, labels: Argoverse2Labels, rows: list[int]) -> Boxes3D:
        """The boxes of some rows."""
        return Boxes3D.make(
            labels.center[rows],
            labels.size[rows],
            labels.yaw[rows],
            [label_of(labels.category[i], self._classes) for i in rows],
            velocity=labels.velocity[rows],
            classes=self._classes,
        )


def is_argoverse2(root: Path) -> bool:
    """Whether a folder is a log of Argoverse 2, or holds some, directly or by split."""
    return bool(_find_logs(root, first=True))


def read_sweep(path: Path) -> PointCloud:
    """Read one sweep in the frame of the vehicle.

    Raises:
        Kd3dError: The file is missing or damaged, or lacks a column.
    """
    columns = read_columns(path, ("x", "y", "z", "intensity", "laser_number", "offset_ns"))
    if not len(columns["x"]):
        raise Kd3dError(f"{path} is empty: there are no points in it.")
    return PointCloud.from_arrays(
        np.stack([columns[name] for name in "xyz"], axis=1),
        columns["intensity"],
        intensity_scale=255.0,
        time=columns["offset_ns"].astype(np.float64) * 1e-9,
        ring=columns["laser_number"],
    )


def _find_logs(root: Path, first: bool = False) -> list[Path]:
    """Folders with `sensors/lidar` at `root` or up to two levels below it, by name."""
    found: list[Path] = []
    for pattern in (".", "*", "*/*"):
        for folder in sorted(root.glob(pattern)) if pattern != "." else [root]:
            lidar = folder / "sensors" / "lidar"
            if lidar.is_dir() and any(lidar.glob("*.feather")):
                found.append(folder)
                if first:
                    return found
        if found:
            break
    return found


def _sweep_path(folder: Path, timestamp: int) -> Path:
    """The file of a sweep."""
    return folder / "sensors" / "lidar" / f"{timestamp}.feather"


def _timestamp(path: Path) -> int:
    """The time stamp in the name of a sweep [ns].

    Raises:
        Kd3dError: The name is no number.
    """
    if not path.stem.isdigit():
        raise Kd3dError(f"{path}: an Argoverse 2 sweep is named by its time stamp [ns].")
    return int(path.stem)
