"""What a LiDAR model is: where its beams point, how often they fire, how well they measure."""

from typing import Literal

from pydantic import Field
from pydantic import model_validator

from kd3d_core.config import Config

#: How the beams go through the field of view.
Scan = Literal["spinning", "waves", "rosette"]


class SensorModel(Config):
    """A LiDAR.

    Attributes:
        name: As in `Frame.sensor`.
        elevation_deg: Elevation of each beam [deg], from the lowest to the highest.
        scan: "spinning": every beam keeps its elevation; "waves": the elevations go up and down
            along the turn, other ones each sweep; "rosette": all pulses lie on a rose curve
            through the field of view, another one each sweep, and a beam is just a slice.
        field_of_view_deg: Horizontally, about the direction ahead [deg].
        azimuth_offset_deg: Azimuth of each beam relative to the head [deg], counter-clockwise, in
            the order of `elevation_deg`; empty when the beams share one azimuth.
        azimuth_steps: Firings of each beam in one turn of 360 deg; of a rosette, in all.
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
        intensity_power: Exponent of the response: above 1 dark surfaces come out darker still.
        intensity_floor: What is taken off before an intensity is reported as above zero.
        intensity_range: Up to this range intensity is compensated for distance [m].
        intensity_levels: Number of steps between 0 and full intensity.
        beam_gain_spread: Standard deviation over the beams of the log of their intensity gain.
        most_silent: Largest share of returns, of the faintest surfaces, that come without any
            intensity; each unit has a share of its own up to this.
    """

    name: str
    elevation_deg: tuple[float, ...] = Field(min_length=1)
    scan: Scan = "spinning"
    field_of_view_deg: float = Field(default=360.0, gt=0, le=360)
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
    loss: float = Field(default=0.002, ge=0, lt=1)
    noise_returns: float = Field(default=0.0002, ge=0, lt=1)
    intensity_gain: float = Field(default=0.4, gt=0)
    intensity_power: float = Field(default=1.0, gt=0)
    intensity_floor: float = Field(default=0.0, ge=0)
    intensity_range: float = Field(default=100.0, gt=0)
    intensity_levels: int = Field(default=255, gt=0)
    beam_gain_spread: float = Field(default=0.05, ge=0)
    most_silent: float = Field(default=0.1, ge=0, lt=1)

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
