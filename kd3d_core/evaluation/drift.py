"""Alarms when a student falls behind its reference, that chance alone does not raise."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import Field
from pydantic import PositiveFloat
from pydantic import PositiveInt

from kd3d_core.config import Config
from kd3d_core.evaluation.agreement import ALL
from kd3d_core.evaluation.agreement import Agreement
from kd3d_core.evaluation.agreement import Cell


class DriftConfig(Config):
    """Limits of the agreement, and how sure an alarm must be. A limit of None is not watched."""

    min_frames: PositiveInt = 30
    """No alarm before so many frames."""
    min_boxes: PositiveInt = 30
    """No alarm about a class and ring with fewer boxes than this."""
    confidence: PositiveFloat = 3.0
    """How many standard deviations a share must be below its limit: the alarm is raised when
    even the upper end of its Wilson interval is."""
    min_recall: float | None = Field(default=0.5, ge=0, le=1)
    """Least share of the reference's objects that the student sees."""
    min_precision: float | None = Field(default=0.5, ge=0, le=1)
    """Least share of the student's objects that the reference sees."""
    max_centre_error: PositiveFloat | None = 0.75
    """Largest mean distance of the centres [m]."""
    max_size_error: PositiveFloat | None = None
    """Largest mean difference of the sizes [m]."""
    max_heading_error: PositiveFloat | None = None
    """Largest mean difference of the headings [rad]."""
    max_velocity_error: PositiveFloat | None = None
    """Largest mean difference of the velocities [m/s]."""
    max_recall_drop: float | None = Field(default=0.15, ge=0, le=1)
    """How far recall may fall below that of the baseline."""
    max_precision_drop: float | None = Field(default=0.15, ge=0, le=1)
    """How far precision may fall below that of the baseline."""


@dataclass(frozen=True)
class Alarm:
    """One limit that is broken.

    Attributes:
        kind: "recall", "precision", "centre error", "size error", "heading error" or
            "velocity error".
        label: Class name, or "all".
        ring: Such as "0-20" [m], or "all".
        value: What was measured.
        limit: What it should have kept.
        message: A sentence that names all of these.
    """

    kind: str
    label: str
    ring: str
    value: float
    limit: float
    message: str


#: Quantity -> unit in messages.
_ERRORS = {
    "centre_error": " m",
    "size_error": " m",
    "heading_error": " rad",
    "velocity_error": " m/s",
}


def alarms(
    recent: Agreement,
    config: DriftConfig | None = None,
    baseline: Agreement | None = None,
) -> tuple[Alarm, ...]:
    """Which limits the recent agreement breaks.

    A limit that a class breaks over all its rings together is told once; otherwise the rings
    that break it are told one by one. The same holds for all classes together.

    Args:
        recent: Agreement over a window of recent frames.
        config: Limits; the defaults when None.
        baseline: Agreement at a time when all was well, over enough frames; None leaves out the
            comparison with it.
    """
    config = config or DriftConfig()
    if recent.frames < config.min_frames:
        return ()
    found: list[Alarm] = []
    for label in (ALL, *recent.classes):
        whole = list(_judge(label, ALL, recent, config, baseline))
        kinds = {alarm.kind for alarm in whole}
        found += whole
        for ring in recent.by_ring[label]:
            more = _judge(label, ring, recent, config, baseline)
            found += [alarm for alarm in more if alarm.kind not in kinds]
    return tuple(found)


def wilson_interval(right: int, count: int, deviations: float) -> tuple[float, float]:
    """The interval of a share that is `right` of `count`; (0, 1) when `count` is 0.

    Args:
        right: How many of them.
        count: How many in all.
        deviations: Half width in standard deviations; 1.96 for 95 %.
    """
    if not count:
        return 0.0, 1.0
    share, square = right / count, deviations**2
    middle = share + square / (2 * count)
    half = deviations * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    scale = 1 + square / count
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def _judge(
    label: str, ring: str, recent: Agreement, config: DriftConfig, baseline: Agreement | None
) -> Iterator[Alarm]:
    """The alarms of one class and ring."""
    cell = _find(recent, label, ring)
    before = None if baseline is None else _find(baseline, label, ring)
    if cell is None:
        return
    for kind in ("recall", "precision"):
        alarm = _share_alarm(kind, label, ring, cell, before, config)
        if alarm is not None:
            yield alarm
    for field, unit in _ERRORS.items():
        value, limit = getattr(cell, field), getattr(config, f"max_{field}")
        if limit is None or value is None or cell.pairs < config.min_boxes or value <= limit:
            continue
        kind = field.replace("_", " ")
        text = (
            f"mean {kind} of {_place(label, ring)} is {value:.2f}{unit} over {cell.pairs} pairs, "
            f"above the limit of {limit:.2f}{unit}"
        )
        yield Alarm(kind, label, ring, value, limit, text)


def _share_alarm(
    kind: str, label: str, ring: str, cell: Cell, before: Cell | None, config: DriftConfig
) -> Alarm | None:
    """The alarm about recall or precision, or None: the higher of the two limits holds."""
    value: float | None = getattr(cell, kind)
    count = cell.pairs + (cell.missed if kind == "recall" else cell.extra)
    if value is None or count < config.min_boxes:
        return None
    limit: float = getattr(config, f"min_{kind}") or 0.0
    source = f"the limit of {limit:.2f}"
    drop: float | None = getattr(config, f"max_{kind}_drop")
    usual: float | None = None if before is None else getattr(before, kind)
    if drop is not None and usual is not None and usual - drop > limit:
        limit = usual - drop
        source = f"the limit of {limit:.2f} (it was {usual:.2f})"
    if wilson_interval(cell.pairs, count, config.confidence)[1] >= limit:
        return None
    text = f"{kind} of {_place(label, ring)} is {value:.2f} over {count} boxes, below {source}"
    return Alarm(kind, label, ring, value, limit, text)


def _find(agreement: Agreement, label: str, ring: str) -> Cell | None:
    """The cell of a class and a ring, or None when the agreement has no such."""
    if ring == ALL:
        return agreement.total if label == ALL else agreement.by_class.get(label)
    return agreement.by_ring.get(label, {}).get(ring)


def _place(label: str, ring: str) -> str:
    """A class and ring in words."""
    name = "all classes" if label == ALL else label
    return name if ring == ALL else f"{name} at {ring} m"
