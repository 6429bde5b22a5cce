"""What a network is made of, as data."""

from typing import Literal

from pydantic import Field
from pydantic import PositiveInt
from pydantic import model_validator

from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import InputConfig
from kd3d_core.codec.grid import PillarInput
from kd3d_core.config import Config
from kd3d_core.geometry.boxes import DEFAULT_CLASSES


class BlockConfig(Config):
    """One stage of the backbone: a strided 3x3 convolution, then `layers` more at stride 1."""

    channels: PositiveInt
    layers: PositiveInt
    stride: PositiveInt = 2


class HeadConfig(Config):
    """The centre head: a shared 3x3 convolution, then one branch for each map."""

    shared_channels: PositiveInt = 64
    branch_channels: PositiveInt = 64
    output_kernel: Literal[1, 3] = 3
    """Edge of the last convolution of each branch."""


class ModelConfig(Config):
    """A detector: input, encoder width, backbone, neck and head."""

    name: str
    classes: tuple[str, ...] = DEFAULT_CLASSES
    grid: BevGrid = BevGrid()
    input: InputConfig = Field(default_factory=PillarInput)
    encoder_channels: PositiveInt = 64
    blocks: tuple[BlockConfig, ...]
    neck_channels: PositiveInt
    """Width of each upsampled level; the neck's output has len(blocks) times this many."""
    head: HeadConfig = HeadConfig()

    @model_validator(mode="after")
    def _check(self) -> "ModelConfig":
        total = 1
        for block in self.blocks:
            total *= block.stride
        for axis, cells in zip("yx", self.grid.shape, strict=True):
            if cells % total:
                raise ValueError(f"grid.{axis}: {cells} cells are not a multiple of {total}")
        return self

    @property
    def output_stride(self) -> int:
        """Grid cells per output cell: the stride of the first block."""
        return self.blocks[0].stride
