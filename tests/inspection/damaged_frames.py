"""A small street in memory, and ways to damage it."""

from dataclasses import replace

import numpy as np

from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud

CLASSES = ("car", "pedestrian")
HEIGHT = 1.7
#: Place x, y [m], heading [rad], speed [m/s], class of each object in the world at time 0.
OBJECTS = (
    (8, 4, 0.0, 0.0, 0),
    (14, -4, np.pi, 0.0, 0),
    (22, 4, 0.02, 8.0, 0),
    (-12, -4, 3.1, 9.0, 0),
    (10, 9, 1.6, 5.0, 0),
    (-15, 4, 0.4, 7.0, 0),
    (6, -8, 0.3, 1.2, 1),
    (-5, 8, -2.0, 0.0, 1),
)
SIZES = ((4.2, 1.8, 1.5), (0.7, 0.6, 1.75))


class FrameList:
    """Frames in memory as a data set of one drive."""

    classes = CLASSES

    def __init__(self, frames):
        self.frames = list(frames)

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, index):
        return self.frames[index]


def street(count=6, seed=0):
    """Frames 0.1 s apart: flat ground, cars and people; nothing is wrong with them."""
    rng = np.random.default_rng(seed)
    frames = []
    for number in range(count):
        seconds = 0.1 * number
        pose = pose_matrix((6.0 * seconds, 0.0, HEIGHT), yaw=0.1 * seconds)
        back = invert_pose(pose)
        center, yaw, velocity, size = [], [], [], []
        for x, y, heading, speed, label in OBJECTS:
            motion = speed * np.array([np.cos(heading), np.sin(heading), 0])
            size.append(SIZES[label])
            center.append(np.array([x, y, SIZES[label][2] / 2]) + seconds * motion)
            yaw.append(heading)
            velocity.append(motion)
        center = np.array(center) @ back[:3, :3].T + back[:3, 3]
        velocity = np.array(velocity) @ back[:3, :3].T
        boxes = Boxes3D.make(
            center,
            size,
            np.array(yaw) - 0.1 * seconds,
            [row[4] for row in OBJECTS],
            velocity=velocity[:, :2],
            classes=CLASSES,
        )
        cloud = PointCloud.from_arrays(*_points(boxes, rng))
        frames.append(
            Frame(
                cloud,
                source=f"street#{number}",
                stamp=100 + seconds,
                boxes=boxes,
                num_points=boxes.contains(cloud.points).sum(axis=1),
                track_id=np.arange(len(boxes)),
                pose=pose,
                sensor_height=HEIGHT,
            )
        )
    return FrameList(frames)


def _points(boxes, rng):
    """Ground with the objects on it: (N, 3) and (N,) intensity."""
    ground = np.column_stack([rng.uniform(-30, 30, (12_000, 2)), np.full(12_000, -HEIGHT)])
    ground[:, 2] += rng.normal(0, 0.01, len(ground))
    ground = ground[~boxes.contains(ground.astype(np.float32), 0.1).any(axis=0)]
    parts = [ground]
    for i in range(len(boxes)):
        local = rng.uniform(-0.48, 0.48, (80, 3)) * boxes.size[i]
        cos, sin = np.cos(boxes.yaw[i]), np.sin(boxes.yaw[i])
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        parts.append(local @ turn.T + boxes.center[i])
    xyz = np.concatenate(parts)
    return xyz, rng.beta(2, 5, len(xyz))


def with_boxes(frames, **change):
    """The same frames with some fields of their boxes replaced by functions of the boxes."""
    return FrameList(
        replace(f, boxes=replace(f.boxes, **{k: make(f.boxes) for k, make in change.items()}))
        for f in frames
    )


def with_clouds(frames, change):
    """The same frames with `points` (N, 4) of their clouds replaced by a function of them."""
    return FrameList(
        replace(f, cloud=replace(f.cloud, points=change(f.cloud.points.copy()))) for f in frames
    )
