"""What looks wrong, in words that say what to do."""

from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from kd3d_core.inspection.facts import FrameFacts

#: How bad it is: training on it is a waste; look at it; know it.
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
_MOST_EXAMPLES = 5


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong.

    Attributes:
        rule: Short name of the rule that found it.
        severity: How bad it is.
        message: What was found, with figures.
        remedy: What to do about it.
        frames: Indices of some frames that show it.
        examples: Their sources, a box's number after "#box" where it is a box.
    """

    rule: str
    severity: Severity
    message: str
    remedy: str
    frames: tuple[int, ...] = ()
    examples: tuple[str, ...] = ()


#: A rule looks at frames in the order of the data set.
Rule = Callable[[Sequence[FrameFacts]], list[Finding]]


def examples(
    found: Sequence[tuple[FrameFacts, int | None]],
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """`frames` and `examples` of a finding.

    Args:
        found: Frames, and a box of each or None.
    """
    shown = found[:_MOST_EXAMPLES]
    frames = tuple(dict.fromkeys(facts.index for facts, _ in shown))
    words = tuple(f.source if box is None else f"{f.source} #box {box}" for f, box in shown)
    return frames, words


def percent(part: float, whole: float) -> str:
    """A share in words."""
    return f"{100 * part / whole:.0f} %" if whole else "0 %"


def by_severity(findings: Sequence[Finding]) -> list[Finding]:
    """The worst first, otherwise as they came."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
