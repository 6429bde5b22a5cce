"""The project's own data set on disk: simulated drives with exact ground truth.

A data set is a folder with `dataset.json` (format, classes, the settings it was made with) and one
folder a drive, `drive_00000/frame_0000.npz` and so on. A frame file is an uncompressed npz:

    points      (N, 4) float32: x, y, z [m], intensity [0, 1]
    time        (N,) float16: seconds relative to the stamp
    ring        (N,) uint8: beam, from the lowest up
    boxes       (M, 9) float32: x, y, z, length, width, height [m], yaw [rad], vx, vy [m/s]
    objects     (M, 3) int64: label, points inside, track id
    pose        (4, 4) float64: world_from_sensor at the stamp
    stamp       (2,) float64: stamp [s], height of the sensor above the ground [m]
    sensor      its name
"""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import kd3d_core
from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.files import write_text
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

FORMAT = "kd3d-simulated"
VERSION = 1
INDEX = "dataset.json"
_MEMBERS = ("points", "time", "ring", "boxes", "objects", "pose", "stamp", "sensor")


def frame_path(root: Path, drive: int, number: int) -> Path:
    """The file of one frame."""
    return root / f"drive_{drive:05d}" / f"frame_{number:04d}.npz"


def write_frame(path: Path, frame: Frame) -> None:
    """Write a labelled frame with time, ring and pose, atomically.

    Raises:
        ValueError: The frame lacks one of them.
    """
    cloud, boxes = frame.cloud, frame.boxes
    if cloud.time is None or cloud.ring is None:
        raise ValueError(f"write_frame: {frame.source} has points without time or ring")
    if boxes is None or frame.num_points is None or frame.track_id is None or frame.pose is None:
        raise ValueError(f"write_frame: {frame.source} has no ground truth or no pose")
    height = np.nan if frame.sensor_height is None else frame.sensor_height
    rows = np.concatenate(
        [boxes.center, boxes.size, boxes.yaw[:, None], boxes.velocity], axis=1, dtype=np.float32
    )
    with atomic_path(path) as temporary:
        np.savez(
            temporary,
            points=cloud.points,
            time=cloud.time.astype(np.float16),
            ring=cloud.ring.astype(np.uint8),
            boxes=rows,
            objects=np.stack([boxes.label, frame.num_points, frame.track_id], axis=1),
            pose=np.asarray(frame.pose, np.float64),
            stamp=np.array([frame.stamp, height]),
            sensor=np.array(frame.sensor),
        )


def read_frame(path: Path, classes: tuple[str, ...] = DEFAULT_CLASSES) -> Frame:
    """Read what `write_frame` wrote.

    Raises:
        Kd3dError: The file is missing, cut off, damaged or something else.
    """
    data = _members(path, _MEMBERS)
    try:
        return _assemble(data, str(path), classes)
    except ValueError as error:
        raise _damaged(path, error) from error


def read_boxes(path: Path, classes: tuple[str, ...] = DEFAULT_CLASSES) -> Boxes3D:
    """The ground truth of a frame file alone; points are most of it.

    Raises:
        Kd3dError: As `read_frame`.
    """
    data = _members(path, ("boxes", "objects"))
    try:
        return _boxes(data["boxes"], data["objects"], classes)
    except ValueError as error:
        raise _damaged(path, error) from error


def _members(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Arrays of a frame file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except FileNotFoundError as error:
        raise Kd3dError(f"there is no frame file {path}.") from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> Kd3dError:
    """What to say of a file that is not what it should be."""
    return Kd3dError(
        f"{path} is not a whole frame file ({error}). Delete it and run the simulation again with "
        "the same settings: it fills the gap."
    )


def _boxes(rows: NDArray[Any], objects: NDArray[Any], classes: tuple[str, ...]) -> Boxes3D:
    """The boxes of a frame file; raises ValueError when they do not fit together."""
    if rows.shape != (len(objects), 9) or objects.shape != (len(rows), 3):
        raise ValueError(f"boxes have shape {rows.shape}, objects {objects.shape}")
    return Boxes3D(
        center=rows[:, :3],
        size=rows[:, 3:6],
        yaw=rows[:, 6],
        velocity=rows[:, 7:9],
        score=np.ones(len(rows), np.float32),
        label=objects[:, 0],
        classes=classes,
    )


def _assemble(data: dict[str, NDArray[Any]], source: str, classes: tuple[str, ...]) -> Frame:
    """The frame of the members of a file; raises ValueError when they do not fit together."""
    points, objects = data["points"], data["objects"]
    count = len(points)
    if points.shape != (count, 4) or data["time"].shape != (count,):
        raise ValueError(f"points have shape {points.shape}, times {data['time'].shape}")
    boxes = _boxes(data["boxes"], objects, classes)
    stamp, height = (float(value) for value in data["stamp"])
    return Frame(
        cloud=PointCloud(
            points=points,
            time=data["time"].astype(np.float32),
            ring=data["ring"].astype(np.int16),
        ),
        source=source,
        stamp=stamp,
        boxes=boxes,
        num_points=objects[:, 1],
        track_id=objects[:, 2],
        pose=data["pose"],
        sensor=str(data["sensor"]),
        sensor_height=None if np.isnan(height) else height,
    )


def write_index(root: Path, config: dict[str, Any], frames: int) -> None:
    """Write `dataset.json`.

    Args:
        root: Folder of the data set.
        config: The settings it is made with, as plain data.
        frames: How many frames there are to be.
    """
    index = {
        "format": FORMAT,
        "version": VERSION,
        "kd3d": kd3d_core.__version__,
        "classes": list(DEFAULT_CLASSES),
        "frames": frames,
        "config": config,
    }
    write_text(root / INDEX, json.dumps(index, indent=2) + "\n")


def read_index(root: Path) -> dict[str, Any]:
    """Read and check `dataset.json`.

    Raises:
        Kd3dError: It is missing, no JSON, of another format or of another version.
    """
    path = root / INDEX
    if not root.is_dir():
        raise Kd3dError(f"there is no data set folder {root}. Make one: kd3d_core simulate {root}")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Kd3dError(
            f"{root} has no {INDEX}: it is not a simulated data set. Give the folder that "
            "`simulate` wrote."
        ) from error
    except (OSError, ValueError) as error:
        raise Kd3dError(f"cannot read {path}: {error}.") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise Kd3dError(f"{path} does not describe a simulated data set (format {FORMAT!r}).")
    if index.get("version") != VERSION:
        raise Kd3dError(
            f"{path} has version {index.get('version')!r}, and this release reads version "
            f"{VERSION}. Simulate the data again with this release."
        )
    if not isinstance(index.get("frames"), int) or not isinstance(index.get("classes"), list):
        raise Kd3dError(f"{path} lacks 'frames' or 'classes'. Simulate the data again.")
    return index


class SimulatedDataset:
    """Reader of a data set folder: frames in the order of drives and time."""

    def __init__(self, root: Path | str) -> None:
        """List the frames.

        Raises:
            Kd3dError: The folder is not a simulated data set, or has no frames yet.
        """
        self.root = Path(root)
        index = read_index(self.root)
        self._classes = tuple(str(name) for name in index["classes"])
        self._target = int(index["frames"])
        self.config: dict[str, Any] = index.get("config", {})
        self.paths = sorted(self.root.glob("drive_*/frame_*.npz"))
        if not self.paths:
            raise Kd3dError(f"{self.root} has no frames. Run the simulation again to fill it.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in the order of the labels."""
        return self._classes

    @property
    def complete(self) -> bool:
        """Whether all frames that were asked for are there."""
        return len(self.paths) >= self._target

    def drive(self, index: int) -> str:
        """Name of the drive that a frame belongs to: frames of one drive show the same street."""
        return self.paths[index].parent.name

    def boxes(self, index: int) -> Boxes3D:
        """The ground truth of a frame, without its cloud."""
        return read_boxes(self.paths[index], self._classes)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Frame:
        return read_frame(self.paths[index], self._classes)
