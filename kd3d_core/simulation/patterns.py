"""Ray patterns that do not repeat from sweep to sweep."""

import numpy as np
from numpy.typing import NDArray

from kd3d_core.simulation.sensor_model import SensorModel

#: Irrational ratio of the two turning prisms: the rose curve never closes.
_PRISMS = 0.6180339887


def irregular_rays(
    sensor: SensorModel, phase: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Unit vectors of a sweep of a sensor whose `scan` is not "spinning".

    Args:
        sensor: C columns of B beams.
        phase: In [0, 1): another one gives another pattern.

    Returns:
        (C, B, 3) float32 in the sensor frame, columns by falling azimuth, and (C,) float64 azimuth
        of the middle of each column [rad].
    """
    azimuth, elevation = (_waves if sensor.scan == "waves" else _rosette)(sensor, phase)
    level = np.cos(elevation)
    rays = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation)], -1)
    return rays.astype(np.float32), np.median(azimuth, axis=1)


def _waves(sensor: SensorModel, phase: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(C, B) azimuth and elevation [rad] of beams that go up and down as they turn."""
    columns, beams = sensor.azimuth_steps, sensor.beams
    turned = (np.arange(columns) + phase) / columns
    base = np.deg2rad(sensor.elevation_deg)
    spacing = (base[-1] - base[0]) / max(beams - 1, 1)
    wave = np.sin(2 * np.pi * (13 * turned[:, None] + 97 * phase + _PRISMS * np.arange(beams)))
    azimuth = np.pi - 2 * np.pi * turned
    elevation = base + spacing * wave
    return np.broadcast_to(azimuth[:, None], elevation.shape), elevation


def _rosette(sensor: SensorModel, phase: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(C, B) azimuth and elevation [rad] of pulses along a rose curve."""
    columns, beams = sensor.azimuth_steps, sensor.beams
    angle = 2 * np.pi * (np.arange(columns * beams) / (columns * beams) * 97 + 1000 * phase)
    radius = np.cos(_PRISMS * angle)
    low, high = np.deg2rad(sensor.elevation_deg[0]), np.deg2rad(sensor.elevation_deg[-1])
    half = np.deg2rad(sensor.field_of_view_deg) / 2
    azimuth = half * radius * np.cos(angle)
    elevation = (low + high) / 2 + (high - low) / 2 * radius * np.sin(angle)
    order = np.argsort(-azimuth).reshape(columns, beams)
    order = np.take_along_axis(order, np.argsort(elevation[order], axis=1), axis=1)
    return azimuth[order], elevation[order]
