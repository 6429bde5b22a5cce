"""How badly two detectors disagree on one frame, and why, in words."""

import math

from pydantic import Field
from pydantic import NonNegativeFloat
from pydantic import PositiveFloat
from pydantic import PositiveInt

from kd3d_core.config import Config
from kd3d_core.datasets.mined import Disagreement
from kd3d_core.evaluation.agreement import FrameAgreement
from kd3d_core.evaluation.agreement import pair_errors
from kd3d_core.evaluation.agreement import pair_range
from kd3d_core.evaluation.pairing import ground_range

__all__ = ["Disagreement", "DisagreementConfig", "judge"]


class DisagreementConfig(Config):
    """How much each kind of disagreement weighs.

    Every fault counts its weight x the weight of its class x the score of the detector that
    insists on it x nearness, which is 1 at the sensor and falls to one half at `near`.
    """

    missed: NonNegativeFloat = 1.0
    """An object that only the reference sees."""
    extra: NonNegativeFloat = 1.0
    """An object that only the student sees."""
    confused: NonNegativeFloat = 1.0
    """One object under two classes; it is not counted as missed and extra as well."""
    displaced: NonNegativeFloat = 0.5
    """A pair whose centres are farther apart than `centre_limit`."""
    turned: NonNegativeFloat = 0.5
    """A pair whose headings differ by more than `heading_limit`."""
    class_weights: dict[str, NonNegativeFloat] = Field(default_factory=dict)
    """By class name of the reference (of the student for extras); 1 for classes not named."""
    near: PositiveFloat = 20.0
    """Distance [m] at which a fault weighs half."""
    centre_limit: PositiveFloat = 0.6
    """Share of the largest distance of a pair of the class."""
    heading_limit: PositiveFloat = math.radians(45)
    """[rad]"""
    max_reasons: PositiveInt = 8
    """How many faults are put in words."""


def judge(frame: FrameAgreement, config: DisagreementConfig | None = None) -> Disagreement:
    """Weigh what two detectors see differently in a frame; the default weights when None."""
    config = config or DisagreementConfig()
    faults = [
        (weight, text)
        for weight, text in (*_one_sided(frame, config), *_within_pairs(frame, config))
        if weight > 0
    ]
    # By weight, then by text: equal faults must not come in the order of the boxes.
    faults.sort(key=lambda fault: (-fault[0], fault[1]))
    return Disagreement(
        score=math.fsum(weight for weight, _ in faults),
        reasons=tuple(text for _, text in faults[: config.max_reasons]),
    )


def _one_sided(frame: FrameAgreement, config: DisagreementConfig) -> list[tuple[float, str]]:
    """Missed, extra and confused objects as (weight, text)."""
    student, reference, pairing = frame.student, frame.reference, frame.pairing
    mine, theirs = ground_range(student), ground_range(reference)
    faults = []
    for i, j in pairing.confused.tolist():
        name, low, high = reference.names[j], float(student.score[i]), float(reference.score[j])
        text = (
            f"{name} at {theirs[j]:.0f} m called {student.names[i]} "
            f"(teacher {high:.2f}, student {low:.2f})"
        )
        faults.append((config.confused * _weight(config, name, max(low, high), theirs[j]), text))
    confused_mine, confused_theirs = pairing.confused.T.tolist()
    for j in pairing.missed.tolist():
        if j not in confused_theirs:
            name, score = reference.names[j], float(reference.score[j])
            text = f"missed {name} at {theirs[j]:.0f} m (teacher {score:.2f})"
            faults.append((config.missed * _weight(config, name, score, theirs[j]), text))
    for i in pairing.extra.tolist():
        if i not in confused_mine:
            name, score = student.names[i], float(student.score[i])
            text = f"extra {name} at {mine[i]:.0f} m (student {score:.2f})"
            faults.append((config.extra * _weight(config, name, score, mine[i]), text))
    return faults


def _within_pairs(frame: FrameAgreement, config: DisagreementConfig) -> list[tuple[float, str]]:
    """Pairs whose boxes lie apart or are turned, as (weight, text)."""
    pairing, errors, distance = frame.pairing, pair_errors(frame), pair_range(frame)
    faults = []
    for k, (i, j) in enumerate(zip(pairing.student, pairing.reference, strict=True)):
        name = frame.reference.names[j]
        # A fault of a pair is as sure as the less sure of the two.
        score = float(min(frame.student.score[i], frame.reference.score[j]))
        weight = _weight(config, name, score, distance[k])
        if errors.centre[k] > config.centre_limit * frame.config.gate(name):
            text = f"{name} at {distance[k]:.0f} m: centres {errors.centre[k]:.1f} m apart"
            faults.append((config.displaced * weight, text))
        if errors.heading[k] > config.heading_limit:
            angle = math.degrees(errors.heading[k])
            text = f"{name} at {distance[k]:.0f} m: headings {angle:.0f} deg apart"
            faults.append((config.turned * weight, text))
    return faults


def _weight(config: DisagreementConfig, name: str, score: float, distance: float) -> float:
    """Weight of a fault by class, score and distance [m]."""
    nearness = config.near / (config.near + float(distance))
    return config.class_weights.get(name, 1.0) * score * nearness
