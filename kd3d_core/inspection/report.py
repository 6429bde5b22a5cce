"""What a check found as one page."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from kd3d_core.files import write_text
from kd3d_core.frame import FrameDataset
from kd3d_core.inspection import charts
from kd3d_core.inspection.check import CheckResult
from kd3d_core.inspection.findings import Finding
from kd3d_core.inspection.pictures import frame_picture
from kd3d_core.inspection.pictures import frames_to_draw
from kd3d_core.inspection.summary import ClassSummary
from kd3d_core.inspection.words import DASH
from kd3d_core.inspection.words import many
from kd3d_core.inspection.words import middle
from kd3d_core.inspection.words import spread
from kd3d_core.inspection.words import summary_words
from kd3d_core.inspection.words import verdict
from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import bullets
from kd3d_core.replay.report_html import join
from kd3d_core.replay.report_html import tag

_COLUMNS = ("boxes", "length [m]", "width [m]", "height [m]", "range [m]",
            "points", "empty", "speed [m/s]")  # fmt: skip
_STYLE = """
.finding { background: var(--soft); padding: 6px 16px 10px; margin: 14px 0; }
.finding { border-left: 3px solid var(--rule); }
.scroll th, .scroll td { padding: 5px 8px; }
.of-error { border-color: var(--missed); background: #fcf1f3; }
.of-warning { border-color: var(--extra); background: #fdf6ea; }
.finding h3 { margin: 0 0 2px; }
.finding .remedy { margin-top: 4px; }
.frame img { display: block; width: 100%; border-radius: 6px; }
.frame figcaption { font-size: 12.5px; color: var(--quiet); overflow-wrap: anywhere; }
"""


def write_check_page(path: Path, result: CheckResult, dataset: FrameDataset, title: str) -> Path:
    """Write one self-contained HTML file; a picture takes about 300 kB.

    Args:
        path: The file, written atomically.
        result: What the check found.
        dataset: Frames to draw are read again.
        title: The data set's name.

    Raises:
        Kd3dError: The file cannot be written, or matplotlib is missing.
    """
    style = files("kd3d_core.replay").joinpath("report.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Data check: {title}"),
        tag("style", Html(style + _STYLE)),
    )
    body = tag(
        "main",
        _header(result, title),
        _findings(result),
        _classes(result),
        _charts(result),
        _pictures(result, dataset),
        _facts(result),
    )
    page = tag("html", head, tag("body", body), lang="en")
    write_text(path, f"<!DOCTYPE html>\n{page}\n")
    return path


def _header(result: CheckResult, title: str) -> Html:
    """Title, verdict and four figures."""
    found = result.summary
    figures = (
        (f"{result.total:,}", "frames", f"in {many(found.drives, 'drive')}"),
        (f"{len(result.table):,}", "boxes", f"in {many(len(result.frames), 'frame')} looked at"),
        (middle(found.points, 0), "points a cloud", "median"),
        (middle(found.ground, 2) + " m", "origin above the ground", "median"),
    )
    cards = (
        tag("div", tag("b", value), tag("span", told), tag("small", kind), class_="figure")
        for value, told, kind in figures
    )
    return tag(
        "header",
        tag("p", "Data check", class_="kicker"),
        tag("h1", title),
        tag("p", verdict(result), class_="verdict"),
        tag("div", *cards, class_="figures"),
    )


def _findings(result: CheckResult) -> Html:
    """What looks wrong, with remedies."""
    if not result.findings:
        return tag("section", tag("h2", "What looks wrong"), tag("p", "Nothing."))
    return tag("section", tag("h2", "What looks wrong"), *map(_finding, result.findings))


def _finding(finding: Finding) -> Html:
    """One finding."""
    return tag(
        "div",
        tag("h3", f"{finding.severity}: {finding.rule}"),
        tag("p", finding.message),
        tag("p", tag("b", "What to do: "), finding.remedy, class_="remedy"),
        tag("div", bullets(finding.examples), class_="source") if finding.examples else Html(),
        class_=f"finding of-{finding.severity}",
    )


def _classes(result: CheckResult) -> Html:
    """The table of classes."""
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in ("", *_COLUMNS))))
    rows = [
        tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in _cells(entry)))
        for name, entry in result.summary.classes.items()
    ]
    told = "The median of each, and the 5 % and 95 % quantiles in brackets."
    return tag(
        "section",
        tag("h2", "By class"),
        tag("p", told, class_="quiet"),
        tag("div", tag("table", head, tag("tbody", *rows)), class_="scroll"),
    )


def _charts(result: CheckResult) -> Html:
    """Every chart that has something to show."""
    table = result.table
    classes = table.classes
    shown: list[tuple[str, str, Html]] = []
    if len(table):
        shown = [
            ("Sizes", "Width over length: a dot a box. Above the dashed line a box is wider "
             "than long.", charts.size_chart(table, classes)),
            ("Points in a box", "Over its distance. Distance thins the points out evenly; "
             "labels that belong to another cloud do not follow.",
             charts.points_chart(table, classes)),
            ("Distances", "Boxes by their distance.", charts.range_chart(table, classes)),
            ("Headings", "Boxes by yaw. Streets show as peaks 180\N{DEGREE SIGN} apart.",
             charts.yaw_chart(table, classes)),
        ]  # fmt: skip
        if np.isfinite(table.above).any():
            told = "Bottoms of boxes above the ground around them; 0 is right."
            shown.append(("Standing on the ground", told, charts.ground_chart(table)))
    light = [f.intensity[0] for f in result.frames if f.has_intensity]
    if light:
        told = "The median of each cloud. One peak: one scale."
        shown.append(("Intensity", told, charts.intensity_chart(np.array(light))))
    figures = (
        tag("figure", tag("figcaption", tag("h3", name), tag("p", told)), chart)
        for name, told, chart in shown
    )
    return tag("section", tag("h2", "In pictures"), tag("div", *figures, class_="charts"))


def _pictures(result: CheckResult, dataset: FrameDataset) -> Html:
    """Frames with their boxes from above; the tick of a box points to its front."""
    figures = []
    for index in frames_to_draw(result):
        frame = dataset[index]
        picture = tag("img", src=frame_picture(frame), alt=f"frame {index} from above")
        told = f"frame {index}: {frame.source}"
        figures.append(tag("figure", picture, tag("figcaption", told), class_="frame"))
    if not figures:
        return Html()
    told = "Forward is up, the tick of a box points to its front; below, the scene from the right."
    return tag(
        "section",
        tag("h2", "Frames"),
        tag("p", told, class_="quiet"),
        tag("div", *figures, class_="charts"),
    )


def _facts(result: CheckResult) -> Html:
    """What was found, as a list."""
    rows = (tag("tr", tag("th", name), tag("td", words)) for name, words in summary_words(result))
    table = tag("table", tag("tbody", *rows), class_="facts")
    return tag("section", tag("h2", "What was found"), join(table))


def _cells(entry: ClassSummary) -> Sequence[str]:
    """The columns of a class after its name."""
    return (
        f"{entry.boxes:,}",
        *(spread(part, 2) for part in (entry.length, entry.width, entry.height)),
        spread(entry.range, 0),
        spread(entry.points, 0),
        f"{100 * entry.empty / entry.boxes:.0f} %" if entry.boxes else DASH,
        spread(entry.speed, 1),
    )
