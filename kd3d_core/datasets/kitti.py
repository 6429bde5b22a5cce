"""The KITTI 3D object data set, converted into the project's one convention.

The layout is the benchmark's own: `training/{velodyne/*.bin, label_2/*.txt, calib/*.txt}` and,
for a split, `ImageSets/train.txt` or `val.txt` beside `training`, one frame name a line.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.datasets.kitti_calibration import IMAGE_SIZE
from kd3d_core.datasets.kitti_calibration import Calibration
from kd3d_core.datasets.kitti_calibration import project
from kd3d_core.datasets.kitti_calibration import read_calibration
from kd3d_core.datasets.kitti_calibration import text_lines
from kd3d_core.datasets.kitti_labels import CLASS_OF_TYPE
from kd3d_core.datasets.kitti_labels import KittiLabels
from kd3d_core.datasets.kitti_labels import read_labels
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D

__all__ = [
    "CLASS_OF_TYPE",
    "IMAGE_SIZE",
    "SENSOR_HEIGHT",
    "Calibration",
    "KittiDataset",
    "KittiLabels",
    "is_kitti",
    "project",
    "read_calibration",
    "read_labels",
]

#: Height of the Velodyne above the ground [m] (Geiger et al., IJRR 2013, fig. 3).
SENSOR_HEIGHT = 1.73


def is_kitti(root: Path | str) -> bool:
    """Whether a folder looks like the object benchmark: clouds straight in `velodyne`.

    The tracking benchmark has a folder a sequence there.
    """
    folder = _home(Path(root)) / "velodyne"
    return folder.is_dir() and not any(item.is_dir() for item in folder.iterdir())


class KittiDataset:
    """Frames of `training/{velodyne,label_2,calib}`.

    Labels cover the view of the camera only; `in_camera_view` tells which points or boxes are
    inside it.
    """

    def __init__(
        self,
        root: Path | str,
        classes: tuple[str, ...] = DEFAULT_CLASSES,
        *,
        split: str | None = None,
    ) -> None:
        """Find the frames.

        Args:
            root: The folder that holds `training`, or `training` itself.
            classes: What the labels point into; boxes of other classes are left out.
            split: Name of a list of frames, `ImageSets/<split>.txt`; all frames when None.

        Raises:
            Kd3dError: The folders are not there, or hold no frames, or not those of the split.
        """
        root = Path(root)
        self.root = _home(root)
        for part in ("velodyne", "label_2", "calib"):
            if not (self.root / part).is_dir():
                raise Kd3dError(
                    f"{root} is not a KITTI object data set: {self.root / part} is missing."
                )
        self.names = sorted(path.stem for path in (self.root / "velodyne").glob("*.bin"))
        if not self.names:
            raise Kd3dError(f"{self.root / 'velodyne'} holds no .bin files.")
        if split is not None:
            self.names = _split(self.root, split, set(self.names))
        self._classes = tuple(classes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self._classes

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Frame:
        """One frame: boxes of known classes in the LiDAR frame, with their points counted."""
        path = self.root / "velodyne" / f"{self.names[index]}.bin"
        cloud = read_cloud(path, CloudOptions(intensity_scale=1.0, columns=4))
        labels = self.labels(index)
        boxes = labels.boxes[labels.known]
        return Frame(
            cloud=cloud,
            source=str(path),
            boxes=boxes,
            num_points=boxes.contains(cloud.points).sum(axis=1).astype(np.int64),
            sensor="hdl64e",
            sensor_height=SENSOR_HEIGHT,
        )

    def boxes(self, index: int) -> Boxes3D:
        """The ground truth of a frame, without its cloud."""
        labels = self.labels(index)
        return labels.boxes[labels.known]

    def calibration(self, index: int) -> Calibration:
        """The calibration of a frame."""
        return read_calibration(self.root / "calib" / f"{self.names[index]}.txt")

    def labels(self, index: int) -> KittiLabels:
        """Every label of a frame, in the LiDAR frame."""
        path = self.root / "label_2" / f"{self.names[index]}.txt"
        return read_labels(path, self.calibration(index), self._classes)

    def in_camera_view(self, index: int, xyz: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which places the left colour camera sees.

        Args:
            index: The frame.
            xyz: (N, 3) in the LiDAR frame [m].

        Returns:
            (N,) bool.
        """
        pixel, depth = project(self.calibration(index), xyz)
        width, height = IMAGE_SIZE
        inside = (pixel >= 0).all(axis=1) & (pixel[:, 0] < width) & (pixel[:, 1] < height)
        return inside & (depth > 0)


def _home(root: Path) -> Path:
    """`training` below `root` where there is one, or `root` itself."""
    return root / "training" if (root / "training").is_dir() else root


def _split(home: Path, split: str, there: set[str]) -> list[str]:
    """The frame names of a list, checked against those that are there."""
    places = [folder / "ImageSets" / f"{split}.txt" for folder in (home, home.parent)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise Kd3dError(
            f"there is no list of the split {split!r}: neither {places[0]} nor {places[1]}. "
            "Write one with a frame name a line, or read all frames."
        )
    names = [line.strip() for line in text_lines(path)]
    missing = [name for name in names if name not in there]
    if missing or not names:
        raise Kd3dError(
            f"{path} names {len(missing)} frames that {home / 'velodyne'} lacks, "
            f"such as {missing[0]}."
            if missing
            else f"{path} is empty."
        )
    return names
