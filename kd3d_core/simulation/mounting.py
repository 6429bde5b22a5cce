"""How a LiDAR sits on its vehicle, and what of the vehicle it sees."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kd3d_core.config import Config
from kd3d_core.geometry.transforms import pose_matrix


class Roof(Config):
    """The part of the ego vehicle that hides the ground from the sensor: a flat rectangle.

    Attributes:
        drop: Depth of the rectangle below the sensor [m].
        front: How far it reaches ahead of the sensor [m].
        rear: How far it reaches behind the sensor [m].
        half_width: How far it reaches to either side [m].
        posts: (azimuth [deg], width [deg], highest elevation [deg]) of narrow parts such as
            camera mounts and aerials.
        shown: Rays that end on the vehicle give points on it, as raw clouds of many sensors have
            them; otherwise nothing.
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

    shown: bool = False

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
