"""`kd3d_core replay` and `shadow` from end to end."""

import json

import handmade_bundle
import pytest
import small_bags
from typer.testing import CliRunner

from kd3d_core.cli.main import app
from kd3d_core.datasets.mined import read_mined
from kd3d_core.errors import Kd3dError

FAST = ("--backend", "onnxruntime", "--threads", 1)


def run(*arguments):
    """Run a verb; a `Kd3dError` comes out as it does in the program's main."""
    words = [str(each) for each in arguments]
    return CliRunner().invoke(app, words, catch_exceptions=False, env={"COLUMNS": "140"})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return handmade_bundle.write(tmp_path_factory.mktemp("model") / "handmade.kd3d")


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    small_bags.write(folder / "one", malformed=True)
    small_bags.write(folder / "two", "sqlite3")
    return folder


def test_replay(tmp_path, model, bags):
    out = tmp_path / "out"
    result = run(
        *("replay", model, bags / "one", "--out", out, *FAST),
        *("--teacher", model, "--truth", small_bags.TRUTH, "--score-threshold", 0.9),
    )
    assert result.exit_code == 0, result.output
    assert "7 clouds: 4 car" in result.output
    assert "2 cloud(s) could not be read:" in result.output
    assert "Agreement with the teacher: 5 clouds" in result.output
    assert "Against the ground truth: 5 frames" in result.output
    assert f"results: {out}" in result.output.replace("\n", "")
    data = json.loads((out / "summary.json").read_text())
    assert data["agreement"]["total"]["missed"] == 3
    assert data["metrics"]["mean_ap"]["all"] == pytest.approx(4 / 7)


def test_replay_names_what_is_wrong_before_it_starts(tmp_path, model, bags):
    with pytest.raises(Kd3dError, match=r"/none does not exist"):
        run("replay", model, tmp_path / "none", "--out", tmp_path / "out", *FAST)
    with pytest.raises(Kd3dError, match=r"holds 2 bags \(.*; name one of them"):
        run("replay", model, bags, "--out", tmp_path / "out", *FAST)
    with pytest.raises(Kd3dError, match="no topic /labels of type vision_msgs"):
        run(
            *("replay", model, bags / "one", "--out", tmp_path / "out", *FAST),
            *("--truth", "/labels"),
        )
    assert not (tmp_path / "out").exists()


def test_shadow(tmp_path, model, bags):
    out = tmp_path / "out"
    result = run(
        *("shadow", model, model, bags / "one", "--out", out, *FAST),
        *("--student-threshold", 0.9, "--min-gap", 0.5, "--mine", 1, "--pictures", 1),
    )
    assert result.exit_code == 0, result.output
    assert "Student against teacher: 5 clouds" in result.output
    assert "2 cloud(s) could not be read:" in result.output
    assert "mined: 1 frame(s)" in result.output.replace("\n", " ")
    (record,) = read_mined(out / "mined")
    assert len(record.teacher) == 3
    assert (out / "report.html").is_file()


def test_shadow_of_a_folder_of_bags(tmp_path, model, bags):
    out = tmp_path / "out"
    result = run(
        *("shadow", model, model, bags, "--out", out, *FAST),
        *("--student-threshold", 0.9, "--min-gap", 0.5, "--pictures", 0),
    )
    assert result.exit_code == 0, result.output
    data = json.loads((out / "agreement.json").read_text())
    assert data["recordings"] == [str(bags / "one"), str(bags / "two")]
    assert (data["agreement"]["frames"], data["agreement"]["total"]["missed"]) == (10, 6)
    assert len(list(read_mined(out / "mined"))) == 4
