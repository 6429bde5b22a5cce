"""Drives in the layout of nuScenes, with every table that nuscenes-devkit opens.

What the layout cannot hold is lost: times of points (a sweep has one), scores, and velocities,
which readers take from the ways between annotations. Our classes become these categories: car
vehicle.car, truck vehicle.truck, bus vehicle.bus.rigid, pedestrian human.pedestrian.adult, cyclist
vehicle.bicycle, motorcycle vehicle.motorcycle; nuScenes' ten classes become their own. Attributes
are guessed from class and speed. Nothing is said of visibility, and there are no radars.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd3d_core.datasets.nuscenes import INTENSITY_SCALE
from kd3d_core.datasets.nuscenes_classes import guess_attributes
from kd3d_core.datasets.nuscenes_classes import official_name
from kd3d_core.datasets.nuscenes_fixed import MAP_FILE
from kd3d_core.datasets.nuscenes_fixed import blank_png
from kd3d_core.datasets.nuscenes_frames import level_turn
from kd3d_core.datasets.nuscenes_frames import quarter_turn
from kd3d_core.datasets.nuscenes_frames import turned_yaw
from kd3d_core.datasets.nuscenes_records import BoxRecord
from kd3d_core.datasets.nuscenes_records import Records
from kd3d_core.errors import Kd3dError
from kd3d_core.files import atomic_path
from kd3d_core.frame import Frame
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.pointcloud import PointCloud

#: Where nuScenes mounts its LiDAR: x to the right, this far in front of the rear axle [m].
FRONT = 0.94
#: Our frame looks along x: a quarter turn against the file's.
SENSOR_FROM_LIDAR = quarter_turn(3)
#: Height of the sensor when the frames do not say [m].
HEIGHT = 1.84


def write_nuscenes(
    drives: Iterable[Iterable[Frame]],
    root: Path | str,
    *,
    version: str = "v1.0-sim",
    keyframe_every: int = 1,
    splits: Mapping[str, Sequence[str]] | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> Path:
    """Write drives as scenes `scene-0001`, `scene-0002` ... of nuScenes.

    Points go to disk as they come; the tables follow at the end, so that an interrupted run
    leaves nothing that looks like a data set.

    Args:
        drives: Frames of each drive in the order of time, with pose, and boxes on key frames.
            Objects keep their `track_id` over a drive; without one, each box is an object.
        root: Folder of the data set.
        version: Name of the folder of the tables, "v1.0-" and something.
        keyframe_every: Each so many-th frame of a drive is an annotated sample, the others are
            sweeps between.
        splits: Name -> scene names for `splits.json`; by default "all", and "train" and "val"
            with the first four fifths of the scenes and the rest.
        progress: Is told the number of frames written since the last call.

    Returns:
        The folder of the tables.

    Raises:
        Kd3dError: A frame lacks its pose, a key frame its boxes, a class is none of nuScenes',
            the stamps of a drive do not rise, or there are no frames.
    """
    root = Path(root)
    records = Records(version)
    for number, drive in enumerate(drives, start=1):
        scene = f"scene-{number:04d}"
        for i, frame in enumerate(drive):
            _write_frame(records, root, scene, frame, is_key=i % keyframe_every == 0)
            progress(1)
    if not records.sweep_count:
        raise Kd3dError(f"there are no frames to write to {root}.")
    with atomic_path(root / MAP_FILE) as temporary:
        temporary.write_bytes(blank_png())
    return records.write(root, _default_splits(records.scenes) if splits is None else splits)


def _write_frame(records: Records, root: Path, scene: str, frame: Frame, *, is_key: bool) -> None:
    """Write the points of a frame, and note it in the tables."""
    if frame.pose is None:
        raise Kd3dError(f"{frame.source} has no pose: nuScenes needs the vehicle's place.")
    if is_key and frame.boxes is None:
        raise Kd3dError(f"{frame.source} has no boxes: a key frame of nuScenes needs them.")
    pose = np.asarray(frame.pose, np.float64)
    stamp = round(frame.stamp * 1e6)
    if not records.begun(scene):
        records.begin(scene, _mount(pose, frame.sensor_height) @ SENSOR_FROM_LIDAR)
    # The mount is the first frame's for the whole drive; the vehicle takes up what is left.
    world_from_ego = pose @ SENSOR_FROM_LIDAR @ invert_pose(records.mount)
    folder = "samples" if is_key else "sweeps"
    name = f"{folder}/LIDAR_TOP/{scene}__LIDAR_TOP__{stamp}.pcd.bin"
    records.add_sweep(name, stamp, world_from_ego, is_key=is_key, source=frame.source)
    _write_points(root / name, frame.cloud)
    if is_key:
        for box in _boxes(frame, pose):
            records.add_box(box)


def _mount(pose: NDArray[np.float64], height: float | None) -> NDArray[np.float64]:
    """(4, 4) ego_from_sensor: the tilt of the sensor's pose, on a vehicle that stands level."""
    yaw = np.arctan2(pose[1, 0], pose[0, 0])
    cos, sin = np.cos(yaw), np.sin(yaw)
    mount = np.eye(4)
    mount[:3, :3] = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) @ pose[:3, :3]
    mount[:3, 3] = FRONT, 0.0, HEIGHT if height is None else height
    return mount


def _write_points(path: Path, cloud: PointCloud) -> None:
    """Write x, y, z [m], intensity 0 to 255 and ring of each point, float32."""
    columns = np.zeros((len(cloud), 5), np.float32)
    turn = SENSOR_FROM_LIDAR[:2, :2].astype(np.float32)
    columns[:, :2] = cloud.xyz[:, :2] @ turn  # by the inverse: lidar_from_sensor
    columns[:, 2] = cloud.xyz[:, 2]
    columns[:, 3] = cloud.points[:, 3] * np.float32(INTENSITY_SCALE)
    if cloud.ring is not None:
        columns[:, 4] = cloud.ring
    with atomic_path(path) as temporary:
        columns.tofile(temporary)


def _boxes(frame: Frame, pose: NDArray[np.float64]) -> list[BoxRecord]:
    """The boxes of a frame in the world."""
    boxes = frame.boxes
    if boxes is None:
        return []
    names = [official_name(boxes.classes[label]) for label in boxes.label]
    turn = level_turn(pose)
    velocity = boxes.velocity @ turn.T
    attributes = guess_attributes(names, velocity)
    center = boxes.center.astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    yaw = turned_yaw(turn, boxes.yaw)
    points = frame.num_points
    if points is None:
        points = boxes.contains(frame.cloud.points).sum(axis=1)
    return [
        BoxRecord(
            name=names[i],
            # An unknown velocity says nothing about the attribute.
            attribute=attributes[i] if np.isfinite(velocity[i]).all() else "",
            track=None if frame.track_id is None else int(frame.track_id[i]),
            center=center[i].tolist(),
            size=boxes.size[i].tolist(),
            yaw=float(yaw[i]),
            points=int(points[i]),
        )
        for i in range(len(boxes))
    ]


def _default_splits(scenes: Sequence[str]) -> dict[str, Sequence[str]]:
    """All scenes; four fifths to learn from and the rest, at least one, to judge by."""
    cut = min(max(1, round(0.8 * len(scenes))), max(1, len(scenes) - 1))
    return {"all": scenes, "train": scenes[:cut], "val": scenes[cut:] or scenes}
