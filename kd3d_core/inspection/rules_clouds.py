"""Rules about clouds: intensity, points that are none, the ground, labels that are absent."""

from collections.abc import Sequence

import numpy as np

from kd3d_core.inspection.config import CheckConfig
from kd3d_core.inspection.facts import FrameFacts
from kd3d_core.inspection.findings import Finding
from kd3d_core.inspection.findings import examples
from kd3d_core.inspection.findings import percent

#: Below this 99 % quantile intensities were divided once too often.
_FAINT = 0.02
#: Above this share of full intensities they were not divided at all.
_SATURATED = 0.3


def cloud_findings(frames: Sequence[FrameFacts], config: CheckConfig) -> list[Finding]:
    """What looks wrong about the points."""
    return [*_intensity(frames), *_dropped(frames, config), *_ground(frames), *_labels(frames)]


def _intensity(frames: Sequence[FrameFacts]) -> list[Finding]:
    """Intensities of another scale than 0 to 1."""
    kinds = {
        "none": [f for f in frames if not f.has_intensity],
        "zero": [f for f in frames if f.has_intensity and f.intensity[2] == 0],
        "faint": [f for f in frames if f.has_intensity and 0 < f.intensity[1] < _FAINT],
        "saturated": [f for f in frames if f.has_intensity and f.intensity[4] > _SATURATED],
    }
    words = {
        "none": (
            "no-intensity",
            "note",
            "have no intensity",
            "Train without it (the column is 0), or record it: it helps with flat objects.",
        ),
        "zero": (
            "zero-intensity",
            "warning",
            "have an intensity that is 0 everywhere",
            "Check the name of the field and the driver; else leave the field out.",
        ),
        "faint": (
            "intensity-scale",
            "error",
            f"have nearly all intensities below {_FAINT:g} of full scale",
            "They were probably divided by 255 twice: state the scale of the files (intensity_"
            "scale in dataset.yaml), 1 where they are 0 to 1 already.",
        ),
        "saturated": (
            "intensity-scale",
            "error",
            f"have the full intensity in more than {100 * _SATURATED:.0f} % of the points",
            "The files probably hold 0 to 255: state the scale (intensity_scale in dataset.yaml).",
        ),
    }
    found = []
    for kind, some in kinds.items():
        if not some:
            continue
        rule, severity, told, remedy = words[kind]
        found.append(
            Finding(
                rule,
                severity,  # type: ignore[arg-type]
                f"{len(some)} of {len(frames)} clouds {told}.",
                remedy,
                *examples([(facts, None) for facts in some]),
            )
        )
    return found


def _dropped(frames: Sequence[FrameFacts], config: CheckConfig) -> list[Finding]:
    """Points that were no numbers."""
    some = [f for f in frames if f.dropped > config.dropped_share * (f.points + f.dropped)]
    if not some:
        return []
    lost, total = sum(f.dropped for f in some), sum(f.dropped + f.points for f in some)
    bare = [f for f in some if not f.points]
    return [
        Finding(
            "nan-points",
            "error" if bare else "note",
            f"{percent(lost, total)} of the points of {len(some)} clouds are not finite (NaN or "
            "infinite); they are left out.",
            "Drivers write NaN where no echo came back: fine, but files without are smaller."
            if not bare
            else "Some clouds have no finite point at all: leave them out.",
            *examples([(facts, None) for facts in bare or some]),
        )
    ]


def _ground(frames: Sequence[FrameFacts]) -> list[Finding]:
    """Clouds that are not upright, or not where the data set says."""
    seen = [(f, f.ground) for f in frames if f.ground is not None]
    found = []
    tipped = [(f, None) for f, ground in seen if ground.up != "+z"]
    if len(tipped) > 0.2 * len(seen):
        axis = next(ground.up for f, ground in seen if ground.up != "+z")
        found.append(
            Finding(
                "axes",
                "error",
                f"in {len(tipped)} of {len(seen)} clouds the ground lies across {axis}, not "
                "across +z.",
                "Turn clouds and labels so that x points forward, y left and z up.",
                *examples(tipped),
            )
        )
    upright = [(f, ground) for f, ground in seen if ground.up == "+z"]
    off = [
        (f, f.stated_height - ground.height)
        for f, ground in upright
        if f.stated_height is not None and abs(f.stated_height - ground.height) > 0.4
    ]
    if len(off) > 0.3 * len(upright):
        found.append(
            Finding(
                "sensor-height",
                "warning",
                f"in {len(off)} of {len(upright)} clouds the ground is not where the stated "
                "height of the sensor puts it (median difference "
                f"{np.median([d for _, d in off]):+.2f} m).",
                "State the height of the origin of the clouds above the ground.",
                *examples([(f, None) for f, _ in off]),
            )
        )
    return found


def _labels(frames: Sequence[FrameFacts]) -> list[Finding]:
    """Frames without labels, and labelled frames without any box."""
    bare = [f for f in frames if f.boxes is None]
    void = [f for f in frames if f.boxes is not None and not len(f.boxes.boxes)]
    found = []
    if bare:
        found.append(
            Finding(
                "unlabelled",
                "error" if len(bare) == len(frames) else "warning",
                f"{len(bare)} of {len(frames)} frames have no labels.",
                "Label them, or leave them to distillation, which needs none (docs/"
                "closing_the_loop.md).",
                *examples([(f, None) for f in bare]),
            )
        )
    if len(void) > 0.3 * max(len(frames) - len(bare), 1):
        found.append(
            Finding(
                "no-boxes",
                "warning",
                f"{len(void)} of {len(frames) - len(bare)} labelled frames have no box.",
                "Right where nothing was there; else check the names of the label files and of "
                "the classes.",
                *examples([(f, None) for f in void]),
            )
        )
    return found
