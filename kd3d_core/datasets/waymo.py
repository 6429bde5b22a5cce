"""The Waymo Open Dataset v2 (Parquet), converted into the project's one convention.

The layout is the download's own: a folder a split (`training`, `validation`, `testing`), in it a
folder a component, in it a file a segment. Needed are `lidar`, `lidar_calibration` and
`vehicle_pose`; `lidar_box` has the labels, without which frames have none; `lidar_pose`, the pose
of the vehicle at each pixel of the top laser, makes its points right while the vehicle moves.

A frame is in the vehicle's frame (x forward, y left, z up, the origin on the ground) and joins the
chosen lasers and returns. Waymo's boxes are in that frame already; its velocities are in the
world's and are turned into it. Elongation is left out.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets import waymo_schema as schema
from kd3d_core.datasets.recent import Recent
from kd3d_core.datasets.waymo_range_image import CHANNELS
from kd3d_core.datasets.waymo_range_image import LaserPoints
from kd3d_core.datasets.waymo_range_image import points_from_image
from kd3d_core.datasets.waymo_rows import ImageRows
from kd3d_core.datasets.waymo_segment import Segment
from kd3d_core.datasets.waymo_segment import WaymoLabels
from kd3d_core.datasets.waymo_segment import read_calibrations
from kd3d_core.datasets.waymo_segment import read_labels
from kd3d_core.datasets.waymo_segment import read_poses
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

__all__ = ["CLASS_OF_TYPE", "WaymoDataset", "WaymoLabels", "is_waymo"]

#: The class that each type is read as; a vehicle may be a truck, a bus or a motorcycle as well.
CLASS_OF_TYPE = {
    "vehicle": "car",
    "pedestrian": "pedestrian",
    "cyclist": "cyclist",
    "sign": "sign",
}
SPLITS = ("training", "validation", "testing")
#: What every split has.
_NEEDED = ("lidar", "lidar_calibration", "vehicle_pose")


def is_waymo(root: Path | str) -> bool:
    """Whether a folder is a split of the data set, or holds one."""
    root = Path(root)
    return any(_is_split(folder) for folder in (root, *(root / name for name in SPLITS)))


class WaymoDataset:
    """Frames of all segments of a split, in order."""

    def __init__(
        self,
        root: Path | str,
        classes: tuple[str, ...] = ("car", "pedestrian", "cyclist"),
        *,
        split: str | None = None,
        lasers: tuple[str, ...] = tuple(schema.LASERS),
        returns: tuple[int, ...] = (1, 2),
        intensity: Literal["tanh", "clip"] = "tanh",
        class_of_type: Mapping[str, str] = CLASS_OF_TYPE,
    ) -> None:
        """Find the frames.

        Args:
            root: The folder of a split, or the one that holds splits.
            classes: What the labels point into; boxes of other classes are left out. Signs are
                labelled by Waymo, and read when "sign" is among them; "vehicle" is a vehicle.
            split: "training", "validation" or "testing", below `root`.
            lasers: Of "top", "front", "side_left", "side_right" and "rear".
            returns: Of 1 and 2: the strongest and the second echo of a pulse.
            intensity: Waymo's has no upper bound. "tanh" squeezes it into [0, 1), as detectors
                for this data set do; "clip" cuts it at 1.
            class_of_type: The class that each of Waymo's types is read as.

        Raises:
            Kd3dError: Components are missing, a laser is unknown, or there is no segment.
        """
        root = Path(root)
        self.root = root if split is None else root / split
        if not _is_split(self.root):
            there = [name for name in SPLITS if _is_split(root / name)]
            hint = f" Choose a split: {', '.join(there)}." if there else ""
            raise Kd3dError(
                f"{self.root} is not a split of the Waymo Open Dataset v2: it needs the folders "
                f"{', '.join(_NEEDED)} with .parquet files.{hint}"
            )
        unknown = [name for name in lasers if name not in schema.LASERS]
        if unknown or not lasers or not set(returns) <= {1, 2} or not returns:
            raise Kd3dError(
                f"lasers {lasers} and returns {returns}: choose some of "
                f"{', '.join(schema.LASERS)}, and of 1 and 2."
            )
        self._lasers = {schema.LASERS[name]: name for name in lasers}
        self._returns, self._intensity = tuple(returns), intensity
        self._classes = tuple(classes)
        # A type whose own name is asked for is read as that.
        self._class_of_type = {
            kind: kind if kind in self._classes else name for kind, name in class_of_type.items()
        }
        self.frames = self._find_frames()
        self._segment = Recent(self._read_segment, size=2)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self._classes

    def drive(self, index: int) -> str:
        """Name of the segment that a frame belongs to."""
        return self.frames[index][0]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        """One frame; `num_points` is Waymo's own count over the lasers that are read.

        The cloud has rings only when it is of one laser; it has no times, which Waymo does not
        give.
        """
        name, time = self.frames[index]
        segment = self._segment(name)
        parts = self._points(index)
        cloud = self._cloud(parts)
        labels = segment.labels.get(time) if segment.labels is not None else None
        if segment.labels is not None and labels is None:
            labels = WaymoLabels.nothing(self._classes)
        top_only = tuple(self._lasers.values()) == ("top",)
        counts = None
        if labels is not None:
            counts = labels.top_points if top_only else labels.points
        return Frame(
            cloud=cloud,
            source=f"{self.root}:{name}@{time}",
            stamp=time * 1e-6,
            boxes=None if labels is None else labels.boxes,
            num_points=counts,
            track_id=None if labels is None else labels.track_id,
            pose=segment.poses[time],
            sensor="waymo_top" if top_only else "waymo",
            sensor_height=0.0,
        )

    def boxes(self, index: int) -> Boxes3D | None:
        """The ground truth of a frame, without its cloud."""
        labels = self.labels(index)
        return None if labels is None else labels.boxes

    def labels(self, index: int) -> WaymoLabels | None:
        """What the metric needs of a frame: Waymo's counts of points and difficulties."""
        name, time = self.frames[index]
        labels = self._segment(name).labels
        return None if labels is None else labels.get(time, WaymoLabels.nothing(self._classes))

    def in_no_label_zone(self, index: int, boxes: Boxes3D) -> NDArray[np.bool_]:
        """(N,) bool: boxes that hold a point which Waymo marks as in a no-label zone.

        The official evaluator has the zones as polygons, which the tables do not; points tell the
        same but for boxes without any.
        """
        parts = self._points(index)
        marked = [part.xyz[part.no_label_zone] for part in parts]
        points = np.concatenate(marked or [np.zeros((0, 3))]).astype(np.float32)
        return np.asarray(boxes.contains(points).any(axis=1))

    def _points(self, index: int) -> list[LaserPoints]:
        """The returns of a frame, laser by laser."""
        name, time = self.frames[index]
        segment = self._segment(name)
        images = segment.images.read(time, list(self._lasers))
        if not images:
            raise Kd3dError(
                f"{self.root / 'lidar' / name}.parquet has no range image of the chosen lasers "
                f"at {time}: download this segment again, or choose other lasers."
            )
        top = schema.LASERS["top"]
        poses = None
        if segment.pixel_poses is not None and top in images:
            poses = segment.pixel_poses.read(time, [top]).get(top, [None])[0]
        parts = []
        for laser, returns in images.items():
            if laser not in segment.calibrations:
                raise Kd3dError(
                    f"{self.root / 'lidar_calibration' / name}.parquet lacks the laser "
                    f"{self._lasers[laser]}."
                )
            for image in returns:
                if image is not None:
                    pose = poses if laser == top else None
                    calibration = segment.calibrations[laser]
                    parts.append(points_from_image(image, calibration, pose, segment.poses[time]))
        return parts

    def _cloud(self, parts: list[LaserPoints]) -> PointCloud:
        """One cloud of all returns."""
        if not parts:
            return PointCloud.from_arrays(np.zeros((0, 3)), np.zeros(0))
        intensity = np.concatenate([part.intensity for part in parts])
        if self._intensity == "tanh":
            intensity = np.tanh(intensity)
        return PointCloud.from_arrays(
            np.concatenate([part.xyz for part in parts]),
            intensity,
            ring=np.concatenate([part.beam for part in parts]) if len(self._lasers) == 1 else None,
        )

    def _find_frames(self) -> list[tuple[str, int]]:
        """(segment, time [us]) of every frame."""
        frames: list[tuple[str, int]] = []
        for path in sorted((self.root / "lidar").glob("*.parquet")):
            for part in _NEEDED[1:]:
                if not (self.root / part / path.name).is_file():
                    raise Kd3dError(
                        f"{self.root / part / path.name} is missing: every segment in "
                        f"{self.root / 'lidar'} needs one. Download it, or take the segment away."
                    )
            column = schema.read_component(self.root / "vehicle_pose" / path.name, [schema.TIME])
            frames += [(path.stem, time) for time in sorted(column[schema.TIME])]
        return frames

    def _read_segment(self, name: str) -> Segment:
        """Calibrations, poses and labels of a segment, and its open files."""
        file = f"{name}.parquet"
        poses = read_poses(self.root / "vehicle_pose" / file)
        boxes, pixels = self.root / "lidar_box" / file, self.root / "lidar_pose" / file
        images = [schema.LIDAR.format(number) for number in self._returns]
        return Segment(
            calibrations=read_calibrations(self.root / "lidar_calibration" / file),
            poses=poses,
            labels=read_labels(boxes, poses, self._classes, self._class_of_type)
            if boxes.parent.is_dir()
            else None,
            images=ImageRows(self.root / "lidar" / file, images, CHANNELS),
            pixel_poses=ImageRows(pixels, [schema.PIXEL_POSE], 6) if pixels.is_file() else None,
        )


def _is_split(folder: Path) -> bool:
    """Whether a folder has what every split has."""
    return all(next((folder / part).glob("*.parquet"), None) is not None for part in _NEEDED)
