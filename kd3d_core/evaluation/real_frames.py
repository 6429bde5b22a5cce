"""The real frames that are judged as `real_judge.py` says: KITTI's and Argoverse 2's.

What each class of theirs counts as, and detections of another detector beside ours.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.argoverse2 import Argoverse2Dataset
from kd3d_core.datasets.argoverse2_classes import ARGOVERSE2_CLASSES
from kd3d_core.datasets.kitti import KittiDataset
from kd3d_core.datasets.kitti_calibration import image_boxes
from kd3d_core.datasets.kitti_calibration import to_camera
from kd3d_core.errors import Kd3dError
from kd3d_core.evaluation.real_judge import Group
from kd3d_core.evaluation.real_judge import RealFrame
from kd3d_core.evaluation.real_judge import Target
from kd3d_core.geometry.boxes import Boxes3D

#: Share of a detection's image box in a DontCare region from which it is left out.
_DONT_CARE = 0.5

KITTI_GROUPS = {
    "car": Group(("car",), ("Car",), ("Van",)),
    "pedestrian": Group(("pedestrian",), ("Pedestrian",), ("Person_sitting",)),
    "cyclist": Group(("cyclist",), ("Cyclist",)),
    "truck": Group(("truck",), ("Truck",), ("Misc",)),
    "bus": Group(("bus",), (), ("Truck", "Tram", "Misc")),
    "motorcycle": Group(("motorcycle",), (), ("Misc",)),
}
ARGOVERSE2_GROUPS = {
    "vehicle": Group(
        ("car", "truck", "bus"),
        (
            *("REGULAR_VEHICLE", "LARGE_VEHICLE", "BOX_TRUCK", "TRUCK", "TRUCK_CAB"),
            *("BUS", "ARTICULATED_BUS", "SCHOOL_BUS"),
        ),
        ("VEHICULAR_TRAILER", "MESSAGE_BOARD_TRAILER"),
    ),
    "pedestrian": Group(
        ("pedestrian",),
        ("PEDESTRIAN", "OFFICIAL_SIGNALER"),
        ("WHEELED_RIDER", "BICYCLIST", "MOTORCYCLIST", "STROLLER", "WHEELCHAIR"),
    ),
    "cyclist": Group(("cyclist",), ("BICYCLIST",), ("BICYCLE", "WHEELED_RIDER")),
    "motorcycle": Group(("motorcycle",), ("MOTORCYCLE",), ("MOTORCYCLIST",)),
}


def kitti_frames(
    root: Path, *, max_range: float = 40.0, min_points: int = 20
) -> Iterator[RealFrame]:
    """KITTI's frames under the rule.

    Args:
        root: Folder with training/{velodyne,label_2,calib}.
        max_range: Labels and false detections farther away on the ground [m] do not count.
        min_points: Labels with fewer points need not be found.

    Raises:
        Kd3dError: There are no such frames.
    """
    dataset = KittiDataset(root)
    for i in range(len(dataset)):
        frame, labels = dataset[i], dataset.labels(i)
        seen = dataset.in_camera_view(i, labels.boxes.center)
        points = labels.boxes.contains(frame.cloud.points).sum(axis=1)
        wanted = seen & (_distance(labels.boxes) <= max_range) & (points >= min_points)
        yield RealFrame(
            name=dataset.names[i],
            frame=frame,
            groups=KITTI_GROUPS,
            targets=_targets(KITTI_GROUPS, labels.types, labels.boxes, wanted),
            may_be_wrong=_in_kitti(dataset, i, labels.dont_care, max_range),
        )


def argoverse2_frames(
    root: Path, *, max_range: float = 50.0, min_points: int = 5
) -> Iterator[RealFrame]:
    """Argoverse 2's labelled sweeps under the rule; all around, in the frame of the vehicle.

    Args:
        root: Folder of the splits, a split, or a log.
        max_range: Labels and false detections farther away on the ground [m] do not count.
        min_points: Labels with fewer points, as the data set counts them, need not be found.

    Raises:
        Kd3dError: There are no such frames, or one has no labels.
    """
    dataset = Argoverse2Dataset(root, classes=(*ARGOVERSE2_CLASSES, "OFFICIAL_SIGNALER"))
    for i in range(len(dataset)):
        frame = dataset[i]
        if frame.boxes is None or frame.num_points is None:
            raise Kd3dError(f"{frame.source} has no labels, so nothing can be judged on it.")
        wanted = (_distance(frame.boxes) <= max_range) & (frame.num_points >= min_points)
        yield RealFrame(
            name=f"{dataset.drive(i)[:8]}-{dataset.timestamp(i)}",
            frame=frame,
            groups=ARGOVERSE2_GROUPS,
            targets=_targets(ARGOVERSE2_GROUPS, frame.boxes.names, frame.boxes, wanted),
            may_be_wrong=lambda boxes: _distance(boxes) <= max_range,
        )


def read_reference(folder: Path, name: str, threshold: float) -> Boxes3D:
    """Detections of another detector: lines x y z l w h yaw class score in the LiDAR frame.

    Args:
        folder: Holds `<name>.txt`; classes are 0 car, 1 pedestrian, 2 cyclist.
        name: Of the frame.
        threshold: Lower scores are left out.

    Raises:
        Kd3dError: The file is missing, or is not such a table.
    """
    path = folder / f"{name}.txt"
    try:
        rows = np.loadtxt(path, ndmin=2).reshape(-1, 9)
    except (OSError, ValueError) as error:
        raise Kd3dError(f"{path} is not a table of nine columns of numbers: {error}.") from error
    rows = rows[rows[:, 8] >= threshold]
    return Boxes3D.make(
        rows[:, :3],
        rows[:, 3:6],
        rows[:, 6],
        rows[:, 7],
        score=rows[:, 8],
        classes=("car", "pedestrian", "cyclist"),
    )


def _targets(
    groups: Mapping[str, Group],
    types: Sequence[str],
    boxes: Boxes3D,
    wanted: NDArray[np.bool_],
) -> dict[str, Target]:
    """The labels of each group, of M with types, and those of its neighbours."""
    targets = {}
    for name, group in groups.items():
        own = np.array([kind in group.types for kind in types], bool)
        near = np.array([kind in group.neighbours for kind in types], bool)
        targets[name] = Target(boxes[own | near], (wanted & own)[own | near])
    return targets


def _in_kitti(
    dataset: KittiDataset, index: int, dont_care: NDArray[np.float64], max_range: float
) -> Callable[[Boxes3D], NDArray[np.bool_]]:
    """Detections that the camera sees, near enough, and not in a region that nobody labelled."""
    calibration = dataset.calibration(index)

    def may_be_wrong(boxes: Boxes3D) -> NDArray[np.bool_]:
        seen = dataset.in_camera_view(index, boxes.center) & (_distance(boxes) <= max_range)
        pixels, _ = image_boxes(to_camera(boxes, calibration), calibration.projection)
        low = np.maximum(pixels[:, None, :2], dont_care[None, :, :2])
        high = np.minimum(pixels[:, None, 2:], dont_care[None, :, 2:])
        common = np.clip(high - low, 0.0, None).prod(axis=2)
        area = np.maximum((pixels[:, 2:] - pixels[:, :2]).prod(axis=1), 1e-9)
        return seen & ~(common >= _DONT_CARE * area[:, None]).any(axis=1)

    return may_be_wrong


def _distance(boxes: Boxes3D) -> NDArray[np.float32]:
    """(N,) distance of the centres on the ground [m]."""
    return np.hypot(boxes.center[:, 0], boxes.center[:, 1])
