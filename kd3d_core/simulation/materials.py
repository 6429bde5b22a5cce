"""What a material returns to a LiDAR at about 905 nm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kd3d_core.simulation.mesh import Material


@dataclass(frozen=True)
class Optics:
    """How one material answers a pulse.

    Attributes:
        reflectance: Diffuse share at normal incidence, on the scale on which 1 is an ideal white
            surface; retroreflectors are above it.
        spread: Standard deviation of the log of the reflectance from pulse to pulse.
        signal_power: The echo's strength falls with cos(incidence) to this power: 1 for a smooth
            Lambertian surface, less for a rough one that always shows some facet to the sensor.
        intensity_power: The same for the intensity that is reported.
    """

    reflectance: float
    spread: float
    signal_power: float
    intensity_power: float


OPTICS: dict[Material, Optics] = {
    Material.ASPHALT: Optics(0.34, 0.12, 0.45, 0.03),
    Material.LANE_MARK: Optics(0.62, 0.20, 0.35, 0.03),
    Material.CONCRETE: Optics(0.42, 0.12, 0.45, 0.05),
    Material.GRASS: Optics(0.44, 0.25, 0.30, 0.10),
    Material.SOIL: Optics(0.34, 0.25, 0.40, 0.10),
    Material.FACADE: Optics(0.52, 0.14, 0.60, 0.25),
    Material.BRICK: Optics(0.46, 0.20, 0.60, 0.25),
    Material.GLASS: Optics(0.10, 0.50, 2.00, 2.00),
    Material.PAINT_DARK: Optics(0.11, 0.60, 0.70, 1.00),
    Material.PAINT_LIGHT: Optics(0.48, 0.45, 0.70, 0.90),
    Material.METAL: Optics(0.38, 0.45, 0.80, 1.00),
    Material.RUBBER: Optics(0.12, 0.40, 0.60, 0.50),
    Material.PLATE: Optics(3.00, 0.40, 0.30, 0.60),
    Material.LAMP: Optics(1.40, 0.60, 0.40, 0.80),
    Material.CLOTH_DARK: Optics(0.30, 0.30, 0.40, 0.30),
    Material.CLOTH_LIGHT: Optics(0.52, 0.25, 0.40, 0.30),
    Material.SKIN: Optics(0.50, 0.20, 0.40, 0.30),
    Material.FOLIAGE: Optics(0.48, 0.35, 0.20, 0.20),
    Material.BARK: Optics(0.36, 0.30, 0.40, 0.30),
    Material.WOOD: Optics(0.42, 0.25, 0.50, 0.30),
    Material.SIGN: Optics(3.00, 0.30, 0.40, 0.60),
    Material.PLASTIC: Optics(0.20, 0.40, 0.60, 0.60),
}


def optics_table() -> NDArray[np.float32]:
    """(M, 4) float32, one row a `Material`: reflectance, spread, signal and intensity power."""
    rows = [
        (o.reflectance, o.spread, o.signal_power, o.intensity_power)
        for o in (OPTICS[material] for material in Material)
    ]
    return np.array(rows, np.float32)


#: Smooth surfaces, on which a pulse may come back by a longer way.
SHINY = tuple(
    int(material)
    for material in (
        Material.GLASS,
        Material.METAL,
        Material.PAINT_DARK,
        Material.PAINT_LIGHT,
        Material.PLATE,
        Material.SIGN,
    )
)
