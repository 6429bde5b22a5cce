"""What the figures mean, in sentences."""

import math
from collections.abc import Sequence
from pathlib import Path

from kd3d_core.evaluation.agreement import Agreement
from kd3d_core.evaluation.agreement import Cell
from kd3d_core.replay.report_data import ReportData

#: From which recall or precision on which words hold.
_FOUND = (
    (0.95, "nearly everything"),
    (0.8, "most of what"),
    (0.6, "much of what"),
    (0.4, "about half of what"),
    (0.0, "little of what"),
)
_CONFIRMED = (
    (0.95, "nearly all it reports is confirmed"),
    (0.8, "most of what it reports is confirmed"),
    (0.6, "a good part of what it reports is not confirmed"),
    (0.4, "about half of what it reports is not confirmed"),
    (0.0, "most of what it reports is not confirmed"),
)
#: Between two numbers, and for a number that there is not.
DASH = "\N{EN DASH}"
_NOTHING = "Neither model reported an object: there is nothing to compare."
#: A class in a ring is worth a sentence from so many boxes on, and below this share.
_FEW, _GOOD = 3, 0.8
_MOST_PROBLEMS = 6
#: Mean error of a class from which on a sentence warns of it.
_LIMITS = {"centre_error": 0.75, "heading_error": 0.5, "size_error": 0.5, "velocity_error": 2.0}


def verdict(agreement: Agreement) -> str:
    """How well the student does, in one sentence."""
    recall, precision = agreement.total.recall, agreement.total.precision
    if recall is None and precision is None:
        return _NOTHING
    if recall is None:
        return "The student reports objects where the teacher sees none."
    if precision is None:
        return "The student reports nothing of what the teacher sees."
    found = next(words for least, words in _FOUND if recall >= least)
    confirmed = next(words for least, words in _CONFIRMED if precision >= least)
    link = "and" if (recall >= _GOOD) == (precision >= _GOOD) else "but"
    return f"The student finds {found} the teacher sees, {link} {confirmed}."


def summary(data: ReportData) -> str:
    """The figures behind the verdict, and what was compared."""
    total = data.agreement.total
    clouds = counted(data.agreement.frames, "cloud")
    names = listed([bag_name(source) for source in data.sources])
    place = f" of {counted(len(data.sources), 'bag')} ({names})" if data.sources else ""
    found = (
        f"It finds {percent(total.recall)} of the teacher's {total.pairs + total.missed:,} boxes, "
        if total.recall is not None
        else "The teacher reports no box, "
    )
    confirmed = (
        f"and the teacher confirms {percent(total.precision)} of the student's "
        f"{total.pairs + total.extra:,}"
        if total.precision is not None
        else "and the student reports none"
    )
    return f"{found}{confirmed}, on {clouds}{place}."


def problems(agreement: Agreement) -> list[str]:
    """Where most is wrong, the most boxes first; empty when nothing stands out."""
    found: list[tuple[int, str]] = []
    for name in agreement.classes:
        for ring, cell in agreement.by_ring[name].items():
            found += _shares(f"{name}, {ring_words(ring)}", cell)
    found.sort(key=lambda item: -item[0])  # stable: ties stay in the order of the classes
    sentences = [text for _, text in found]
    errors = [text for name in agreement.classes for text in _errors(name, agreement)]
    room = max(_MOST_PROBLEMS - len(errors), _MOST_PROBLEMS // 2)
    return (sentences[:room] + errors)[:_MOST_PROBLEMS]


def calibration_words(agreement: Agreement) -> str:
    """Whether the student's scores can be believed."""
    filled = [b for b in agreement.calibration if b.count]
    count = sum(b.count for b in filled)
    if not count:
        return "The student reported no box."
    gap = sum(b.count * ((b.mean_score or 0) - (b.share_confirmed or 0)) for b in filled) / count
    error = agreement.calibration_error or 0.0
    if error < 0.1:
        return f"Scores are honest: on average {100 * error:.0f} points from what is confirmed."
    side = "too high: the student is overconfident" if gap > 0 else "too low: the student is shy"
    if abs(gap) < error / 2:
        side = "too high for some boxes and too low for others"
    return f"Scores are {side}. They are {100 * error:.0f} points from what is confirmed."


def percent(share: float | None) -> str:
    """A share in [0, 1], or a dash."""
    return DASH if share is None else f"{100 * share:.0f} %"


def quantity(value: float | None, unit: str = "") -> str:
    """A mean error with its unit, or a dash."""
    return DASH if value is None else f"{value:.2f}{unit}"


def degrees(value: float | None) -> str:
    """An angle given in radians, or a dash."""
    return DASH if value is None else f"{math.degrees(value):.1f}°"


def ring_words(ring: str) -> str:
    """The name of a ring as it is written: "20-35" is 20 to 35 m."""
    return f"{ring.replace('-', DASH)} m"


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 cloud, 2 clouds."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names as one phrase; many are cut."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return ", ".join([*names[:-2], " and ".join(names[-2:])]) if names else ""


def bag_name(source: str) -> str:
    """The last part of a path."""
    return Path(source).name or source


def _shares(place: str, cell: Cell) -> list[tuple[int, str]]:
    """Sentences about recall and precision, with the number of boxes that are wrong."""
    found = []
    if cell.missed >= _FEW and cell.recall is not None and cell.recall < _GOOD:
        told = f"{place}: misses {cell.missed:,} of the teacher's {cell.pairs + cell.missed:,}."
        found.append((cell.missed, told))
    if cell.extra >= _FEW and cell.precision is not None and cell.precision < _GOOD:
        told = f"{place}: {cell.extra:,} of the student's {cell.pairs + cell.extra:,} "
        found.append((cell.extra, told + "are not confirmed."))
    return found


def _errors(name: str, agreement: Agreement) -> list[str]:
    """Sentences about the boxes of a class that are in the wrong place or shape."""
    cell, found = agreement.by_class[name], []
    if cell.pairs < 5 * _FEW:
        return []
    for field, limit in _LIMITS.items():
        value: float | None = getattr(cell, field)
        if value is None or value <= limit:
            continue
        units = {"heading_error": degrees(value), "velocity_error": quantity(value, " m/s")}
        told = units.get(field, quantity(value, " m"))
        kind = field.removesuffix("_error")
        found.append(f"{name}: the {kind} is {told} off on average over {cell.pairs:,} pairs.")
    return found
