"""The report: it tells what is in the data, nothing can break it, and it needs nothing else."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from kd3d_core.evaluation.agreement import AgreementWindow
from kd3d_core.evaluation.agreement import compare
from kd3d_core.evaluation.disagreement import judge
from kd3d_core.evaluation.drift import DriftConfig
from kd3d_core.evaluation.drift import alarms
from kd3d_core.geometry.boxes import Boxes3D
from kd3d_core.pointcloud import PointCloud
from kd3d_core.replay.report import ReportData
from kd3d_core.replay.report import ReportFrame
from kd3d_core.replay.report import WorstFrame
from kd3d_core.replay.report import write_report
from kd3d_core.replay.report_data import moments
from kd3d_core.replay.report_words import problems
from kd3d_core.replay.report_words import verdict

CLASSES = ("car", "pedestrian")
HOSTILE = "<script>alert('x')</script>\"&\x00\udcff"
VOID = {"img", "meta", "br"}


class Page(HTMLParser):
    """What a browser makes of the page: elements, their nesting, the visible text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)


def boxes(generator, shift=0.0, keep=1.0):
    """Twelve boxes of both classes between 5 and 45 m; some are left out."""
    reach = np.linspace(5, 45, 12)
    angle = np.linspace(-1, 1, 12)
    center = np.stack([reach * np.cos(angle), reach * np.sin(angle), 0 * reach], axis=1)
    everything = Boxes3D.make(
        center + np.array([shift, 0, 0]),
        np.tile([4.0, 2.0, 1.5], (12, 1)),
        angle,
        np.arange(12) % 2,
        score=generator.uniform(0.3, 1.0, 12),
        classes=CLASSES,
    )
    return everything[generator.uniform(size=12) < keep]


def data(frames=40, worst=2, names=("monday", "friday"), **changes):
    """A report of two bags with random faults."""
    generator = np.random.default_rng(3)
    window, numbers, shown = AgreementWindow(CLASSES), [], []
    cloud = PointCloud.from_arrays(generator.normal(size=(3000, 3)) * (20, 20, 1))
    for index in range(frames):
        bag = names[2 * index // frames]
        one = compare(
            boxes(generator, 0.3, 0.7),
            boxes(generator, 0.0, 0.9),
            stamp=100.0 + index,
            source=f"{bag}:/points#{index}",
        )
        window.add(one)
        found, pairing = judge(one), one.pairing
        counts = (len(pairing.student), len(pairing.missed), len(pairing.extra))
        frame = ReportFrame(one.source, one.stamp, found.score, found.reasons, *counts)
        numbers.append(frame)
        shown.append(WorstFrame(frame, cloud, one))
    shown.sort(key=lambda item: -item.frame.score)
    agreement = window.result()
    fields = {
        "title": "small against large",
        "student": {"name": "small", "source": "small.kd3d"},
        "teacher": {"name": "large", "source": "large.kd3d", "note": "slow"},
        "agreement": agreement,
        "frames": numbers,
        "worst": shown[:worst],
        "timing": {"student [ms]": [10.0 + k for k in range(frames)], "teacher [ms]": [99.5]},
        "alarms": alarms(agreement, DriftConfig(min_recall=0.99)),
        "sources": list(names),
        "mined": ["out/mined"],
    }
    return ReportData(**{**fields, **changes})


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A report's data, its text, and the text's elements."""
    made = data()
    text = write_report(tmp_path_factory.mktemp("report") / "r.html", made).read_text("utf-8")
    return made, text, Page(text)


def test_every_number_of_every_class_and_ring_is_there(told):
    made, text, _ = told
    rows = re.findall(r"<tr class=\"(?:total|ring)\">(.*?)</tr>", text)
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    agreement = made.agreement
    cells = [("all classes", agreement.total)]
    cells += [(f"{ring} m", cell) for ring, cell in agreement.by_ring["all"].items()]
    for name in CLASSES:
        cells.append((name, agreement.by_class[name]))
        cells += [(f"{ring} m", cell) for ring, cell in agreement.by_ring[name].items()]
    wanted = []
    for name, cell in cells:
        wanted.append(
            [
                name.replace("-", "\N{EN DASH}"),
                *(str(count) for count in (cell.pairs, cell.missed, cell.extra)),
                *(f"{100 * share:.0f} %" for share in (cell.recall, cell.precision)),
                *(f"{error:.2f} m" for error in (cell.centre_error, cell.size_error)),
                f"{np.degrees(cell.heading_error):.1f}°",
                "\N{EN DASH}",
            ]
        )
    assert len(wanted) == 12
    assert found == wanted


def test_every_alarm_reason_and_fact_is_there(told):
    made, _, page = told
    text = " ".join(page.texts)
    assert made.alarms
    for sentence in (
        *(alarm.message for alarm in made.alarms),
        *(reason for worst in made.worst for reason in worst.frame.reasons),
        *made.student.values(),
        *made.teacher.values(),
        *problems(made.agreement),
        verdict(made.agreement),
        "--bag out/mined",
    ):
        assert sentence in text


def test_is_self_contained(told):
    _, text, page = told
    pictures = 0
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "iframe", "object"}
        for name in ("src", "href"):
            target = attributes.get(name, "#")
            assert target.startswith(("#", "data:image/png;base64,"))
            pictures += target.startswith("data:")
    assert pictures >= 2 * 2
    assert "url(" not in text
    assert "@import" not in text
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    links = [a["href"][1:] for tag, a in page.elements if tag == "a"]
    assert set(links) == set(ids)
    assert len(ids) == len(set(ids))


def test_equal_data_give_equal_bytes(tmp_path):
    one, two = (write_report(tmp_path / name, data()).read_bytes() for name in "ab")
    assert one == two
    assert len(one) < 500_000


def test_hostile_names_stay_text(tmp_path):
    hostile = data(
        frames=4,
        worst=1,
        names=(HOSTILE, "--> ]]> '"),
        title=HOSTILE,
        student={HOSTILE: HOSTILE, "name": HOSTILE},
        timing={HOSTILE: [1.0]},
        mined=[HOSTILE],
        notes=[HOSTILE],
    )
    text = write_report(tmp_path / "r.html", hostile).read_text("utf-8")
    page = Page(text)
    assert "<script" not in text
    assert "script" not in {tag for tag, _ in page.elements}
    assert "".join(page.texts).count("<script>alert('x')</script>\"&") >= 6


def test_without_any_box_it_says_so(tmp_path):
    window = AgreementWindow(CLASSES)
    nothing = Boxes3D.empty(CLASSES)
    window.add(compare(nothing, nothing))
    frames = [ReportFrame("a", 0.0, 0.0, (), 0, 0, 0)]
    empty = ReportData("t", {}, {}, window.result(), frames, ())
    text = write_report(tmp_path / "r.html", empty).read_text("utf-8")
    assert "nothing to compare" in " ".join(Page(text).texts)


def test_hours_of_clouds_make_no_larger_page(tmp_path):
    frames = [ReportFrame("a", 0.1 * k, float(k % 7), (), 0, 0, 0) for k in range(40_000)]
    made = data(worst=0, frames=8)
    long = ReportData("t", {}, {}, made.agreement, frames, ())
    assert write_report(tmp_path / "r.html", long).stat().st_size < 150_000


def test_time_starts_anew_with_each_bag():
    frames = [
        ReportFrame(source, stamp, 0.0, (), 0, 0, 0)
        for source, stamp in (("d/a:/p#0", 50.0), ("d/a:/p#1", 52.0), ("d/ab:/p#0", 7.0))
    ]
    made = data(frames=8, worst=0)
    made = ReportData("t", {}, {}, made.agreement, frames, (), sources=("d/a", "d/ab"))
    assert [(m.bag, m.seconds) for m in moments(made)] == [(0, 0.0), (0, 2.0), (1, 0.0)]


def agreement_of(pairs, missed, extra):
    """An agreement about cars at 10 m."""
    window = AgreementWindow(CLASSES)
    size, far = np.tile([4.0, 2.0, 1.5], (200, 1)), np.tile([0.0, 40.0, 0.0], (200, 1))
    near = np.tile([10.0, 0.0, 0.0], (200, 1))

    def cars(count, center):
        return Boxes3D.make(
            center[:count], size[:count], np.zeros(count), np.zeros(count), classes=CLASSES
        )

    both = cars(pairs, near)
    window.add(
        compare(
            Boxes3D.concatenate([both, cars(extra, far)]),
            Boxes3D.concatenate([both, cars(missed, -far)]),
        )
    )
    return window.result()


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ((99, 1, 1), "finds nearly everything the teacher sees, and nearly all"),
        ((80, 5, 60), "finds most of what the teacher sees, but about half"),
        ((20, 80, 1), "finds little of what the teacher sees, but nearly all"),
        ((0, 5, 0), "reports nothing of what the teacher sees"),
        ((0, 0, 5), "reports objects where the teacher sees none"),
    ],
)
def test_the_verdict_fits_the_figures(counts, sentence):
    assert sentence in verdict(agreement_of(*counts))


def test_the_biggest_problem_comes_first():
    assert problems(agreement_of(30, 20, 60)) == [
        "car, 35\N{EN DASH}50 m: 60 of the student's 60 are not confirmed.",
        "car, 35\N{EN DASH}50 m: misses 20 of the teacher's 20.",
    ]
    assert problems(agreement_of(30, 0, 0)) == []
