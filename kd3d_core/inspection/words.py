"""What a check found in words, and as a table for the terminal."""

from rich.table import Table

from kd3d_core.inspection.check import CheckResult
from kd3d_core.inspection.summary import Spread

DASH = "\N{EN DASH}"


def verdict(result: CheckResult) -> str:
    """How the data set looks, in one sentence."""
    counts = dict.fromkeys(("error", "warning", "note"), 0)
    for finding in result.findings:
        counts[finding.severity] += 1
    if counts["error"]:
        many = "thing is" if counts["error"] == 1 else "things are"
        return f"{counts['error']} {many} wrong: mend before you train."
    if counts["warning"]:
        many = "thing looks" if counts["warning"] == 1 else "things look"
        return f"{counts['warning']} {many} odd."
    return "Nothing looks wrong."


def class_table(result: CheckResult) -> Table:
    """A rich table: one row a class that has boxes, medians of their figures."""
    table = Table(title="Boxes by class (medians)")
    table.add_column("class")
    heads = ("boxes", "length", "width", "height", "range", "points", "empty", "speed")
    for name in heads:
        table.add_column(name, justify="right")
    for name, entry in result.summary.classes.items():
        if not entry.boxes:
            continue
        sizes = [middle(part, 2) for part in (entry.length, entry.width, entry.height)]
        empty = f"{100 * entry.empty / entry.boxes:.0f} %"
        table.add_row(
            name,
            f"{entry.boxes:,}",
            *sizes,
            middle(entry.range, 0),
            middle(entry.points, 0),
            empty,
            middle(entry.speed, 1),
        )
    return table


def summary_words(result: CheckResult) -> list[tuple[str, str]]:
    """What was found: pairs of a heading and words."""
    found = result.summary
    has = {
        "times of points": found.has_time,
        "rings": found.has_ring,
        "poses": found.has_pose,
        "velocities": found.has_velocity,
    }
    looked = "" if len(result.frames) == result.total else f", {len(result.frames):,} looked at"
    rate = "" if found.rate is None else f", {found.rate:.3g} a second"
    boxed = sum(entry.boxes > 0 for entry in found.classes.values())
    return [
        ("frames", f"{result.total:,} in {many(found.drives, 'drive')}{rate}{looked}"),
        ("sensors", ", ".join(found.sensors)),
        (
            "labels",
            f"{len(result.table):,} boxes of {boxed} classes in "
            f"{many(found.labelled, 'labelled frame')}",
        ),
        ("points of a cloud", spread(found.points, 0)),
        ("reach (99 % of the points) [m]", spread(found.reach, 1)),
        ("median intensity [0-1]", spread(found.intensity, 3)),
        ("origin above the ground [m]", spread(found.ground, 2)),
        ("there are", ", ".join(name for name, there in has.items() if there) or "points only"),
    ]


def many(count: int, name: str) -> str:
    """A count with its noun."""
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def middle(values: Spread | None, digits: int) -> str:
    """The median."""
    return DASH if values is None else f"{values.median:,.{digits}f}"


def spread(values: Spread | None, digits: int) -> str:
    """The median with the 5 and 95 % quantiles."""
    if values is None:
        return DASH
    low, high = f"{values.low:,.{digits}f}", f"{values.high:,.{digits}f}"
    return f"{middle(values, digits)} ({low}{DASH}{high})"
