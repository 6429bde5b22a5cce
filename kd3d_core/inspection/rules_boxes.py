"""Rules about boxes: numbers, sizes, points inside, the ground below, duplicates."""

from collections.abc import Sequence

import numpy as np

from kd3d_core.inspection.config import CheckConfig
from kd3d_core.inspection.findings import Finding
from kd3d_core.inspection.findings import percent
from kd3d_core.inspection.sizes import plausible
from kd3d_core.inspection.table import BoxTable


def box_findings(table: BoxTable, classes: Sequence[str], config: CheckConfig) -> list[Finding]:
    """What looks wrong about the boxes.

    Args:
        table: The boxes.
        classes: That the data set declares.
        config: From where on it does.
    """
    found = [*_broken(table), *_missing(table, classes)]
    for name in table.classes:
        found += _sizes(table, name, config) + _wide(table, name, config)
    return [*found, *_empty(table, config), *_off_ground(table, config), *_twice(table, config)]


def _broken(table: BoxTable) -> list[Finding]:
    """Numbers that are none."""
    rows = np.flatnonzero(~table.finite)
    if not len(rows):
        return []
    return [
        Finding(
            "broken-boxes",
            "error",
            f"{len(rows)} of {len(table)} boxes have a number that is not finite, or a size that "
            "is not positive.",
            "Mend or leave out these lines of the label files: they would poison the training.",
            *table.examples(rows),
        )
    ]


def _missing(table: BoxTable, classes: Sequence[str]) -> list[Finding]:
    """Classes without any box."""
    absent = [name for name in classes if name not in set(table.name.tolist())]
    if not absent or not len(table):
        return []
    return [
        Finding(
            "missing-classes",
            "note",
            f"no box of {', '.join(absent)} in the {len(table.frames)} frames looked at.",
            "Where that surprises, compare the class names of the label files with those of the "
            "data set, and look at more frames (--frames).",
        )
    ]


def _sizes(table: BoxTable, name: str, config: CheckConfig) -> list[Finding]:
    """Boxes of a class that are too small or too large."""
    mine = np.flatnonzero((table.name == name) & table.finite)
    limits = plausible(name)
    if not len(mine):
        return []
    size = table.size[mine]
    if limits is not None:
        low, high = np.array([limits.length, limits.width, limits.height]).T
        told = ", ".join(
            f"{what} {a:g}-{b:g} m" for what, a, b in zip(("l", "w", "h"), low, high, strict=True)
        )
        if not limits.long:  # nobody agrees on which side of a person is the long one
            low[:2], high[:2] = low[:2].min(), high[:2].max()
    else:
        middle = np.median(size, axis=0)
        low, high = middle / 6, middle * 6
        told = "within 6 times the median of the class"
    rows = mine[((size < low) | (size > high)).any(axis=1)]
    if len(rows) <= config.odd_size_share * len(mine) or not len(rows):
        return []
    half = " x ".join(f"{value:.2f}" for value in np.median(table.size[rows], axis=0))
    most = len(rows) > 0.5 * len(mine) and len(mine) >= config.few
    return [
        Finding(
            "odd-sizes",
            "error" if most else "warning",
            f"{len(rows)} of {len(mine)} boxes of {name} have an implausible size (their median: "
            f"{half} m; plausible: {told}).",
            "Check that the columns are length, width, height in metres (not width, length, "
            "height; not half sizes), and that the class is right.",
            *table.examples(rows),
        )
    ]


def _wide(table: BoxTable, name: str, config: CheckConfig) -> list[Finding]:
    """Boxes of a long class that are wider than long."""
    limits = plausible(name)
    mine = np.flatnonzero((table.name == name) & table.finite)
    if limits is None or not limits.long or not len(mine):
        return []
    rows = mine[table.size[mine, 0] < 0.95 * table.size[mine, 1]]
    if len(rows) <= config.wide_share * len(mine) or len(mine) < config.few:
        return []
    most = len(rows) > 0.5 * len(mine)
    remedy = (
        "Length and width are exchanged: length is the extent along the heading."
        if most
        else "Turn these boxes by 90 degrees and exchange their length and width."
    )
    return [
        Finding(
            "wider-than-long",
            "error" if most else "warning",
            f"{len(rows)} of {len(mine)} boxes of {name} ({percent(len(rows), len(mine))}) are "
            "wider than long.",
            remedy,
            *table.examples(rows),
        )
    ]


def _empty(table: BoxTable, config: CheckConfig) -> list[Finding]:
    """Near boxes without a point."""
    near = np.flatnonzero(table.finite & (table.range < config.near))
    rows = near[table.points[near] == 0]
    if len(near) < config.few or len(rows) <= config.empty_share * len(near):
        return []
    most = len(rows) > 0.5 * len(near)
    return [
        Finding(
            "empty-boxes",
            "error" if most else "warning",
            f"{len(rows)} of {len(near)} boxes within {config.near:g} m "
            f"({percent(len(rows), len(near))}) hold no point of their cloud.",
            "Check that labels and clouds are of one frame and one time, and that centres are the "
            "middle of a box. Hidden objects may stay: training and metrics leave out boxes "
            "with too few points.",
            *table.examples(rows),
        )
    ]


def _off_ground(table: BoxTable, config: CheckConfig) -> list[Finding]:
    """Near boxes that float or lie under the ground."""
    stands = table.finite & (table.range < config.near) & np.isfinite(table.above)
    near = np.flatnonzero(stands)
    if len(near) < config.few:
        return []
    found = []
    for sign, rule, words in ((1, "floating-boxes", "above"), (-1, "sunk-boxes", "below")):
        rows = near[sign * table.above[near] > config.off_ground]
        if len(rows) <= config.off_ground_share * len(near):
            continue
        gap = float(np.median(np.abs(table.above[rows])))
        share = float(np.median(np.abs(table.above[rows]) / table.size[rows, 2]))
        half = " That is about half of their height: " if 0.4 < share < 0.6 else ""
        cause = {
            ("sunk-boxes", True): "z seems to be the bottom of a box, not its middle.",
            ("floating-boxes", True): "z seems to be the top of a box, not its middle.",
        }.get((rule, bool(half)), "")
        found.append(
            Finding(
                rule,
                "error" if len(rows) > 0.5 * len(near) else "warning",
                f"the bottoms of {len(rows)} of {len(near)} boxes within {config.near:g} m lie "
                f"more than {config.off_ground:g} m {words} the ground around them (median "
                f"{gap:.2f} m).{half}{cause}",
                "Check that z is the middle of a box in the frame of the cloud, and the height "
                "of the sensor in the transform between them.",
                *table.examples(rows),
            )
        )
    return found


def _twice(table: BoxTable, config: CheckConfig) -> list[Finding]:
    """Boxes that lie on another box."""
    rows = np.flatnonzero(table.finite & (table.overlap > config.duplicate_overlap))
    if len(rows) <= config.duplicate_share * len(table) or not len(rows):
        return []
    return [
        Finding(
            "duplicate-boxes",
            "warning",
            f"{len(rows)} of {len(table)} boxes overlap another box of their frame by more than "
            f"{100 * config.duplicate_overlap:.0f} % seen from above.",
            "Keep one of the two: the other counts as an object that no detector can find.",
            *table.examples(rows),
        )
    ]
