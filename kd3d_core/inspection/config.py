"""What `data check` looks at, and from where on something looks wrong."""

from pydantic import Field
from pydantic import PositiveFloat
from pydantic import PositiveInt

from kd3d_core.config import Config


class CheckConfig(Config):
    """Settings of a check; the defaults fit road scenes."""

    frames: PositiveInt = 200
    """At most this many frames, in pairs of neighbours spread evenly."""
    pictures: int = Field(default=4, ge=0)
    """Frames drawn in the report."""
    few: PositiveInt = 5
    """Boxes of a class (or of a rule) from which on a share means something."""
    moving: PositiveFloat = 2.0
    """Speed from which on an object faces the way it moves [m/s]."""
    flipped_share: float = Field(default=0.02, ge=0, le=1)
    """Share of moving objects that may face backwards."""
    sideways_share: float = Field(default=0.15, ge=0, le=1)
    """Share of moving objects that may face sideways."""
    wide_share: float = Field(default=0.05, ge=0, le=1)
    """Share of the boxes of a long class that may be wider than long."""
    near: PositiveFloat = 35.0
    """Within this range [m] a box should hold points and stand on the ground in sight."""
    empty_share: float = Field(default=0.15, ge=0, le=1)
    """Share of the near boxes that may be empty."""
    off_ground: PositiveFloat = 0.6
    """Distance of a box's bottom from the ground below it that is too much [m]."""
    off_ground_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the near boxes that may be that far off the ground."""
    odd_size_share: float = Field(default=0.02, ge=0, le=1)
    """Share of the boxes of a class that may be of an implausible size."""
    duplicate_overlap: float = Field(default=0.7, gt=0, le=1)
    """Overlap seen from above from which on two boxes are one object."""
    duplicate_share: float = Field(default=0.002, ge=0, le=1)
    """Share of boxes that may be duplicates."""
    fastest: PositiveFloat = 70.0
    """Speed of the sensor that is not believed [m/s]."""
    fastest_turn: PositiveFloat = 3.0
    """Rate at which a sensor turns that is not believed [rad/s]."""
    dropped_share: float = Field(default=0.02, ge=0, le=1)
    """Share of points that may not be finite (no return)."""
