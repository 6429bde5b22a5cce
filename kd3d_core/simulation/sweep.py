"""One turn of a spinning LiDAR on a moving vehicle: when, from where and whereto each ray goes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.simulation.mounting import Mount
from kd3d_core.simulation.patterns import irregular_rays
from kd3d_core.simulation.scene import Trajectory
from kd3d_core.simulation.sensor_model import SensorModel


@dataclass(frozen=True, eq=False)
class Sweep:
    """C columns (firings of the whole head) of B beams.

    Attributes:
        time: (C,) float64, of each column [s].
        azimuth: (C,) float64, of the head in the sensor frame [rad], falling from +pi to -pi.
        local: (C, B, 3) float32 unit vectors in the sensor frame at the column's time.
        origin: (C, 3) float32, sensor in the world [m].
        yaw: (C,) float64, of the ego vehicle in the world [rad].
        world: (C, B, 3) float32 unit vectors in the world frame.
    """

    time: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    local: NDArray[np.float32]
    origin: NDArray[np.float32]
    yaw: NDArray[np.float64]
    world: NDArray[np.float32]


def sensor_positions(
    path: Trajectory, mount: Mount, time: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the sensor is.

    Args:
        path: Of the ego vehicle.
        mount: Of the sensor on it.
        time: (T,) [s].

    Returns:
        (T, 3) position in the world [m], and (T,) yaw of the vehicle [rad].
    """
    position = np.stack([np.interp(time, path.time, path.position[:, i]) for i in range(3)], 1)
    yaw = np.interp(time, path.time, path.yaw)
    position[:, 0] += np.cos(yaw) * mount.x_offset
    position[:, 1] += np.sin(yaw) * mount.x_offset
    position[:, 2] += mount.height
    return position, yaw


def beam_directions(
    sensor: SensorModel, elevation: NDArray[np.float64], azimuth: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Unit vectors of all rays of a sweep in the sensor frame.

    Args:
        sensor: Gives the azimuth offset of each beam.
        elevation: (B,) of this unit's beams [rad].
        azimuth: (C,) of the head at each column [rad].

    Returns:
        (C, B, 3) float32.
    """
    offset = np.deg2rad(sensor.azimuth_offset_deg or (0.0,) * sensor.beams)
    level = np.cos(elevation)
    # cos(a + o) and sin(a + o) as outer products: a hundred times fewer cosines than rays.
    cos_a, sin_a = np.cos(azimuth), np.sin(azimuth)
    cos_o, sin_o = level * np.cos(offset), level * np.sin(offset)
    rays = np.empty((len(azimuth), len(elevation), 3), np.float32)
    rays[..., 0] = np.outer(cos_a, cos_o) - np.outer(sin_a, sin_o)
    rays[..., 1] = np.outer(sin_a, cos_o) + np.outer(cos_a, sin_o)
    rays[..., 2] = np.sin(elevation)
    return rays


def make_sweep(
    sensor: SensorModel,
    elevation: NDArray[np.float64],
    mount: Mount,
    path: Trajectory,
    time: float,
    phase: float,
) -> Sweep:
    """The sweep in whose middle, at `time`, the head faces forward.

    Args:
        sensor: The model.
        elevation: (B,) of this unit's beams [rad].
        mount: Of the sensor on the ego vehicle.
        path: Of the ego vehicle.
        time: Middle of the sweep [s].
        phase: In [0, 1): where in its first step the head starts.
    """
    turned = (np.arange(sensor.azimuth_steps) + phase) / sensor.azimuth_steps
    azimuth = np.pi - 2 * np.pi * turned
    moments = time + (turned - 0.5) * sensor.period
    if sensor.scan == "spinning":
        local = beam_directions(sensor, elevation, azimuth)
    else:
        # Times as of a head that turns once: the order of the pulses within a sweep is not kept.
        local, azimuth = irregular_rays(sensor, phase)
        moments = time - azimuth / (2 * np.pi) * sensor.period
    origin, yaw = sensor_positions(path, mount, moments)
    return Sweep(
        time=moments,
        azimuth=azimuth,
        local=local,
        origin=origin.astype(np.float32),
        yaw=yaw,
        world=turn_rays(local @ mount.pose()[:3, :3].T.astype(np.float32), yaw),
    )


def turn_rays(rays: NDArray[np.float32], yaw: NDArray[np.float64]) -> NDArray[np.float32]:
    """Turn (C, B, 3) rays about z by the (C,) angles of their columns [rad]."""
    cos = np.cos(yaw).astype(np.float32)[:, None]
    sin = np.sin(yaw).astype(np.float32)[:, None]
    turned = np.empty_like(rays)
    turned[..., 0] = cos * rays[..., 0] - sin * rays[..., 1]
    turned[..., 1] = sin * rays[..., 0] + cos * rays[..., 1]
    turned[..., 2] = rays[..., 2]
    return turned


def box_window(
    sensor: SensorModel, offset: NDArray[np.float64], size: Sequence[float]
) -> tuple[NDArray[np.int64], float, float]:
    """The part of a sweep that a box may fill.

    Args:
        sensor: The model.
        offset: (3,) centre of the box in the sensor frame [m].
        size: Length, width, height of the box [m].

    Returns:
        (K,) its columns in rising order, and its lowest and highest elevation [rad]. There is
        room for the box's motion during a turn and for the azimuth offsets of the beams. Where
        the pattern is irregular, everything.
    """
    steps = sensor.azimuth_steps
    if sensor.scan != "spinning":
        return np.arange(steps), -np.pi / 2, np.pi / 2
    radius = 0.55 * float(np.linalg.norm(size))
    flat, distance = float(np.hypot(*offset[:2])), float(np.linalg.norm(offset))
    spare = np.deg2rad(1 + max(map(abs, sensor.azimuth_offset_deg or (0.0,))))
    if flat <= radius:
        return np.arange(steps), -np.pi / 2, np.pi / 2
    half = np.arcsin(radius / flat) + spare
    middle = (np.pi - np.arctan2(offset[1], offset[0])) / (2 * np.pi) * steps
    reach = min(half / (2 * np.pi) * steps + 1, steps / 2)
    columns = np.unique(np.arange(int(middle - reach), int(middle + reach) + 1) % steps)
    elevation = np.arcsin(offset[2] / distance)
    rise = np.arcsin(radius / distance)
    return columns, float(elevation - rise), float(elevation + rise)
