"""The nuScenes data set (Caesar et al., CVPR 2020), converted into the project's one convention.

    root/
      v1.0-mini/ (or v1.0-trainval, v1.0-test)   scene.json, sample.json, sample_data.json ...
      samples/LIDAR_TOP/*.pcd.bin                key frames, two a second
      sweeps/LIDAR_TOP/*.pcd.bin                 the sweeps between them, 20 a second

The tables are read directly. nuscenes-devkit would bring NumPy < 2, OpenCV, scikit-learn and
Shapely 2.0 into every training environment, and keeps each of the millions of records as a
dictionary; the tests compare what is read with it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.datasets.nuscenes_classes import NUSCENES_CLASSES
from kd3d_core.datasets.nuscenes_classes import VERSION_OF_SPLIT
from kd3d_core.datasets.nuscenes_classes import label_of_category
from kd3d_core.datasets.nuscenes_frames import level_turn
from kd3d_core.datasets.nuscenes_frames import quarter_turn
from kd3d_core.datasets.nuscenes_frames import turned_yaw
from kd3d_core.datasets.nuscenes_json import find_version
from kd3d_core.datasets.nuscenes_json import is_nuscenes
from kd3d_core.datasets.nuscenes_labels import NuScenesLabels
from kd3d_core.datasets.nuscenes_labels import sample_labels
from kd3d_core.datasets.nuscenes_tables import read_tables
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.pointcloud import PointCloud
from kd3d_core.pointcloud import merge_sweeps

__all__ = ["NuScenesDataset", "NuScenesLabels", "is_nuscenes"]

#: The sensor's value for full intensity.
INTENSITY_SCALE = 255.0


class NuScenesDataset:
    """Annotated samples of nuScenes as frames, scene after scene, in the order of time.

    A frame is the LiDAR's key frame with the sweeps before it, moved to where the vehicle is;
    `PointCloud.time` is the age of each sweep (the files hold no times of points), `num_points`
    counts the key frame's points alone, as annotated.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        split: str | None = None,
        version: str | None = None,
        classes: tuple[str, ...] = NUSCENES_CLASSES,
        sweeps: int = 10,
        ego_radius: float = 1.0,
    ) -> None:
        """Read the tables.

        Args:
            root: The folder that holds the version, samples and sweeps, or the version itself.
            split: "mini_train", "mini_val", "train", "val", "test" (official; the long lists need
                nuscenes-devkit) or one of the version's own `splits.json`; None takes all scenes.
            version: Name of the folder of the tables; None finds it.
            classes: What the labels point into; a class "cyclist" takes the bicycles. Boxes of
                other classes are left out of frames.
            sweeps: How many a frame has, the key frame included; fewer where a scene begins.
            ego_radius: Points of earlier sweeps this near in x and y are the vehicle's own, and
                are left out, for they would trail behind it [m].

        Raises:
            Kd3dError: It is not a nuScenes data set, a table is missing or damaged, or the split
                is unknown or elsewhere.
        """
        if sweeps < 1:
            raise Kd3dError(f"sweeps is {sweeps}; a frame has at least 1, its key frame.")
        root = Path(root)
        folder = find_version(root, version, VERSION_OF_SPLIT.get(split or ""))
        self.root = folder.parent
        self.version = folder.name
        self.split = split
        self.sweeps = sweeps
        self._classes = tuple(classes)
        self._ego_radius = ego_radius
        self._tables = read_tables(folder, split)
        annotations = self._tables.annotations
        names = [] if annotations is None else annotations.categories.tolist()
        self._label_of = np.array([label_of_category(name, self._classes) for name in names], int)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self._classes

    @property
    def tokens(self) -> list[str]:
        """Token of each sample."""
        return self._tables.samples.tokens

    @property
    def table_order(self) -> NDArray[np.int64]:
        """(S,) int64 the frames in the order in which the table of samples names them."""
        return self._tables.samples.table_order

    @property
    def annotated(self) -> bool:
        """Whether there is ground truth; v1.0-test has none."""
        return self._tables.annotations is not None

    def drive(self, index: int) -> str:
        """Name of the scene of a frame."""
        return self._tables.samples.scene[index]

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> Frame:
        """One frame: the merged cloud, and the boxes of known classes in its frame.

        Raises:
            Kd3dError: A file of points is missing or damaged.
        """
        sweeps, row = self._tables.sweeps, self._row(index)
        boxes, labels = None, None
        if self.annotated:
            labels = self.labels(index)
            boxes = self._boxes(labels, index)
        return Frame(
            cloud=self._cloud(row),
            source=str(self.root / sweeps.filenames[row]),
            stamp=float(1e-6 * sweeps.timestamp[row]),
            boxes=boxes,
            num_points=None if labels is None else labels.lidar_points[labels.known],
            track_id=None if labels is None else labels.instance[labels.known],
            pose=self.pose(index),
            sensor="hdl32e" if self.version in VERSION_OF_SPLIT.values() else "unknown",
            sensor_height=float(sweeps.height[row]),
        )

    def boxes(self, index: int) -> Boxes3D | None:
        """The ground truth of a frame, without its cloud."""
        return self._boxes(self.labels(index), index) if self.annotated else None

    def pose(self, index: int) -> NDArray[np.float64]:
        """(4, 4) float64 world_from_sensor of a frame."""
        return self._tables.sweeps.world_from_sensor[self._row(index)]

    def ego(self, index: int) -> NDArray[np.float64]:
        """(3,) float64 the vehicle in the world, from which the metrics measure ranges [m]."""
        return self._tables.sweeps.ego[self._row(index)]

    def labels(self, index: int) -> NuScenesLabels:
        """Every annotation of a sample, in the world frame.

        Raises:
            Kd3dError: The data set has no ground truth.
        """
        table = self._tables.annotations
        if table is None:
            raise Kd3dError(f"{self.root / self.version} has no annotations (the test set).")
        return sample_labels(table, range(len(self))[index], self._label_of)

    def _row(self, index: int) -> int:
        """Row of a frame's key sweep."""
        return int(self._tables.samples.sweep[index])

    def _boxes(self, labels: NuScenesLabels, index: int) -> Boxes3D:
        """The boxes of known classes in the sensor frame."""
        known = labels.known
        sensor_from_world = invert_pose(self.pose(index))
        turn = np.linalg.inv(level_turn(self.pose(index)))
        return Boxes3D.make(
            labels.center[known] @ sensor_from_world[:3, :3].T + sensor_from_world[:3, 3],
            labels.size[known],
            turned_yaw(turn, labels.yaw[known]),
            labels.label[known],
            velocity=labels.velocity[known] @ turn.T,
            classes=self._classes,
        )

    def _cloud(self, row: int) -> PointCloud:
        """A sweep merged with those before it."""
        sweeps = self._tables.sweeps
        newest = self._read(row)
        if self.sweeps == 1:
            return newest
        sensor_from_world = invert_pose(sweeps.world_from_sensor[row])
        earlier = []
        past = row
        for _ in range(self.sweeps - 1):
            past = int(sweeps.earlier[past])
            if past < 0:
                break
            cloud = self._read(past)
            near = (np.abs(cloud.xyz[:, :2]) < self._ego_radius).all(axis=1)
            age = 1e-6 * float(sweeps.timestamp[row] - sweeps.timestamp[past])
            pose = sensor_from_world @ sweeps.world_from_sensor[past]
            earlier.append((cloud[~near], pose, age))
        return merge_sweeps(newest, earlier)

    def _read(self, row: int) -> PointCloud:
        """One sweep in our sensor frame; its points have no times of their own."""
        sweeps = self._tables.sweeps
        options = CloudOptions(intensity_scale=INTENSITY_SCALE, columns=5)
        cloud = read_cloud(self.root / sweeps.filenames[row], options)
        turn = quarter_turn(int(sweeps.turns[row])).astype(np.float32)
        # In place: the cloud is ours alone, and a sum of a value and zeros is exact.
        cloud.points[:, :2] = cloud.points[:, :2] @ turn[:2, :2].T
        return cloud
