"""Drives: many streets, each seen by one sensor at several moments."""

from collections.abc import Collection
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

import numpy as np
from pydantic import Field
from pydantic import ValidationError
from pydantic import field_validator
from pydantic import model_validator

from kd3d_core.config import Config
from kd3d_core.frame import Frame
from kd3d_core.simulation.domain import DomainConfig
from kd3d_core.simulation.domain import draw_mount
from kd3d_core.simulation.domain import draw_nuisances
from kd3d_core.simulation.lidar import Lidar
from kd3d_core.simulation.mounting import Mount
from kd3d_core.simulation.mounting import Roof
from kd3d_core.simulation.nuisances import Nuisances
from kd3d_core.simulation.random_sensor import draw_sensor
from kd3d_core.simulation.sensor_model import SensorModel
from kd3d_core.simulation.sensors import SENSORS
from kd3d_core.simulation.street import SceneConfig
from kd3d_core.simulation.street import make_scene

#: Stand for a sensor drawn anew for each drive; of the second kind, one for the surroundings.
RANDOM = "random"
RANDOM_NEAR = "random-near"

#: Of `SceneConfig`, drawn for each drive of a domain; the later ones with chance of their own, so
#: that all else stays what it was before they were there.
_FACTORS = ("vegetation", "parked", "driving", "people", "riders")
_LATER_FACTORS = ("small_cars", "posts")


class SimulationConfig(Config):
    """What to simulate.

    Attributes:
        drives: Number of streets.
        frames_per_drive: Sweeps of each.
        interval: Between the sweeps of a drive [s]; 0.1 gives every sweep of a 10 Hz sensor,
            more gives more variety for the same number of frames.
        sensors: Names of `SENSORS`, "random" or "random-near" (`random_sensor.py`); the drives
            take turns among them.
        seed: Of everything. Training and test data differ by it.
        height: Of the sensor above the ground [m].
        height_jitter: The height of a drive is drawn from +- this around `height` [m].
        tilt_jitter_deg: Standard deviation of the mount's pitch and roll over the drives [deg].
        roof: Whether a part of the ego vehicle hides the ground nearby.
        motion_compensated: Undo the ego vehicle's motion during a sweep.
        scene: What the streets are like; a duration too short for the sweeps is raised.
        domain: Draw mounts, nuisances and densities of each drive from ranges: what `height`,
            `height_jitter`, `tilt_jitter_deg`, `roof`, `motion_compensated` and the factors of
            `scene` say is then not used. None: all drives are much alike, in fine weather.
    """

    drives: int = Field(default=100, gt=0)
    frames_per_drive: int = Field(default=10, gt=0)
    interval: float = Field(default=0.8, gt=0)
    sensors: tuple[str, ...] = Field(default=("hdl64e",), min_length=1)
    seed: int = Field(default=0, ge=0)
    height: float = Field(default=1.73, gt=0.2)
    height_jitter: float = Field(default=0.1, ge=0)
    tilt_jitter_deg: float = Field(default=0.4, ge=0)
    roof: bool = True
    motion_compensated: bool = False
    scene: SceneConfig = SceneConfig()
    domain: DomainConfig | None = None

    @property
    def lasting_scene(self) -> SceneConfig:
        """`scene`, going on until the last sweep has ended."""
        needed = 0.2 + (self.frames_per_drive - 1) * self.interval
        if needed <= self.scene.duration:
            return self.scene
        return SceneConfig.model_validate(self.scene.model_dump() | {"duration": needed})

    @model_validator(mode="after")
    def _not_too_long(self) -> "SimulationConfig":
        """Refuse drives that are longer than a street can be."""
        try:
            _ = self.lasting_scene
        except ValidationError as error:
            raise ValueError(
                "frames_per_drive times interval is longer than a drive may last; use more "
                "drives, or fewer or closer frames in each"
            ) from error
        return self

    @model_validator(mode="after")
    def _domain_fits(self) -> "SimulationConfig":
        """Refuse spans of factors that no street can have, before a drive draws one."""
        if self.domain is None:
            return self
        for name in (*_FACTORS, *_LATER_FACTORS):
            span = getattr(self.domain, name)
            try:
                for end in span:
                    SceneConfig.model_validate({name: end})
            except ValidationError as error:
                reason = error.errors()[0]["msg"].lower()
                raise ValueError(f"domain.{name} {list(span)}: {reason}") from error
        return self

    @field_validator("sensors")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse sensors that there are not."""
        for name in names:
            if name not in SENSORS and name not in (RANDOM, RANDOM_NEAR):
                known = ", ".join([*SENSORS, RANDOM, RANDOM_NEAR])
                raise ValueError(f"there is no sensor {name!r}; use one of: {known}")
        return names


@dataclass(frozen=True)
class Drive:
    """One drive as drawn from a `SimulationConfig`.

    Attributes:
        scene_seed: For `make_scene`.
        lidar_seed: For `Lidar`.
        sensor: A name of `SENSORS`, "random" or "random-near".
        mount: Of the sensor.
        times: Of its sweeps [s].
        model: Of the sensor.
        scene: What the street is like.
        varied: Whether the street's own plan is varied, too.
        motion_compensated: Whether the ego vehicle's motion during a sweep is undone.
        nuisances: What spoils the sweeps.
    """

    scene_seed: int
    lidar_seed: int
    sensor: str
    mount: Mount
    times: tuple[float, ...]
    model: SensorModel
    scene: SceneConfig
    varied: bool = False
    motion_compensated: bool = False
    nuisances: Nuisances = field(default_factory=Nuisances)


def plan_drive(config: SimulationConfig, index: int) -> Drive:
    """The drive number `index`; depends on nothing but `config.seed`, `index` and the settings."""
    sequence = np.random.SeedSequence([config.seed, index])
    scene_seed, lidar_seed = (int(word) for word in sequence.generate_state(2))
    rng = np.random.default_rng(sequence)
    height = config.height + config.height_jitter * rng.uniform(-1, 1)
    pitch, roll = config.tilt_jitter_deg * rng.standard_normal(2)
    drop, front, rear, width = rng.uniform(0.8, 1.2, 4)
    base = Roof()
    roof = Roof(
        drop=base.drop * drop,
        front=base.front * front,
        rear=base.rear * rear,
        half_width=base.half_width * width,
    )
    name = config.sensors[index % len(config.sensors)]
    plain = Drive(
        scene_seed=scene_seed,
        lidar_seed=lidar_seed,
        sensor=name,
        mount=Mount(
            height=float(max(height, 0.2)),
            pitch_deg=float(pitch),
            roll_deg=float(roll),
            roof=roof if config.roof else None,
        ),
        # The first sweep starts half a turn before its time, and nothing moves before 0.
        times=tuple(round(0.1 + i * config.interval, 6) for i in range(config.frames_per_drive)),
        model=_sensor(config, name, index),
        scene=config.lasting_scene,
        motion_compensated=config.motion_compensated,
    )
    return plain if config.domain is None else _vary(plain, config.domain, rng)


def _sensor(config: SimulationConfig, name: str, index: int) -> SensorModel:
    """The sensor of drive `index`; chance of its own keeps the street the same for any sensor."""
    if name in SENSORS:
        return SENSORS[name]
    unlike = [SENSORS[other] for other in (config.domain.unlike if config.domain else ())]
    rng = np.random.default_rng([config.seed, index, 1])
    return draw_sensor(rng, unlike, near=name == RANDOM_NEAR)


def _vary(drive: Drive, domain: DomainConfig, rng: np.random.Generator) -> Drive:
    """The drive in another domain."""
    factors = {name: float(rng.uniform(*getattr(domain, name))) for name in _FACTORS}
    own = rng.spawn(1)[0]
    factors |= {name: float(own.uniform(*getattr(domain, name))) for name in _LATER_FACTORS}
    return replace(
        drive,
        mount=draw_mount(domain, rng),
        scene=SceneConfig.model_validate(drive.scene.model_dump() | factors),
        varied=True,
        motion_compensated=bool(rng.random() < domain.compensated),
        nuisances=draw_nuisances(domain, drive.model.beams, rng),
        # A slow head starts its first sweep earlier.
        times=tuple(round(t - 0.1 + max(0.1, drive.model.period), 6) for t in drive.times),
    )


def simulate_drive(
    config: SimulationConfig, index: int, skip: Collection[int] = ()
) -> Iterator[tuple[int, Frame]]:
    """Yield the number and the frame of each sweep of one drive, but for those in `skip`."""
    wanted = [number for number in range(config.frames_per_drive) if number not in skip]
    if not wanted:
        return
    drive = plan_drive(config, index)
    scene = make_scene(drive.scene_seed, drive.scene, varied=drive.varied)
    lidar = Lidar(
        scene,
        drive.model,
        drive.lidar_seed,
        drive.mount,
        motion_compensated=drive.motion_compensated,
        nuisances=drive.nuisances,
    )
    for number in wanted:
        yield number, lidar.scan(drive.times[number])
