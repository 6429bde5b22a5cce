"""Small made-up frames: boxes with points on their sides, standing on a flat ground."""

import numpy as np

from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.iou import bev_iou
from kd3d_core.pointcloud import PointCloud

SIZES = {"car": (4.2, 1.8, 1.6), "pedestrian": (0.7, 0.7, 1.75)}
CLASSES = tuple(SIZES)
GROUND = -1.7


def toy_frame(seed, objects=6, reach=10.0, ground=1500, per_object=120):
    """A frame with cars and pedestrians; `reach` is the half edge of the square [m]."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(objects):
        label = int(rng.integers(len(CLASSES)))
        size = np.array(SIZES[CLASSES[label]]) * rng.uniform(0.9, 1.1, 3)
        xy = rng.uniform(-reach + 1, reach - 1, 2)
        row = [*xy, GROUND + size[2] / 2, *size, rng.uniform(-np.pi, np.pi), label]
        bev = np.array([[r[0], r[1], r[3] + 0.5, r[4] + 0.5, r[6]] for r in [*rows, row]])
        if not rows or not (bev_iou(bev[-1:].astype("f4"), bev[:-1].astype("f4")) > 0).any():
            rows.append(row)
    data = np.array(rows)
    boxes = Boxes3D.make(
        data[:, :3],
        data[:, 3:6],
        data[:, 6],
        data[:, 7],
        velocity=rng.normal(size=(len(data), 2)),
        classes=CLASSES,
    )
    parts = [
        np.column_stack(
            [
                rng.uniform(-reach, reach, (ground, 2)),
                np.full(ground, GROUND),
                np.full(ground, 0.2),
            ]
        )
    ]
    for i in range(len(boxes)):
        local = rng.uniform(-0.49, 0.49, (per_object, 3))
        side = rng.integers(0, 2, per_object)
        local[np.arange(per_object), side] = rng.choice([-0.49, 0.49], per_object)
        local *= boxes.size[i]
        cos, sin = np.cos(boxes.yaw[i]), np.sin(boxes.yaw[i])
        xy = local[:, :2] @ np.array([[cos, sin], [-sin, cos]])
        xyz = np.column_stack([xy, local[:, 2]]) + boxes.center[i]
        parts.append(np.column_stack([xyz, np.full(per_object, 0.6)]))
    points = np.concatenate(parts).astype(np.float32)
    cloud = PointCloud(points[rng.permutation(len(points))])
    counts = boxes.contains(cloud.points).sum(axis=1)
    return Frame(
        cloud=cloud,
        source=f"toy:{seed}",
        boxes=boxes,
        num_points=counts,
        track_id=np.arange(len(boxes)),
        pose=np.eye(4),
        sensor="toy",
        sensor_height=-GROUND,
    )


class ToyDataset:
    """A few toy frames in memory."""

    def __init__(self, count, first=0, **options):
        self.frames = [toy_frame(first + i, **options) for i in range(count)]

    @property
    def classes(self):
        return CLASSES

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, index):
        return self.frames[index]
