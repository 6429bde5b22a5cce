"""Intervals, gaps and rows, against scipy and by hand."""

import numpy as np
import pytest
from arena_toys import made_result
from scipy import stats

from kd3d_core.arena.result import TeacherResult
from kd3d_core.arena.statistics import gap_closed
from kd3d_core.arena.statistics import interval
from kd3d_core.arena.summary import summarize


def made_teacher(ap):
    result = made_result("t", "none", 0, ap)
    fields = {name: getattr(result, name) for name in ("hash", "network", "scores", "machine")}
    return TeacherResult(sha256="0", **fields)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_interval_is_students_t(n):
    values = np.random.default_rng(n).normal(0.4, 0.05, n)
    low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
    found = interval(values.tolist())
    assert (found.n, found.mean) == (n, pytest.approx(values.mean()))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_interval_of_too_few():
    assert interval([]) is None
    single = interval([0.3])
    assert (single.n, single.mean, single.low, single.high) == (1, 0.3, None, None)


def test_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [interval(rng.normal(1.0, 2.0, 3).tolist()) for _ in range(1500)]
    assert np.mean([i.low < 1.0 < i.high for i in found]) == pytest.approx(0.95, abs=0.015)


def test_gap():
    assert gap_closed(0.45, 0.4, 0.5) == pytest.approx(0.5)
    assert gap_closed(0.35, 0.4, 0.5) == pytest.approx(-0.5)
    assert gap_closed(0.55, 0.4, 0.5) == pytest.approx(1.5)
    assert gap_closed(0.45, 0.4, 0.4) is None
    assert gap_closed(0.45, 0.4, 0.3) is None


def test_rows():
    alone, taught = (0.40, 0.44, 0.42), (0.43, 0.46, 0.46)
    results = [made_result("s", "none", i, ap) for i, ap in enumerate(alone)]
    results += [
        made_result("s", "kl", i, ap, step_seconds=0.3) for i, ap in enumerate(taught) if i < 2
    ]
    rows = summarize(results, made_teacher(0.52), ["s", "empty"], ["none", "kl", "rdd"])
    none, kl = rows
    assert (none.method, none.seeds) == ("none", (0, 1, 2))
    assert none.ap.mean == pytest.approx(0.42)
    assert none.gain is none.gap is none.cost is None
    assert kl.seeds == (0, 1)
    # Over the two seeds that both have: 0.42 alone, 0.445 taught.
    assert kl.gain.mean == pytest.approx(0.025)
    assert kl.gap == pytest.approx(0.025 / 0.10)
    assert kl.nds_gap == pytest.approx(0.25)
    low, high = stats.t.interval(0.95, 1, loc=0.025, scale=stats.sem([0.03, 0.02]))
    assert (kl.gain.low, kl.gain.high) == (pytest.approx(low), pytest.approx(high))
    assert kl.cost.step_time == pytest.approx(1.5)
    assert kl.cost.memory == pytest.approx(1.0)
    assert kl.class_ap == {
        "car": pytest.approx(0.545),
        "pedestrian": pytest.approx(0.345),
        "bus": None,
    }


def test_rows_without_the_student_alone_or_a_teacher():
    (row,) = summarize([made_result("s", "kl", 0, 0.4)], None, ["s"], ["kl"])
    assert row.gain is row.gap is row.cost is None
    _, kl = summarize(
        [made_result("s", m, 0, 0.4) for m in ("none", "kl")], None, ["s"], ["none", "kl"]
    )
    assert kl.gain.mean == 0
    assert kl.gap is None
