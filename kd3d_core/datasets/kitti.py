"""The KITTI 3D object data set, converted into the project's one convention."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D

#: KITTI's types and the class that each stands for; the others (Tram, Misc) have none.
CLASS_OF_TYPE = {
    "Car": "car",
    "Van": "car",
    "Truck": "truck",
    "Pedestrian": "pedestrian",
    "Person_sitting": "pedestrian",
    "Cyclist": "cyclist",
}
#: Pixels (width, height) of the left colour camera; a few drives are up to 18 x 5 pixels smaller.
IMAGE_SIZE = (1242, 375)
#: Height of the Velodyne above the ground [m] (Geiger et al., IJRR 2013, fig. 3).
SENSOR_HEIGHT = 1.73


@dataclass(frozen=True, eq=False)
class Calibration:
    """How the LiDAR and the left colour camera see each other.

    Attributes:
        camera_from_lidar: (4, 4) float64: R0_rect @ Tr_velo_to_cam, into the rectified camera
            frame (x right, y down, z forward).
        projection: (3, 4) float64: P2, from the rectified frame to homogeneous pixels.
    """

    camera_from_lidar: NDArray[np.float64]
    projection: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class KittiLabels:
    """All 3D labels of a frame in the LiDAR frame, also those without a class of ours.

    Attributes:
        types: KITTI's names, one a box (never DontCare).
        boxes: The boxes; `label` is 0 where the type has no class: see `known`.
        known: (N,) bool: the type has a class of ours.
        occluded: (N,) int64: 0 visible, 1 partly, 2 largely occluded, 3 unknown.
        dont_care: (M, 4) float64 image boxes left, top, right, bottom [px] that nobody labelled.
    """

    types: tuple[str, ...]
    boxes: Boxes3D
    known: NDArray[np.bool_]
    occluded: NDArray[np.int64]
    dont_care: NDArray[np.float64]


class KittiDataset:
    """Frames of `training/{velodyne,label_2,calib}`.

    Labels cover the view of the camera only; `in_camera_view` tells which points or boxes are
    inside it.
    """

    def __init__(self, root: Path | str, classes: tuple[str, ...] = DEFAULT_CLASSES) -> None:
        """Find the frames.

        Args:
            root: The folder that holds `training`, or `training` itself.
            classes: What the labels point into; boxes of other classes are left out.

        Raises:
            Kd3dError: The folders are not there, or hold no frames.
        """
        root = Path(root)
        self.root = root / "training" if (root / "training").is_dir() else root
        for part in ("velodyne", "label_2", "calib"):
            if not (self.root / part).is_dir():
                raise Kd3dError(
                    f"{root} is not a KITTI object data set: {self.root / part} is missing."
                )
        self.names = sorted(path.stem for path in (self.root / "velodyne").glob("*.bin"))
        if not self.names:
            raise Kd3dError(f"{self.root / 'velodyne'} holds no .bin files.")
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


def project(
    calibration: Calibration, xyz: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points in the LiDAR frame to pixels.

    Args:
        calibration: Of the frame.
        xyz: (N, 3) [m].

    Returns:
        (N, 2) float64 column, row [px] and (N,) float64 depth [m]; pixels of points behind the
        camera mean nothing.
    """
    camera = (
        np.c_[np.asarray(xyz, np.float64), np.ones(len(xyz))]
        @ (calibration.projection @ calibration.camera_from_lidar).T
    )
    depth = camera[:, 2]
    return camera[:, :2] / np.where(np.abs(depth) < 1e-6, 1e-6, depth)[:, None], depth


def read_calibration(path: Path) -> Calibration:
    """Read P2, R0_rect and Tr_velo_to_cam of a calibration file.

    Raises:
        Kd3dError: The file cannot be read or lacks a matrix.
    """
    rows: dict[str, NDArray[np.float64]] = {}
    for line in _lines(path):
        key, _, values = line.partition(":")
        try:
            rows[key.strip()] = np.array(values.split(), np.float64)
        except ValueError as error:
            raise Kd3dError(f"{path}: {key} holds something that is not a number.") from error
    sizes = {"P2": 12, "R0_rect": 9, "Tr_velo_to_cam": 12}
    for key, size in sizes.items():
        if rows.get(key, np.empty(0)).size != size:
            raise Kd3dError(f"{path}: {key} is missing or is not {size} numbers.")
    rectify, lidar = np.eye(4), np.eye(4)
    rectify[:3, :3] = rows["R0_rect"].reshape(3, 3)
    lidar[:3] = rows["Tr_velo_to_cam"].reshape(3, 4)
    return Calibration(rectify @ lidar, rows["P2"].reshape(3, 4))


def read_labels(
    path: Path, calibration: Calibration, classes: tuple[str, ...] = DEFAULT_CLASSES
) -> KittiLabels:
    """Read a label file into the LiDAR frame.

    The file gives the middle of a box's bottom in the rectified camera frame and its rotation
    about the camera's y axis (down): the centre is half a height up, and
    yaw = -(rotation_y + pi / 2).

    Raises:
        Kd3dError: The file cannot be read, or a line has not the 15 columns.
    """
    types: list[str] = []
    numbers: list[list[float]] = []
    for number, line in enumerate(_lines(path), start=1):
        words = line.split()
        try:
            values = [float(word) for word in words[1:15]]
        except ValueError:
            values = []
        if len(values) != 14:
            raise Kd3dError(f"{path}, line {number}: a KITTI label has a type and 14 numbers.")
        types.append(words[0])
        numbers.append(values)
    table = np.array(numbers, np.float64).reshape(-1, 14)
    cared = np.array([kind != "DontCare" for kind in types], bool)
    kinds = tuple(kind for kind in types if kind != "DontCare")
    table, dont_care = table[cared], table[~cared, 3:7]
    height, width, length = table[:, 7:10].T
    bottom = np.c_[table[:, 10:13], np.ones(len(table))]
    center = (bottom @ np.linalg.inv(calibration.camera_from_lidar).T)[:, :3]
    center[:, 2] += height / 2
    known = np.array([CLASS_OF_TYPE.get(kind) in classes for kind in kinds], bool)
    label = [
        classes.index(CLASS_OF_TYPE[k]) if ok else 0 for k, ok in zip(kinds, known, strict=True)
    ]
    boxes = Boxes3D.make(
        center,
        np.c_[length, width, height],
        -(table[:, 13] + np.pi / 2),
        label,
        classes=classes,
    )
    return KittiLabels(kinds, boxes, known, table[:, 1].astype(np.int64), dont_care)


def _lines(path: Path) -> list[str]:
    """The lines that are not blank."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Kd3dError(f"cannot read {path}: {error}.") from error
    return [line for line in text.splitlines() if line.strip()]
