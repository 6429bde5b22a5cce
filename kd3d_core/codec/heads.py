"""The maps that leave the network, in the order of the exported outputs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic
from typing import TypeVar

ArrayT = TypeVar("ArrayT")

#: Field names of `HeadMaps`: the names and the order of the outputs of the ONNX graph.
HEAD_NAMES = ("heatmap", "offset", "height", "size", "rotation", "velocity")
#: Field names of `AnchorMaps`, in the order of the outputs of its graph.
ANCHOR_NAMES = ("score", "box", "direction")
#: Class names by task, such as (("car",), ("truck", "bus")); empty: one task with all classes.
Tasks = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class HeadMaps(Generic[ArrayT]):
    """Output maps (..., channels, rows, columns) of a centre-based head, as arrays or tensors.

    CenterPoint (CVPR 2021), sec. 4. Rows are y and columns x, as in `BevGrid`, at the grid's cell
    times the output stride.

    With T tasks every map but the heatmap has T blocks of the channels below, in the order of the
    tasks: an object is read from the block of its class's task.

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


@dataclass(frozen=True)
class AnchorMaps(Generic[ArrayT]):
    """Output maps (..., channels, rows, columns) of an anchor head, as arrays or tensors.

    SECOND (Sensors 2018), sec. 3.1; PointPillars (CVPR 2019), sec. 2.3. Each output cell has
    A = 2 K anchors: for each of K classes one at yaw 0, then one at yaw pi/2.

    Attributes:
        score: A * K: for each anchor a LOGIT for each class.
        box: A * 7: for each anchor the residuals x, y, z, length, width, height, yaw, as
            `anchors.encode_boxes` gives them.
        direction: A * 2: for each anchor the logits of the two headings of its axis.
    """

    score: ArrayT
    box: ArrayT
    direction: ArrayT

    def as_tuple(self) -> tuple[ArrayT, ...]:
        """The maps in the order of `ANCHOR_NAMES`."""
        return (self.score, self.box, self.direction)


def head_channels(num_classes: int, num_tasks: int = 1) -> dict[str, int]:
    """Channels of each map of a centre head, in the order of `HEAD_NAMES`."""
    widths = (2, 1, 3, 4, 2)
    return dict(zip(HEAD_NAMES, (num_classes, *(num_tasks * n for n in widths)), strict=True))


def anchor_channels(num_classes: int) -> dict[str, int]:
    """Channels of each map of an anchor head, in the order of `ANCHOR_NAMES`."""
    anchors = 2 * num_classes
    return dict(zip(ANCHOR_NAMES, (anchors * num_classes, anchors * 7, anchors * 2), strict=True))


def task_of_class(num_classes: int, tasks: Tasks) -> tuple[int, ...]:
    """For each class the number of its task; the tasks, joined, are the classes in order."""
    if not tasks:
        return (0,) * num_classes
    return tuple(number for number, names in enumerate(tasks) for _ in names)


def output_order(names: Iterable[str]) -> tuple[str, ...]:
    """The outputs of a graph in the order in which their kind of head lists them."""
    return ANCHOR_NAMES if set(names) == set(ANCHOR_NAMES) else HEAD_NAMES
