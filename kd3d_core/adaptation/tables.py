"""What `adapt` says on a terminal."""

from typing import TYPE_CHECKING

from rich.table import Table

from kd3d_core.adaptation.result import Adaptation
from kd3d_core.adaptation.sensor import SensorReport

if TYPE_CHECKING:
    from rich.console import Console

    from kd3d_core.inspection.findings import Finding

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}
#: A class that loses more than this is named.
_LOSS = 0.03


def sensor_table(report: SensorReport) -> Table:
    """A row a measurement."""
    table = Table(title=f"The sensor, by {report.clouds} clouds", show_header=False)
    table.add_column("what")
    table.add_column("value", overflow="fold")
    low, high = report.elevation_deg
    beams = "" if report.beams is None else f", {report.beams} rings"
    rate = "" if report.rate_hz is None else f", {report.rate_hz:g} Hz"
    table.add_row("points", f"{report.points:,.0f} a cloud{beams}{rate}")
    rings = ", ".join(f"{name}: {count:,.0f}" for name, count in report.points_by_ring.items())
    table.add_row("by distance", rings)
    table.add_row("view", f"{low:+.1f} to {high:+.1f} degrees, up to {report.far:g} m")
    if report.height is None:
        table.add_row("mount", "no ground in sight")
    else:
        table.add_row(
            "mount",
            f"{report.height:.2f} m above the ground (spread {report.height_spread:.2f}), pitch "
            f"{report.pitch_deg:+.1f}, roll {report.roll_deg:+.1f} degrees, {report.up} up",
        )
    if report.intensity:
        ranks = (1, 8, 16, 24, -2)
        values = " / ".join(f"{report.intensity[rank]:.2f}" for rank in ranks)
        table.add_row(
            "intensity",
            f"{values} (3, 25, 50, 75, 97 %), {report.zero_share:.1%} zero, "
            f"{report.full_share:.1%} full",
        )
    else:
        table.add_row("intensity", "none")
    return table


def attempts_table(result: Adaptation) -> Table:
    """A row for each thing that was tried."""
    table = Table(
        title="What was tried",
        caption=f"measured on {len(result.recording.judging)} clouds that nothing was learnt from",
    )
    for heading in ("change", "measure"):
        table.add_column(heading, overflow="fold")
    for heading in ("before", "after"):
        table.add_column(heading, justify="right")
    table.add_column("", overflow="fold")
    for attempt in result.attempts:
        mark = "[green]kept[/]" if attempt.kept else f"not kept: {attempt.why}"
        values = (f"{100 * value:.1f}" for value in (attempt.before, attempt.after))
        table.add_row(attempt.what, attempt.measure, *values, mark)
    return table


def print_findings(findings: "list[Finding]", console: "Console") -> None:
    """One finding after the other, with its remedy."""
    for finding in findings:
        colour = _COLOURS[finding.severity]
        console.print(
            f"[{colour}]{finding.severity}[/]: {finding.message} {finding.remedy}",
            highlight=False,
            soft_wrap=True,
        )


def print_result(result: Adaptation, console: "Console") -> None:
    """What was tried and what came of it."""
    if not result.attempts:
        console.print("nothing to try: the sensor suits the model, or the step is off.")
        return
    console.print(attempts_table(result))
    for attempt in result.attempts:
        for name, (before, after) in attempt.lost.items():
            if attempt.kept and before - after > _LOSS:
                console.print(
                    f"[yellow]{attempt.step}: {name} measures worse, {100 * before:.1f} -> "
                    f"{100 * after:.1f}[/]; leave the step out if that class matters most.",
                    highlight=False,
                )
