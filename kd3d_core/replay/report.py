"""One page that tells how far a student agrees with its teacher; to read, print and mail."""

from importlib.resources import files
from pathlib import Path

from kd3d_core.files import write_text
from kd3d_core.replay.report_data import ReportData
from kd3d_core.replay.report_data import ReportFrame
from kd3d_core.replay.report_data import WorstFrame
from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import tag
from kd3d_core.replay.report_page import charts
from kd3d_core.replay.report_page import findings
from kd3d_core.replay.report_page import header
from kd3d_core.replay.report_page import models
from kd3d_core.replay.report_page import next_steps
from kd3d_core.replay.report_tables import tables
from kd3d_core.replay.report_worst import worst_frames

__all__ = ["ReportData", "ReportFrame", "WorstFrame", "write_report"]


def write_report(path: Path, data: ReportData) -> Path:
    """Write one self-contained HTML file: nothing is loaded from elsewhere, no script runs.

    Equal data give equal bytes. A worst cloud takes about 150 kB.

    Args:
        path: The file to write, atomically.
        data: All that is told.

    Returns:
        `path`.

    Raises:
        Kd3dError: The file cannot be written, or matplotlib is missing.
    """
    style = files("kd3d_core.replay").joinpath("report.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", data.title),
        tag("style", Html(style)),
    )
    body = tag(
        "main",
        header(data),
        findings(data),
        charts(data),
        worst_frames(data),
        tables(data.agreement),
        models(data),
        next_steps(data),
    )
    page = tag("html", head, tag("body", body), lang="en")
    write_text(path, f"<!DOCTYPE html>\n{page}\n")
    return path
