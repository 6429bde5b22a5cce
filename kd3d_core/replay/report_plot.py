"""What the charts of a report are drawn with: scales, lines, words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import join
from kd3d_core.replay.report_html import tag


@dataclass(frozen=True)
class Plot:
    """A drawing area that maps data to a picture whose unit is a pixel of the page.

    Attributes:
        width: Of the picture.
        height: Of the picture.
        x: Range of the data across.
        y: Range of the data upwards.
        left: Space for the labels of the y axis.
        right: Space at the right.
        top: Space above.
        bottom: Space for the labels of the x axis.
    """

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 44
    right: float = 12
    top: float = 14
    bottom: float = 24

    @property
    def low(self) -> float:
        """Where the lowest datum lies downwards."""
        return self.height - self.bottom

    def px(self, value: float) -> float:
        """Where a datum lies across."""
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return self.left + share * (self.width - self.left - self.right)

    def py(self, value: float) -> float:
        """Where a datum lies downwards."""
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return self.low - share * (self.low - self.top)

    def svg(self, label: str, *parts: Html, class_: str = "chart") -> Html:
        """The picture; `label` is read to who cannot see it."""
        return tag(
            "svg",
            *parts,
            class_=class_,
            viewBox=f"0 0 {self.width:g} {self.height:g}",
            role="img",
            aria_label=label,
        )

    def rows(self, ticks: Sequence[float], unit: str = "") -> Html:
        """Lines across with their values at the left."""
        end = self.width - self.right
        return join(
            *(line(self.left, self.py(tick), end, self.py(tick)) for tick in ticks),
            *(words(f"{tick:g}{unit}", self.left - 7, self.py(tick) + 4, "end") for tick in ticks),
        )

    def columns(self, ticks: Sequence[float], unit: str = "") -> Html:
        """Values below the x axis."""
        y = self.low + 16
        return join(*(words(f"{tick:g}{unit}", self.px(tick), y) for tick in ticks))

    def path(self, points: Sequence[tuple[float, float]], class_: str) -> Html:
        """A line through data."""
        steps = " L".join(f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in points)
        return tag("path", d=f"M{steps}", class_=class_) if points else Html()


def line(x1: float, y1: float, x2: float, y2: float, class_: str = "grid") -> Html:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rectangle(x: float, y: float, width: float, height: float, fill: str) -> Html:
    """A filled rectangle."""
    return tag("rect", x=x, y=y, width=width, height=height, fill=fill)


def words(
    text: str, x: float, y: float, anchor: str = "middle", class_: str | None = None
) -> Html:
    """A line of text; `anchor` is start, middle or end."""
    return tag("text", text, x=x, y=y, text_anchor=anchor, class_=class_)


def ticks_between(low: float, high: float, most: float) -> list[float]:
    """Round values from `low` to `high`, about `most` of them."""
    raw = max(high - low, 1e-9) / max(most, 1.0)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 10) for k in range(first, last + 1)]


def round_up(value: float) -> float:
    """The next round number, for the end of an axis; 1 when there is nothing."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * m for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if power * m >= value * 0.999)


def shortened(text: str, width: float) -> str:
    """As much of a name as fits into `width` pixels of a chart."""
    most = max(int(width / 6), 2)
    return text if len(text) <= most else text[: most - 1] + "…"
