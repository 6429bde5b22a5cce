"""Your own data: a folder of clouds and, beside them, a folder of boxes.

    root/
      clouds/<name>.pcd (or .ply, .bin, .npy)     one sweep a file, sub-folders are drives
      boxes/<name>.csv (or .json)                 its boxes; a cloud without is unlabelled
      poses.csv          optional                 where and when the sensor was
      splits/<split>.txt optional                 the names that belong to a split, one a line
      dataset.yaml       optional                 see `FolderConfig`

A box file has the columns `class, x, y, z, length, width, height, yaw` and, where known, `vx, vy`
(m/s over ground) and `track` (a whole number): a header line and a line a box as CSV, or as JSON a
list of objects with these keys. Centres are the middle of a box; metres and radians, yaw
counter-clockwise from +x. `poses.csv` has the columns `name, stamp, x, y, z, qx, qy, qz, qw`:
world_from_sensor and seconds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat
from pydantic import PositiveInt

from kd3d_core.config import Config
from kd3d_core.config import load_config
from kd3d_core.datasets.clouds import CLOUD_SUFFIXES
from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.datasets.folder_tables import BoxRow
from kd3d_core.datasets.folder_tables import Place
from kd3d_core.datasets.folder_tables import read_boxes
from kd3d_core.datasets.folder_tables import read_poses
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix

CONFIG = "dataset.yaml"
#: (4, 4) forward-left-up from the axes of the files.
_TURN = {"flu": np.eye(4), "rfu": pose_matrix((0, 0, 0), yaw=-np.pi / 2)}


class FolderConfig(Config):
    """What `dataset.yaml` may say about the files."""

    classes: tuple[str, ...] | None = None
    """The classes in the order of their labels; those of the box files when left out."""
    frame: Literal["flu", "rfu"] = "flu"
    """Axes of clouds, boxes and poses: x forward, y left, z up, or x right, y forward, z up."""
    intensity_scale: PositiveFloat | None = None
    """The sensor's value for full intensity; guessed for each cloud when left out."""
    columns: PositiveInt | None = None
    """float32 values of a point in `.bin` files."""
    sensor: str = "unknown"
    """Name of the LiDAR."""
    sensor_height: float | None = None
    """Height of the sensor above the ground [m]."""


class FolderDataset:
    """Frames of a folder of clouds and boxes, in the order of their names."""

    def __init__(
        self,
        root: Path | str,
        *,
        split: str | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        """Find the clouds.

        Args:
            root: The folder that holds `clouds`.
            split: A file in `splits`, or a folder of `root` that holds `clouds`; None takes all.
            classes: What the labels point into; boxes of others are left out. None takes those of
                `dataset.yaml`, or all that the box files name.

        Raises:
            Kd3dError: There are no clouds, no such split, or a file is malformed.
        """
        self.root, names = _split(Path(root), split)
        clouds = self.root / "clouds"
        if not clouds.is_dir():
            raise Kd3dError(f"{self.root} has no folder clouds: it is no folder of clouds.")
        paths = sorted(p for p in clouds.rglob("*") if p.suffix.lower() in CLOUD_SUFFIXES)
        self._paths = {_name(path, clouds): path for path in paths}
        if len(self._paths) < len(paths):
            raise Kd3dError(f"{clouds} has two clouds of one name: keep one of them.")
        if names is not None:
            missing = [name for name in names if name not in self._paths]
            if missing:
                raise Kd3dError(f"split {split}: {clouds} holds no cloud {missing[0]}.")
        self.names = list(self._paths) if names is None else names
        if not self.names:
            raise Kd3dError(f"{clouds} holds no clouds ({', '.join(CLOUD_SUFFIXES)}).")
        path = self.root / CONFIG
        self.config = load_config(FolderConfig, path) if path.is_file() else FolderConfig()
        self._options = CloudOptions(self.config.intensity_scale, self.config.columns)
        poses = self.root / "poses.csv"
        self._places = read_poses(poses) if poses.is_file() else {}
        self._classes = tuple(classes or self.config.classes or self._find_classes())

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self._classes

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Frame:
        """One frame; `boxes` is None where there is no box file."""
        name = self.names[index]
        turn = _TURN[self.config.frame]
        cloud = read_cloud(self._paths[name], self._options)
        if self.config.frame != "flu":
            cloud = cloud.transformed(turn)
        place = self._places.get(name, Place())
        rows = self._rows(name)
        known = None if rows is None else [row for row in rows if row.name in self._classes]
        boxes = None if known is None else _boxes(known, self._classes).transformed(turn)
        return Frame(
            cloud=cloud,
            source=str(self._paths[name]),
            stamp=place.stamp,
            boxes=boxes,
            num_points=None if boxes is None else _counts(boxes, cloud.points),
            track_id=None if known is None else _tracks(known),
            pose=None if place.pose is None else place.pose @ invert_pose(turn),
            sensor=self.config.sensor,
            sensor_height=self.config.sensor_height,
        )

    def boxes(self, index: int) -> Boxes3D | None:
        """The ground truth of a frame, without its cloud."""
        rows = self._rows(self.names[index])
        if rows is None:
            return None
        known = [row for row in rows if row.name in self._classes]
        return _boxes(known, self._classes).transformed(_TURN[self.config.frame])

    def drive(self, index: int) -> str:
        """Name of the sub-folder that a frame's cloud lies in; "" when in none."""
        return self.names[index].rpartition("/")[0]

    def _rows(self, name: str) -> list[BoxRow] | None:
        """The boxes of a cloud, or None where there is no file."""
        for suffix in (".csv", ".json"):
            path = self.root / "boxes" / f"{name}{suffix}"
            if path.is_file():
                return read_boxes(path)
        return None

    def _find_classes(self) -> tuple[str, ...]:
        """Every class of the box files: ours first, then others by name."""
        found = {row.name for name in self.names for row in self._rows(name) or ()}
        ours = [name for name in DEFAULT_CLASSES if name in found]
        return tuple(ours + sorted(found - set(ours)))


def is_folder(root: Path) -> bool:
    """Whether a folder holds `clouds` with at least one cloud."""
    clouds = root / "clouds"
    return clouds.is_dir() and any(p.suffix.lower() in CLOUD_SUFFIXES for p in clouds.rglob("*"))


def _split(root: Path, split: str | None) -> tuple[Path, list[str] | None]:
    """The folder that holds a split, and the names in it; None for all."""
    if split is None:
        return root, None
    if (root / split / "clouds").is_dir():
        return root / split, None
    path = root / "splits" / f"{split}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Kd3dError(
            f"{root} has no split {split}: there is neither {path} nor {root / split / 'clouds'}."
        ) from error
    return root, [line.strip() for line in lines if line.strip()]


def _name(path: Path, clouds: Path) -> str:
    """The path of a cloud below `clouds`, without its suffix."""
    return path.relative_to(clouds).with_suffix("").as_posix()


def _boxes(rows: Sequence[BoxRow], classes: tuple[str, ...]) -> Boxes3D:
    """Rows as boxes."""
    table = np.array([row.values for row in rows], np.float64).reshape(-1, 7)
    return Boxes3D.make(
        table[:, :3],
        table[:, 3:6],
        table[:, 6],
        [classes.index(row.name) for row in rows],
        velocity=np.array([row.velocity for row in rows], np.float64).reshape(-1, 2),
        classes=classes,
    )


def _tracks(rows: Sequence[BoxRow]) -> NDArray[np.int64] | None:
    """(N,) tracks, or None where a box has none."""
    tracks = [row.track for row in rows if row.track is not None]
    return np.array(tracks, np.int64) if len(tracks) == len(rows) else None


def _counts(boxes: Boxes3D, points: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) points inside each box."""
    return boxes.contains(points).sum(axis=1).astype(np.int64)
