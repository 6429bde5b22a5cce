"""Turns, percentiles and energy of a bench."""

import json

import numpy as np
import pytest

from kd3d_core.errors import Kd3dError
from kd3d_core.runtime.bench import Pass
from kd3d_core.runtime.bench import Record
from kd3d_core.runtime.bench import StageTimes
from kd3d_core.runtime.bench import race
from kd3d_core.runtime.bench_energy import EnergyMeter
from kd3d_core.runtime.bench_machine import machine
from kd3d_core.runtime.bench_peers import ratios


class Counting:
    """A runner that writes down what it is asked for."""

    def __init__(self, name, log, milliseconds=1.0):
        self.name, self.about, self._log, self._ms = name, {}, log, milliseconds

    def turn(self, clouds):
        self._log.append((self.name, list(clouds)))
        return [Pass({"encode": self._ms / 2, "total": self._ms}, 2 * self._ms, 3) for _ in clouds]

    def memory_mb(self):
        return 100.0 + len(self._log)


def test_percentiles():
    times = StageTimes.of(np.arange(1, 102, dtype=float))
    assert (times.p50, times.p90, times.p99, times.least) == (51, 91, 100, 1)


def test_runners_take_turns_and_see_every_cloud_as_often_as_asked():
    log = []
    a, b = Counting("a", log), Counting("b", log)
    told = []
    first, second = race([(a, 10), (b, 4)], 3, turns=5, report=lambda *each: told.append(each))
    assert len(first.passes) == 10
    assert len(second.passes) == 4
    # Turn about, and who begins changes; b has nothing to do in one of five turns.
    assert [name for name, _ in log] == list("abaabbaab")
    assert [n for name, numbers in log if name == "a" for n in numbers] == [
        i % 3 for i in range(10)
    ]
    assert sum(count for _, count in told) == 14


def test_no_cloud_is_refused():
    with pytest.raises(Kd3dError, match="no cloud"):
        race([], 0)


def test_memory_that_grows_is_not_steady():
    def record(*memory):
        return Record("x", {}, passes=[Pass({"total": 1.0}, 1.0, 0)], memory=list(memory))

    assert record(100.0, 180.0, 101.5).steady
    assert record(100.0, 101.0, 103.0).steady is False
    assert record().steady is None
    assert json.loads(json.dumps(record(1.0, 2.0).to_dict()))["memory_growth_mb"] == 1.0


def test_ratios_compare_the_same_stage():
    log = []
    ours = Counting("openvino", log, 10.0)
    whole, part = Counting("mmdet3d", log, 300.0), Counting("spconv-voxels", log, 40.0)
    mine, *peers = race([(ours, 2), (whole, 2), (part, 2)], 1, turns=1)
    first, second = ratios(mine, peers)
    assert (first["stage"], first["wall"], first["cpu"]) == ("total", 30.0, 30.0)
    assert first["least"] == 30.0
    assert (second["stage"], second["wall"], second["cpu"]) == ("encode", 4.0, None)


def test_energy_of_processor_packages_over_the_end_of_their_counter(tmp_path):
    for name, text in (("intel-rapl:0", "package-0"), ("intel-rapl:0:0", "core")):
        zone = tmp_path / "class" / "powercap" / name
        zone.mkdir(parents=True)
        (zone / "name").write_text(text + "\n")
        (zone / "energy_uj").write_text("9000000\n")
        (zone / "max_energy_range_uj").write_text("10000000\n")
    meter = EnergyMeter(tmp_path)
    assert "core" not in meter.sources  # a part of the package
    counter = tmp_path / "class" / "powercap" / "intel-rapl:0" / "energy_uj"
    counter.write_text("9500000\n")
    assert meter.read()["package-0"] == pytest.approx(0.5)
    counter.write_text("2000000\n")  # it was full and began again
    assert meter.read()["package-0"] == pytest.approx(3.0)


def test_energy_of_a_board_is_its_power_over_time(tmp_path, monkeypatch):
    gauge = tmp_path / "class" / "hwmon" / "hwmon2"
    gauge.mkdir(parents=True)
    for name, text in (("name", "ina3221"), ("in1_label", "VDD_IN"), ("in1_input", "5000"),
                       ("curr1_input", "2000"), ("in2_label", "VDD_CPU_GPU_CV")):  # fmt: skip
        (gauge / name).write_text(text + "\n")
    now = [50.0]
    monkeypatch.setattr("kd3d_core.runtime.bench_energy.time.monotonic", lambda: now[0])
    meter = EnergyMeter(tmp_path)
    (gauge / "curr1_input").write_text("4000\n")
    now[0] += 2.0
    assert meter.read()["VDD_IN"] == pytest.approx(2.0 * (10 + 20) / 2)


def test_a_device_that_reports_nothing(tmp_path):
    meter = EnergyMeter(tmp_path)
    assert not any("package" in source or "VDD" in source for source in meter.sources)


def test_the_machine_has_a_name():
    assert machine()["processor"]
