"""Domain randomisation: what differs from drive to drive beyond the street itself."""

from typing import Annotated

import numpy as np
from numpy.random import Generator
from pydantic import Field

from kd3d_core.config import Config
from kd3d_core.simulation.mounting import Mount
from kd3d_core.simulation.mounting import Roof
from kd3d_core.simulation.nuisances import Nuisances

Share = Annotated[float, Field(ge=0, le=1)]
Span = tuple[float, float]


class DomainConfig(Config):
    """Ranges and chances from which each drive draws; spans are (lowest, highest).

    Attributes:
        unlike: Sensors that a drawn one must not resemble, so that they stay unseen.
        car_height: Of the sensor on a car, two drives of three [m].
        tall_height: On a van, a lorry or a bus, one of six [m].
        low_height: On a robot, one of six [m].
        tilt_deg: Standard deviation of the mount's pitch and roll [deg].
        compensated: Chance that a drive's clouds come with the ego motion undone.
        roof_shown: Chance that the points on the ego vehicle are left in the cloud.
        blind_sectors: Chance that the ego vehicle hides whole sectors.
        dead_beams: Chance that some beams are dead.
        rain: Chance of rain or snow, with spray and mirroring roads.
        fog: Chance of fog.
        dust: Chance of dust, steam or exhaust.
        ghosts: Chance of ghosts behind shiny surfaces.
        no_intensity: Chance that there is no intensity.
        odd_intensity: Chance that it is on another scale.
        vegetation: Factor of `SceneConfig`.
        parked: Factor of `SceneConfig`.
        driving: Factor of `SceneConfig`.
        people: Factor of `SceneConfig`.
        riders: Factor of `SceneConfig`.
        small_cars: Share of `SceneConfig`.
        posts: Density of `SceneConfig`.
    """

    unlike: tuple[str, ...] = ()
    car_height: Span = (1.4, 2.1)
    tall_height: Span = (2.1, 2.6)
    low_height: Span = (0.4, 1.4)
    tilt_deg: float = Field(default=0.7, ge=0)
    compensated: Share = 0.3
    roof_shown: Share = 0.3
    blind_sectors: Share = 0.15
    dead_beams: Share = 0.08
    rain: Share = 0.1
    fog: Share = 0.06
    dust: Share = 0.08
    ghosts: Share = 0.15
    no_intensity: Share = 0.08
    odd_intensity: Share = 0.3
    vegetation: Span = (0.5, 2.2)
    parked: Span = (0.4, 1.7)
    driving: Span = (0.6, 2.5)
    people: Span = (0.6, 3.0)
    riders: Span = (0.8, 3.5)
    small_cars: Span = (0.0, 0.0)
    posts: Span = (0.0, 0.0)


def draw_mount(domain: DomainConfig, rng: Generator) -> Mount:
    """Where the sensor sits, and what of the vehicle it sees."""
    kind = str(rng.choice(["car", "tall", "low"], p=[2 / 3, 1 / 6, 1 / 6]))
    span = {"car": domain.car_height, "tall": domain.tall_height, "low": domain.low_height}[kind]
    pitch, roll = domain.tilt_deg * rng.standard_normal(2)
    return Mount(
        height=float(rng.uniform(*span)),
        pitch_deg=float(pitch),
        roll_deg=float(roll),
        x_offset=float(rng.uniform(-0.5, 1.5)),
        roof=_draw_roof(domain, kind, rng),
    )


def _draw_roof(domain: DomainConfig, kind: str, rng: Generator) -> Roof | None:
    """The body below the sensor, and what stands in its view."""
    scale = {
        "car": (0.45, 1.0, 1.4, 0.6),
        "tall": (0.3, 1.2, 4.0, 1.0),
        "low": (0.2, 0.3, 0.5, 0.3),
    }
    drop, front, rear, half_width = np.array(scale[kind]) * rng.uniform(0.4, 1.5, 4)
    posts = [
        (float(rng.uniform(-180, 180)), float(rng.uniform(1, 10)), float(rng.uniform(-25, -8)))
        for _ in range(int(rng.integers(4)))
    ]
    if rng.random() < domain.blind_sectors:
        for _ in range(int(rng.integers(1, 3))):
            posts.append((float(rng.uniform(-180, 180)), float(rng.uniform(8, 55)), 90.0))
    shown = bool(rng.random() < domain.roof_shown)
    if rng.random() < 0.2 and not posts:
        return None
    return Roof(
        drop=float(drop), front=float(front), rear=float(rear), half_width=float(half_width),
        posts=tuple(posts), shown=shown,
    )  # fmt: skip


def draw_nuisances(domain: DomainConfig, beams: int, rng: Generator) -> Nuisances:
    """What spoils the sweeps of a drive with a sensor of so many beams."""
    rain, fog, dust, ghosts, dead = rng.random(5) < [
        domain.rain, domain.fog, domain.dust, domain.ghosts, domain.dead_beams,
    ]  # fmt: skip
    extinction = 0.0
    if rain:
        extinction += float(rng.uniform(0.0005, 0.006))
    if fog:
        extinction += float(np.exp(rng.uniform(np.log(0.004), np.log(0.04))))
    gone = rng.choice(beams, max(int(beams * rng.uniform(0.01, 0.12)), 1), replace=False)
    intensity = bool(rng.random() >= domain.no_intensity)
    odd = bool(rng.random() < domain.odd_intensity)
    gain, power = float(np.exp(rng.uniform(-1.5, 1.0))), float(np.exp(rng.uniform(-0.7, 0.7)))
    return Nuisances(
        extinction=extinction,
        haze=float(rng.uniform(0.005, 0.15) * fog),
        haze_depth=float(rng.uniform(2, 8)),
        drops=float(np.exp(rng.uniform(np.log(0.001), np.log(0.03))) * rain),
        spray=float(rng.uniform(0.05, 0.6) * bool(rain or (dust and rng.random() < 0.5))),
        dust_clouds=int(rng.integers(1, 7) * dust),
        dust=float(rng.uniform(0.05, 0.8) * dust),
        ghosts=float(rng.uniform(0.005, 0.08) * ghosts),
        mirror=float(rng.uniform(0.1, 0.8) * rain),
        dead_beams=tuple(sorted(int(b) for b in gone)) if dead else (),
        intensity=intensity,
        intensity_gain=gain if odd else 1.0,
        intensity_power=power if odd else 1.0,
    )
