"""KITTI's label and result lines, and what the project makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.kitti_calibration import IMAGE_SIZE
from kd3d_core.datasets.kitti_calibration import Calibration
from kd3d_core.datasets.kitti_calibration import from_camera
from kd3d_core.datasets.kitti_calibration import image_boxes
from kd3d_core.datasets.kitti_calibration import text_lines
from kd3d_core.datasets.kitti_calibration import to_camera
from kd3d_core.errors import Kd3dError
from kd3d_core.files import write_text
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
#: The type that a class is written as; KITTI has none for the classes that are not here (Misc).
TYPE_OF_CLASS = {
    "car": "Car",
    "truck": "Truck",
    "pedestrian": "Pedestrian",
    "cyclist": "Cyclist",
}
_COLUMNS = 14


@dataclass(frozen=True, eq=False)
class KittiLabels:
    """All 3D labels of a frame, also those without a class of ours, in the order of the file.

    Attributes:
        types: KITTI's names, one a box (never DontCare).
        boxes: The boxes in the LiDAR frame; `label` is 0 where the type has no class: see `known`.
        known: (N,) bool: the type has a class of ours.
        occluded: (N,) int64: 0 visible, 1 partly, 2 largely occluded, 3 unknown.
        dont_care: (M, 4) float64 image boxes left, top, right, bottom [px] that nobody labelled.
        truncated: (N,) float64: the share of the object that is outside the image, as the
            annotator judged it (the tracking benchmark: 0, 1 or 2).
        image_boxes: (N, 4) float64 left, top, right, bottom [px], as annotated.
        camera_boxes: (N, 7) float64, the file's own numbers: see `to_camera`.
    """

    types: tuple[str, ...]
    boxes: Boxes3D
    known: NDArray[np.bool_]
    occluded: NDArray[np.int64]
    dont_care: NDArray[np.float64]
    truncated: NDArray[np.float64]
    image_boxes: NDArray[np.float64]
    camera_boxes: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelRows:
    """The lines of a label file, apart from what stands before the type.

    Attributes:
        types: The first word of each line.
        numbers: (N, 14) float64: truncated, occluded, alpha, left, top, right, bottom, height,
            width, length, x, y, z, rotation_y.
        scores: (N,) float64 of result files, NaN in label files.
    """

    types: tuple[str, ...]
    numbers: NDArray[np.float64]
    scores: NDArray[np.float64]


def parse_rows(lines: Sequence[str], source: str) -> LabelRows:
    """Read the lines of a label or result file.

    Args:
        lines: Without blank ones.
        source: The file, for messages.

    Raises:
        Kd3dError: A line has not a type and 14 numbers.
    """
    types: list[str] = []
    table = np.full((len(lines), _COLUMNS + 1), np.nan)
    for number, line in enumerate(lines):
        kind, *words = line.split()
        try:
            values = np.array(words[: _COLUMNS + 1], np.float64)
        except ValueError:
            values = np.empty(0)
        if len(values) < _COLUMNS:
            raise Kd3dError(
                f"{source}, line {number + 1}: a KITTI label has a type and 14 numbers."
            )
        types.append(kind)
        table[number, : len(values)] = values
    return LabelRows(tuple(types), table[:, :_COLUMNS], table[:, _COLUMNS])


def make_labels(
    rows: LabelRows, calibration: Calibration, classes: tuple[str, ...] = DEFAULT_CLASSES
) -> KittiLabels:
    """Labels in the LiDAR frame.

    Lines give the middle of a box's bottom in the rectified camera frame and its rotation
    about the camera's y axis (down): the centre is half a height up, and
    yaw = -(rotation_y + pi / 2).
    """
    cared = np.array([kind != "DontCare" for kind in rows.types], bool)
    kinds = tuple(kind for kind in rows.types if kind != "DontCare")
    table = rows.numbers[cared]
    camera = table[:, [10, 11, 12, 9, 8, 7, 13]]
    center, size, yaw = from_camera(camera, calibration)
    known = np.array([CLASS_OF_TYPE.get(kind) in classes for kind in kinds], bool)
    label = [
        classes.index(CLASS_OF_TYPE[k]) if ok else 0 for k, ok in zip(kinds, known, strict=True)
    ]
    return KittiLabels(
        types=kinds,
        boxes=Boxes3D.make(center, size, yaw, label, classes=classes),
        known=known,
        occluded=table[:, 1].astype(np.int64),
        dont_care=rows.numbers[~cared, 3:7],
        truncated=table[:, 0],
        image_boxes=table[:, 3:7],
        camera_boxes=camera,
    )


def read_labels(
    path: Path, calibration: Calibration, classes: tuple[str, ...] = DEFAULT_CLASSES
) -> KittiLabels:
    """Read a label file into the LiDAR frame.

    Raises:
        Kd3dError: The file cannot be read, or a line has not the 15 columns.
    """
    return make_labels(parse_rows(text_lines(path), str(path)), calibration, classes)


def read_results(
    path: Path, calibration: Calibration, classes: tuple[str, ...] = DEFAULT_CLASSES
) -> Boxes3D:
    """Detections of a file in the benchmark's result format, those of the given classes.

    Raises:
        Kd3dError: The file cannot be read, or a line has not the 16 columns.
    """
    rows = parse_rows(text_lines(path), str(path))
    if np.isnan(rows.scores).any():
        line = int(np.flatnonzero(np.isnan(rows.scores))[0]) + 1
        raise Kd3dError(
            f"{path}, line {line}: no score. A result line has a type and 15 numbers; this looks "
            "like a label file."
        )
    labels = make_labels(rows, calibration, classes)
    cared = np.array([kind != "DontCare" for kind in rows.types], bool)
    boxes = labels.boxes
    scored = Boxes3D.make(
        boxes.center,
        boxes.size,
        boxes.yaw,
        boxes.label,
        score=rows.scores[cared],
        classes=classes,
    )
    return scored[labels.known]


def write_results(
    path: Path,
    boxes: Boxes3D,
    calibration: Calibration,
    image_size: tuple[int, int] = IMAGE_SIZE,
) -> None:
    """Write detections in the benchmark's result format, those that the camera sees.

    Truncation and occlusion are -1, as the benchmark asks; numbers have six decimals, so that
    nothing of the metric changes by writing.

    Args:
        path: The file, `<frame>.txt`.
        boxes: Detections in the LiDAR frame.
        calibration: Of the frame.
        image_size: Width and height of the image [px].
    """
    camera = to_camera(boxes, calibration)
    pixels, _ = image_boxes(camera, calibration.projection, image_size)
    seen = (pixels[:, 2] > pixels[:, 0]) & (pixels[:, 3] > pixels[:, 1])
    lines = [
        label_line(
            TYPE_OF_CLASS.get(name, "Misc"), -1, -1, pixels[i], camera[i], float(boxes.score[i])
        )
        for i, name in enumerate(boxes.names)
        if seen[i]
    ]
    write_text(path, "".join(line + "\n" for line in lines))


def label_line(
    kind: str,
    truncated: float,
    occluded: int,
    pixels: NDArray[np.float64],
    camera: NDArray[np.float64],
    score: float | None = None,
) -> str:
    """One line of a label or, with a score, of a result file.

    Args:
        kind: KITTI's type.
        truncated: Share outside the image, or -1.
        occluded: 0 to 3, or -1.
        pixels: (4,) left, top, right, bottom [px].
        camera: (7,) a box of `to_camera`.
        score: In [0, 1].
    """
    x, y, z, length, width, height, turn = (float(value) for value in camera)
    alpha = float(np.pi - np.mod(np.pi - (turn - np.arctan2(x, z)), 2 * np.pi))
    numbers = [alpha, *pixels.tolist(), height, width, length, x, y, z, turn]
    if score is not None:
        numbers.append(score)
    share = f"{truncated:.2f}" if truncated >= 0 else "-1"
    return f"{kind} {share} {occluded} " + " ".join(f"{value:.6f}" for value in numbers)
