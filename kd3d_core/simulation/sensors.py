"""LiDAR sensor models: where each beam points, how often it fires, how well it measures.

Figures are from the manufacturers' public data sheets; what a data sheet does not say (softness of
the detection limit, calibration spread) is set so that simulated HDL-64E sweeps match recorded
ones in points per ring, range and reflectance.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic import model_validator

from kd3d_core.config import Config
from kd3d_core.geometry.transforms import pose_matrix


class SensorModel(Config):
    """A spinning LiDAR.

    Attributes:
        name: As in `Frame.sensor`.
        elevation_deg: Elevation of each beam [deg], from the lowest to the highest.
        azimuth_offset_deg: Azimuth of each beam relative to the head [deg], counter-clockwise, in
            the order of `elevation_deg`; empty when the beams share one azimuth.
        azimuth_steps: Firings of each beam in one turn.
        rate_hz: Turns per second. The head turns clockwise seen from above.
        min_range: No return is reported below this [m].
        max_range: No return is reported above this [m].
        range_noise: Standard deviation of one range measurement [m].
        range_bias: Standard deviation over the beams of the constant range error that is left
            after calibration [m].
        range_resolution: Ranges are multiples of this [m].
        elevation_spread_deg: Standard deviation over the beams of one unit's elevations around
            `elevation_deg` [deg]; the unit's own calibration is used for its points.
        divergence_mrad: Full angle of the beam [mrad].
        pulse_length: Surfaces closer than this behind one another give one blended range [m].
        range_10: Range at which half the pulses on a 10 % Lambertian target are detected [m].
        detection_softness: Exponent of the transition from detected to lost: larger is sharper.
        loss: Share of pulses lost for no reason in the scene.
        noise_returns: Share of firings without an echo that report a random range.
        intensity_gain: Reported intensity of an ideal white diffuse surface.
        intensity_floor: What is taken off before an intensity is reported as above zero.
        intensity_range: Up to this range intensity is compensated for distance [m].
        intensity_levels: Number of steps between 0 and full intensity.
        beam_gain_spread: Standard deviation over the beams of the log of their intensity gain.
    """

    name: str
    elevation_deg: tuple[float, ...] = Field(min_length=1)
    azimuth_offset_deg: tuple[float, ...] = ()
    azimuth_steps: int = Field(gt=0)
    rate_hz: float = Field(default=10.0, gt=0)
    min_range: float = Field(default=0.9, ge=0)
    max_range: float = Field(default=100.0, gt=0)
    range_noise: float = Field(default=0.02, ge=0)
    range_bias: float = Field(default=0.01, ge=0)
    range_resolution: float = Field(default=0.002, gt=0)
    elevation_spread_deg: float = Field(default=0.02, ge=0)
    divergence_mrad: float = Field(default=3.0, ge=0)
    pulse_length: float = Field(default=1.0, ge=0)
    range_10: float = Field(default=50.0, gt=0)
    detection_softness: float = Field(default=2.0, gt=0)
    loss: float = Field(default=0.004, ge=0, lt=1)
    noise_returns: float = Field(default=0.0002, ge=0, lt=1)
    intensity_gain: float = Field(default=0.4, gt=0)
    intensity_floor: float = Field(default=0.0, ge=0)
    intensity_range: float = Field(default=100.0, gt=0)
    intensity_levels: int = Field(default=255, gt=0)
    beam_gain_spread: float = Field(default=0.05, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> "SensorModel":
        """Refuse beams in the wrong order and ranges the wrong way round."""
        if list(self.elevation_deg) != sorted(self.elevation_deg):
            raise ValueError("elevation_deg must rise from the lowest beam to the highest")
        if self.azimuth_offset_deg and len(self.azimuth_offset_deg) != len(self.elevation_deg):
            raise ValueError("azimuth_offset_deg needs one value a beam, or none at all")
        if self.min_range >= self.max_range:
            raise ValueError("min_range must be below max_range")
        return self

    @property
    def beams(self) -> int:
        """Number of beams."""
        return len(self.elevation_deg)

    @property
    def period(self) -> float:
        """Length of one sweep [s]."""
        return 1.0 / self.rate_hz


class Roof(Config):
    """The part of the ego vehicle that hides the ground from the sensor: a flat rectangle.

    Attributes:
        drop: Depth of the rectangle below the sensor [m].
        front: How far it reaches ahead of the sensor [m].
        rear: How far it reaches behind the sensor [m].
        half_width: How far it reaches to either side [m].
        posts: (azimuth [deg], width [deg], highest elevation [deg]) of narrow parts such as
            camera mounts and aerials.
    """

    drop: float = Field(default=0.35, gt=0)
    front: float = Field(default=0.9, ge=0)
    rear: float = Field(default=1.1, ge=0)
    half_width: float = Field(default=0.45, ge=0)
    posts: tuple[tuple[float, float, float], ...] = (
        (-70.0, 9.0, -15.5),
        (-127.0, 4.0, -17.5),
        (132.0, 4.0, -19.0),
    )

    def hides(
        self, azimuth: NDArray[np.floating[Any]], elevation: NDArray[np.floating[Any]]
    ) -> NDArray[np.bool_]:
        """Which rays end on the vehicle.

        Args:
            azimuth: (N,) [rad] in the sensor frame.
            elevation: (N,) [rad].
        """
        down = np.tan(-np.minimum(elevation, -1e-3))
        reach = self.drop / down
        x, y = reach * np.cos(azimuth), reach * np.sin(azimuth)
        hidden = (x < self.front) & (x > -self.rear) & (np.abs(y) < self.half_width)
        for centre, width, top in self.posts:
            turn = np.angle(np.exp(1j * (azimuth - np.deg2rad(centre))))
            hidden |= (np.abs(turn) < np.deg2rad(width) / 2) & (elevation < np.deg2rad(top))
        return np.asarray(hidden, bool)


class Mount(Config):
    """How the sensor sits on the ego vehicle.

    Attributes:
        height: Of the sensor above the ground [m].
        pitch_deg: Positive looks down [deg].
        roll_deg: Positive tips to the right [deg].
        x_offset: Ahead of the ego's reference point [m].
        roof: What of the vehicle the sensor sees, or None for a free view.
    """

    height: float = Field(default=1.73, gt=0)
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    x_offset: float = 0.0
    roof: Roof | None = None

    def pose(self) -> NDArray[np.float64]:
        """(4, 4) ego_from_sensor."""
        return pose_matrix(
            (self.x_offset, 0.0, self.height),
            pitch=float(np.deg2rad(self.pitch_deg)),
            roll=float(np.deg2rad(self.roll_deg)),
        )


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
            range_bias=0.015,
            elevation_spread_deg=0.04,
            divergence_mrad=2.0,
            # Recorded roads are whole up to 50 m, more than the data sheet's "50 m at 10 %" gives.
            range_10=90.0,
            intensity_gain=1.0,
            intensity_floor=0.08,
            intensity_range=26.0,
            intensity_levels=100,
            beam_gain_spread=0.1,
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
    return {model.name: model for model in models}


#: The sensor models by name.
SENSORS: dict[str, SensorModel] = _models()
