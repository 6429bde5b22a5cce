"""Simulated drives as bags, for everything that takes a recording."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kd3d_core.datasets.bag_writer import write_bag
from kd3d_core.datasets.bags import POINT_CLOUD
from kd3d_core.datasets.bags import cloud_to_cdr
from kd3d_core.datasets.detection3d import DETECTIONS
from kd3d_core.datasets.detection3d import to_cdr
from kd3d_core.datasets.detection3d import typestore
from kd3d_core.datasets.simulated import SimulatedDataset
from kd3d_core.frame import Frame
from kd3d_core.geometry.transforms import quaternion_from_matrix

TRANSFORM = "tf2_msgs/msg/TFMessage"
POINTS_TOPIC = "/points"
TRUTH_TOPIC = "/truth/detections"
TF_TOPIC = "/tf"
#: Frames of the pose: the drive's world, and the sensor.
ODOM = "odom"
LIDAR = "lidar"


def write_drives(dataset: SimulatedDataset, folder: Path) -> list[Path]:
    """Write each drive of a data set as a bag; bags that are there already are kept.

    Args:
        dataset: The drives.
        folder: Gets one bag a drive, named like the drive.

    Returns:
        The bags, in the order of the drives.

    Raises:
        Kd3dError: A frame cannot be read or a bag cannot be written.
    """
    drives: dict[str, list[int]] = {}
    for index in range(len(dataset)):
        drives.setdefault(dataset.drive(index), []).append(index)
    bags = []
    for name, indices in drives.items():
        bag = folder / name
        if not (bag / "metadata.yaml").is_file():
            write_drive_bag((dataset[index] for index in indices), bag)
        bags.append(bag)
    return bags


def write_drive_bag(frames: Iterable[Frame], folder: Path) -> Path:
    """Write frames as a bag.

    Topics: `/points` (PointCloud2 with time and ring), `/truth/detections` (Detection3DArray,
    where there is ground truth) and `/tf` (odom to lidar, where there is a pose).

    Args:
        frames: Of one drive, by time.
        folder: The bag; an earlier one is replaced when this one is whole.

    Raises:
        Kd3dError: It cannot be written.
    """
    with write_bag(folder) as bag:
        bag.add_topic(POINTS_TOPIC, POINT_CLOUD)
        bag.add_topic(TRUTH_TOPIC, DETECTIONS)
        bag.add_topic(TF_TOPIC, TRANSFORM)
        for frame in frames:
            stamp = round(frame.stamp * 1e9)
            # The transform first: whoever gets the cloud may ask for it at once.
            if frame.pose is not None:
                message = typestore().serialize_cdr(_transform(frame, stamp), TRANSFORM)
                bag.write(TF_TOPIC, stamp, bytes(message))
            bag.write(POINTS_TOPIC, stamp, cloud_to_cdr(frame.cloud, stamp, LIDAR))
            if frame.boxes is not None:
                bag.write(TRUTH_TOPIC, stamp, to_cdr(frame.boxes, stamp, LIDAR))
    return folder


def _transform(frame: Frame, stamp: int) -> Any:
    """The pose of a frame as a TFMessage; `stamp` in [ns]."""
    types = typestore().types
    pose = np.asarray(frame.pose, np.float64)
    x, y, z = (float(value) for value in pose[:3, 3])
    seconds, nanoseconds = divmod(stamp, 10**9)
    time = types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    stamped = types["geometry_msgs/msg/TransformStamped"](
        header=types["std_msgs/msg/Header"](stamp=time, frame_id=ODOM),
        child_frame_id=LIDAR,
        transform=types["geometry_msgs/msg/Transform"](
            translation=types["geometry_msgs/msg/Vector3"](x, y, z),
            rotation=types["geometry_msgs/msg/Quaternion"](*quaternion_from_matrix(pose[:3, :3])),
        ),
    )
    return types[TRANSFORM](transforms=[stamped])
