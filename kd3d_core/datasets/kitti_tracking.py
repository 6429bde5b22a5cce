"""The KITTI tracking benchmark: labelled drives with poses.

The layout is the benchmark's own: `training/{velodyne/0000/000000.bin, label_02/0000.txt,
calib/0000.txt, oxts/0000.txt}`. Without `oxts` frames have no pose and boxes no velocity.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.clouds import CloudOptions
from kd3d_core.datasets.clouds import read_cloud
from kd3d_core.datasets.kitti import SENSOR_HEIGHT
from kd3d_core.datasets.kitti_calibration import Calibration
from kd3d_core.datasets.kitti_calibration import read_calibration
from kd3d_core.datasets.kitti_calibration import text_lines
from kd3d_core.datasets.kitti_labels import KittiLabels
from kd3d_core.datasets.kitti_labels import make_labels
from kd3d_core.datasets.kitti_labels import parse_rows
from kd3d_core.datasets.kitti_oxts import poses_from_oxts
from kd3d_core.datasets.kitti_oxts import read_oxts
from kd3d_core.datasets.kitti_tracks import TrackedBoxes
from kd3d_core.datasets.kitti_tracks import with_velocities
from kd3d_core.datasets.recent import Recent
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose

#: The benchmark gives no times; the LiDAR turns ten times a second [s].
PERIOD = 0.1


@dataclass(frozen=True, eq=False)
class _Sequence:
    """What is known of a drive besides its clouds, by number of the frame."""

    calibration: Calibration
    labels: dict[int, KittiLabels]
    tracked: dict[int, TrackedBoxes]
    poses: dict[int, NDArray[np.float64]]


def is_kitti_tracking(root: Path | str) -> bool:
    """Whether a folder looks like the tracking benchmark: a folder of clouds a sequence."""
    folder = _home(Path(root)) / "velodyne"
    return folder.is_dir() and next(folder.glob("*/*.bin"), None) is not None


class KittiTrackingDataset:
    """Frames of all sequences, in order; boxes have track ids and velocities.

    Labels cover the view of the camera only.
    """

    def __init__(
        self,
        root: Path | str,
        classes: tuple[str, ...] = DEFAULT_CLASSES,
        *,
        sequences: tuple[str, ...] | None = None,
    ) -> None:
        """Find the frames.

        Args:
            root: The folder that holds `training`, or `training` itself.
            classes: What the labels point into; boxes of other classes are left out.
            sequences: Names such as "0003"; all when None.

        Raises:
            Kd3dError: Folders or files of the layout are missing.
        """
        self.root = _home(Path(root))
        folder = self.root / "velodyne"
        there = sorted(path.name for path in folder.glob("*") if path.is_dir())
        chosen = tuple(there) if sequences is None else tuple(sequences)
        missing = [name for name in chosen if name not in there]
        if not there or missing:
            what = f"sequence {missing[0]}" if missing else "no sequence at all (a folder each)"
            raise Kd3dError(
                f"{root} is not a KITTI tracking data set with the frames asked for: {folder} "
                f"has {'no ' if missing else ''}{what}."
            )
        for name in chosen:
            for part in ("label_02", "calib"):
                if not (self.root / part / f"{name}.txt").is_file():
                    raise Kd3dError(
                        f"{root}: {self.root / part / name}.txt is missing, which the KITTI "
                        "tracking layout has for every sequence."
                    )
        # Some sequences lack clouds in their middle: what is there counts, not the numbers.
        self.frames = [
            (name, int(path.stem))
            for name in chosen
            for path in sorted((folder / name).glob("*.bin"))
        ]
        if not self.frames:
            raise Kd3dError(f"{folder} holds no .bin files in the sequences asked for.")
        self._classes = tuple(classes)
        self._sequence = Recent(self._read_sequence)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self._classes

    def drive(self, index: int) -> str:
        """Name of the sequence that a frame belongs to."""
        return self.frames[index][0]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Frame:
        """One frame; without labels of its own it has no boxes, which is not "unlabelled"."""
        name, number = self.frames[index]
        path = self.root / "velodyne" / name / f"{number:06d}.bin"
        cloud = read_cloud(path, CloudOptions(intensity_scale=1.0, columns=4))
        sequence = self._sequence(name)
        nothing = TrackedBoxes(Boxes3D.empty(self._classes), np.zeros(0, np.int64))
        tracked = sequence.tracked.get(number, nothing)
        return Frame(
            cloud=cloud,
            source=str(path),
            stamp=number * PERIOD,
            boxes=tracked.boxes,
            num_points=tracked.boxes.contains(cloud.points).sum(axis=1).astype(np.int64),
            track_id=tracked.track_id,
            pose=sequence.poses.get(number),
            sensor="hdl64e",
            sensor_height=SENSOR_HEIGHT,
        )

    def boxes(self, index: int) -> Boxes3D:
        """The ground truth of a frame, without its cloud."""
        name, number = self.frames[index]
        tracked = self._sequence(name).tracked.get(number)
        return Boxes3D.empty(self._classes) if tracked is None else tracked.boxes

    def calibration(self, index: int) -> Calibration:
        """The calibration of a frame."""
        return self._sequence(self.frames[index][0]).calibration

    def labels(self, index: int) -> KittiLabels:
        """Every label of a frame, in the LiDAR frame."""
        name, number = self.frames[index]
        sequence = self._sequence(name)
        nothing = make_labels(parse_rows([], ""), sequence.calibration, self._classes)
        return sequence.labels.get(number, nothing)

    def _read_sequence(self, name: str) -> _Sequence:
        """Labels, tracks and poses of a drive."""
        calibration = read_calibration(self.root / "calib" / f"{name}.txt")
        labels, tracked = self._read_labels(name, calibration)
        poses: dict[int, NDArray[np.float64]] = {}
        oxts = self.root / "oxts" / f"{name}.txt"
        if oxts.is_file():
            if calibration.lidar_from_imu is None:
                raise Kd3dError(
                    f"{self.root / 'calib' / name}.txt lacks Tr_imu_velo, without which {oxts} "
                    "says nothing about the LiDAR. Complete it, or take the oxts folder away."
                )
            imu_from_lidar = invert_pose(calibration.lidar_from_imu)
            poses = dict(enumerate(poses_from_oxts(read_oxts(oxts)) @ imu_from_lidar))
        stamps = {number: number * PERIOD for number in tracked}
        return _Sequence(calibration, labels, with_velocities(tracked, poses, stamps), poses)

    def _read_labels(
        self, name: str, calibration: Calibration
    ) -> tuple[dict[int, KittiLabels], dict[int, TrackedBoxes]]:
        """Labels and tracks by number of the frame."""
        path = self.root / "label_02" / f"{name}.txt"
        lines: dict[int, list[tuple[int, str]]] = {}
        for number, line in enumerate(text_lines(path), start=1):
            words = line.split(maxsplit=2)
            try:
                frame, track = int(words[0]), int(words[1])
            except (ValueError, IndexError) as error:
                raise Kd3dError(
                    f"{path}, line {number}: a KITTI tracking label begins with the numbers of "
                    "the frame and of the track."
                ) from error
            lines.setdefault(frame, []).append((track, words[2] if len(words) > 2 else ""))
        labels, tracked = {}, {}
        for frame, rows in lines.items():
            parsed = parse_rows([row for _, row in rows], f"{path}, frame {frame}")
            labels[frame] = found = make_labels(parsed, calibration, self._classes)
            cared = np.array([kind != "DontCare" for kind in parsed.types], bool)
            ids = np.array([track for track, _ in rows], np.int64)[cared]
            tracked[frame] = TrackedBoxes(found.boxes[found.known], ids[found.known])
        return labels, tracked


def _home(root: Path) -> Path:
    """`training` below `root` where there is one, or `root` itself."""
    return root / "training" if (root / "training").is_dir() else root
