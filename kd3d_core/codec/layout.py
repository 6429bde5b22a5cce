"""What the outputs of a network mean: the kind of its head, as data for training and the robot."""

from collections.abc import Sequence
from typing import Annotated
from typing import Any
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from kd3d_core.codec.anchors import Anchors
from kd3d_core.codec.anchors import decode_anchors
from kd3d_core.codec.decode import DecodeConfig
from kd3d_core.codec.decode import decode
from kd3d_core.codec.grid import BevGrid
from kd3d_core.codec.heads import AnchorMaps
from kd3d_core.codec.heads import HeadMaps
from kd3d_core.codec.heads import Tasks
from kd3d_core.codec.heads import anchor_channels
from kd3d_core.codec.heads import head_channels
from kd3d_core.config import Config
from kd3d_core.geometry.boxes import Boxes3D


class CenterLayout(Config):
    """A centre head: the outputs are `HeadMaps`."""

    type: Literal["center"] = "center"
    tasks: Tasks = ()
    """Class names by task; joined they are the classes in order. Empty: one task."""


class AnchorLayout(Config):
    """An anchor head: the outputs are `AnchorMaps`."""

    type: Literal["anchor"] = "anchor"
    anchors: Anchors
    """The anchor of each class, by its name."""


HeadLayout = Annotated[CenterLayout | AnchorLayout, Field(discriminator="type")]


def layout_fault(layout: CenterLayout | AnchorLayout, classes: Sequence[str]) -> str | None:
    """Why a layout does not fit the classes, in words; None where it does."""
    if isinstance(layout, AnchorLayout):
        if set(layout.anchors) != set(classes):
            return (
                f"anchors are given for {', '.join(layout.anchors)}; give one for each class: "
                f"{', '.join(classes)}"
            )
        return None
    joined = tuple(name for task in layout.tasks for name in task)
    if layout.tasks and (joined != tuple(classes) or not all(layout.tasks)):
        return (
            f"tasks name the classes {', '.join(joined)}; joined they must be the classes in "
            f"their order: {', '.join(classes)}"
        )
    return None


def output_channels(layout: CenterLayout | AnchorLayout, num_classes: int) -> dict[str, int]:
    """Channels of each output by its name, in the order of the graph's outputs."""
    if isinstance(layout, AnchorLayout):
        return anchor_channels(num_classes)
    return head_channels(num_classes, max(len(layout.tasks), 1))


def decode_outputs(
    outputs: Sequence[NDArray[Any]],
    layout: CenterLayout | AnchorLayout,
    grid: BevGrid,
    stride: int,
    classes: Sequence[str],
    config: DecodeConfig,
) -> Boxes3D:
    """Read the boxes of one frame from the outputs of a network, whatever its head.

    Args:
        outputs: (C, H, W) each, any float dtype, in the order of `output_channels`.
        layout: What they mean.
        grid: The input grid.
        stride: Grid cells per output cell.
        classes: The K class names.
        config: Thresholds and limits.

    Returns:
        Boxes in the frame of the grid, by falling score.

    Raises:
        Kd3dError: A setting of `config` does not fit the classes.
    """
    arrays = [np.ascontiguousarray(output) for output in outputs]
    if isinstance(layout, AnchorLayout):
        maps = AnchorMaps(*arrays)
        return decode_anchors(maps, grid, stride, classes, config, layout.anchors)
    return decode(HeadMaps(*arrays), grid, stride, classes, config, layout.tasks)
