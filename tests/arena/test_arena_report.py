"""The report: complete, self-contained, honest."""

import re
from html.parser import HTMLParser

import pytest
import yaml
from arena_toys import made_result
from arena_toys import settings
from arena_toys import write_files

from kd3d_core.arena.report import write_report
from kd3d_core.arena.result import TeacherResult
from kd3d_core.arena.result import write_result
from kd3d_core.arena.show import standing
from kd3d_core.arena.state import open_arena
from kd3d_core.arena.state import reread

KL = {"methods": [{"type": "heatmap_kl"}]}
RDD = {"methods": [{"type": "rdd"}]}


class Tags(HTMLParser):
    """Collects what a page would load, and checks that elements nest."""

    def __init__(self):
        super().__init__()
        self.loads, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.loads += [v for k, v in attrs if k in ("src", "href", "xlink:href", "data")]
        if tag not in ("meta", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def arena(tmp_path):
    methods = {"none": None, "kl": KL, "rdd": RDD}
    path = tmp_path / "a.yaml"
    path.write_text(
        yaml.safe_dump(settings(write_files(tmp_path), methods=methods), sort_keys=False)
    )
    state = open_arena(path)
    for cell in state.cells:
        ap = {"none": 0.40, "kl": 0.43, "rdd": 0.45}[cell.method] + 0.01 * cell.seed
        curves = {"heatmap": ((1, 2.0), (9, 1.0)), "size": ((1, 1.0), (9, 0.5))}
        if cell.method == "rdd":
            curves["rdd_keep_rate"] = ((1, 0.9), (9, 0.4))
        write_result(
            cell.folder, made_result(cell.student, cell.method, cell.seed, ap, cell.hash, curves)
        )
    return state


def add_teacher(arena, ap):
    made = made_result("t", "none", 0, ap)
    task = arena.teacher_task
    write_result(
        task.folder,
        TeacherResult(
            hash=task.hash,
            sha256="abc",
            network=made.network,
            scores=made.scores,
            machine=made.machine,
        ),
    )
    return reread(arena)


def test_every_cell_and_nothing_from_elsewhere(arena):
    state = add_teacher(reread(arena), 0.60)
    assert len(state.results) == 6
    page = write_report(state.out / "report.html", state).read_text()
    parser = Tags()
    parser.feed(page)
    assert not parser.open
    assert not parser.loads
    assert not re.search(r"https?://|@import|url\(|<script|<link", page)
    for text in ("none", "kl", "rdd"):
        assert page.count(f">{text}<") >= 4  # three tables, two charts
    assert page.count('class="seed"') == 2 * 6  # a dot for each cell, in AP and in NDS
    assert "rdd_keep_rate" in page
    assert state.hash in page
    assert "sha256 abc" in page
    assert "heatmap_kl" in page  # the configuration itself
    assert "rdd is ahead on small" in page
    # none 0.405, rdd 0.455, teacher 0.60: 5 of 19.5 points.
    assert "26 %" in page
    assert "are still to come" not in page
    assert write_report(state.out / "again.html", state).read_text() == page


def test_an_unfinished_arena_says_so(arena):
    (arena.cells[1].folder / "result.json").unlink()
    state = reread(arena)
    page = write_report(state.out / "report.html", state).read_text()
    assert "5 of 6" in page
    assert "1 trainings are still to come" in page
    empty = reread(arena)
    for cell in arena.cells:
        (cell.folder / "result.json").unlink(missing_ok=True)
    empty = reread(arena)
    page = write_report(state.out / "report.html", empty).read_text()
    assert "No training is done yet." in page


def test_no_gap_is_claimed_under_a_worse_teacher(arena):
    state = add_teacher(reread(arena), 0.30)
    assert all(row.gap is None for row in state.rows)
    assert standing(state.rows, state.teacher).row_count == 4
