"""The pictures of the worst clouds: the whole map, and what is wrong from nearby."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kd3d_core.evaluation.agreement import FrameAgreement
from kd3d_core.replay.report_data import WorstFrame
from kd3d_core.visualization.agreement import Compared
from kd3d_core.visualization.agreement import Mark
from kd3d_core.visualization.agreement import agreement_png
from kd3d_core.visualization.parts import LIGHT
from kd3d_core.visualization.parts import BevStyle

_MAP_PIXELS, _CROP_PIXELS = 900, 460
#: Side of a square that is shown larger [m], and how many there are at most.
_CROP, _CROPS = 20.0, 2
#: Free space around the outermost box [m].
_MARGIN = 6.0


@dataclass(frozen=True)
class FramePictures:
    """Pictures of one cloud as data URIs.

    Attributes:
        map: All that is judged.
        crops: Name of the square on the map, and its picture.
    """

    map: str
    crops: tuple[tuple[str, str], ...]


def draw_worst(worst: WorstFrame, style: BevStyle) -> FramePictures:
    """The pictures of one cloud; `style` as given by `common_style`."""
    compared = _compared(worst.agreement)
    marks = _marks(compared)
    whole = agreement_png(worst.cloud, compared, replace(style, scores=not marks), marks)
    crops = []
    for mark in marks:
        near = replace(
            style,
            x=(mark.x - mark.side / 2, mark.x + mark.side / 2),
            y=(mark.y - mark.side / 2, mark.y + mark.side / 2),
            pixels=_CROP_PIXELS,
        )
        crops.append((mark.name, _uri(agreement_png(worst.cloud, compared, near))))
    return FramePictures(_uri(whole), tuple(crops))


def common_style(worst: Sequence[WorstFrame], rings: Sequence[float]) -> BevStyle:
    """One extent for all pictures, so that they can be compared: every box that is judged.

    Args:
        worst: The clouds to draw.
        rings: Edges of the rings [m].
    """
    reach = float(rings[-1])
    corners = [np.zeros((1, 2), np.float32)]
    heights = [np.zeros(0, np.float32)]
    for one in worst:
        compared = _compared(one.agreement)
        for boxes in (compared.agreed, compared.missed, compared.extra):
            corners.append(boxes.corners()[..., :2].reshape(-1, 2))
            heights.append(boxes.corners()[..., 2].reshape(-1))
    places = np.concatenate(corners).astype(np.float64)
    low = np.maximum(places.min(axis=0) - _MARGIN, -reach - _MARGIN)
    high = np.minimum(places.max(axis=0) + _MARGIN, reach + _MARGIN)
    low, high = _at_least_half(low, high)
    levels = np.concatenate(heights)
    height = tuple(np.quantile(levels, (0.05, 0.95)).tolist()) if len(levels) else (-2.5, 1.5)
    return BevStyle(
        x=(float(low[0]), float(high[0])),
        y=(float(low[1]), float(high[1])),
        height=(height[0], height[1] + 0.5),
        pixels=_MAP_PIXELS,
        rings=tuple(edge for edge in rings if edge > 0),
        theme=LIGHT,
    )


def _at_least_half(
    low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Widen the shorter of two sides to half of the longer one."""
    size = high - low
    more = np.maximum(0.5 * size.max() - size, 0.0) / 2
    return low - more, high + more


def _compared(agreement: FrameAgreement) -> Compared:
    """The boxes of a cloud by what became of them."""
    pairing = agreement.pairing
    return Compared(
        agreed=agreement.student[pairing.student],
        partners=agreement.reference[pairing.reference],
        missed=agreement.reference[pairing.missed],
        extra=agreement.student[pairing.extra],
    )


def _marks(compared: Compared) -> tuple[Mark, ...]:
    """Squares around the gravest faults; further faults inside a square need none."""
    centers = np.concatenate([compared.missed.center, compared.extra.center])[:, :2]
    scores = np.concatenate([compared.missed.score, compared.extra.score])
    distance = np.hypot(*centers.T) if len(centers) else np.zeros(0)
    marks: list[Mark] = []
    for index in np.argsort(-scores * 20 / (20 + distance), kind="stable"):
        x, y = (float(value) for value in centers[index])
        if len(marks) == _CROPS:
            break
        # Nearly the same square again would show nothing new.
        if all(max(abs(x - m.x), abs(y - m.y)) > 0.6 * _CROP for m in marks):
            marks.append(Mark("AB"[len(marks)], x, y, _CROP))
    return tuple(marks)


def _uri(png: bytes) -> str:
    """A PNG inside of the page."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
