"""The maps that leave the network, in the order of the exported outputs."""

from dataclasses import dataclass
from typing import Generic
from typing import TypeVar

ArrayT = TypeVar("ArrayT")

#: Field names of `HeadMaps`: the names and the order of the outputs of the ONNX graph.
HEAD_NAMES = ("heatmap", "offset", "height", "size", "rotation", "velocity")


@dataclass(frozen=True)
class HeadMaps(Generic[ArrayT]):
    """Output maps (..., channels, rows, columns) of a centre-based head, as arrays or tensors.

    CenterPoint (CVPR 2021), sec. 4. Rows are y and columns x, as in `BevGrid`, at the grid's cell
    times the output stride.

    Attributes:
        heatmap: One channel a class: LOGITS of the centre heatmap (before the sigmoid).
        offset: 2: centre minus the low corner of its output cell, x then y, in output cells
            [0, 1).
        height: 1: z of the centre [m].
        size: 3: natural logarithm of length, width, height [m].
        rotation: 4: sine and cosine of the yaw, then of twice the yaw (`rotation.py` says why).
        velocity: 2: vx, vy [m/s].
    """

    heatmap: ArrayT
    offset: ArrayT
    height: ArrayT
    size: ArrayT
    rotation: ArrayT
    velocity: ArrayT

    def as_tuple(self) -> tuple[ArrayT, ...]:
        """The maps in the order of `HEAD_NAMES`."""
        return tuple(getattr(self, name) for name in HEAD_NAMES)


def head_channels(num_classes: int) -> dict[str, int]:
    """Channels of each map, in the order of `HEAD_NAMES`."""
    widths = (num_classes, 2, 1, 3, 4, 2)
    return dict(zip(HEAD_NAMES, widths, strict=True))
