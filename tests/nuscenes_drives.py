"""Drives for tests of nuScenes: the simulator's streets without their points, or random ones."""

from dataclasses import replace

import numpy as np

from kd3d_core.datasets.nuscenes_classes import NUSCENES_CLASSES
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.geometry.transforms import pose_matrix
from kd3d_core.pointcloud import PointCloud
from kd3d_core.simulation.moving import sensor_pose
from kd3d_core.simulation.sensors import Mount
from kd3d_core.simulation.street import SceneConfig
from kd3d_core.simulation.street import make_scene

#: Length, width and height of an object of each class [m].
SIZES = {
    "car": (4.6, 1.9, 1.7),
    "truck": (7.0, 2.5, 2.8),
    "bus": (11.0, 2.9, 3.4),
    "trailer": (12.0, 2.9, 3.9),
    "construction_vehicle": (6.5, 2.8, 3.2),
    "pedestrian": (0.7, 0.7, 1.8),
    "motorcycle": (2.1, 0.8, 1.5),
    "bicycle": (1.7, 0.6, 1.3),
    "traffic_cone": (0.4, 0.4, 1.1),
    "barrier": (0.5, 2.5, 1.0),
}


def cloud(generator, count=12):
    """A few points: enough for a file."""
    return PointCloud(
        points=np.c_[
            generator.uniform(-40, 40, (count, 2)),
            generator.uniform(-2, 1, count),
            generator.uniform(0, 1, count),
        ].astype(np.float32),
        ring=generator.integers(0, 32, count).astype(np.int16),
    )


def street_drive(seed, frames=52, interval=0.4):
    """A street of the simulator with all its actors, as frames without ray casting."""
    generator = np.random.default_rng(seed)
    scene = make_scene(seed, SceneConfig(duration=frames * interval, vegetation=0))
    mount = Mount(height=1.8, pitch_deg=0.6, roll_deg=-0.4)
    drive = []
    for i in range(frames):
        time = round(0.1 + i * interval, 6)
        pose = sensor_pose(scene.ego, mount, time)
        world, track_id = scene.boxes(time)
        boxes = world.transformed(invert_pose(pose))
        near = np.hypot(boxes.center[:, 0], boxes.center[:, 1]) < 60
        drive.append(
            Frame(
                cloud=cloud(generator),
                source=f"street {seed}, frame {i}",
                stamp=time,
                boxes=boxes[near],
                num_points=generator.integers(0, 6, int(near.sum())),
                track_id=track_id[near],
                pose=pose,
                sensor_height=mount.height,
            )
        )
    return drive


def random_drive(seed, frames=6, objects=30, interval=0.5, classes=NUSCENES_CLASSES, points=200):
    """Objects of every class on straight ways around a vehicle that turns and tilts."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, len(classes), objects)
    sizes = np.array([SIZES[classes[i]] for i in label]) * generator.uniform(
        0.8, 1.2, (objects, 1)
    )
    start = np.c_[generator.uniform(-50, 50, (objects, 2)), sizes[:, 2] / 2]
    speed = np.where(generator.random(objects) < 0.4, 0.0, generator.uniform(0, 12, objects))
    yaw = generator.uniform(-np.pi, np.pi, objects)
    velocity = speed[:, None] * np.c_[np.cos(yaw), np.sin(yaw)]
    drive = []
    for i in range(frames):
        time = 1.0 + i * interval
        center = start + np.c_[velocity, np.zeros(objects)] * (i * interval)
        tilt = np.deg2rad(generator.normal(0, 0.8, 2))
        place = [600.0 + 6 * i * interval, 1600.0 - 2 * i * interval, 1.8]
        pose = pose_matrix(place, 0.7 + 0.2 * i, float(tilt[0]), float(tilt[1]))
        world = Boxes3D.make(center, sizes, yaw, label, velocity=velocity, classes=classes)
        # Around the vehicle's place, in float64: float32 has no room for it.
        sensor_from_world = invert_pose(pose)
        moved = world.transformed(sensor_from_world)
        around = center + np.array([600.0, 1600.0, 0.0])
        exact = around @ sensor_from_world[:3, :3].T + sensor_from_world[:3, 3]
        present = generator.random(objects) < 0.9
        drive.append(
            Frame(
                cloud=cloud(generator, points),
                source=f"random {seed}, frame {i}",
                stamp=time,
                boxes=replace(moved, center=exact.astype(np.float32))[present],
                num_points=generator.integers(0, 9, int(present.sum())),
                track_id=np.flatnonzero(present),
                pose=pose,
                sensor_height=1.8,
            )
        )
    return drive
