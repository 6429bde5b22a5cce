"""What a network is made of, as data."""

from typing import Annotated
from typing import Any
from typing import Literal

from pydantic import Discriminator
from pydantic import Field
from pydantic import PositiveInt
from pydantic import Tag
from pydantic import model_validator

from kd3d_core.codec.anchors import Anchors
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.grid import InputConfig
from kd3d_core.codec.grid import PillarInput
from kd3d_core.codec.grid import VoxelInput
from kd3d_core.codec.heads import Tasks
from kd3d_core.codec.layout import AnchorLayout
from kd3d_core.codec.layout import CenterLayout
from kd3d_core.codec.layout import layout_fault
from kd3d_core.config import Config
from kd3d_core.geometry.boxes import DEFAULT_CLASSES

#: Grid cells per cell of a voxel encoder's map: it has three strided convolutions.
SPARSE_STRIDE = 8


class BlockConfig(Config):
    """One stage of the backbone: a strided 3x3 convolution, then `layers` more at stride 1."""

    channels: PositiveInt
    layers: PositiveInt
    stride: PositiveInt = 2


class HeadConfig(Config):
    """The centre head: a shared 3x3 convolution, then one branch for each map of each task."""

    type: Literal["center"] = "center"
    shared_channels: PositiveInt = 64
    branch_channels: PositiveInt = 64
    output_kernel: Literal[1, 3] = 3
    """Edge of the last convolution of each branch."""
    tasks: Tasks = ()
    """Class names by task (CenterPoint, CVPR 2021, sec. 5): each task has branches of its own.
    Joined, the tasks are the model's classes in order; empty: one task with all classes."""

    @property
    def layout(self) -> CenterLayout:
        """What the outputs mean."""
        return CenterLayout(tasks=self.tasks)


class AnchorHeadConfig(Config):
    """The anchor head of SECOND and PointPillars: 1x1 convolutions on the neck's output."""

    type: Literal["anchor"] = "anchor"
    anchors: Anchors
    """The anchor of each class, by its name."""

    @property
    def layout(self) -> AnchorLayout:
        """What the outputs mean."""
        return AnchorLayout(anchors=self.anchors)


def _kind_of_head(value: Any) -> str:
    """The tag of a head; files from before there were two kinds name none."""
    if isinstance(value, dict):
        return str(value.get("type", "center"))
    return str(getattr(value, "type", "center"))


AnyHeadConfig = Annotated[
    Annotated[HeadConfig, Tag("center")] | Annotated[AnchorHeadConfig, Tag("anchor")],
    Discriminator(_kind_of_head),
]


class ModelConfig(Config):
    """A detector: input, encoder width, backbone, neck and head."""

    name: str
    classes: tuple[str, ...] = DEFAULT_CLASSES
    grid: BevGrid = BevGrid()
    input: InputConfig = Field(default_factory=PillarInput)
    encoder_channels: PositiveInt = 64
    """Width of a pillar or image encoder's map; of the first of a voxel encoder's four stages (16
    in CenterPoint), whose map has 8 times as many for each layer of sites that is left."""
    sparse_blocks: Literal["residual", "plain"] = "residual"
    """What a voxel encoder is made of: CenterPoint's residual blocks, or SECOND's plain ones."""
    blocks: tuple[BlockConfig, ...]
    neck_channels: PositiveInt
    """Width of each upsampled level; the neck's output has len(blocks) times this many."""
    head: AnyHeadConfig = HeadConfig()

    @model_validator(mode="after")
    def _check(self) -> "ModelConfig":
        total = self.encoder_stride
        for block in self.blocks:
            total *= block.stride
        for axis, cells in zip("yx", self.grid.shape, strict=True):
            if cells % total:
                raise ValueError(f"grid.{axis}: {cells} cells are not a multiple of {total}")
        fault = layout_fault(self.head.layout, self.classes)
        if fault:
            raise ValueError(f"head.{fault}")
        return self

    @property
    def encoder_stride(self) -> int:
        """Grid cells per cell of the encoder's map."""
        return SPARSE_STRIDE if isinstance(self.input, VoxelInput) else 1

    @property
    def output_stride(self) -> int:
        """Grid cells per output cell: the encoder's stride times that of the first block."""
        return self.encoder_stride * self.blocks[0].stride
