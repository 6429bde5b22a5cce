"""LiDAR models by name.

Figures are from the manufacturers' public data sheets; what a data sheet does not say (softness of
the detection limit, calibration spread) is set so that simulated HDL-64E sweeps match recorded
ones in points per ring, range and reflectance.
"""

import numpy as np

from kd3d_core.simulation.mounting import Mount
from kd3d_core.simulation.mounting import Roof
from kd3d_core.simulation.sensor_model import SensorModel
from kd3d_core.simulation.sensors_more import more_models

__all__ = ["SENSORS", "Mount", "Roof", "SensorModel"]


def _even(lowest: float, highest: float, count: int) -> tuple[float, ...]:
    """`count` evenly spaced elevations [deg]."""
    return tuple(float(value) for value in np.linspace(lowest, highest, count).round(4))


def _vlp32c() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Elevations and azimuth offsets [deg] of the VLP-32C, from its manual, by elevation."""
    pairs = [
        (-25.0, 1.4), (-1.0, -4.2), (-1.667, 1.4), (-15.639, -1.4), (-11.31, 1.4), (0.0, -1.4),
        (-0.667, 4.2), (-8.843, -1.4), (-7.254, 1.4), (0.333, -4.2), (-0.333, 1.4),
        (-6.148, -1.4), (-5.333, 4.2), (1.333, -1.4), (0.667, 4.2), (-4.0, -1.4), (-4.667, 1.4),
        (1.667, -4.2), (1.0, 1.4), (-3.667, -4.2), (-3.333, 4.2), (3.333, -1.4), (2.333, 1.4),
        (-2.667, -1.4), (-3.0, 1.4), (7.0, -1.4), (4.667, 1.4), (-2.333, -4.2), (-2.0, 4.2),
        (15.0, -1.4), (10.333, 1.4), (-1.333, -1.4),
    ]  # fmt: skip
    # The manual's offsets are clockwise, as its azimuth is.
    pairs = sorted((elevation, -offset) for elevation, offset in pairs)
    return tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)


def _pandar40() -> tuple[float, ...]:
    """Elevations [deg] of the Pandar40P: dense about the horizon, sparse above and below."""
    dense = [round(-6 + i / 3, 4) for i in range(25)]
    return (-25.0, -19.0, *(float(e) for e in range(-14, -6)), *dense, 3.0, 5.0, 8.0, 11.0, 15.0)


def _models() -> dict[str, SensorModel]:
    """All sensor models by name."""
    vlp32c, vlp32c_offset = _vlp32c()
    models = [
        SensorModel(
            name="vlp16", elevation_deg=_even(-15, 15, 16), azimuth_steps=1800, range_10=60.0
        ),
        SensorModel(
            name="vlp32c",
            elevation_deg=vlp32c,
            azimuth_offset_deg=vlp32c_offset,
            azimuth_steps=1800,
            max_range=200.0,
            range_10=100.0,
            range_resolution=0.004,
        ),
        SensorModel(
            name="hdl32e",
            elevation_deg=_even(-30.67, 10.67, 32),
            azimuth_steps=2170,
            range_10=60.0,
        ),
        SensorModel(
            name="hdl64e",
            # +2.6 to -7.8 and -8.4 to -23.6 deg: the two blocks of 32 (1/3 and 1/2 deg apart) as
            # seen from the common origin of calibrated clouds; the data sheet's +2 to -24.8 deg
            # are angles at the two lenses, which sit above one another.
            elevation_deg=_even(-23.6, -8.4, 32) + _even(-7.8, 2.6, 32),
            azimuth_steps=2160,
            max_range=80.0,
            # Recorded ranges jitter little along a ring, but the beams of one unit disagree.
            range_noise=0.010,
            range_bias=0.03,
            elevation_spread_deg=0.04,
            divergence_mrad=2.0,
            # Recorded roads are whole up to 50 m, more than the data sheet's "50 m at 10 %" gives.
            range_10=90.0,
            detection_softness=3.0,
            loss=0.001,
            intensity_gain=1.15,
            intensity_floor=0.12,
            intensity_range=28.0,
            most_silent=0.12,
            intensity_levels=100,
            beam_gain_spread=0.12,
        ),
        SensorModel(
            name="os1-128",
            elevation_deg=_even(-22.5, 22.5, 128),
            azimuth_steps=1024,
            min_range=0.5,
            max_range=120.0,
            range_10=60.0,
            range_resolution=0.003,
        ),
        SensorModel(
            name="pandar40",
            elevation_deg=_pandar40(),
            azimuth_steps=1800,
            min_range=0.3,
            max_range=200.0,
            range_10=120.0,
            range_resolution=0.004,
        ),
    ]
    models += more_models((vlp32c, vlp32c_offset))
    return {model.name: model for model in models}


#: The sensor models by name.
SENSORS: dict[str, SensorModel] = _models()
