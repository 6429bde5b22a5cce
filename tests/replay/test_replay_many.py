"""Many recordings: the number of processes changes nothing, and one fault costs one recording."""

import os
import sys

import pytest
import small_bags
from typer.testing import CliRunner

pytest.importorskip("matplotlib")

from kd3d_core.cli.main import app
from kd3d_core.errors import Kd3dError
from kd3d_core.replay import many
from kd3d_core.replay.job import Job
from kd3d_core.replay.many import shadow_many
from kd3d_core.replay.models import ModelSpec
from kd3d_core.replay.shadow_part import ShadowOptions

OPTIONS = ShadowOptions(mine=4, min_gap=0.0, pictures=1)
SAME = ("agreement.json", "frames.jsonl")


@pytest.fixture(scope="module")
def specs(model):
    """A student that reports sure cars only, and its teacher."""
    teacher = ModelSpec(path=model, backend="onnxruntime")
    return teacher.model_copy(update={"score_threshold": 0.9}), teacher


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three bags and a file that is none."""
    folder = tmp_path_factory.mktemp("bags")
    for name, frames in (("a", 3), ("b", 5), ("c", 2)):
        small_bags.write(folder / name, frames=frames)
    (folder / "b_broken.mcap").write_bytes(b"no bag at all" * 100)
    return folder


@pytest.fixture(scope="module")
def alone(specs, folder, tmp_path_factory):
    """The result of the bags in this process."""
    out = tmp_path_factory.mktemp("one")
    return shadow_many(*specs, recordings(folder), out, OPTIONS)


def recordings(folder):
    """The bags in their order, the broken one among them."""
    return [folder / name for name in ("a", "b_broken.mcap", "b", "c")]


def content(out):
    """Bytes of what must not depend on the way of working."""
    mined = next((out / "mined").glob("*.mcap"))
    return [(out / name).read_bytes() for name in SAME] + [mined.read_bytes()]


def test_all_bags_are_merged_and_the_broken_one_is_named(alone):
    assert alone.frames == alone.agreement.frames == 3 + 5 + 2
    assert alone.mined == 4
    assert len(alone.failed) == 1
    assert "b_broken.mcap failed" in alone.failed[0]
    assert "b_broken.mcap failed" in (alone.out / "report.html").read_text("utf-8")


def test_two_processes_give_the_same_bytes(alone, specs, folder, tmp_path):
    result = shadow_many(*specs, recordings(folder), tmp_path, OPTIONS, processes=2)
    assert content(tmp_path) == content(alone.out)
    assert result.failed == alone.failed


class Deadly:
    """Kills the process that receives it, as the kernel does when memory runs out."""

    def __reduce__(self):
        return os._exit, (9,)


def test_a_killed_process_costs_one_recording(specs, folder):
    jobs = [Job(*specs, what, OPTIONS) for what in (Deadly(), folder / "a")]
    first, second = many._in_processes(jobs, 1)
    assert first.part is None
    assert "was killed" in first.error
    assert len(second.part.frames) == 3


def test_nothing_but_broken_recordings(specs, folder, tmp_path):
    with pytest.raises(Kd3dError, match=r"no recording could be compared:\n.*b_broken"):
        shadow_many(*specs, [folder / "b_broken.mcap"], tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists()


def test_the_verb_fails_at_the_end_but_writes_the_others(model, folder, tmp_path):
    words = [str(model), str(model), *map(str, recordings(folder)), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["shadow", *words, "--pictures", "0", "--mine", "0"])
    assert result.exit_code == 1
    assert "b_broken.mcap failed" in result.output
    assert (tmp_path / "report.html").is_file()


def test_ray_that_is_absent_is_named(specs, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    with pytest.raises(Kd3dError, match="pip install ray"):
        shadow_many(*specs, [folder / "a"], tmp_path, OPTIONS, ray=True)


def test_ray_gives_the_same_bytes(alone, specs, folder, tmp_path):
    pytest.importorskip("ray")
    shadow_many(*specs, recordings(folder), tmp_path, OPTIONS, ray=True)
    assert content(tmp_path) == content(alone.out)
