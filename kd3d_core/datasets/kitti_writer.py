"""Frames written in the layout of the KITTI object benchmark.

A camera of stated intrinsics stands where KITTI's left colour camera does. Boxes that it sees get
a label: the 2D box and the truncation come from the projection, the occlusion from the share of
the sweep's rays that reach the box (`kitti_visibility`). Boxes without a point are not seen by an
annotator either and get none. KITTI has no buses or motorcycles: they are written as Misc.
"""

from collections.abc import Callable
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.kitti_calibration import IMAGE_SIZE
from kd3d_core.datasets.kitti_calibration import Calibration
from kd3d_core.datasets.kitti_calibration import image_boxes
from kd3d_core.datasets.kitti_calibration import to_camera
from kd3d_core.datasets.kitti_labels import TYPE_OF_CLASS
from kd3d_core.datasets.kitti_labels import label_line
from kd3d_core.datasets.kitti_visibility import occlusion_level
from kd3d_core.datasets.kitti_visibility import visible_share
from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.files import write_text
from kd3d_core.frame import Frame

#: Focal length 721.5 px and principal point (609.6, 172.9) of a 1242 x 375 image, 0.27 m ahead of
#: the LiDAR and 0.08 m below it, with level axes; the IMU 0.81 m behind, 0.32 m left, 0.8 m below.
CAMERA = Calibration(
    camera_from_lidar=np.array(
        [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, -0.08], [1.0, 0.0, 0.0, -0.27], [0, 0, 0, 1]]
    ),
    projection=np.array([[721.5, 0, 609.6, 0], [0, 721.5, 172.9, 0], [0, 0, 1.0, 0]]),
    lidar_from_imu=np.array([[1.0, 0, 0, -0.81], [0, 1, 0, 0.32], [0, 0, 1, -0.8], [0, 0, 0, 1]]),
)


@dataclass(frozen=True, eq=False)
class SeenBoxes:
    """What an annotator would see of a frame: K of its boxes.

    Attributes:
        index: (K,) int64, which boxes of the frame.
        types: KITTI's names.
        truncated: (K,) float64 share outside the image.
        occluded: (K,) int64, KITTI's level.
        pixels: (K, 4) float64 left, top, right, bottom [px].
        camera: (K, 7) float64 boxes of `to_camera`.
    """

    index: NDArray[np.int64]
    types: tuple[str, ...]
    truncated: NDArray[np.float64]
    occluded: NDArray[np.int64]
    pixels: NDArray[np.float64]
    camera: NDArray[np.float64]

    def lines(self) -> list[str]:
        """One label line a box."""
        return [
            label_line(
                kind, self.truncated[i], int(self.occluded[i]), self.pixels[i], self.camera[i]
            )
            for i, kind in enumerate(self.types)
        ]


def seen_boxes(
    frame: Frame, calibration: Calibration = CAMERA, image_size: tuple[int, int] = IMAGE_SIZE
) -> SeenBoxes:
    """The boxes of a frame that the camera sees and that hold a point.

    Raises:
        Kd3dError: The frame has no ground truth.
    """
    if frame.boxes is None:
        raise Kd3dError(f"{frame.source} has no ground truth to write as KITTI labels.")
    camera = to_camera(frame.boxes, calibration)
    pixels, truncated = image_boxes(camera, calibration.projection, image_size)
    points = frame.num_points
    if points is None:
        points = frame.boxes.contains(frame.cloud.points).sum(axis=1)
    seen = np.flatnonzero((pixels[:, 2:] > pixels[:, :2]).all(axis=1) & (points > 0))
    names = [frame.boxes.classes[label] for label in frame.boxes.label[seen]]
    occluded = occlusion_level(*visible_share(frame.boxes[seen], frame.cloud.points))
    return SeenBoxes(
        seen,
        tuple(TYPE_OF_CLASS.get(name, "Misc") for name in names),
        truncated[seen],
        occluded,
        pixels[seen],
        camera[seen],
    )


def write_kitti(
    frames: Iterable[Frame],
    root: Path | str,
    *,
    split: str | None = None,
    calibration: Calibration = CAMERA,
    image_size: tuple[int, int] = IMAGE_SIZE,
    progress: Callable[[int], None] = lambda count: None,
) -> int:
    """Write frames as `training/{velodyne,label_2,calib}/000000.*` and so on, in order.

    A cloud is written last of its frame, so that an interrupted run leaves whole frames.

    Args:
        frames: With ground truth.
        root: The folder that gets `training`; files of the same names are replaced.
        split: Also list the frames in `ImageSets/<split>.txt`; the numbers then go on after the
            frames that are there.
        calibration: Of the camera.
        image_size: Width and height of its image [px].
        progress: Is told 1 after each frame.

    Returns:
        How many frames were written.

    Raises:
        Kd3dError: A frame has no ground truth, or the folder cannot be written.
    """
    home = Path(root) / "training"
    taken = [int(path.stem) for path in home.glob("velodyne/*.bin") if path.stem.isdigit()]
    first = max(taken, default=-1) + 1 if split is not None else 0
    names = []
    for number, frame in enumerate(frames, start=first):
        name = f"{number:06d}"
        lines = seen_boxes(frame, calibration, image_size).lines()
        write_text(home / "label_2" / f"{name}.txt", "".join(line + "\n" for line in lines))
        write_text(home / "calib" / f"{name}.txt", calibration_text(calibration))
        write_cloud(home / "velodyne" / f"{name}.bin", frame)
        names.append(name)
        progress(1)
    if split is not None:
        write_text(Path(root) / "ImageSets" / f"{split}.txt", "".join(n + "\n" for n in names))
    return len(names)


def write_cloud(path: Path, frame: Frame) -> None:
    """Write the points of a frame as KITTI does: float32 x, y, z [m], reflectance [0, 1]."""
    with atomic_path(path) as temporary:
        frame.cloud.points.astype("<f4").tofile(temporary)


def calibration_text(calibration: Calibration, *, tracking: bool = False) -> str:
    """A calibration file of the object or, with its other names, of the tracking benchmark."""
    rectify, lidar, imu = (
        ("R_rect", "Tr_velo_cam", "Tr_imu_velo")
        if tracking
        else ("R0_rect", "Tr_velo_to_cam", "Tr_imu_to_velo")
    )
    rows = {f"P{i}": calibration.projection for i in range(4)}
    rows |= {rectify: np.eye(3), lidar: calibration.camera_from_lidar[:3]}
    if calibration.lidar_from_imu is not None:
        rows[imu] = calibration.lidar_from_imu[:3]
    # The tracking benchmark writes no colon after the names that are not P0 to P3.
    return "".join(
        f"{name}{'' if tracking and not name.startswith('P') else ':'} "
        + " ".join(f"{value:.12e}" for value in matrix.ravel())
        + "\n"
        for name, matrix in rows.items()
    )
