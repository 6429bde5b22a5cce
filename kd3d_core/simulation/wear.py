"""Wear: reflectance that varies over every surface, as of patched roads and weathered walls."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.simulation.sweep import Sweep

#: Standard deviation of the log of the reflectance, from one drive to another.
_LEAST, _MOST = 0.08, 0.35
#: Lengths of the waves that make up the pattern [m].
_SHORTEST, _LONGEST = 1.5, 15.0


@dataclass(frozen=True, eq=False)
class Wear:
    """A pattern that stands still in the world: products of plane waves.

    Attributes:
        waves: (3, 4) float32, wave vectors [rad/m]; the pattern is w0 * w1 + w2 * w3.
        phase: (4,) float32 [rad].
        depth: Standard deviation of the log of the reflectance.
    """

    waves: NDArray[np.float32]
    phase: NDArray[np.float32]
    depth: float

    @classmethod
    def draw(cls, seed: int) -> "Wear":
        """The pattern of a drive."""
        rng = np.random.default_rng([seed, 0x3EA2])
        length = np.exp(rng.uniform(np.log(_SHORTEST), np.log(_LONGEST), 4))
        way = rng.uniform(0, 2 * np.pi, 4)
        # Streets are flat: waves run along the ground, and a little upwards for the walls.
        direction = np.stack([np.cos(way), np.sin(way), rng.uniform(0.2, 0.6, 4)])
        return cls(
            waves=(2 * np.pi / length * direction).astype(np.float32),
            phase=rng.uniform(0, 2 * np.pi, 4).astype(np.float32),
            depth=float(rng.uniform(_LEAST, _MOST)),
        )

    def factor(self, sweep: Sweep, distance: NDArray[np.float32]) -> NDArray[np.float32]:
        """Factor on the reflectance where rays end.

        Args:
            sweep: The rays.
            distance: (C, B) float32 [m]; inf where a ray met nothing.

        Returns:
            (C, B) float32, 1 where a ray met nothing.
        """
        met = np.isfinite(distance)
        reach = np.where(met, distance, np.float32(0))[..., None]
        start = sweep.origin @ self.waves + self.phase
        wave = np.sin((sweep.world @ self.waves) * reach + start[:, None])
        # The product of two sines has variance 1/4.
        pattern = (wave[..., 0] * wave[..., 1] + wave[..., 2] * wave[..., 3]) * np.float32(2**0.5)
        return np.where(met, np.exp(np.float32(self.depth) * pattern), np.float32(1))
