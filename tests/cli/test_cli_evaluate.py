import json
from dataclasses import replace

import handmade_bundle
import numpy as np
import pytest
from typer.testing import CliRunner

from kd3d_core.cli.main import app
from kd3d_core.datasets.folder_writer import write_folder
from kd3d_core.errors import Kd3dError
from kd3d_core.frame import Frame
from kd3d_core.geometry.boxes import Boxes3D


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return handmade_bundle.write(tmp_path_factory.mktemp("model") / "handmade.kd3d")


@pytest.fixture
def data(tmp_path):
    """Two frames with a car that the model finds, and one with a car that has no points."""
    cloud = handmade_bundle.clump(4.0, -2.0)
    car = Boxes3D.make([[4, -2, -1]], [[4, 2, 1.5]], [np.pi / 2], [0])
    frames = [Frame(cloud, source="", stamp=float(i), boxes=car) for i in range(3)]
    frames[2] = replace(frames[2], boxes=replace(car, center=car.center + np.float32([0, 8, 0])))
    write_folder(frames, tmp_path / "data")
    return tmp_path / "data"


def run(*words):
    return CliRunner().invoke(app, ["evaluate", *map(str, words)], catch_exceptions=False)


def test_metrics_and_report(bundle, data, tmp_path):
    out, report = tmp_path / "out.json", tmp_path / "report"
    words = ("--metrics", "argoverse2", "--out", out, "--report", report, "--min-points", 0)
    done = run(bundle, data, *words)
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert result["frames"] == 3
    # One of three cars is missed; the benchmark leaves it out, because it has no points.
    car = result["argoverse2"]["classes"]["car"]
    assert car["truths"] == 2
    assert result["metrics"]["all"]["car"]["truths"] == 3
    assert 0 < result["metrics"]["all"]["car"]["ap"] <= 2 / 3
    whole = json.loads((report / "evaluation.json").read_text())
    assert whole["breakdown"]["classes"]["car"]["truths"] == 3
    assert "Precision over recall" in (report / "evaluation.html").read_text()


def test_what_does_not_fit_is_told(bundle, data):
    with pytest.raises(Kd3dError, match="metrics coco are unknown"):
        run(bundle, data, "--metrics", "coco")
    with pytest.raises(Kd3dError, match="has no split val"):
        run(bundle, data, "--split", "val")
