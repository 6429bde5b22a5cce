"""The sections of a report."""

import shlex

from kd3d_core.replay.report_charts import calibration_chart
from kd3d_core.replay.report_charts import latency_chart
from kd3d_core.replay.report_charts import ring_bars
from kd3d_core.replay.report_charts import timeline
from kd3d_core.replay.report_data import ReportData
from kd3d_core.replay.report_data import moments
from kd3d_core.replay.report_data import places
from kd3d_core.replay.report_html import Html
from kd3d_core.replay.report_html import bullets
from kd3d_core.replay.report_html import join
from kd3d_core.replay.report_html import tag
from kd3d_core.replay.report_words import calibration_words
from kd3d_core.replay.report_words import degrees
from kd3d_core.replay.report_words import percent
from kd3d_core.replay.report_words import problems
from kd3d_core.replay.report_words import quantity
from kd3d_core.replay.report_words import summary
from kd3d_core.replay.report_words import verdict


def header(data: ReportData) -> Html:
    """Title, verdict, the four figures that matter, and what broke a limit."""
    total = data.agreement.total
    figures = (
        (percent(total.recall), "of the teacher's boxes found", "recall"),
        (percent(total.precision), "of the student's boxes confirmed", "precision"),
        (quantity(total.centre_error, " m"), "between the centres of a pair", "mean"),
        (degrees(total.heading_error), "between their headings", "mean"),
    )
    cards = (
        tag("div", tag("b", value), tag("span", told), tag("small", kind), class_="figure")
        for value, told, kind in figures
    )
    return tag(
        "header",
        tag("p", "Student against teacher", class_="kicker"),
        tag("h1", data.title),
        tag("p", verdict(data.agreement), class_="verdict"),
        tag("p", summary(data), class_="lead"),
        tag("div", *cards, class_="figures"),
        *(tag("p", note, class_="note") for note in data.notes),
    )


def findings(data: ReportData) -> Html:
    """The biggest problems and the alarms."""
    found = problems(data.agreement)
    alarms = [alarm.message for alarm in data.alarms]
    return tag(
        "section",
        tag("h2", "What to look at first"),
        bullets(found) if found else tag("p", "No class and no distance stands out."),
        join(
            tag("h3", "Limits that were broken"),
            tag("ul", *(tag("li", alarm) for alarm in alarms), class_="alarms"),
        )
        if alarms
        else tag("p", "No alarm limit was broken.", class_="quiet"),
    )


def charts(data: ReportData) -> Html:
    """Everything that is easier to see than to read."""
    when = moments(data)
    scores = [frame.score for frame in data.frames]
    marks = places(data)
    parts = [
        _chart(
            "Disagreement over time",
            "The higher, the more differs in that cloud. Numbers lead to the pictures below.",
            timeline(when, scores, marks, 920, "chart wide"),
            timeline(when, scores, marks, 440, "chart narrow"),
            class_="full",
        ),
        _chart(
            "Recall",
            "Share of the teacher's boxes that the student finds, by distance.",
            ring_bars(data.agreement, "recall"),
        ),
        _chart(
            "Precision",
            "Share of the student's boxes that the teacher confirms, by distance.",
            ring_bars(data.agreement, "precision"),
        ),
        _chart(
            "Scores",
            f"{calibration_words(data.agreement)} Across: score; upwards: share confirmed.",
            calibration_chart(data.agreement.calibration),
        ),
    ]
    if any(data.timing.values()):
        told = "Time of a cloud on the machine that made this report."
        parts.append(_chart("Latency", told, latency_chart(data.timing)))
    return tag("section", tag("h2", "At a glance"), tag("div", *parts, class_="charts"))


def models(data: ReportData) -> Html:
    """Facts of both models side by side."""
    names = list(dict.fromkeys([*data.student, *data.teacher]))
    head = tag("tr", *(tag("th", text, scope="col") for text in ("", "student", "teacher")))
    rows = (
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", data.student.get(name, "")),
            tag("td", data.teacher.get(name, "")),
        )
        for name in names
    )
    table = tag("table", tag("thead", head), tag("tbody", *rows), class_="facts")
    bags = bullets(data.sources) if data.sources else Html()
    return tag(
        "section",
        tag("h2", "What was compared"),
        tag("div", table, class_="scroll"),
        tag("h3", "Bags"),
        bags,
    )


def next_steps(data: ReportData) -> Html:
    """How to make the student better, in commands."""
    mined = " ".join(f"--bag {shlex.quote(bag)}" for bag in data.mined) or "--bag MINED"
    teacher = shlex.quote(data.teacher.get("source", "TEACHER"))
    kept = "The clouds on which the models disagreed most were kept."
    if not data.mined:
        kept = "Keep the clouds on which the models disagree most (shadow --mine)."
    bag = shlex.quote(data.sources[0]) if data.sources else "BAG"
    steps = (
        f"kd3d_core distill --student STUDENT.ckpt --teacher TEACHER.ckpt {mined} --out runs/next",
        "kd3d_core export runs/next/model.ckpt next.kd3d",
        f"kd3d_core shadow next.kd3d {teacher} {bag} --out runs/next/shadow",
    )
    return tag(
        "section",
        tag("h2", "How to go on"),
        tag(
            "p",
            f"{kept} Train the student on them with the teacher's boxes, without a label, then "
            "compare again, best on another bag:",
        ),
        tag("pre", tag("code", "\n".join(steps))),
        tag(
            "p",
            "The checkpoints are those that the two bundles were exported from. The teacher is a "
            "reference, not the truth: look at the pictures before you trust either model where "
            "they disagree.",
            class_="quiet",
        ),
    )


def _chart(title: str, told: str, *pictures: Html, class_: str | None = None) -> Html:
    """A chart with its heading and what it shows."""
    caption = tag("figcaption", tag("h3", title), tag("p", told))
    return tag("figure", caption, *pictures, class_=class_)
