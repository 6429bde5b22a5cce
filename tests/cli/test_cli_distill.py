"""`kd3d_core distill --bag`: from a bag without labels to a student that can be exported."""

import numpy as np
import pytest
import small_checkpoint
import typer
import yaml
from typer.testing import CliRunner

from kd3d_core.cli.distill import distill
from kd3d_core.datasets.drive_bags import write_drive_bag
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.training.checkpoint import load_model
from kd3d_core.training.checkpoint import read_checkpoint
from kd3d_core.training.launch import mined_config

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(distill)


def run(*arguments):
    result = CliRunner(env={"COLUMNS": "160"}).invoke(
        app, [str(each) for each in arguments], catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.output


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    frames = (
        Frame(cloud, "made", stamp=float(i)) for i, cloud in enumerate(small_checkpoint.clouds())
    )
    return write_drive_bag(frames, tmp_path_factory.mktemp("bag") / "mined")


def test_from_a_bag_to_a_student(tmp_path, bag, monkeypatch):
    # Away from the checkout: the labelled data of the default settings must not be found.
    monkeypatch.chdir(tmp_path)
    teacher = small_checkpoint.write(tmp_path / "teacher.ckpt")
    student = small_checkpoint.write(tmp_path / "student.ckpt", "image")
    settings = mined_config().model_dump(mode="json")
    settings["data"]["workers"] = 0
    settings["distill"]["unlabelled"]["label_score"] = 0.05
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(settings))
    output = run(
        *("--bag", bag, "--teacher", teacher, "--student", student, "--config", config),
        *("--max-steps", 2, "--out", tmp_path / "out"),
    )
    assert "no labelled data in data/shipped/train" in output
    assert "2 unlabelled clouds" in output
    assert "no --student" not in output
    about = read_checkpoint(tmp_path / "out" / "model.ckpt")
    assert about.step == 2
    assert about.teacher["name"] == "small-pillars"
    assert about.data["unlabelled"]["bags"] == [str(bag)]
    model, network = load_model(tmp_path / "out" / "model.ckpt")
    assert model == small_checkpoint.config("image")
    before = load_model(student)[1].state_dict()
    moved = [
        float((value - before[name]).abs().max())
        for name, value in network.state_dict().items()
        if value.ndim == 4
    ]
    assert 0 < max(moved) < 0.05  # it went on from the student and did not start anew
    assert all(np.isfinite(moved))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give --config"),
        (["--bag", "x", "--teacher", "t.kd3d"], "teacher t.kd3d is a bundle"),
        (["--bag", "x", "--student", "s.kd3d"], "student s.kd3d is a bundle"),
        (["--bag", "x"], "give the teacher's checkpoint"),
        (["--bag", "x", "--teacher", "absent.ckpt"], "no checkpoint absent.ckpt"),
        (["--config", "absent.yaml", "--topic", "/p"], "--topic"),
    ],
)
def test_what_does_not_fit_is_said(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Kd3dError, match=words):
        run(*arguments)
