"""KITTI's tracklets: the boxes of raw drives, an XML file a drive."""

import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kd3d_core.datasets.kitti_labels import CLASS_OF_TYPE
from kd3d_core.datasets.kitti_labels import TYPE_OF_CLASS
from kd3d_core.datasets.kitti_tracks import TrackedBoxes
from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.geometry.boxes import Boxes3D


def read_tracklets(path: Path, classes: tuple[str, ...]) -> dict[int, TrackedBoxes]:
    """Boxes by number of the frame; the track id is the tracklet's place in the file.

    A tracklet gives the middle of the bottom in the LiDAR frame and the rotation about z.

    Args:
        path: `tracklet_labels.xml`.
        classes: What the labels point into; boxes of other classes are left out.

    Raises:
        Kd3dError: The file is no XML, or lacks something that every tracklet has.
    """
    rows: dict[int, list[tuple[list[float], int, int]]] = defaultdict(list)
    try:
        for track, item in enumerate(ElementTree.parse(path).getroot().iterfind("*/item")):
            kind = CLASS_OF_TYPE.get(_text(item, "objectType"))
            if kind not in classes:
                continue
            size = [float(_text(item, key)) for key in ("l", "w", "h")]
            first = int(_text(item, "first_frame"))
            for offset, pose in enumerate(item.iterfind("poses/item")):
                x, y, z, yaw = (float(_text(pose, key)) for key in ("tx", "ty", "tz", "rz"))
                box = [x, y, z + size[2] / 2, *size, yaw]
                rows[first + offset].append((box, classes.index(kind), track))
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise Kd3dError(f"{path} is not a KITTI tracklet file: {error}.") from error
    return {number: _boxes(found, classes) for number, found in rows.items()}


def write_tracklets(path: Path, frames: Mapping[int, TrackedBoxes]) -> None:
    """Write boxes as tracklets; one that is away for a while goes on as a new one.

    Args:
        path: `tracklet_labels.xml`.
        frames: By number of the frame.
    """
    runs: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number in sorted(frames):
        for i, track in enumerate(frames[number].track_id.tolist()):
            runs[track].append((number, i))
    root = ElementTree.Element("boost_serialization")
    tracklets = ElementTree.SubElement(root, "tracklets")
    for run in runs.values():
        parts = np.split(run, np.flatnonzero(np.diff([number for number, _ in run]) > 1) + 1)
        for part in parts:
            _add_tracklet(tracklets, [(int(n), int(i)) for n, i in part], frames)
    with atomic_path(path) as temporary:
        ElementTree.ElementTree(root).write(temporary, encoding="UTF-8", xml_declaration=True)


def _add_tracklet(
    parent: ElementTree.Element, run: list[tuple[int, int]], frames: Mapping[int, TrackedBoxes]
) -> None:
    """Append one tracklet of consecutive (frame, box) pairs."""
    boxes, first = frames[run[0][0]].boxes, run[0][1]
    item = ElementTree.SubElement(parent, "item")
    ElementTree.SubElement(item, "objectType").text = TYPE_OF_CLASS.get(
        boxes.classes[int(boxes.label[first])], "Misc"
    )
    length, width, height = boxes.size[first].tolist()
    for key, value in (("h", height), ("w", width), ("l", length)):
        ElementTree.SubElement(item, key).text = repr(value)
    ElementTree.SubElement(item, "first_frame").text = str(run[0][0])
    poses = ElementTree.SubElement(item, "poses")
    for number, i in run:
        of = frames[number].boxes
        x, y, z = of.center[i].tolist()
        pose = ElementTree.SubElement(poses, "item")
        values = {"tx": x, "ty": y, "tz": z - height / 2, "rx": 0.0, "ry": 0.0}
        for key, value in (values | {"rz": float(of.yaw[i])}).items():
            ElementTree.SubElement(pose, key).text = repr(value)


def _text(item: ElementTree.Element, key: str) -> str:
    """The text of a child; ValueError when it is missing."""
    text = item.findtext(key)
    if text is None:
        raise ValueError(f"a tracklet lacks {key}")
    return text.strip()


def _boxes(rows: list[tuple[list[float], int, int]], classes: tuple[str, ...]) -> TrackedBoxes:
    """The boxes of one frame."""
    table = np.array([row for row, _, _ in rows])
    boxes = Boxes3D.make(
        table[:, :3], table[:, 3:6], table[:, 6], [label for _, label, _ in rows], classes=classes
    )
    return TrackedBoxes(boxes, np.array([track for _, _, track in rows], np.int64))
