"""Ground truth of a sweep: boxes as the points show them, and how many points each has."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd3d_core.geometry.boxes import DEFAULT_CLASSES
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.geometry.transforms import invert_pose
from kd3d_core.simulation.moving import Sighting
from kd3d_core.simulation.scene import Scene
from kd3d_core.simulation.sensor_model import SensorModel
from kd3d_core.simulation.sweep import box_window

#: Objects farther away than this are not labelled [m].
LABEL_RANGE = 100.0


def make_labels(
    scene: Scene,
    sightings: list[tuple[int, Sighting]],
    sensor: SensorModel,
    common: NDArray[np.floating[Any]] | None,
) -> tuple[Boxes3D, NDArray[np.int64]]:
    """Boxes of the actors in reach, each where the beam met its centre.

    Args:
        scene: Whose actors they are.
        sightings: Index of each actor and when the beam met it.
        sensor: Gives the reach.
        common: (4, 4) world_from_sensor pose to express all boxes in, or None to express each in
            the sensor frame of its own moment.

    Returns:
        The boxes and their (N,) int64 track ids.
    """
    reach = min(LABEL_RANGE, sensor.max_range)
    kept: list[tuple[int, NDArray[np.float64], NDArray[np.float64], float]] = []
    for i, sighting in sightings:
        frame = sighting.sensor if common is None else common
        center = (invert_pose(frame) @ sighting.body)[:3, 3]
        if np.hypot(center[0], center[1]) > reach:
            continue
        turn = float(np.arctan2(frame[1, 0], frame[0, 0]))
        heading = float(np.arctan2(sighting.body[1, 0], sighting.body[0, 0]))
        vx, vy, _ = scene.actors[i].path.velocity(sighting.time)
        cos, sin = np.cos(turn), np.sin(turn)
        velocity = np.array([cos * vx + sin * vy, cos * vy - sin * vx])
        kept.append((i, center, velocity, heading - turn))
    actors = [scene.actors[row[0]] for row in kept]
    boxes = Boxes3D.make(
        center=[row[1] for row in kept],
        size=[actor.size for actor in actors],
        yaw=[row[3] for row in kept],
        label=[actor.label for actor in actors],
        velocity=[row[2] for row in kept],
        classes=DEFAULT_CLASSES,
    )
    return boxes, np.array([actor.track_id for actor in actors], np.int64)


def count_points(
    sensor: SensorModel,
    points: NDArray[np.float32],
    column: NDArray[np.int64],
    boxes: Boxes3D,
    spare: float = 0.0,
) -> NDArray[np.int64]:
    """Points inside each box.

    Args:
        sensor: The model.
        points: (M, 4) float32 in the frame of `boxes`, in firing order.
        column: (M,) int64 column of the sweep, rising: a box's points are a few slices.
        boxes: N of them.
        spare: How far points may be from where their columns say [m].

    Returns:
        (N,) int64.
    """
    steps = sensor.azimuth_steps
    starts = np.searchsorted(column, np.arange(steps + 1))
    counts = np.zeros(len(boxes), np.int64)
    for i in range(len(boxes)):
        size = boxes.size[i] + np.float32(2 * spare)
        center = boxes.center[i].astype(np.float64)
        columns, _, _ = box_window(sensor, center, size.tolist())
        for run in np.split(columns, np.flatnonzero(np.diff(columns) != 1) + 1):
            part = points[starts[run[0]] : starts[run[-1] + 1]]
            # Most columns of a near box show the ground around it.
            reach = np.hypot(boxes.size[i, 0], boxes.size[i, 1]) / 2 + np.float32(0.01)
            near = np.abs(part[:, 0] - boxes.center[i, 0]) <= reach
            near &= np.abs(part[:, 1] - boxes.center[i, 1]) <= reach
            if near.any():
                counts[i] += int(np.count_nonzero(boxes[i].contains(part[near])))
    return counts
