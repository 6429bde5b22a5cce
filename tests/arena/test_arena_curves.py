"""Curves and clock of a training from its event files."""

import os

import pytest
from torch.utils.tensorboard import SummaryWriter

from kd3d_core.arena.curves import read_log
from kd3d_core.arena.curves import thinned


def session(folder, steps, start, each, value, age):
    writer = SummaryWriter(str(folder), filename_suffix=str(age))
    for i, step in enumerate(steps):
        writer.add_scalar("train/heatmap", value, step, walltime=start + each * i)
        writer.add_scalar("train/rdd_keep_rate", 0.5, step, walltime=start + each * i)
        writer.add_scalar("epoch", 0, step, walltime=start + each * i)
    writer.close()
    for path in folder.glob(f"*.{age}"):
        os.utime(path, (age, age))


def test_sessions_join(tmp_path):
    # The first breaks off at step 8; the second goes on from a checkpoint at 5, an hour later.
    session(tmp_path, range(1, 9), 1000.0, 0.5, 2.0, 1)
    session(tmp_path, range(6, 12), 4600.0, 0.25, 1.0, 2)
    log = read_log(tmp_path, steps=12)
    assert log.curves.keys() == {"heatmap", "rdd_keep_rate"}
    assert log.curves["heatmap"] == tuple((i, 2.0 if i < 6 else 1.0) for i in range(1, 12))
    # Seven intervals of half a second and five of a quarter; the hour does not count.
    assert log.step_seconds == pytest.approx(0.5)
    assert log.train_seconds == pytest.approx(12 * (7 * 0.5 + 5 * 0.25) / 12)


def test_no_log_is_no_fault(tmp_path):
    log = read_log(tmp_path, steps=3)
    assert (log.curves, log.step_seconds, log.train_seconds) == ({}, 0.0, 0.0)


def test_thinning_keeps_means_and_drops_what_is_not_finite():
    curve = thinned([(step, float(step % 2)) for step in range(1000)], most=50)
    assert len(curve) == 50
    assert all(value == 0.5 for _, value in curve)
    assert curve[0][0] < 20 < 980 < curve[-1][0]
    assert thinned([(1, float("nan")), (2, 3.0)]) == ((2, 3.0),)
    assert thinned([]) == ()
