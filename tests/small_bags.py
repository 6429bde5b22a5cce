"""Bags of a few small clouds, in which the handmade network knows what it must find.

A tall clump of points is a sure car (score 0.95), a low one a doubtful car (score 0.50).
"""

import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Writer2
from rosbags.typesys import Stores
from rosbags.typesys import get_typestore

from kd3d_core.datasets.detection3d import DETECTIONS
from kd3d_core.datasets.detection3d import to_message
from kd3d_core.datasets.detection3d import typestore
from kd3d_core.datasets.pointcloud2 import encode_pointcloud2_arrays
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud

CLOUD = "sensor_msgs/msg/PointCloud2"
START = 1_700_000_000_000_000_000
TRUTH = "/truth/detections"
#: Where the cars are, by frame: (x, y, whether it is tall).
PLACES = (
    ((4.16, -2.24, True),),
    ((4.16, -2.24, True), (-4.8, 4.8, False)),
    (),
    ((4.8, 4.8, False), (-4.8, 4.8, False), (-4.8, -4.8, True)),
    ((4.16, -2.24, True),),
)


def cloud(index):
    """The points of a frame."""
    generator = np.random.default_rng(index)
    parts = [np.zeros((0, 3))]
    for x, y, tall in PLACES[index]:
        # Within one cell of the grid: the network sums the four cells around the centre.
        low, high = (x + 0.11, y + 0.11, -2.0), (x + 0.21, y + 0.21, 1.0 if tall else 0.0)
        parts.append(generator.uniform(low, high, (200, 3)))
    xyz = np.concatenate(parts)
    return PointCloud.from_arrays(xyz, np.full(len(xyz), 0.5))


def truth(index):
    """The cars of a frame as ground truth."""
    places = np.array([place[:2] for place in PLACES[index]]).reshape(-1, 2)
    count = len(places)
    center = np.column_stack([places, np.full(count, -1.0)])
    size = np.tile((4.0, 2.0, 1.5), (count, 1))
    return Boxes3D.make(center, size, np.full(count, np.pi / 2), np.zeros(count, int))


def stamp_ns(index):
    """Of a frame's header: 0.6 s apart."""
    return START + index * 600_000_000


def log_ns(index):
    """When a frame was recorded: a little later."""
    return stamp_ns(index) + 50_000_000


def message(points, stamp, store, **changes):
    """A PointCloud2."""
    types = store.types
    fields, step, data = encode_pointcloud2_arrays(points)
    time = types["builtin_interfaces/msg/Time"](sec=stamp // 10**9, nanosec=stamp % 10**9)
    more = {"seq": 0} if "seq" in types["std_msgs/msg/Header"].__annotations__ else {}
    values = {
        "header": types["std_msgs/msg/Header"](stamp=time, frame_id="velodyne", **more),
        "height": 1,
        "width": len(points),
        "fields": [types["sensor_msgs/msg/PointField"](*field) for field in fields],
        "is_bigendian": False,
        "point_step": step,
        "row_step": len(data),
        "data": np.frombuffer(data, np.uint8),
        "is_dense": True,
    }
    return types[CLOUD](**(values | changes))


def write(path, storage="mcap", *, malformed=False, with_truth=True, frames=5):
    """Write the frames into a bag.

    Args:
        path: Of the bag.
        storage: "mcap", "sqlite3" or "ros1".
        malformed: Add two clouds that cannot be read: one lies about its size, one is garbage.
        with_truth: Add the ground truth, recorded before its cloud.
        frames: How many of the frames.
    """
    ros1 = storage == "ros1"
    store = get_typestore(Stores.ROS1_NOETIC) if ros1 else typestore()
    pack = store.serialize_ros1 if ros1 else store.serialize_cdr
    plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}.get(storage)
    with Writer1(path) if ros1 else Writer2(path, version=9, storage_plugin=plugin) as writer:
        points = writer.add_connection("/points", CLOUD, typestore=store)
        if with_truth and not ros1:
            boxes = writer.add_connection(TRUTH, DETECTIONS, typestore=store)
        for index in range(frames):
            time = log_ns(index)
            if with_truth and not ros1:
                found = to_message(truth(index), stamp_ns(index), "velodyne")
                writer.write(boxes, time - 1, pack(found, DETECTIONS))
            item = message(cloud(index), stamp_ns(index), store)
            writer.write(points, time, pack(item, CLOUD))
        if malformed:
            lying = message(cloud(0), stamp_ns(frames), store, width=10_000)
            writer.write(points, log_ns(frames), pack(lying, CLOUD))
            writer.write(points, log_ns(frames) + 1, b"\x00\x01\x00\x00nothing")
    return path
