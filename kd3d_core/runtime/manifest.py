"""What a bundle says about its network: all that the robot must know to run it."""

from pydantic import Field
from pydantic import NonNegativeInt
from pydantic import PositiveInt
from pydantic import model_validator

from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import GraphInputConfig
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.intensity import IntensityMap
from kd3d_core.codec.layout import CenterLayout
from kd3d_core.codec.layout import HeadLayout
from kd3d_core.codec.layout import layout_fault
from kd3d_core.codec.layout import output_channels
from kd3d_core.config import Config
from kd3d_core.geometry.boxes import DEFAULT_CLASSES

#: The version of the bundle's layout that this release writes and reads.
FORMAT_VERSION = 1

#: Names and shapes of the inputs or outputs of a graph; None is a free dimension.
Signature = dict[str, tuple[int | None, ...]]


class IntensityRecord(Config):
    """What the network makes of intensity."""

    used: bool = True
    """False: trained without intensity, so sensors that give none lose nothing."""
    description: str = "float in [0, 1]; sources on other scales are normalised by their reader"
    quantiles: tuple[float, ...] = ()
    """Intensities of the training clouds at evenly spaced ranks, from the lowest to the highest;
    empty when unknown."""
    map: IntensityMap | None = None
    """What the sensor's intensities are turned into before the network sees them; None leaves
    them as they come."""


class SensorHeightRecord(Config):
    """Height of the training sensors above the ground [m]; other mounts need a shifted cloud."""

    mean: float
    low: float
    high: float


class TeacherRecord(Config):
    """The network that this one was distilled from."""

    name: str
    sha256: str | None = None
    """Of the teacher's checkpoint or bundle file."""


class AdaptationRecord(Config):
    """What `kd3d_core adapt` did to suit a model to one sensor, without labels."""

    source: str
    """The recordings."""
    clouds: NonNegativeInt
    """How many of their clouds were looked at."""
    model: str
    """File name of the model before."""
    model_sha256: str
    changes: tuple[str, ...] = ()
    """What changed, a sentence each, with the label-free measure before and after."""
    mount: dict[str, float] = Field(default_factory=dict)
    """As measured: height_m, pitch_deg, roll_deg; empty when no ground was in sight."""


class TrainingRecord(Config):
    """How the weights came about."""

    data: str = ""
    """The data in words: source, frames, sensors."""
    steps: NonNegativeInt = 0
    seed: int = 0
    kd3d_version: str = ""


class Manifest(Config):
    """Everything about a bundle but the weights."""

    format_version: int = FORMAT_VERSION
    name: str
    classes: tuple[str, ...] = Field(default=DEFAULT_CLASSES, min_length=1)
    grid: BevGrid = BevGrid()
    input: GraphInputConfig = Field(default_factory=PillarInput)
    output_stride: PositiveInt = 2
    """Grid cells per output cell."""
    head: HeadLayout = CenterLayout()
    """What the outputs mean."""
    decode: DecodeConfig = DecodeConfig()
    sweeps: PositiveInt = 1
    """Sweeps in the clouds that it was trained on, merged into the frame of the newest."""
    intensity: IntensityRecord = IntensityRecord()
    sensor_height_m: SensorHeightRecord | None = None
    ground_height_m: float | None = Field(default=None, ge=0, le=6)
    """Clouds are levelled and shifted so that the ground lies this far below the origin before the
    network sees them; None: as they come."""
    onnx_sha256: str = ""
    """Of model.onnx; filled in by `write_bundle`."""
    parameters: NonNegativeInt = 0
    macs: NonNegativeInt = 0
    """Multiply-accumulates of one forward pass."""
    training: TrainingRecord = TrainingRecord()
    metrics: dict[str, float] = Field(default_factory=dict)
    """Measured values by name, such as "AP/car"."""
    teacher: TeacherRecord | None = None
    adaptation: AdaptationRecord | None = None
    licence: str = "Apache-2.0"

    @model_validator(mode="after")
    def _check(self) -> "Manifest":
        for axis, cells in zip("yx", self.grid.shape, strict=True):
            if cells % self.output_stride:
                raise ValueError(
                    f"grid.{axis}: {cells} cells are not a multiple of output_stride "
                    f"{self.output_stride}"
                )
        fault = layout_fault(self.head, self.classes)
        if fault:
            raise ValueError(f"head.{fault}")
        return self

    @property
    def inputs(self) -> Signature:
        """The inputs that the graph must have."""
        if isinstance(self.input, PillarInput):
            return {
                "pillars": (None, self.input.max_points, self.input.features),
                "cells": (None,),
            }
        return {"image": (1, self.input.slices + 4, *self.grid.shape)}

    @property
    def largest(self) -> int:
        """The largest size of the free dimensions of the inputs; 1 where none is free."""
        return self.input.max_pillars if isinstance(self.input, PillarInput) else 1

    @property
    def outputs(self) -> Signature:
        """The outputs that the graph must have, in their order."""
        rows, columns = (cells // self.output_stride for cells in self.grid.shape)
        channels = output_channels(self.head, len(self.classes))
        return {name: (1, count, rows, columns) for name, count in channels.items()}
